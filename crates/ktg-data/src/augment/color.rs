//! Colour operations on 8-bit images, equal to those of torchvision on Pillow images.

use crate::Image;
use crate::decode::luma;

impl Image {
    /// Brightness times `factor` (0 or more; 0 is black, 1 changes nothing), as `adjust_brightness`.
    pub fn brightness(&self, factor: f64) -> Self {
        self.blend_with(0, factor)
    }

    /// Contrast times `factor` (0 or more; 0 is evenly grey, 1 changes nothing), as `adjust_contrast`: away from the
    /// mean of the grey image, which is rounded to 8 bits.
    pub fn contrast(&self, factor: f64) -> Self {
        let gray = self.with_channels(1).pixels;
        let sum: u64 = gray.iter().map(|&value| u64::from(value)).sum();
        let mean = (sum as f64 / gray.len() as f64 + 0.5) as u8;
        self.blend_with(mean, factor)
    }

    /// Saturation times `factor` (0 or more; 0 is grey, 1 changes nothing), as `adjust_saturation`. Grey images stay
    /// as they are.
    pub fn saturation(&self, factor: f64) -> Self {
        if self.channels == 1 {
            return self.clone();
        }
        let pixels = self.pixels.chunks_exact(3).zip(luma(&self.pixels));
        let blended = pixels.flat_map(|(pixel, gray)| [0, 1, 2].map(|c| blend(gray, pixel[c], factor as f32)));
        self.with_pixels(blended.collect())
    }

    /// Turns the hue by `turns` (-0.5 to 0.5) of the colour circle, as `adjust_hue`: in steps of 1 / 255, through HSV of
    /// 8 bits a channel, which changes colours a little even for 0. Grey images stay as they are.
    pub fn hue(&self, turns: f64) -> Self {
        if self.channels == 1 {
            return self.clone();
        }
        let shift = (turns * 255.0) as i32 as u8; // a negative shift is one of 256 more
        let turned = self.pixels.chunks_exact(3).flat_map(|pixel| {
            let [hue, saturation, value] = hsv(pixel[0], pixel[1], pixel[2]);
            rgb(hue.wrapping_add(shift), saturation, value)
        });
        self.with_pixels(turned.collect())
    }

    /// Sharpness times `factor` (0 or more; 0 is smoothed, 1 changes nothing), as `adjust_sharpness`. The outermost
    /// pixels stay as they are.
    pub fn sharpness(&self, factor: f64) -> Self {
        let (width, height, channels) = (self.width, self.height, self.channels);
        let mut pixels = self.pixels.to_vec();
        let row = width * channels;
        let inner_rows = pixels.chunks_exact_mut(row).enumerate().take(height.saturating_sub(1)).skip(1);
        for (y, inner_row) in inner_rows {
            for (x, pixel) in inner_row.iter_mut().enumerate().take(row - channels).skip(channels) {
                let i = y * row + x;
                let at = |i: usize| u32::from(self.pixels[i]);
                let three = |i: usize| at(i - channels) + at(i) + at(i + channels);
                // Weight 5 in the middle and 1 around it, rounded; 13 is odd, so that there are no ties.
                let sum = three(i - row) + three(i) + three(i + row) + 4 * at(i);
                *pixel = blend(((2 * sum + 13) / 26) as u8, *pixel, factor as f32);
            }
        }
        self.with_pixels(pixels)
    }

    /// Keeps the upper `bits` (1 to 8) of each value.
    pub fn posterize(&self, bits: u32) -> Self {
        let lost = 0xFF_u8.checked_shr(bits).unwrap_or(0);
        self.map_all(|value| value & !lost)
    }

    /// Inverts the values from `threshold` (0 to 255) on.
    pub fn solarize(&self, threshold: f64) -> Self {
        self.map_all(|value| if f64::from(value) < threshold { value } else { 255 - value })
    }

