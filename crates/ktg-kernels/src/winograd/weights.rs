//! Backward to the weights: `dg = G^T [sum over tiles of (A dY A^T) . (B^T d B)] G`, where the sum is, in each of the 36
//! positions, the product of a matrix [output, tiles] with a matrix [tiles, input].

use std::ops::Range;

use super::maps::{Maps, TileBlocks};
use super::tiles::{FilterGradient, scratch_len};
use super::{POSITIONS, Tiling, blocks_at_a_time};
use crate::gemm::{COLUMNS, Gemm, Segment};
use crate::parallel::{Shared, parallel, part};
use crate::shape::Conv2d;
use crate::simd::Simd;
use crate::workspace::{Buffer, buffer};

/// Gradient of the weights.
pub(crate) fn backward_weights<S: Simd>(shape: &Conv2d, images: &[f32], gradient: &[f32], result: &mut [f32]) {
    if shape.input.min(shape.output) <= S::LANES {
        WeightGradient::<S, 1>::new(shape, images, gradient).run(result)
    } else {
        WeightGradient::<S, 2>::new(shape, images, gradient).run(result)
    }
}

/// Channels, of the images and of the gradient, that one task has at most where sums are small: their sums, in the Winograd
/// domain, are 590 KB.
const MOST_CHANNELS: usize = 64;
/// Tasks there are at most where parts of the batch have their own sums. Not the number of threads, on which results must
/// not depend.
const TASKS: usize = 16;
/// Tasks there should be at least; tasks with fewer channels make more of the same tiles.
const LEAST_TASKS: usize = 4;
/// Tiles that a part has at least: with fewer, adding up the parts' sums would take longer than making them.
const TILES: usize = 64;
/// Bytes of transformed tiles that one task makes and uses up. With 1 MB of second-level cache, 256 KB were as fast for few
/// channels and slower for many, whose sums are read and written again for each such piece.
const LOCAL_TILES: usize = 512 << 10;
/// Bytes of the sums above which the batch is not cut at all: reading and writing them again would cost more.
const LARGE_SUMS: usize = 6 << 20;
/// Tiles up to which it costs less to read them again for each pair of blocks than to keep the sums of several pairs.
const FEW_TILES: usize = 64;

struct WeightGradient<'a, S: Simd, const NV: usize> {
    images: Maps<'a>,
    gradient: Maps<'a>,
    input_blocks: usize,
    output_blocks: usize,
    level: std::marker::PhantomData<S>,
}

/// What a task sums up: rows of tiles of the batch, and blocks of channels of the images and of the gradient.
struct Group {
    rows: Range<usize>,
    inputs: Range<usize>,
    outputs: Range<usize>,
}

/// Transformed tiles of images and of the gradient, for some rows of tiles.
#[derive(Clone, Copy)]
struct TilePair<'a> {
    images: TileBlocks<'a>,
    gradient: TileBlocks<'a>,
}

impl<'a, S: Simd, const NV: usize> WeightGradient<'a, S, NV> {
    /// Channels side by side in the transformed tiles.
    const BLOCK: usize = NV * S::LANES;
    /// Values of the sums of one pair of blocks: `[position][output][input]`.
    const PAIR: usize = POSITIONS * Self::BLOCK * Self::BLOCK;

    fn new(shape: &Conv2d, images: &'a [f32], gradient: &'a [f32]) -> Self {
        let Conv2d { input, output, .. } = *shape;
        let tiling = Tiling::new(shape);
        Self {
            images: Maps { values: images, channels: input, tiling },
            gradient: Maps { values: gradient, channels: output, tiling },
            input_blocks: input.div_ceil(Self::BLOCK),
            output_blocks: output.div_ceil(Self::BLOCK),
            level: std::marker::PhantomData,
        }
    }

    /// Both ways write the gradients of all pairs of blocks, hence all weights.
    fn run(&self, result: &mut [f32]) {
        let sums = self.input_blocks * self.output_blocks * Self::PAIR * size_of::<f32>();
        let weights = Shared::new(result);
        if sums <= LARGE_SUMS { self.by_parts(weights) } else { self.all_at_once(weights) }
    }

