//! JPEGs, with libjpeg's pixels.
//!
//! Photos as cameras, phones and most programs write them are decoded by a decoder with vectors (zune-jpeg), whose edges are
//! made libjpeg's ([`edges`]). Everything else is given to libjpeg itself ([`ktg_jpeg`]), which takes half as long again:
//! progressive files, scans of single components, rare sampling factors, arithmetic coding, odd markers, damage.

mod edges;
mod frame;
mod ordinary;
mod segments;

use image::metadata::Orientation;
use image::{DynamicImage, GrayImage, RgbImage};

use segments::Segments;

/// A JPEG whose head makes sense.
pub(crate) struct Jpeg<'a> {
    bytes: &'a [u8],
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

impl<'a> Jpeg<'a> {
    /// Reads the head.
    pub fn new(bytes: &'a [u8]) -> Result<Self, String> {
        // A decoder fills a missing rest with something and reports success.
        if !segments::is_complete(bytes) {
            return Err("the file is cut off (a JPEG without its end marker)".into());
        }
        match segments::size(bytes) {
            Some([_, 0]) => Err(ktg_jpeg::JpegError::NoHeight.to_string()),
            Some([width, height]) => Ok(Self { bytes, width, height }),
            None => Err("damaged or cut off (a JPEG without a frame header)".into()),
        }
    }

    /// What EXIF says about the camera.
    pub fn orientation(&self) -> Orientation {
        let exif = Segments::of(self.bytes).find_map(|segment| match segment.marker {
            0xE1 => segment.content.strip_prefix(b"Exif\0\0"),
            _ => None,
        });
        exif.and_then(Orientation::from_exif_chunk).unwrap_or(Orientation::NoTransforms)
    }

    /// Grey or colour, as it is stored.
    pub fn decode(&self) -> Result<DynamicImage, String> {
        let (channels, pixels) = match ordinary::decode(self.bytes) {
            Some(decoded) => decoded,
            None => self.decode_with_libjpeg()?,
        };
        let image = match channels {
            1 => GrayImage::from_raw(self.width, self.height, pixels).map(DynamicImage::from),
            4 => RgbImage::from_raw(self.width, self.height, of_cmyk(&pixels)).map(DynamicImage::from),
            _ => RgbImage::from_raw(self.width, self.height, pixels).map(DynamicImage::from),
        };
        image.ok_or_else(|| "an impossible size".into())
    }

    fn decode_with_libjpeg(&self) -> Result<(usize, Vec<u8>), String> {
        // It may take another size from a damaged head, and that must not be larger.
        let head = ktg_jpeg::head(self.bytes).map_err(|error| error.to_string())?;
        if [head.width, head.height] != [self.width, self.height].map(|side| side as usize) {
            return Err("damaged (it says two sizes)".into());
        }
        let pixels = ktg_jpeg::decode(self.bytes, head).map_err(|error| error.to_string())?;
        Ok((head.channels, pixels))
    }
}

/// What is damaged in a JPEG that can be decoded nevertheless; `None` for other files.
pub(crate) fn damage(bytes: &[u8]) -> Option<String> {
    let is_jpeg = bytes.starts_with(&[0xFF, 0xD8, 0xFF]);
    let words = is_jpeg.then(|| ktg_jpeg::damage(bytes).ok().flatten()).flatten()?;
    Some(format!("a part of the picture is missing or wrong (libjpeg: {words})"))
}

/// Cyan, magenta, yellow and black, inverted as Adobe stores them, to red, green and blue: as Pillow, which takes all of
/// them for inverted.
fn of_cmyk(pixels: &[u8]) -> Vec<u8> {
    let product = |a: u8, b: u8| {
        let t = u32::from(a) * u32::from(b) + 128;
        ((t + (t >> 8)) >> 8) as u8
    };
    pixels.as_chunks::<4>().0.iter().flat_map(|&[c, m, y, k]| [c, m, y].map(|color| product(color, k))).collect()
}
