//! Ordinary JPEGs ([`Frame`]), by a decoder with vectors.

use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::edges::Repair;
use super::frame::Frame;

/// Channels and pixels of an ordinary file; `None` for others, and for those that turn out to be damaged.
pub(super) fn decode(bytes: &[u8]) -> Option<(usize, Vec<u8>)> {
    let frame = Frame::of(bytes)?;
    let size = [frame.width, frame.height];
    let repair = Repair::new(size, frame.sampling);
    let colors = match frame.channels {
        1 => ColorSpace::Luma,
        _ if repair.is_some() => ColorSpace::YCbCr,
        _ => ColorSpace::RGB,
    };
    let options = DecoderOptions::default().set_strict_mode(true).set_max_width(usize::MAX).set_max_height(usize::MAX);
    let options = options.jpeg_set_out_colorspace(colors);
    let mut pixels = JpegDecoder::new_with_options(ZCursor::new(bytes), options).decode().ok()?;
    if let Some(repair) = repair {
        repair.apply(&mut pixels, size);
    }
    // The decoder invents a rest for data that end early, and says nothing.
    if ends_alike(&pixels, &frame) && ktg_jpeg::damage(bytes) != Ok(None) {
        return None;
    }
    Some((frame.channels, pixels))
}

/// Whether the last two groups of blocks are equal: so is a rest that is invented, but hardly one of a photo.
fn ends_alike(pixels: &[u8], frame: &Frame) -> bool {
    let [across, down] = frame.group();
    let channels = frame.channels;
    let last = (frame.width - 1) / across * across;
    let Some(before) = last.checked_sub(across) else { return true }; // too narrow to tell
    let first_row = (frame.height - 1) / down * down;
    let length = (frame.width - last) * channels;
    (first_row..frame.height).all(|y| {
        let row = y * frame.width;
        let [a, b] = [before, last].map(|x| &pixels[(row + x) * channels..][..length]);
        // Colours are filtered across the border of the groups.
        a.iter().zip(b).all(|(a, b)| a.abs_diff(*b) <= 2)
    })
}