    /// Few channels: a task has some of them, and a part of the batch, for which it makes the tiles itself, even if others make
    /// the same: threads that read what others wrote wait for it longer than that takes, where cores do not share a cache.
    fn by_parts(&self, weights: Shared) {
        let Tiling { all_rows, columns, .. } = self.images.tiling;
        let groups_of = |group: usize| [self.input_blocks, self.output_blocks].map(|blocks| blocks.div_ceil(group));
        let parts_of = |groups: usize| (TASKS / groups).min(all_rows * columns / TILES).clamp(1, all_rows);
        // Blocks of channels of a task.
        let mut group = (MOST_CHANNELS / Self::BLOCK).max(1);
        let [mut input_groups, mut output_groups] = groups_of(group);
        while group > 1 && input_groups * output_groups * parts_of(input_groups * output_groups) < LEAST_TASKS {
            group /= 2;
            [input_groups, output_groups] = groups_of(group);
        }
        let groups = input_groups * output_groups;
        let parts = parts_of(groups);
        let pairs = self.input_blocks * self.output_blocks;
        let mut sums = buffer(parts * pairs * Self::PAIR);
        let sums = Shared::new(&mut sums);
        parallel(parts * groups, |task| {
            let (p, own) = (task / groups, task % groups);
            let blocks = |number: usize, all: usize| number * group..((number + 1) * group).min(all);
            let some = Group {
                rows: part(all_rows, p, parts),
                inputs: blocks(own % input_groups, self.input_blocks),
                outputs: blocks(own / input_groups, self.output_blocks),
            };
            // SAFETY: each task has the sums of its part of the batch and its pairs of blocks to itself.
            unsafe { self.sum_up(some, sums.at(p * pairs * Self::PAIR)) }
        });
        parallel(pairs, |pair| {
            // SAFETY: each task has its own pair of blocks.
            unsafe {
                let total = sums.add_up(pair * Self::PAIR, Self::PAIR, pairs * Self::PAIR, parts);
                self.finish(pair, total.as_ptr(), weights);
            }
        });
    }

    /// The sums of a part of the batch, of some channels. `sums` is where those of all pairs of blocks begin.
    ///
    /// # Safety
    ///
    /// There is room for the sums of the group's pairs, and no other thread uses it.
    unsafe fn sum_up(&self, Group { rows, inputs, outputs }: Group, sums: *mut f32) {
        let columns = self.images.tiling.columns;
        let tile_bytes = POSITIONS * (inputs.len() + outputs.len()) * Self::BLOCK * size_of::<f32>();
        let at_a_time = self.images.tiling.rows_of(LOCAL_TILES / tile_bytes);
        let mut buffers = Self::tile_buffers([inputs.len(), outputs.len()], at_a_time * columns);
        let tiles = Self::pair(&mut buffers, [inputs.start, outputs.start], at_a_time * columns);
        let mut scratch = buffer(scratch_len(columns));
        for first in rows.clone().step_by(at_a_time) {
            let some = first..(first + at_a_time).min(rows.end);
            // SAFETY: the tiles are this task's own, as are the sums.
            unsafe {
                for row in some.clone() {
                    let tile = (row - first) * columns;
                    for block in inputs.clone() {
                        self.images.transform::<S, NV, 6>(row, block, tiles.images, tile, scratch.as_mut_ptr());
                    }
                    for block in outputs.clone() {
                        self.gradient.transform::<S, NV, 4>(row, block, tiles.gradient, tile, scratch.as_mut_ptr());
                    }
                }
                for output in outputs.clone() {
                    for input in inputs.clone() {
                        let pair = output * self.input_blocks + input;
                        let sums = sums.add(pair * Self::PAIR);
                        self.multiply(tiles, some.len() * columns, pair, sums, first > rows.start);
                    }
                }
            }
        }
    }

    /// Many channels on small maps: the whole batch is transformed, and the sums of a block of output channels are
    /// finished before they leave the cache.
    fn all_at_once(&self, weights: Shared) {
        let Tiling { all_rows, columns, .. } = self.images.tiling;
        let count = all_rows * columns;
        let mut buffers = Self::tile_buffers([self.input_blocks, self.output_blocks], count);
        let tiles = Self::pair(&mut buffers, [0, 0], count);
        self.transform_all(tiles);
        if count <= FEW_TILES {
            return self.pair_by_pair(tiles, count, weights);
        }
        let group = blocks_at_a_time(self.output_blocks);
        parallel(self.output_blocks.div_ceil(group), |task| {
            let pairs =
                task * group * self.input_blocks..((task + 1) * group).min(self.output_blocks) * self.input_blocks;
            let mut sums = buffer(pairs.len() * Self::PAIR);
            let sums = sums.as_mut_ptr();
            // SAFETY: the tiles are only read; the sums are this task's own, as are the weights of its blocks.
            unsafe {
                for position in 0..POSITIONS {
                    for i in 0..self.input_blocks {
                        for pair in (pairs.start + i..pairs.end).step_by(self.input_blocks) {
                            let sums = sums.add((pair - pairs.start) * Self::PAIR);
                            self.multiply_position(tiles, count, pair, position, sums, false);
                        }
                    }
                }
                for (i, pair) in pairs.enumerate() {
                    self.finish(pair, sums.add(i * Self::PAIR), weights);
                }
            }
        });
    }

