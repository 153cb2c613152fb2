//! Blocks of channels, a vector a pixel: laid out from planes and written back to them.

use std::ops::Range;

use crate::parallel::part;
use crate::planes::{Grid, Planes};
use crate::rows::{Gather, Rows};
use crate::simd::{Simd, Task};
use crate::view::View;

/// Values of a map that are laid out at a time, with its border: a quarter of a second-level cache, or half of a small one.
const LAID_OUT: usize = 64 << 10;

/// Some lines of a result, and the rows of the map that they see.
pub(super) struct Band {
    pub lines: Range<usize>,
    pub rows: Range<usize>,
}

impl Band {
    /// All lines, in as many bands as it takes for what one sees not to be too large.
    pub fn all<S: Simd>(view: &View) -> Vec<Self> {
        let seen = view.from[0] * view.columns() * S::LANES;
        let count = seen.div_ceil(LAID_OUT).min(view.to[0]);
        let lines = (0..count).map(|band| part(view.to[0], band, count));
        lines.map(|lines| Self { rows: view.rows_seen(lines.clone()), lines }).collect()
    }

    /// Lines, and rows, of the largest band of each.
    pub fn most(bands: &[Self]) -> [usize; 2] {
        let most = |len: fn(&Self) -> usize| bands.iter().map(len).max().unwrap_or(0);
        [most(|band| band.lines.len()), most(|band| band.rows.len())]
    }
}

/// The planes of some channels, up to a vector's lanes, of one image.
#[derive(Clone, Copy)]
pub(super) struct Channels<P> {
    pub start: P,
    pub count: usize,
    /// `[height, width]` of the planes.
    pub sides: [usize; 2],
}

impl<P> Channels<P> {
    fn pixels(&self) -> usize {
        self.sides[0] * self.sides[1]
    }
}

impl Channels<*const f32> {
    /// Lays out some rows as `[row][column]` vectors, where rows are `columns` apart. What lies between them is not touched.
    ///
    /// # Safety
    ///
    /// The planes hold these rows, there is room for them, and the processor has S's instructions.
    #[inline(always)]
    pub unsafe fn read<S: Simd>(self, rows: Range<usize>, to: *mut f32, columns: usize) {
        let (stride, width) = (self.pixels(), self.sides[1]);
        // The last group of a row overlaps the one before. Where that is much of the row, rows are read as one.
        let read = width.next_multiple_of(S::LANES);
        // SAFETY: granted by the caller.
        unsafe {
            if columns == width {
                let start = self.start.add(rows.start * width);
                let planes = Planes { start, stride, channels: self.count, width: rows.len() * width };
                planes.read::<S>(0..1, Grid { start: to, row_step: 0, vector_step: S::LANES });
            } else if read - width <= width / 8 {
                let planes = Planes { start: self.start, stride, channels: self.count, width };
                planes.read::<S>(rows, Grid { start: to, row_step: columns, vector_step: S::LANES });
            } else {
                let gather = Gather(Rows {
                    rows: self.start.add(rows.start * width),
                    stride,
                    count: self.count,
                    len: rows.len() * width,
                    group: width,
                    vectors: to,
                    group_step: S::LANES,
                    vector_step: columns * S::LANES,
                });
                gather.run::<S>();
            }
        }
    }
}

impl Channels<*mut f32> {
    /// Writes some rows, whose vectors follow each other.
    ///
    /// # Safety
    ///
    /// As for `read`, and nobody else uses these rows.
    #[inline(always)]
    pub unsafe fn write<S: Simd>(self, rows: Range<usize>, from: *const f32) {
        let (stride, width) = (self.pixels(), self.sides[1]);
        // SAFETY: granted by the caller.
        unsafe {
            let start = self.start.add(rows.start * width);
            let planes = Planes { start, stride, channels: self.count, width: rows.len() * width };
            planes.write::<S>(0..1, Grid { start: from, row_step: 0, vector_step: S::LANES });
        }
    }
}

/// Zeros beside the rows of a map that are laid out.
pub(super) fn clear_border<S: Simd>(view: &View, values: &mut [f32]) {
    let ([before, _], width) = (view.border, view.from[1]);
    for row in values.chunks_exact_mut(view.columns() * S::LANES) {
        row[..before * S::LANES].fill(0.0);
        row[(before + width) * S::LANES..].fill(0.0);
    }
}
