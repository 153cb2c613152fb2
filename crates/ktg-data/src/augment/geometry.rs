//! Resizing, cutting and mirroring of 8-bit images.

use super::crop::CropBox;
use crate::{Error, Image, MAX_PIXELS};
use fast_image_resize::images::{TypedCroppedImage, TypedImage, TypedImageRef};
use fast_image_resize::pixels::{U8, U8x3};
use fast_image_resize::{FilterType, PixelTrait, ResizeAlg, ResizeOptions, Resizer};
use std::ops::Range;

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
        let pixels = width as u64 * height as u64;
        let is_possible = (1..=MAX_PIXELS).contains(&pixels) && area.width > 0 && area.height > 0;
        let resized = match self.channels {
            _ if !is_possible => Err(format!("1 to {MAX_PIXELS} pixels are possible").into()),
            1 => bilinear::<U8>(self, area, width, height),
            _ => bilinear::<U8x3>(self, area, width, height),
        };
        let pixels = resized.map_err(|problem| {
            let from = format!("{} x {} pixels of {self:?}", area.width, area.height);
            Error::Setting(format!("cannot resize {from} to {width} x {height}: {problem}"))
        })?;
        Ok(Self { width, height, channels: self.channels, pixels: pixels.into() })
    }

    /// The image resized so that its shorter side becomes `side`; the longer one is rounded down, as torchvision does.
    pub(crate) fn resize_shorter_side(&self, side: usize) -> Result<Self, Error> {
        let longer = side * self.width.max(self.height) / self.width.min(self.height);
        let (width, height) = if self.width <= self.height { (side, longer) } else { (longer, side) };
        self.resize(CropBox::whole(self), width, height)
    }

    /// The image resized so that its longer side becomes `size`, in the middle of a square of the color `fill`, as Pillow's
    /// `ImageOps.pad`; but where Pillow would leave no row or column of it, there is one.
    ///
    /// # Errors
    /// As [`resize`](Self::resize), and if `fill` is not one value a channel.
    pub fn pad(&self, size: usize, fill: &[u8]) -> Result<Self, Error> {
        let channels = self.channels;
        if fill.len() != channels {
            return Err(Error::Setting(format!("{} value(s) to fill an image of {channels} channel(s)", fill.len())));
        }
        // Half pixels to the even side, as Python's round() does.
        let shorter = |short: usize, long: usize| {
            let exact = short as f64 / long as f64 * size as f64;
            (exact.round_ties_even() as usize).max(1)
        };
        let (width, height) = match self.width >= self.height {
            true => (size, shorter(self.height, self.width)),
            false => (shorter(self.width, self.height), size),
        };
        let resized = self.resize(CropBox::whole(self), width, height)?;
        let border = |length: usize| ((size - length) as f64 / 2.0).round_ties_even() as usize;
        let (left, top) = (border(width), border(height));
        let mut pixels = fill.repeat(size * size);
        for (y, row) in resized.pixels.chunks_exact(width * channels).enumerate() {
            pixels[((top + y) * size + left) * channels..][..row.len()].copy_from_slice(row);
        }
        Ok(Self { width: size, height: size, channels, pixels: pixels.into() })
    }

    /// The `size` x `size` pixels from column `left` and row `top` on, which may lie outside the
    /// image; there the result is black.
    pub fn square(&self, left: isize, top: isize, size: usize) -> Self {
        let channels = self.channels;
        let mut pixels = vec![0; size * size * channels];
        let columns = overlap(left, size, self.width);
        for y in overlap(top, size, self.height) {
            let from = &self.pixels[(y * self.width + columns.start) * channels..][..columns.len() * channels];
            let (to_x, to_y) =
                (columns.start.wrapping_add_signed(left.wrapping_neg()), y.wrapping_add_signed(top.wrapping_neg()));
            pixels[(to_y * size + to_x) * channels..][..from.len()].copy_from_slice(from);
        }
        Self { width: size, height: size, channels, pixels: pixels.into() }
    }

    /// Mirrors left and right.
    pub fn flip(&mut self) {
        let rows = self.pixels.chunks_exact(self.width * self.channels);
        let mirrored = rows.flat_map(|row| row.rchunks_exact(self.channels).flatten());
        self.pixels = mirrored.copied().collect();
    }
}

/// The part `area` of an image at another size: bilinear with antialiasing, first along the rows, then along the columns.
/// Typed, because the untyped functions of the library are compiled for every kind of pixel there is, which takes minutes.
fn bilinear<P: PixelTrait>(
    image: &Image,
    area: CropBox,
    width: usize,
    height: usize,
) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear)).use_alpha(false);
    let mut resizer = Resizer::new();
    let side = |length: usize| u32::try_from(length);
    let (new_width, new_height, part_height) = (side(width)?, side(height)?, side(area.height)?);
    let source = TypedImageRef::<P>::from_buffer(side(image.width)?, side(image.height)?, &image.pixels)?;
    let part = TypedCroppedImage::from_ref(&source, side(area.left)?, side(area.top)?, side(area.width)?, part_height)?;
    let mut narrowed = vec![0; width * area.height * P::size()];
    let mut narrowed = TypedImage::<P>::from_buffer(new_width, part_height, &mut narrowed)?;
    resizer.resize_typed(&part, &mut narrowed, &options)?;
    let mut result = vec![0; width * height * P::size()];
    let mut resized = TypedImage::<P>::from_buffer(new_width, new_height, &mut result)?;
    resizer.resize_typed(&narrowed, &mut resized, &options)?;
    Ok(result)
}

/// The part of `start..start + size` that lies in `0..length`; empty if there is none.
pub(super) fn overlap(start: isize, size: usize, length: usize) -> Range<usize> {
    let first = usize::try_from(start).unwrap_or(0).min(length);
    let end = usize::try_from(start.saturating_add_unsigned(size)).unwrap_or(0).min(length);
    first..end.max(first)
}