    /// Few tiles: the sums of a pair of blocks are finished at once, within the second-level cache.
    fn pair_by_pair(&self, tiles: TilePair, count: usize, weights: Shared) {
        parallel(self.output_blocks, |output| {
            let mut sums = buffer(Self::PAIR);
            for pair in output * self.input_blocks..(output + 1) * self.input_blocks {
                // SAFETY: the tiles are only read; the sums are this task's own, as are the weights of its block.
                unsafe {
                    self.multiply(tiles, count, pair, sums.as_mut_ptr(), false);
                    self.finish(pair, sums.as_ptr(), weights);
                }
            }
        });
    }

    /// Room for so many tiles of so many blocks of the images and of the gradient.
    fn tile_buffers(blocks: [usize; 2], tiles: usize) -> [Buffer; 2] {
        blocks.map(|blocks| buffer(TileBlocks::len(blocks, tiles, Self::BLOCK)))
    }

    /// The tiles in such room, whose first blocks are those.
    fn pair<'b>([images, gradient]: &'b mut [Buffer; 2], first: [usize; 2], tiles: usize) -> TilePair<'b> {
        TilePair {
            images: TileBlocks::new(images, first[0], tiles, Self::BLOCK),
            gradient: TileBlocks::new(gradient, first[1], tiles, Self::BLOCK),
        }
    }

    /// Transforms all tiles, with all threads.
    fn transform_all(&self, to: TilePair) {
        let Tiling { all_rows, columns, .. } = self.images.tiling;
        let blocks = self.input_blocks + self.output_blocks;
        // A few rows of one block at a time: small enough to share out, long enough to be worth taking from the counter.
        let step = 16usize.div_ceil(columns);
        parallel(all_rows.div_ceil(step) * blocks, |i| {
            let (some, channels) = (i / blocks * step, i % blocks);
            let mut scratch = buffer(scratch_len(columns));
            for row in some..(some + step).min(all_rows) {
                let (tile, scratch) = (row * columns, scratch.as_mut_ptr());
                // SAFETY: each task writes its own rows and block, those of the images first, then those of the gradient.
                unsafe {
                    match channels.checked_sub(self.input_blocks) {
                        None => self.images.transform::<S, NV, 6>(row, channels, to.images, tile, scratch),
                        Some(block) => self.gradient.transform::<S, NV, 4>(row, block, to.gradient, tile, scratch),
                    }
                }
            }
        });
    }

    /// # Safety
    ///
    /// The tiles exist and nobody writes them; `sums` has room for a pair of blocks and is the caller's own.
    unsafe fn multiply(&self, tiles: TilePair, count: usize, pair: usize, sums: *mut f32, accumulate: bool) {
        for position in 0..POSITIONS {
            // SAFETY: granted by the caller.
            unsafe { self.multiply_position(tiles, count, pair, position, sums, accumulate) }
        }
    }

    /// # Safety
    ///
    /// As for `multiply`.
    unsafe fn multiply_position(
        &self,
        tiles: TilePair,
        count: usize,
        pair: usize,
        position: usize,
        sums: *mut f32,
        accumulate: bool,
    ) {
        let (output, input) = (pair / self.input_blocks, pair % self.input_blocks);
        let rows = (self.gradient.channels - output * Self::BLOCK).min(Self::BLOCK);
        // SAFETY: granted by the caller. A tile's block of channels is a column of A and a row of B.
        unsafe {
            let segments = [Segment {
                a: tiles.gradient.at(position, output, 0),
                b: tiles.images.at(position, input, 0),
                depth: count,
            }];
            S::vectorize(Gemm::<NV, COLUMNS> {
                rows,
                segments: &segments,
                a_apart: 0,
                b_apart: 0,
                c: sums.add(position * Self::BLOCK * Self::BLOCK),
                c_row: Self::BLOCK,
                accumulate,
            });
        }
    }

    /// Transforms the sums of a pair of blocks back.
    ///
    /// # Safety
    ///
    /// The sums are complete, and no other thread writes this pair's weights.
    unsafe fn finish(&self, pair: usize, sums: *const f32, weights: Shared) {
        let (output_block, input_block) = (pair / self.input_blocks, pair % self.input_blocks);
        let outputs = (self.gradient.channels - output_block * Self::BLOCK).min(Self::BLOCK);
        for o in 0..outputs {
            for half in 0..NV {
                let channel = input_block * Self::BLOCK + half * S::LANES;
                let lanes = self.images.channels.saturating_sub(channel).min(S::LANES);
                if lanes == 0 {
                    continue;
                }
                let output = output_block * Self::BLOCK + o;
                // SAFETY: both channels exist; the rest is granted by the caller.
                unsafe {
                    S::vectorize(FilterGradient {
                        from: sums.add(o * Self::BLOCK + half * S::LANES),
                        position_step: Self::BLOCK * Self::BLOCK,
                        to: weights.at((output * self.images.channels + channel) * 9),
                        lanes,
                    });
                }
            }
        }
    }
}
