//! Between NCHW planes and vectors of channels.

// Indices that the compiler can see, see `read`.
#![allow(clippy::needless_range_loop)]

use std::ops::Range;

use crate::simd::{Simd, Task};

/// Up to `LANES` channels of an image, whose planes lie `stride` values apart.
#[derive(Clone, Copy)]
pub(crate) struct Planes<P> {
    pub start: P,
    pub stride: usize,
    /// How many of the lanes are channels; the rest read as zeros and are not written.
    pub channels: usize,
    /// Pixels in a row.
    pub width: usize,
}

/// Where in a buffer of vectors the pixel at `(row, column)` lies: at `(row * row_step + column) * vector_step`.
#[derive(Clone, Copy)]
pub(crate) struct Grid<P> {
    pub start: P,
    /// Columns from one row to the next.
    pub row_step: usize,
    /// Values from one column to the next.
    pub vector_step: usize,
}

/// Where the groups of `lanes` pixels of a row of `width` start: the last one overlaps its neighbor rather than being
/// short, so that rows of 14 or 28 pixels need no special cases.
#[inline(always)]
fn groups(width: usize, lanes: usize) -> impl Iterator<Item = usize> {
    let last = width.saturating_sub(lanes);
    (0..width.div_ceil(lanes)).map(move |i| (i * lanes).min(last))
}

impl Planes<*const f32> {
    /// Writes the image rows `rows` as vectors of channels.
    ///
    /// # Safety
    ///
    /// The planes hold these rows, the grid has room for them, and the processor has S's instructions.
    #[inline(always)]
    pub unsafe fn read<S: Simd>(self, rows: Range<usize>, to: Grid<*mut f32>) {
        let n = self.width.min(S::LANES);
        for (i, row) in rows.enumerate() {
            for column in groups(self.width, S::LANES) {
                // SAFETY: `column + n` stays within the row, `channel` within the channels.
                unsafe {
                    // Wrapping, because where there are no channels it may start behind the image.
                    let from = self.start.wrapping_add(row * self.width + column);
                    let to_pixel = to.start.add((i * to.row_step + column) * to.vector_step);
                    let mut block = [S::zero(); 16];
                    // Constant indices (and conditions inside) keep the block in registers.
                    for channel in 0..S::LANES {
                        if channel < self.channels {
                            let from = from.add(channel * self.stride);
                            block[channel] = if n == S::LANES { S::load(from) } else { S::load_first(from, n) };
                        }
                    }
                    S::transpose(&mut block[..S::LANES]);
                    for pixel in 0..S::LANES {
                        if pixel < n {
                            S::store(to_pixel.add(pixel * to.vector_step), block[pixel]);
                        }
                    }
                }
            }
        }
    }
}

impl Planes<*mut f32> {
    /// Writes vectors of channels as image rows: the inverse of `read`.
    ///
    /// # Safety
    ///
    /// As for `read`.
    #[inline(always)]
    pub unsafe fn write<S: Simd>(self, rows: Range<usize>, from: Grid<*const f32>) {
        let n = self.width.min(S::LANES);
        for (i, row) in rows.enumerate() {
            for column in groups(self.width, S::LANES) {
                // SAFETY: `column + n` stays within the row, `channel` within the channels.
                unsafe {
                    let to = self.start.add(row * self.width + column);
                    let from_pixel = from.start.add((i * from.row_step + column) * from.vector_step);
                    let mut block = [S::zero(); 16];
                    for pixel in 0..S::LANES {
                        if pixel < n {
                            block[pixel] = S::load(from_pixel.add(pixel * from.vector_step));
                        }
                    }
                    S::transpose(&mut block[..S::LANES]);
                    for channel in 0..S::LANES {
                        if channel < self.channels {
                            let to = to.add(channel * self.stride);
                            if n == S::LANES {
                                S::store(to, block[channel])
                            } else {
                                S::store_first(to, block[channel], n)
                            }
                        }
                    }
                }
            }
        }
    }
}

/// [`Planes::read`], to be vectorized.
pub(crate) struct Read {
    pub planes: Planes<*const f32>,
    pub rows: Range<usize>,
    pub to: Grid<*mut f32>,
}

impl Task for Read {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: granted by the caller.
        unsafe { self.planes.read::<S>(self.rows, self.to) }
    }
}

/// [`Planes::write`], to be vectorized.
pub(crate) struct Write {
    pub planes: Planes<*mut f32>,
    pub rows: Range<usize>,
    pub from: Grid<*const f32>,
}

impl Task for Write {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: granted by the caller.
        unsafe { self.planes.write::<S>(self.rows, self.from) }
    }
}

/// Lays out some rows of a map `[channels, height, width]` with the channels of a pixel side by side, up to whole vectors.
///
/// # Safety
///
/// As for [`Planes::read`].
pub(crate) unsafe fn interleave<S: Simd>(map: &[f32], sizes: [usize; 3], rows: Range<usize>, to: Grid<*mut f32>) {
    let [channels, height, width] = sizes;
    for channel in (0..channels).step_by(S::LANES) {
        let planes = Planes {
            start: map[channel * height * width..].as_ptr(),
            stride: height * width,
            channels: S::LANES.min(channels - channel),
            width,
        };
        let to = Grid { start: to.start.wrapping_add(channel), ..to };
        // SAFETY: granted by the caller.
        unsafe { S::vectorize(Read { planes, rows: rows.clone(), to }) }
    }
}
