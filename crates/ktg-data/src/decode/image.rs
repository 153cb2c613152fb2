//! A decoded image and how it comes out of a file.

use super::jpeg::Jpeg;
use super::panics;
use crate::Error;
use ::bytes::Bytes;
use ::image::metadata::Orientation;
use ::image::{DynamicImage, GrayImage, ImageDecoder, ImageError, ImageFormat, ImageReader, RgbImage};
use std::io::Cursor;
use std::path::Path;

/// Larger images are refused before they are decoded: a small file can claim any size. 64
/// megapixels.
pub const MAX_PIXELS: u64 = 64 * 1024 * 1024;

/// Larger files are refused before they are read; pixels of 16-bit RGBA, as many as there may be, take half a GiB.
const MAX_FILE_BYTES: u64 = 1 << 30;

/// Narrower images would become enormous when their shorter side is enlarged.
const MAX_RATIO: u32 = 200;

/// An 8-bit image of 1 (grey) or 3 (red, green, blue) channels.
#[derive(Clone, PartialEq, Eq)]
pub struct Image {
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// 1 or 3.
    pub channels: usize,
    /// Values in the order row, column, channel: `height * width * channels` of them. May be a part of a mapped file.
    pub pixels: Bytes,
}

impl std::fmt::Debug for Image {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Image({} x {} x {})", self.width, self.height, self.channels)
    }
}

impl Image {
    /// An image from its pixels (row, column, channel).
    ///
    /// # Errors
    /// If a side is 0, `channels` is neither 1 nor 3, or the number of values is wrong.
    pub fn new(width: usize, height: usize, channels: usize, pixels: Vec<u8>) -> Result<Self, Error> {
        let problem = if width == 0 || height == 0 {
            "has no pixels".to_string()
        } else if !matches!(channels, 1 | 3) {
            format!("has {channels} channels where 1 or 3 are possible")
        } else if pixels.len() != width * height * channels {
            format!("has {} values instead of {width} x {height} x {channels}", pixels.len())
        } else {
            return Ok(Self { width, height, channels, pixels: pixels.into() });
        };
        Err(Error::image("in memory", problem))
    }

    /// [`read`](Self::read) without regard to EXIF.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn open(path: &Path, channels: usize) -> Result<Self, Error> {
        Self::read(path, channels, false)
    }

    /// Reads and decodes a JPEG, PNG, BMP, GIF (first frame) or WebP file to `channels` (1 or 3)
    /// channels.
    ///
    /// The content decides the format, not the file's ending. Transparency is dropped. Pixels are turned and mirrored as
    /// EXIF says if they shall be `upright`; else they stay as they are stored, as Pillow leaves them.
    ///
    /// # Errors
    /// Names the file if it cannot be read, is empty, no image, cut off, damaged, or larger than
    /// [`MAX_PIXELS`].
    pub fn read(path: &Path, channels: usize, upright: bool) -> Result<Self, Error> {
        let problem = |problem: String| Error::image(path.display().to_string(), problem);
        let found = std::fs::metadata(path).map_err(|source| match std::fs::read_link(path) {
            Ok(target) => problem(format!("a link to {}, which cannot be read ({source})", target.display())),
            Err(_) => Error::read(path, source),
        })?;
        // Opening a pipe would wait for a writer, reading a device might never end.
        if !found.is_file() {
            return Err(problem("not a regular file".into()));
        }
        if found.len() > MAX_FILE_BYTES {
            let (mib, limit) = (found.len() >> 20, MAX_FILE_BYTES >> 20);
            return Err(problem(format!("the file has {mib} MiB; at most {limit} MiB are possible")));
        }
        let bytes = std::fs::read(path).map_err(|source| Error::read(path, source))?;
        Self::decode(&bytes, channels, upright).map_err(problem)
    }

    /// Decodes the content of an image file; the error says what is wrong with it.
    pub(crate) fn decode(bytes: &[u8], channels: usize, upright: bool) -> Result<Self, String> {
        let decoded = panics::caught(|| Self::decode_with_library(bytes, channels, upright));
        decoded.unwrap_or_else(|| Err("damaged: the decoder breaks down on it; save the image anew".into()))
    }

    fn decode_with_library(bytes: &[u8], channels: usize, upright: bool) -> Result<Self, String> {
        if bytes.is_empty() {
            return Err("the file is empty (0 bytes)".into());
        }
        let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|e| e.to_string())?;
        let Some(format) = reader.format() else {
            if let Some(fetch) = pointer(bytes) {
                return Err(format!("not the image, but a pointer to it; fetch it with `{fetch}`"));
            }
            return Err("not an image in a known format (JPEG, PNG, BMP, GIF, WebP)".into());
        };
        let orientation;
        let mut image = if format == ImageFormat::Jpeg {
            let jpeg = Jpeg::new(bytes)?;
            check_size(jpeg.width, jpeg.height)?;
            orientation = if upright { jpeg.orientation() } else { Orientation::NoTransforms };
            jpeg.decode()?
        } else {
            let mut decoder = reader.into_decoder().map_err(explain)?;
            let (width, height) = decoder.dimensions();
            check_size(width, height)?;
            orientation = if upright { decoder.orientation().map_err(explain)? } else { Orientation::NoTransforms };
            DynamicImage::from_decoder(decoder).map_err(explain)?
        };
        image.apply_orientation(orientation);
        let (width, height) = (image.width() as usize, image.height() as usize);
        let image = eight_bits(image);
        let is_color = image.color().has_color();
        let pixels = match (channels, is_color) {
            (1, false) => image.into_luma8().into_raw(),
            (1, true) => luma(image.into_rgb8().as_raw()),
            _ => image.into_rgb8().into_raw(),
        };
        let channels = if channels == 1 { 1 } else { 3 };
        Ok(Self { width, height, channels, pixels: pixels.into() })
    }

    /// An image of the same size and channels from new pixels.
    pub(crate) fn with_pixels(&self, pixels: Vec<u8>) -> Self {
        Self { pixels: pixels.into(), ..*self }
    }

    /// The same image in 1 channel (grey) or 3 (which are equal where it is grey).
    pub(crate) fn with_channels(&self, channels: usize) -> Self {
        let pixels = match (self.channels, channels) {
            (3, 1) => luma(&self.pixels).into(),
            (1, 3) => self.pixels.iter().flat_map(|&gray| [gray; 3]).collect(),
            _ => self.pixels.clone(),
        };
        Self { channels, pixels, ..*self }
    }
}