    /// Stretches the values of each channel so that the least becomes 0 and the greatest 255. A channel of one value
    /// stays as it is.
    pub fn autocontrast(&self) -> Self {
        self.map_channels(|histogram| {
            let least = histogram.iter().position(|&count| count > 0).unwrap_or(0);
            let greatest = histogram.iter().rposition(|&count| count > 0).unwrap_or(0);
            if greatest <= least {
                return std::array::from_fn(|value| value as u8);
            }
            let scale = 255.0 / (greatest - least) as f64;
            let offset = -(least as f64) * scale;
            std::array::from_fn(|value| (value as f64 * scale + offset) as u8)
        })
    }

    /// Spreads the values of each channel so that all are about equally frequent.
    pub fn equalize(&self) -> Self {
        self.map_channels(|histogram| {
            let last = histogram.iter().rev().find(|&&count| count > 0).copied().unwrap_or(0);
            let step = (histogram.iter().sum::<usize>() - last) / 255;
            if step == 0 {
                return std::array::from_fn(|value| value as u8);
            }
            let mut below = step / 2;
            histogram.map(|count| {
                let value = below / step;
                below += count;
                value.min(255) as u8
            })
        })
    }

    fn blend_with(&self, constant: u8, factor: f64) -> Self {
        self.map_all(|value| blend(constant, value, factor as f32))
    }

    /// Each value of every channel through the same table.
    fn map_all(&self, map: impl Fn(u8) -> u8) -> Self {
        let table: [u8; 256] = std::array::from_fn(|value| map(value as u8));
        self.with_pixels(self.pixels.iter().map(|&value| table[usize::from(value)]).collect())
    }

    /// Each value through a table that `table` makes from the histogram of its channel.
    fn map_channels(&self, table: impl Fn([usize; 256]) -> [u8; 256]) -> Self {
        let mut histograms = vec![[0; 256]; self.channels];
        for pixel in self.pixels.chunks_exact(self.channels) {
            histograms.iter_mut().zip(pixel).for_each(|(histogram, &value)| histogram[usize::from(value)] += 1);
        }
        let tables: Vec<_> = histograms.into_iter().map(table).collect();
        let mut pixels = self.pixels.to_vec();
        for pixel in pixels.chunks_exact_mut(self.channels) {
            pixel.iter_mut().zip(&tables).for_each(|(value, table)| *value = table[usize::from(*value)]);
        }
        self.with_pixels(pixels)
    }
}

/// Between `from` (factor 0) and `to` (factor 1) or beyond: in single precision, clipped, then rounded down.
fn blend(from: u8, to: u8, factor: f32) -> u8 {
    let (from, to) = (f32::from(from), f32::from(to));
    (from + factor * (to - from)) as u8
}

/// Hue, saturation and value in 8 bits. Single and double precision alternate as in Pillow.
fn hsv(r: u8, g: u8, b: u8) -> [u8; 3] {
    let (greatest, least) = (r.max(g).max(b), r.min(g).min(b));
    if greatest == least {
        return [0, 0, greatest];
    }
    let range = f32::from(greatest - least);
    let saturation = range / f32::from(greatest);
    let [rc, gc, bc] = [r, g, b].map(|value| f32::from(greatest - value) / range);
    let sector = if r == greatest {
        bc - gc
    } else if g == greatest {
        (2.0 + f64::from(rc) - f64::from(bc)) as f32
    } else {
        (4.0 + f64::from(gc) - f64::from(rc)) as f32
    };
    let hue = (f64::from(sector) / 6.0 + 1.0).fract() as f32;
    [(f64::from(hue) * 255.0) as u8, (f64::from(saturation) * 255.0) as u8, greatest]
}

/// The way back from [`hsv`].
fn rgb(hue: u8, saturation: u8, value: u8) -> [u8; 3] {
    let turned = f64::from(hue) * 6.0 / 255.0;
    let sector = turned.floor();
    let rest = f64::from((turned - sector) as f32);
    let saturation = f64::from((f64::from(saturation) / 255.0) as f32);
    let darker = |share: f64| (f64::from(value) * (1.0 - share)).round() as u8;
    let (p, q, t) = (darker(saturation), darker(saturation * rest), darker(saturation * (1.0 - rest)));
    match sector as u8 % 6 {
        0 => [value, t, p],
        1 => [q, value, p],
        2 => [p, value, t],
        3 => [p, q, value],
        4 => [t, p, value],
        _ => [value, p, q],
    }
}
