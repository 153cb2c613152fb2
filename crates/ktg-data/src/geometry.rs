//! Resizing, cutting and mirroring of 8-bit images.

use crate::crop::CropBox;
use crate::{Error, Image, MAX_PIXELS};
use fast_image_resize::images::{CroppedImage, Image as ResizedImage, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

impl Image {
    /// The part `area`, resized to `width` x `height`: bilinear and antialiased (a triangle filter
    /// that widens with the reduction). Nothing outside the area enters the result.
    ///
    /// The width first, then the height, each rounded to 8 bits. That is the order of Pillow up to
    /// version 12; Pillow 13 takes the height first where it shrinks much more than the width,
    /// which changes some values by 1.
    ///
    /// # Errors
    /// If the area is empty or not inside the image, or the result is empty or larger than
    /// [`MAX_PIXELS`].
    pub fn resize(&self, area: CropBox, width: usize, height: usize) -> Result<Self, Error> {
        let failed = |what: &dyn std::fmt::Display| {
            let from = format!("{} x {} pixels of {self:?}", area.width, area.height);
            Error::Setting(format!("cannot resize {from} to {width} x {height}: {what}"))
        };
        let pixels = width as u64 * height as u64;
        if pixels == 0 || pixels > MAX_PIXELS || area.width == 0 || area.height == 0 {
            return Err(failed(&format_args!("1 to {MAX_PIXELS} pixels are possible")));
        }
        let side = |length: usize| u32::try_from(length).map_err(|error| failed(&error));
        let kind = if self.channels == 1 { PixelType::U8 } else { PixelType::U8x3 };
        let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
        let mut resizer = Resizer::new();

        let source =
            ImageRef::new(side(self.width)?, side(self.height)?, &self.pixels, kind).map_err(|error| failed(&error))?;
        let (left, top) = (side(area.left)?, side(area.top)?);
        let part = CroppedImage::new(&source, left, top, side(area.width)?, side(area.height)?)
            .map_err(|error| failed(&error))?;
        let mut narrowed = ResizedImage::new(side(width)?, side(area.height)?, kind);
        resizer.resize(&part, &mut narrowed, &options).map_err(|error| failed(&error))?;
        let mut result = ResizedImage::new(side(width)?, side(height)?, kind);
        resizer.resize(&narrowed, &mut result, &options).map_err(|error| failed(&error))?;
        Ok(Self { width, height, channels: self.channels, pixels: result.into_vec() })
    }

    /// The `size` x `size` pixels from column `left` and row `top` on, which may lie outside the
    /// image; there the result is black.
    pub fn square(&self, left: isize, top: isize, size: usize) -> Self {
        let channels = self.channels;
        let mut pixels = vec![0; size * size * channels];
        let (first_x, end_x) = overlap(left, size, self.width);
        let (first_y, end_y) = overlap(top, size, self.height);
        for y in first_y..end_y {
            let from = &self.pixels[(y * self.width + first_x) * channels..][..(end_x - first_x) * channels];
            let (to_x, to_y) =
                (first_x.wrapping_add_signed(left.wrapping_neg()), y.wrapping_add_signed(top.wrapping_neg()));
            pixels[(to_y * size + to_x) * channels..][..from.len()].copy_from_slice(from);
        }
        Self { width: size, height: size, channels, pixels }
    }

    /// Mirrors left and right in place.
    pub fn flip(&mut self) {
        let channels = self.channels;
        for row in self.pixels.chunks_exact_mut(self.width * channels) {
            let (mut left, mut right) = (0, self.width - 1);
            while left < right {
                for channel in 0..channels {
                    row.swap(left * channels + channel, right * channels + channel);
                }
                (left, right) = (left + 1, right - 1);
            }
        }
    }
}

/// The part of `start..start + size` that lies in `0..length`; empty if there is none.
fn overlap(start: isize, size: usize, length: usize) -> (usize, usize) {
    let first = usize::try_from(start).unwrap_or(0).min(length);
    let end = usize::try_from(start.saturating_add_unsigned(size)).unwrap_or(0).min(length);
    (first, end.max(first))
}