/// For what Git has in place of a large file, the command that fetches it.
fn pointer(bytes: &[u8]) -> Option<&'static str> {
    let start = &bytes[..bytes.len().min(100)];
    if start.starts_with(b"version https://git-lfs.github.com/spec/") {
        return Some("git lfs pull");
    }
    start.starts_with(b"/annex/objects/").then_some("git annex get")
}

/// Refuses images that are too large or too narrow.
fn check_size(width: u32, height: u32) -> Result<(), String> {
    let pixels = u64::from(width) * u64::from(height);
    if pixels == 0 || pixels > MAX_PIXELS {
        let limit = MAX_PIXELS / 1_000_000;
        return Err(format!("{width} x {height} pixels, between 1 pixel and {limit} megapixels are possible"));
    }
    let (shorter, longer) = (width.min(height), width.max(height));
    if longer / shorter > MAX_RATIO {
        return Err(format!("{width} x {height} pixels; one side can be at most {MAX_RATIO} times the other"));
    }
    Ok(())
}

fn explain(error: ImageError) -> String {
    match error {
        ImageError::Limits(limit) => format!("decoding needs too much memory ({limit})"),
        ImageError::Unsupported(what) => format!("a kind of image that is not supported ({what})"),
        // Some describe themselves in words of Rust, which help nobody.
        other => match other.to_string() {
            words if words.contains(['{', '[']) => "damaged or cut off".to_owned(),
            words => format!("damaged or cut off ({words})"),
        },
    }
}

/// Drops the lower half of 16-bit values, as Pillow does (but for grey alone, which Pillow 13 makes almost white).
fn eight_bits(image: DynamicImage) -> DynamicImage {
    let (width, height, color) = (image.width(), image.height(), image.color());
    if color.bytes_per_pixel() == color.channel_count() {
        return image;
    }
    let high = |values: Vec<u16>| values.into_iter().map(|value| (value >> 8) as u8).collect();
    let converted = if color.has_color() {
        RgbImage::from_raw(width, height, high(image.to_rgb16().into_raw())).map(DynamicImage::from)
    } else {
        GrayImage::from_raw(width, height, high(image.to_luma16().into_raw())).map(DynamicImage::from)
    };
    converted.unwrap_or(image)
}

/// Grey from colour with the weights of ITU-R BT.601 in 16-bit fixed point, as Pillow's mode "L".
pub(crate) fn luma(rgb: &[u8]) -> Vec<u8> {
    let gray = |p: &[u8]| (u32::from(p[0]) * 19595 + u32::from(p[1]) * 38470 + u32::from(p[2]) * 7471 + 0x8000) >> 16;
    rgb.chunks_exact(3).map(|p| gray(p) as u8).collect()
}
