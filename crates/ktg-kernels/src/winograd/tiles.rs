//! Transforms of whole rows of tiles, and of blocks of filters.
//!
//! A tile in the Winograd domain is 36 values, one for each position xi of a 6x6 square, for every channel. Position xi
//! of all tiles and channels is one matrix; here `position_step` is the distance from one such matrix to the next, and
//! within it each tile has its channels (of a block) side by side, `tile_step` values from tile to tile.

// Indices that the compiler can see keep small arrays in registers.
#![allow(clippy::needless_range_loop)]

use super::{Tiling, transform};
use crate::planes::{Grid, Planes};
use crate::simd::{Simd, Task};

/// Values of scratch memory that a row of `columns` tiles needs, for any level.
pub(super) fn scratch_len(columns: usize) -> usize {
    6 * (4 * columns + 2) * 16
}

/// A row of tiles of up to LANES channels of one image.
#[derive(Clone, Copy)]
pub(super) struct TileRow<P> {
    pub planes: Planes<P>,
    pub tiling: Tiling,
    /// Which row of tiles of the image.
    pub row: usize,
    pub scratch: *mut f32,
}

/// Where the transformed tiles of a row lie.
#[derive(Clone, Copy)]
pub(super) struct Tiles<P> {
    pub start: P,
    pub position_step: usize,
    pub tile_step: usize,
}

/// Transforms squares of SIDE pixels, 4 pixels apart. With 6 pixels they are those of the input, which overlap by two and have
/// a border of zeros, and give `B^T d B`; with 4 those of the output's gradient, and give `A dY A^T`.
pub(super) struct Squares<const SIDE: usize> {
    pub from: TileRow<*const f32>,
    pub to: Tiles<*mut f32>,
}

/// The transform of a row or column of a square, whose pixels are `step` values apart.
#[inline(always)]
unsafe fn transformed<S: Simd, const SIDE: usize>(from: *const f32, step: usize) -> [S::V; 6] {
    // SAFETY: granted by the caller.
    unsafe {
        let mut d = [S::zero(); 6];
        for i in 0..SIDE {
            d[i] = S::load(from.add(i * step));
        }
        if SIDE == 6 { transform::input::<S>(d) } else { transform::gradient::<S>([d[0], d[1], d[2], d[3]]) }
    }
}

impl<const SIDE: usize> Task for Squares<SIDE> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let TileRow { planes, tiling: Tiling { height, columns, .. }, row, scratch } = self.from;
        let border = if SIDE == 6 { 1 } else { 0 };
        let pixels = 4 * columns + 2 * border;
        let line = pixels * S::LANES;
        let first = (4 * row).saturating_sub(border);
        let end = (4 * row + 4 + border).min(height);
        // SAFETY: the scratch holds 6 lines; rows and tiles exist as the caller grants.
        unsafe {
            for i in 0..SIDE {
                let to = scratch.add(i * line);
                // Line i is image row 4 row + i - border.
                let inside = (4 * row + i).checked_sub(border).is_some_and(|y| y < height);
                if border > 0 {
                    S::store(to, S::zero());
                }
                for pixel in if inside { border + planes.width } else { border }..pixels {
                    S::store(to.add(pixel * S::LANES), S::zero());
                }
            }
            let top = first + border - 4 * row;
            let start = scratch.add((top * pixels + border) * S::LANES);
            planes.read::<S>(first..end, Grid { start, row_step: pixels, vector_step: S::LANES });
            for pixel in 0..pixels {
                let at = scratch.add(pixel * S::LANES);
                let d = transformed::<S, SIDE>(at, line);
                for i in 0..6 {
                    S::store(at.add(i * line), d[i]);
                }
            }
            let Tiles { start, position_step, tile_step } = self.to;
            for tile in 0..columns {
                let to = start.add(tile * tile_step);
                for i in 0..6 {
                    let at = scratch.add(i * line + 4 * tile * S::LANES);
                    let d = transformed::<S, SIDE>(at, S::LANES);
                    for j in 0..6 {
                        S::store(to.add((6 * i + j) * position_step), d[j]);
                    }
                }
            }
        }
    }
}

/// Output tiles: `A^T M A`, cut to the image.
pub(super) struct Output {
    pub from: Tiles<*const f32>,
    pub to: TileRow<*mut f32>,
}

impl Task for Output {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let TileRow { planes, tiling: Tiling { height, columns, .. }, row, scratch } = self.to;
        let pixels = 4 * columns;
        let Tiles { start, position_step, tile_step } = self.from;
        // SAFETY: the scratch holds 4 lines; rows and tiles exist as the caller grants.
        unsafe {
            for tile in 0..columns {
                let from = start.add(tile * tile_step);
                let mut half = [[S::zero(); 6]; 4];
                for j in 0..6 {
                    let mut m = [S::zero(); 6];
                    for i in 0..6 {
                        m[i] = S::load(from.add((6 * i + j) * position_step));
                    }
                    let m = transform::output::<S>(m);
                    for i in 0..4 {
                        half[i][j] = m[i];
                    }
                }
                for i in 0..4 {
                    let y = transform::output::<S>(half[i]);
                    for j in 0..4 {
                        S::store(scratch.add((i * pixels + 4 * tile + j) * S::LANES), y[j]);
                    }
                }
            }
            let from = Grid { start: scratch.cast_const(), row_step: pixels, vector_step: S::LANES };
            planes.write::<S>(4 * row..(4 * row + 4).min(height), from);
        }
    }
}

