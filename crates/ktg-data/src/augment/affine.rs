//! Shearing, moving and turning of 8-bit images, equal to torchvision on Pillow images with nearest sampling, and
//! cutting out. The size stays the same; what comes from outside the image is black.

use super::geometry::overlap;
use crate::Image;

impl Image {
    /// Moves each row to the left by `slope` times its distance from the upper edge.
    pub fn shear_x(&self, slope: f64) -> Self {
        self.nearest([1.0, slope, 0.0, 0.0, 1.0, 0.0])
    }

    /// Moves each column up by `slope` times its distance from the left edge.
    pub fn shear_y(&self, slope: f64) -> Self {
        self.nearest([1.0, 0.0, 0.0, slope, 1.0, 0.0])
    }

    /// Moves the image by whole pixels, to the right and down.
    pub fn translate(&self, x: isize, y: isize) -> Self {
        self.nearest([1.0, 0.0, -(x as f64), 0.0, 1.0, -(y as f64)])
    }

    /// Turns the image around its middle, counterclockwise.
    pub fn rotate(&self, degrees: f64) -> Self {
        // Pillow rounds to 15 digits, so that quarter turns are exact.
        let rounded = |value: f64| (value * 1e15).round_ties_even() / 1e15;
        let angle = -degrees.rem_euclid(360.0).to_radians();
        let (sin, cos) = (rounded(angle.sin()), rounded(angle.cos()));
        let (x, y) = (self.width as f64 / 2.0, self.height as f64 / 2.0);
        self.nearest([cos, sin, -cos * x - sin * y + x, -sin, cos, sin * x - cos * y + y])
    }

    /// Makes the `size` x `size` pixels from column `left` and row `top` on black, as far as they are inside the image.
    pub fn cutout(&self, left: isize, top: isize, size: usize) -> Self {
        let (columns, rows) = (overlap(left, size, self.width), overlap(top, size, self.height));
        let mut pixels = self.pixels.to_vec();
        for row in pixels.chunks_exact_mut(self.width * self.channels).take(rows.end).skip(rows.start) {
            row[columns.start * self.channels..columns.end * self.channels].fill(0);
        }
        self.with_pixels(pixels)
    }

    /// The pixel at (x, y) comes from (a x + b y + c, d x + e y + f), all measured at the middles of pixels. In fixed
    /// point with 16 binary places as Pillow, which however uses floating point where coordinates reach 32768.
    fn nearest(&self, [a, b, c, d, e, f]: [f64; 6]) -> Self {
        let fixed = |value: f64| (value * 65536.0 + 0.5).floor() as i64;
        let along = [a, d].map(fixed);
        let down = [b, e].map(fixed);
        let mut start = [fixed(c + a * 0.5 + b * 0.5), fixed(f + d * 0.5 + e * 0.5)];
        // Wrapping, because a nonsensical slope must not end the program.
        let step = |place: &mut [i64; 2], by: [i64; 2]| *place = [0, 1].map(|i| place[i].wrapping_add(by[i]));
        let (width, height, channels) = (self.width, self.height, self.channels);
        let mut pixels = vec![0; self.pixels.len()];
        for row in pixels.chunks_exact_mut(width * channels) {
            let mut place = start;
            for pixel in row.chunks_exact_mut(channels) {
                let [x, y] = place.map(|fixed| usize::try_from(fixed >> 16).unwrap_or(usize::MAX));
                if x < width && y < height {
                    pixel.copy_from_slice(&self.pixels[(y * width + x) * channels..][..channels]);
                }
                step(&mut place, along);
            }
            step(&mut start, down);
        }
        self.with_pixels(pixels)
    }
}
