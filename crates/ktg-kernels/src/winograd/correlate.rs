//! Forward, and backward to the images, which is the same with turned and transposed filters.

use std::ops::Range;

use super::maps::{Maps, TileBlocks};
use super::tiles::{Filters, Output, TileRow, Tiles, scratch_len};
use super::{POSITIONS, SKEW, Tiling, blocks_at_a_time};
use crate::gemm::{Gemm, ROWS, Segment};
use crate::parallel::{Shared, parallel};
use crate::planes::Planes;
use crate::shape::Conv2d;
use crate::simd::Simd;
use crate::workspace::{Buffer, buffer};

/// The filters as one direction of the convolution sees them.
struct FilterView<'a> {
    weights: &'a [f32],
    /// From one channel of the result to the next.
    lane_stride: usize,
    /// From one channel that is summed over to the next.
    step: usize,
    turned: bool,
}

/// Result `[batch, output, height, width]`.
pub(crate) fn forward<S: Simd>(shape: &Conv2d, images: &[f32], weights: &[f32], result: &mut [f32]) {
    let filters = FilterView { weights, lane_stride: shape.input * 9, step: 9, turned: false };
    choose_block::<S>(shape, shape.input, shape.output, images, &filters, result)
}

/// Gradient of the images.
pub(crate) fn backward_data<S: Simd>(shape: &Conv2d, gradient: &[f32], weights: &[f32], result: &mut [f32]) {
    let filters = FilterView { weights, lane_stride: 9, step: shape.input * 9, turned: true };
    choose_block::<S>(shape, shape.output, shape.input, gradient, &filters, result)
}

fn choose_block<S: Simd>(shape: &Conv2d, from: usize, to: usize, x: &[f32], filters: &FilterView, result: &mut [f32]) {
    if to <= S::LANES {
        Correlation::<S, 1>::new(shape, from, to, x, filters).run(result)
    } else {
        Correlation::<S, 2>::new(shape, from, to, x, filters).run(result)
    }
}

/// Bytes of transformed filters above which they are not kept for all channels: they would be read from beyond the
/// second-level cache again and again.
const KEPT_FILTERS: usize = 4 << 20;
/// Bytes of transformed input that one task makes and uses up, about half a second-level cache.
const LOCAL_INPUT: usize = 384 << 10;
/// Tiles that one task multiplies at a time where the input of all tiles is transformed first.
const TILES_AT_A_TIME: usize = 64;
/// Channels summed over in one go: their filters for a block stay in the first-level cache.
const DEPTH: usize = 256;
/// So many blocks that is at most.
const SEGMENTS: usize = DEPTH / 4;

/// Tiles up to which filters are transformed some at a time.
const FEW_TILES: usize = 64;
/// Inner channels whose filters are transformed at a time then, for so many blocks: they fill half a second-level cache.
const INNER_AT_A_TIME: usize = 64;
const FEW_BLOCKS: usize = 2;

/// Room for transformed filters: its values, and those from one position to the next.
#[derive(Clone, Copy)]
struct FilterRoom {
    len: usize,
    step: usize,
}

/// Transformed filters of a block, of a range of inner channels that begins with a block of them.
struct InnerFilters {
    start: *const f32,
    room: FilterRoom,
    channels: Range<usize>,
}

struct Correlation<'a, S: Simd, const NV: usize> {
    x: Maps<'a>,
    /// Channels of the result.
    to: usize,
    from_blocks: usize,
    to_blocks: usize,
    filters: &'a FilterView<'a>,
    level: std::marker::PhantomData<S>,
}

impl<'a, S: Simd, const NV: usize> Correlation<'a, S, NV> {
    /// Channels side by side in the transformed tiles.
    const BLOCK: usize = NV * S::LANES;

    fn new(shape: &Conv2d, from: usize, to: usize, x: &'a [f32], filters: &'a FilterView<'a>) -> Self {
        let (from_blocks, to_blocks) = (from.div_ceil(Self::BLOCK), to.div_ceil(Self::BLOCK));
        let x = Maps { values: x, channels: from, tiling: Tiling::new(shape) };
        Self { x, to, from_blocks, to_blocks, filters, level: std::marker::PhantomData }
    }

