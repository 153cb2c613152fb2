//! JPEG files as libjpeg reads them: baseline and progressive, Huffman and arithmetic coding, whatever their scans, sampling
//! factors and markers, with libjpeg's pixels. In plain C, so it takes half as long again as decoders with vectors.

use std::ffi::{CStr, c_char, c_int, c_long};

// Links libjpeg.
use mozjpeg_sys as _;

/// More scans than any encoder writes, and few enough for a file that means harm.
const MOST_SCANS: c_int = 500;

/// Of libjpeg's messages, with the zero at the end (`JMSG_LENGTH_MAX`).
const MESSAGE_LENGTH: usize = 200;

/// What to do with a file; `enum work` in read.c.
#[derive(Clone, Copy)]
enum Work {
    Head = 0,
    Pixels = 1,
    Coefficients = 2,
}

/// What is found; `struct report` in read.c.
#[repr(C)]
struct Report {
    width: u32,
    height: u32,
    channels: c_int,
    reason: c_int,
    warnings: c_long,
    message: [c_char; MESSAGE_LENGTH],
}

#[allow(unsafe_code)]
mod c {
    use super::{Report, c_int};

    // SAFETY: the signature is that of read.c.
    unsafe extern "C" {
        pub fn ktg_jpeg_read(
            bytes: *const u8,
            length: usize,
            work: c_int,
            most_scans: c_int,
            pixels: *mut u8,
            size: usize,
            report: *mut Report,
        ) -> c_int;
    }
}

/// Size and colours of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// 1 (grey), 3 (red, green, blue) or 4 (cyan, magenta, yellow and black, as the file has them).
    pub channels: usize,
}

/// Why a file cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JpegError {
    /// Damaged, cut off, or no JPEG.
    #[error("damaged or cut off ({0})")]
    Damaged(String),
    /// Its height is said behind its pixels (DNL).
    #[error(
        "a JPEG whose height is not in its head (DNL), or is 0, which is not read; save it anew with another program"
    )]
    NoHeight,
    /// More than 8 bits a value.
    #[error("a JPEG with more than 8 bits a value, which is not read ({0}); save it with 8 bits")]
    Precision(String),
    /// Lossless, hierarchical, or with colours that have no conversion.
    #[error("a lossless or other rare kind of JPEG, which is not read ({0}); save it as an ordinary one, or as PNG")]
    Kind(String),
    /// There is not enough memory.
    #[error("decoding needs too much memory ({0})")]
    Memory(String),
}

/// Reads the head of a file only.
///
/// # Errors
/// As [`decode`], as far as the head tells.
pub fn head(bytes: &[u8]) -> Result<Head, JpegError> {
    let report = read(bytes, Work::Head, &mut [])?;
    Ok(Head { width: report.width as usize, height: report.height as usize, channels: report.channels as usize })
}

/// Decodes a file, given its [`head`]: values in the order row, column, channel. Where its data are damaged, libjpeg goes on
/// as well as it can: see [`damage`].
///
/// A file can claim any size, and the pixels take that much memory: look at the head before.
///
/// # Errors
/// If it is no JPEG, cut off within its head, too damaged to go on, or of a kind that libjpeg does not read.
pub fn decode(bytes: &[u8], head: Head) -> Result<Vec<u8>, JpegError> {
    let mut pixels = vec![0; head.width * head.height * head.channels];
    read(bytes, Work::Pixels, &mut pixels)?;
    Ok(pixels)
}

/// What is damaged in a file that can be read nevertheless, in libjpeg's words: data that end early, or make no sense. A
/// part of the picture is missing then, or wrong. Decodes no pixels, which is several times as fast.
///
/// # Errors
/// As [`decode`].
pub fn damage(bytes: &[u8]) -> Result<Option<String>, JpegError> {
    let report = read(bytes, Work::Coefficients, &mut [])?;
    Ok((report.warnings > 0).then(|| message(&report)))
}

#[allow(unsafe_code)]
fn read(bytes: &[u8], work: Work, pixels: &mut [u8]) -> Result<Report, JpegError> {
    let mut report = Report { width: 0, height: 0, channels: 0, reason: 0, warnings: 0, message: [0; MESSAGE_LENGTH] };
    // SAFETY: libjpeg reads `bytes` within their length and keeps no pointer to them; the C code writes at most
    // `pixels.len()` bytes, which it compares with the image's size before, and one `Report`, which has its layout. It
    // catches libjpeg's errors itself and calls nothing of ours, so nothing unwinds or jumps through this frame.
    let done = unsafe {
        let (length, size) = (bytes.len(), pixels.len());
        c::ktg_jpeg_read(bytes.as_ptr(), length, work as c_int, MOST_SCANS, pixels.as_mut_ptr(), size, &mut report)
    };
    if done == 1 {
        return Ok(report);
    }
    let words = message(&report);
    Err(match report.reason {
        2 => JpegError::NoHeight,
        3 => JpegError::Precision(words),
        4 => JpegError::Kind(words),
        5 => JpegError::Memory(words),
        _ => JpegError::Damaged(words),
    })
}

fn message(report: &Report) -> String {
    let bytes = report.message.map(|c| c as u8);
    CStr::from_bytes_until_nul(&bytes).map(|text| text.to_string_lossy().into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_jpeg_is_an_error() {
        for bytes in [&b""[..], b"\xFF", b"\xFF\xD8", b"\xFF\xD8\xFF\xD9", b"GIF89a", &[0; 1000]] {
            assert!(matches!(head(bytes), Err(JpegError::Damaged(words)) if !words.is_empty()), "{bytes:?}");
            let head = Head { width: 1, height: 1, channels: 3 };
            assert!(decode(bytes, head).is_err() && damage(bytes).is_err());
        }
    }
}
