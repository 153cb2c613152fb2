/* Reads a JPEG in memory with libjpeg. Its errors leave by longjmp, which here crosses C frames only: libjpeg calls
   nothing of Rust. */

#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <setjmp.h>
#include <jpeglib.h>
#include <jerror.h>

/* What to do with the file; `Work` in lib.rs. */
enum work { HEAD = 0, PIXELS = 1, COEFFICIENTS = 2 };

/* Why it cannot be read; `Reason` in lib.rs. */
enum reason { NONE = 0, DAMAGED = 1, NO_HEIGHT = 2, PRECISION = 3, KIND = 4, MEMORY = 5 };

/* What is found; `Report` in lib.rs. */
struct report {
  unsigned width, height;
  int channels;                   /* of the pixels: 1 (grey), 3 (red, green, blue) or 4 (cyan, magenta, yellow, black, as stored) */
  int reason;
  long warnings;                  /* places where the file is damaged, and libjpeg went on */
  char message[JMSG_LENGTH_MAX];  /* libjpeg's words for the error, else for the first warning */
};

struct errors {
  struct jpeg_error_mgr base;
  jmp_buf end;
  struct report *report;
};

struct limit {
  struct jpeg_progress_mgr base;
  int scans;
};

static int reason_of(int code) {
  switch (code) {
  case JERR_EMPTY_IMAGE: return NO_HEIGHT;
  case JERR_BAD_PRECISION: return PRECISION;
  case JERR_SOF_UNSUPPORTED: case JERR_CONVERSION_NOTIMPL: case JERR_CCIR601_NOTIMPL: case JERR_COMPONENT_COUNT: return KIND;
  case JERR_OUT_OF_MEMORY: return MEMORY;
  default: return DAMAGED;
  }
}

static void on_error(j_common_ptr c) {
  struct errors *errors = (struct errors *)c->err;
  errors->report->reason = reason_of(errors->base.msg_code);
  errors->base.format_message(c, errors->report->message);
  longjmp(errors->end, 1);
}

static void on_message(j_common_ptr c, int level) {
  struct errors *errors = (struct errors *)c->err;
  if (level < 0 && errors->base.num_warnings++ == 0)
    errors->base.format_message(c, errors->report->message);
}

static void on_output(j_common_ptr c) { (void)c; /* nothing is printed */ }

/* A small file can have thousands of scans over a large image. */
static void on_progress(j_common_ptr c) {
  if (((j_decompress_ptr)c)->input_scan_number > ((struct limit *)c->progress)->scans) {
    c->err->msg_code = JERR_BAD_PROGRESSION;
    c->err->error_exit(c);
  }
}

/* Does the `work`; for PIXELS, `pixels` has room for `size` bytes. 1 if it could be done, 0 if not: then `report` says why. */
int ktg_jpeg_read(const unsigned char *bytes, size_t length, int work, int most_scans, unsigned char *pixels, size_t size,
                  struct report *report) {
  struct jpeg_decompress_struct c;
  struct errors errors;
  struct limit limit;
  memset(report, 0, sizeof *report);
  memset(&limit, 0, sizeof limit);
  c.err = jpeg_std_error(&errors.base);
  errors.base.error_exit = on_error;
  errors.base.emit_message = on_message;
  errors.base.output_message = on_output;
  errors.report = report;
  if (setjmp(errors.end)) {
    report->warnings = errors.base.num_warnings;
    jpeg_destroy_decompress(&c);
    return 0;
  }
  jpeg_create_decompress(&c);
  limit.base.progress_monitor = on_progress;
  limit.scans = most_scans;
  c.progress = &limit.base;
  jpeg_mem_src(&c, bytes, (unsigned long)length);
  jpeg_read_header(&c, TRUE);
  report->width = c.image_width;
  report->height = c.image_height;
  report->channels = c.num_components == 1 ? 1 : c.num_components == 4 ? 4 : 3;
  if (work == COEFFICIENTS) {
    jpeg_read_coefficients(&c);
    jpeg_finish_decompress(&c);
  } else if (work == PIXELS) {
    /* All else is libjpeg's default, and Pillow's: exact integer DCT, smooth enlarging of colour, block smoothing. */
    c.out_color_space = report->channels == 1 ? JCS_GRAYSCALE : report->channels == 4 ? JCS_CMYK : JCS_RGB;
    size_t row = (size_t)c.image_width * report->channels;
    if (size / row < c.image_height) { /* never, from lib.rs */
      report->reason = MEMORY;
      jpeg_destroy_decompress(&c);
      return 0;
    }
    jpeg_start_decompress(&c);
    while (c.output_scanline < c.output_height) {
      JSAMPROW line = pixels + row * c.output_scanline;
      jpeg_read_scanlines(&c, &line, 1);
    }
    jpeg_finish_decompress(&c); /* reads to the end marker, which may find more damage */
  }
  report->warnings = errors.base.num_warnings;
  jpeg_destroy_decompress(&c);
  return 1;
}
