//! Blocks of channels, a vector a pixel: laid out from maps and written back to them. Here for maps in f32, which are planes.

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

/// Some channels, up to a vector's lanes, of one image of maps.
#[derive(Clone, Copy)]
pub(crate) struct Block {
    pub image: usize,
    /// The first channel, and how many there are.
    pub first: usize,
    pub count: usize,
    /// Channels of the maps.
    pub channels: usize,
    /// `[height, width]` of the maps.
    pub sides: [usize; 2],
}

impl Block {
    fn pixels(&self) -> usize {
        self.sides[0] * self.sides[1]
    }

    /// Where the first channel's plane starts in `[image, channel, row, column]`.
    fn plane(&self) -> usize {
        (self.image * self.channels + self.first) * self.pixels()
    }
}

/// A number of maps: each kind says how these lie in memory, and is computed with in f32.
pub(crate) trait MapNumber: Copy + Send + Sync {
    /// Blocks of channels that a task on sums takes one after the other where it can, since they share cache lines.
    const SIDE_BY_SIDE: usize;

    /// Lays out some rows of a block as `[row][column]` vectors, where rows are `columns` apart. What lies between them is not
    /// touched.
    ///
    /// # Safety
    ///
    /// The maps have the block and the rows, there is room for them, and the processor has S's instructions.
    unsafe fn read<S: Simd>(maps: *const Self, block: Block, rows: Range<usize>, to: *mut f32, columns: usize);

    /// Writes some rows of a block, whose vectors follow each other.
    ///
    /// # Safety
    ///
    /// As for `read`, and nobody else uses these rows of the block.
    unsafe fn write<S: Simd>(maps: *mut Self, block: Block, rows: Range<usize>, from: *const f32);
}

impl MapNumber for f32 {
    const SIDE_BY_SIDE: usize = 1;

    #[inline(always)]
    unsafe fn read<S: Simd>(maps: *const f32, block: Block, rows: Range<usize>, to: *mut f32, columns: usize) {
        let (stride, width) = (block.pixels(), block.sides[1]);
        // The last group of a row overlaps the one before. Where that is much of the row, rows are read as one.
        let read = width.next_multiple_of(S::LANES);
        // SAFETY: granted by the caller.
        unsafe {
            let start = maps.add(block.plane());
            if columns == width {
                let start = start.add(rows.start * width);
                let planes = Planes { start, stride, channels: block.count, width: rows.len() * width };
                planes.read::<S>(0..1, Grid { start: to, row_step: 0, vector_step: S::LANES });
            } else if read - width <= width / 8 {
                let planes = Planes { start, stride, channels: block.count, width };
                planes.read::<S>(rows, Grid { start: to, row_step: columns, vector_step: S::LANES });
            } else {
                let gather = Gather(Rows {
                    rows: start.add(rows.start * width),
                    stride,
                    count: block.count,
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

    #[inline(always)]
    unsafe fn write<S: Simd>(maps: *mut f32, block: Block, rows: Range<usize>, from: *const f32) {
        let (stride, width) = (block.pixels(), block.sides[1]);
        // SAFETY: granted by the caller.
        unsafe {
            let start = maps.add(block.plane() + rows.start * width);
            let planes = Planes { start, stride, channels: block.count, width: rows.len() * width };
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