/// Filters of up to LANES output channels, `G g G^T`.
pub(super) struct Filters {
    pub weights: *const f32,
    /// From one output channel's filter to the next.
    pub lane_stride: usize,
    /// How many of the lanes are output channels; the rest become zeros.
    pub lanes: usize,
    /// From one inner channel's filter to the next.
    pub step: usize,
    /// Inner channels.
    pub depth: usize,
    /// Turn the filters by 180 degrees.
    pub turned: bool,
    /// `tile_step` here leads from one inner channel to the next.
    pub to: Tiles<*mut f32>,
}

/// The nine values of filters that lie `stride` values apart, one filter a lane; lanes without one are zero.
#[inline(always)]
unsafe fn taps<S: Simd>(filters: *const f32, stride: usize, lanes: usize) -> [S::V; 9] {
    // SAFETY: granted by the caller.
    unsafe {
        let mut taps = [S::zero(); 9];
        let mut square = [S::zero(); 16];
        for lane in 0..S::LANES {
            if lane < lanes {
                let filter = filters.add(lane * stride);
                square[lane] = if S::LANES > 9 { S::load_first(filter, 9) } else { S::load(filter) };
            }
        }
        S::transpose(&mut square[..S::LANES]);
        for tap in 0..9 {
            if tap < S::LANES {
                taps[tap] = square[tap];
                continue;
            }
            // What does not fit into the square.
            let mut values = [0.0f32; 16];
            for lane in 0..S::LANES {
                if lane < lanes {
                    values[lane] = *filters.add(lane * stride + tap);
                }
            }
            taps[tap] = S::load(values.as_ptr());
        }
        taps
    }
}

impl Task for Filters {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        for k in 0..self.depth {
            // SAFETY: the filters and the room for the result exist as the caller grants; a filter is 9 values.
            unsafe {
                let from = self.weights.wrapping_add(k * self.step);
                let taps = taps::<S>(from, self.lane_stride, self.lanes);
                let tap = |i: usize| taps[if self.turned { 8 - i } else { i }];
                let mut half = [[S::zero(); 3]; 6];
                for j in 0..3 {
                    let column = transform::filter::<S>([tap(j), tap(3 + j), tap(6 + j)]);
                    for i in 0..6 {
                        half[i][j] = column[i];
                    }
                }
                let to = self.to.start.add(k * self.to.tile_step);
                for i in 0..6 {
                    let row = transform::filter::<S>(half[i]);
                    for j in 0..6 {
                        S::store(to.add((6 * i + j) * self.to.position_step), row[j]);
                    }
                }
            }
        }
    }
}

/// The gradient of filters, `G^T U G`, of up to LANES input channels of one output channel.
pub(super) struct FilterGradient {
    /// Lanes are input channels.
    pub from: *const f32,
    pub position_step: usize,
    /// Filters side by side, 9 values each.
    pub to: *mut f32,
    pub lanes: usize,
}

impl Task for FilterGradient {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: `lanes` filters of 9 values and 36 vectors exist as the caller grants.
        unsafe {
            let mut half = [[S::zero(); 6]; 3];
            for j in 0..6 {
                let mut u = [S::zero(); 6];
                for i in 0..6 {
                    u[i] = S::load(self.from.add((6 * i + j) * self.position_step));
                }
                let u = transform::filter_gradient::<S>(u);
                for i in 0..3 {
                    half[i][j] = u[i];
                }
            }
            let mut taps = [S::zero(); 16];
            for i in 0..3 {
                let g = transform::filter_gradient::<S>(half[i]);
                for j in 0..3 {
                    taps[3 * i + j] = g[j];
                }
            }
            store_taps::<S>(taps, self.to, self.lanes);
        }
    }
}

/// Writes the first nine of these vectors as filters side by side, one filter a lane: the inverse of [`taps`].
#[inline(always)]
unsafe fn store_taps<S: Simd>(mut taps: [S::V; 16], to: *mut f32, lanes: usize) {
    // SAFETY: granted by the caller.
    unsafe {
        for tap in S::LANES..9 {
            // What does not fit into the square below.
            let mut values = [0.0f32; 16];
            S::store(values.as_mut_ptr(), taps[tap]);
            for lane in 0..S::LANES {
                if lane < lanes {
                    *to.add(lane * 9 + tap) = values[lane];
                }
            }
        }
        S::transpose(&mut taps[..S::LANES]);
        for lane in 0..S::LANES {
            if lane < lanes {
                let filter = to.add(lane * 9);
                if S::LANES > 9 { S::store_first(filter, taps[lane], 9) } else { S::store(filter, taps[lane]) }
            }
        }
    }
}