    /// Both ways cover all rows of tiles and all blocks of channels, hence all results.
    fn run(&self, result: &mut [f32]) {
        let filters = POSITIONS * self.x.channels * self.to_blocks * Self::BLOCK * size_of::<f32>();
        let y = Shared::new(result);
        if filters <= KEPT_FILTERS {
            self.tile_by_tile(y)
        } else if self.x.tiling.all_rows * self.x.tiling.columns <= FEW_TILES {
            self.few_tiles(y)
        } else {
            self.channels_by_channels(y)
        }
    }

    /// Room for the transformed filters of one block, of so many inner channels.
    fn room(channels: usize) -> FilterRoom {
        let step = channels * Self::BLOCK + SKEW;
        FilterRoom { len: POSITIONS * step, step }
    }

    /// The input of all tiles, transformed into `memory`.
    fn all_input<'b>(&self, memory: &'b mut Buffer) -> TileBlocks<'b> {
        let Tiling { columns, all_rows, rows, .. } = self.x.tiling;
        let input = TileBlocks::new(memory, 0, all_rows * columns, Self::BLOCK);
        parallel(all_rows / rows * self.from_blocks, |i| {
            let (image, block) = (i / self.from_blocks, i % self.from_blocks);
            let mut scratch = buffer(scratch_len(columns));
            for row in image * rows..(image + 1) * rows {
                // SAFETY: each task writes the tiles of its own image and block.
                unsafe { self.x.transform::<S, NV, 6>(row, block, input, row * columns, scratch.as_mut_ptr()) }
            }
        });
        input
    }

    /// Few channels: all filters are transformed first; each task then carries some rows of tiles from images to
    /// results, all of it within its core's cache.
    fn tile_by_tile(&self, y: Shared) {
        let Tiling { columns, all_rows, .. } = self.x.tiling;
        let channels = self.x.channels;
        let room = Self::room(channels);
        let mut filters = buffer(self.to_blocks * room.len);
        let all = Shared::new(&mut filters);
        let parts = channels.min(4);
        parallel(self.to_blocks * parts, |i| {
            let range = crate::parallel::part(channels, i % parts, parts);
            // SAFETY: each task has its own block and range of inner channels.
            unsafe {
                let to = all.at(i / parts * room.len + range.start * Self::BLOCK);
                self.transform_filters(i / parts, range, room, to)
            }
        });
        let tile_bytes = POSITIONS * self.from_blocks * Self::BLOCK * size_of::<f32>();
        // Enough tasks that the last ones do not leave a core waiting.
        let enough = (all_rows * columns / (8 * rayon::current_num_threads())).max(1);
        let rows = self.x.tiling.rows_of((LOCAL_INPUT / tile_bytes).min(enough));
        let tiles = rows * columns;
        let product_step = tiles * Self::BLOCK + SKEW;
        parallel(all_rows.div_ceil(rows), |i| {
            let range = i * rows..((i + 1) * rows).min(all_rows);
            let mut input = buffer(TileBlocks::len(self.from_blocks, tiles, Self::BLOCK));
            let input = TileBlocks::new(&mut input, 0, tiles, Self::BLOCK);
            let mut product = buffer(POSITIONS * product_step);
            let mut scratch = buffer(scratch_len(columns));
            let (product, scratch) = (product.as_mut_ptr(), scratch.as_mut_ptr());
            // SAFETY: the buffers are this task's own and large enough for its tiles; so are its rows of results.
            unsafe {
                for row in range.clone() {
                    for block in 0..self.from_blocks {
                        let tile = (row - range.start) * columns;
                        self.x.transform::<S, NV, 6>(row, block, input, tile, scratch);
                    }
                }
                for block in 0..self.to_blocks {
                    let filters = InnerFilters { start: all.at(block * room.len), room, channels: 0..channels };
                    self.multiply(input, 0..range.len() * columns, 1, &filters, product, product_step);
                    self.transform_output(range.clone(), block, product, product_step, y, scratch);
                }
            }
        });
    }

    /// Many channels: the input of all tiles is transformed first; each task then transforms the filters of some
    /// channels of the result, and carries those from input tiles to results. The filters, four times larger in the
    /// Winograd domain, never leave the cache.
    fn channels_by_channels(&self, y: Shared) {
        let Tiling { columns, all_rows, .. } = self.x.tiling;
        let mut memory = buffer(TileBlocks::len(self.from_blocks, all_rows * columns, Self::BLOCK));
        let input = self.all_input(&mut memory);
        let channels = 0..self.x.channels;
        let room = Self::room(channels.len());
        let rows_at_a_time = self.x.tiling.rows_of(TILES_AT_A_TIME);
        let product_step = rows_at_a_time * columns * Self::BLOCK + SKEW;
        let product_len = POSITIONS * product_step;
        let group = blocks_at_a_time(self.to_blocks);
        parallel(self.to_blocks.div_ceil(group), |task| {
            let blocks = task * group..((task + 1) * group).min(self.to_blocks);
            let mut filters = buffer(blocks.len() * room.len);
            let mut product = buffer(blocks.len() * product_len);
            let mut scratch = buffer(scratch_len(columns));
            let (filters, product) = (filters.as_mut_ptr(), product.as_mut_ptr());
            // SAFETY: the buffers are this task's own, but for the input, which is only read from here on; it writes its own
            // channels of the results.
            unsafe {
                for (i, block) in blocks.clone().enumerate() {
                    self.transform_filters(block, channels.clone(), room, filters.add(i * room.len));
                }
                let all = InnerFilters { start: filters, room, channels: channels.clone() };
                for first in (0..all_rows).step_by(rows_at_a_time) {
                    let range = first..(first + rows_at_a_time).min(all_rows);
                    let tiles = range.start * columns..range.end * columns;
                    self.multiply(input, tiles, blocks.len(), &all, product, product_step);
                    for (i, block) in blocks.clone().enumerate() {
                        let product = product.add(i * product_len);
                        self.transform_output(range.clone(), block, product, product_step, y, scratch.as_mut_ptr());
                    }
                }
            }
        });
    }

    /// Many channels and few tiles: a task takes a few blocks of channels of the result, and goes through the channels that
    /// are summed over some at a time, so that transformed filters, each of which is used a few times only, never leave
    /// the second-level cache.
    fn few_tiles(&self, y: Shared) {
        let Tiling { columns, all_rows, .. } = self.x.tiling;
        let tiles = all_rows * columns;
        let mut memory = buffer(TileBlocks::len(self.from_blocks, tiles, Self::BLOCK));
        let input = self.all_input(&mut memory);
        let room = Self::room(INNER_AT_A_TIME);
        let product_step = tiles * Self::BLOCK + SKEW;
        let product_len = POSITIONS * product_step;
        let group = FEW_BLOCKS.min(blocks_at_a_time(self.to_blocks));
        parallel(self.to_blocks.div_ceil(group), |task| {
            let blocks = task * group..((task + 1) * group).min(self.to_blocks);
            let mut filters = buffer(blocks.len() * room.len);
            let mut product = buffer(blocks.len() * product_len);
            let mut scratch = buffer(scratch_len(columns));
            let (filters, product) = (filters.as_mut_ptr(), product.as_mut_ptr());
            // SAFETY: the buffers are this task's own, but for the input, which is only read from here on; it writes its own
            // channels of the results.
            unsafe {
                for first in (0..self.x.channels).step_by(INNER_AT_A_TIME) {
                    let channels = first..(first + INNER_AT_A_TIME).min(self.x.channels);
                    for (i, block) in blocks.clone().enumerate() {
                        self.transform_filters(block, channels.clone(), room, filters.add(i * room.len));
                    }
                    let filters = InnerFilters { start: filters, room, channels };
                    self.multiply(input, 0..tiles, blocks.len(), &filters, product, product_step);
                }
                for (i, block) in blocks.clone().enumerate() {
                    let product = product.add(i * product_len);
                    self.transform_output(0..all_rows, block, product, product_step, y, scratch.as_mut_ptr());
                }
            }
        });
    }

    /// # Safety
    ///
    /// `to` has room for the block's filters of these inner channels, and no other thread uses it.
    unsafe fn transform_filters(&self, block: usize, range: Range<usize>, room: FilterRoom, to: *mut f32) {
        let FilterView { weights, lane_stride, step, turned } = *self.filters;
        for half in 0..NV {
            let channel = block * Self::BLOCK + half * S::LANES;
            let lanes = self.to.saturating_sub(channel).min(S::LANES);
            // SAFETY: all filters read are within `weights`, as channels and inner channels are.
            unsafe {
                let start = to.add(half * S::LANES);
                S::vectorize(Filters {
                    weights: weights.as_ptr().wrapping_add(channel * lane_stride + range.start * step),
                    lane_stride,
                    lanes,
                    step,
                    depth: range.len(),
                    turned,
                    to: Tiles { start, position_step: room.step, tile_step: Self::BLOCK },
                });
            }
        }
    }

    /// The products of some input tiles with filters of some blocks, added to what earlier inner channels gave.
    ///
    /// # Safety
    ///
    /// The tiles, the filters, and room for the products exist: blocks follow each other, positions within them.
    unsafe fn multiply(
        &self,
        input: TileBlocks,
        tiles: Range<usize>,
        blocks: usize,
        filters: &InnerFilters,
        product: *mut f32,
        product_step: usize,
    ) {
        let InnerFilters { start, room, channels } = filters;
        let inner_blocks = channels.start / Self::BLOCK..channels.end.div_ceil(Self::BLOCK);
        for position in 0..POSITIONS {
            for block in 0..blocks {
                // SAFETY: granted by the caller.
                unsafe {
                    let filters = start.add(block * room.len + position * room.step);
                    let product = product.add((block * POSITIONS + position) * product_step);
                    self.multiply_position(input, tiles.clone(), position, &inner_blocks, filters, product);
                }
            }
        }
    }

    /// The product in one position, with the filters of one block.
    ///
    /// # Safety
    ///
    /// As for `multiply`.
    unsafe fn multiply_position(
        &self,
        input: TileBlocks,
        tiles: Range<usize>,
        position: usize,
        inner_blocks: &Range<usize>,
        filters: *const f32,
        product: *mut f32,
    ) {
        let mut segments = [Segment { a: std::ptr::null(), b: std::ptr::null(), depth: 0 }; SEGMENTS];
        let some = DEPTH / Self::BLOCK;
        for first in inner_blocks.clone().step_by(some) {
            let count = some.min(inner_blocks.end - first);
            // SAFETY: granted by the caller. A row of A is a tile's block of channels, of B one channel's of filters.
            unsafe {
                for (block, segment) in (first..).zip(&mut segments[..count]) {
                    *segment = Segment {
                        a: input.at(position, block, tiles.start),
                        b: filters.add((block - inner_blocks.start) * Self::BLOCK * Self::BLOCK),
                        depth: (self.x.channels - block * Self::BLOCK).min(Self::BLOCK),
                    };
                }
                S::vectorize(Gemm::<NV, ROWS> {
                    rows: tiles.len(),
                    segments: &segments[..count],
                    a_apart: 0,
                    b_apart: 0,
                    c: product,
                    c_row: Self::BLOCK,
                    accumulate: first > 0,
                });
            }
        }
    }

    /// # Safety
    ///
    /// The products of these rows exist; no other thread writes these rows of this block's channels.
    unsafe fn transform_output(
        &self,
        rows: Range<usize>,
        block: usize,
        product: *const f32,
        position_step: usize,
        y: Shared,
        scratch: *mut f32,
    ) {
        let tiling = self.x.tiling;
        let pixels = tiling.pixels();
        for row in rows.clone() {
            let (image, tile_row) = tiling.locate(row);
            for half in 0..NV {
                let channel = block * Self::BLOCK + half * S::LANES;
                let channels = self.to.saturating_sub(channel).min(S::LANES);
                if channels == 0 {
                    continue;
                }
                // SAFETY: the channel exists; the rest is granted by the caller.
                unsafe {
                    let start = product.add((row - rows.start) * tiling.columns * Self::BLOCK + half * S::LANES);
                    let to = y.at((image * self.to + channel) * pixels);
                    let planes = Planes { start: to, stride: pixels, channels, width: tiling.width };
                    S::vectorize(Output {
                        from: Tiles { start, position_step, tile_step: Self::BLOCK },
                        to: TileRow { planes, tiling, row: tile_row, scratch },
                    });
                }
            }
        }
    }
}
