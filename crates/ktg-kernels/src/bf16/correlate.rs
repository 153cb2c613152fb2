//! Forward, and backward to the images: sums over taps.

use std::ops::Range;

use super::filters::{Direction, Filters, panel, panel_len};
use super::moments::BlockSums;
use super::pixels::{gather, runs_of_plane};
use super::plan::{Block, Phase, Plan, Tap};
use super::tiles::{LINE, Product, ROWS, SUMS, TILE, Tiles};
use crate::norm::Moving;
use crate::number::{Bf16, halves_mut};
use crate::parallel::{Shared, parallel, part};
use crate::shape::Conv2d;
use crate::simd::{Simd, Task};
use crate::workspace::buffer;

/// Lines of the source that a block has at most: half a megabyte, beside filters in a second-level cache.
const BLOCK: usize = 8 << 10;
/// Bytes of filters up to which a task goes through all of them; others are shared out, too.
const SHARED_FILTERS: usize = 640 << 10;
/// Tasks that share a block then, each with some of the panels.
const GROUPS: usize = 4;
/// Bytes of a task's filters up to which they stay near, and are gone through for every group of positions.
const NEAR_FILTERS: usize = 320 << 10;
/// The place of a sum that is no result's.
const NOWHERE: u32 = u32::MAX;

/// Results `[image, row, column, output]` of a convolution without bias. With `statistics`, mean and variance of each channel of
/// the results are summed up as these are written.
pub(crate) fn forward<S: Simd, T: Tiles>(
    tiles: T,
    shape: &Conv2d,
    images: &[Bf16],
    weights: &[f32],
    y: &mut [Bf16],
    statistics: Option<Moving>,
) {
    let plan = Plan::forward(shape);
    let filters = Filters::new::<S>(shape, &plan, Direction::Forward, weights);
    let blocks = blocks(&plan);
    match statistics {
        None => correlate::<S, T>(tiles, &plan, &blocks, images, filters.values(), y, None),
        Some(statistics) => {
            let mut sums = buffer(blocks.len() * BlockSums::len(shape.output));
            correlate::<S, T>(tiles, &plan, &blocks, images, filters.values(), y, Some(&mut sums));
            let counts = blocks.iter().map(|block| block.rows.len() * block.images.len() * shape.output_width);
            BlockSums::combine(&sums, counts, statistics);
        }
    }
}

/// Gradient of the images.
pub(crate) fn backward_data<S: Simd, T: Tiles>(
    tiles: T,
    shape: &Conv2d,
    gradient: &[Bf16],
    weights: &[f32],
    dx: &mut [Bf16],
) {
    let plan = Plan::backward(shape);
    let filters = Filters::new::<S>(shape, &plan, Direction::Backward, weights);
    correlate::<S, T>(tiles, &plan, &blocks(&plan), gradient, filters.values(), dx, None);
}

fn blocks(plan: &Plan) -> Vec<Block> {
    let lines = (plan.rows() + plan.reach[0]) * plan.pitch * plan.chunks() * plan.planes.len();
    Block::cut(plan, lines, BLOCK)
}

fn correlate<S: Simd, T: Tiles>(
    tiles: T,
    plan: &Plan,
    blocks: &[Block],
    source: &[Bf16],
    filters: &[Bf16],
    results: &mut [Bf16],
    sums: Option<&mut [f32]>,
) {
    let channels = plan.result.channels;
    let panels = channels.div_ceil(panel(channels));
    let groups = if size_of_val(filters) > SHARED_FILTERS { GROUPS.min(panels) } else { 1 };
    let (y, sums) = (Shared::new(results), sums.map(Shared::new));
    parallel(groups * blocks.len(), |task| {
        let panels = part(panels, task / blocks.len(), groups);
        let block = &blocks[task % blocks.len()];
        // SAFETY: each block has its own, and of those each task those of its panels.
        let moments = sums
            .map(|sums| unsafe { BlockSums::at(sums.at(task % blocks.len() * BlockSums::len(channels)), channels) });
        let job = Job { tiles, plan, block, source, filters, panels, y, moments };
        let _held = tiles.hold();
        match panel(channels) {
            ROWS => job.compute::<S, 4, 1>(),
            _ => job.compute::<S, 2, 2>(),
        }
    });
}

/// Some panels of the results of a block's positions, which nobody else computes.
struct Job<'a, T> {
    tiles: T,
    plan: &'a Plan,
    block: &'a Block,
    source: &'a [Bf16],
    filters: &'a [Bf16],
    panels: Range<usize>,
    y: Shared<'a, Bf16>,
    moments: Option<BlockSums>,
}

impl<T: Tiles> Job<'_, T> {
    fn compute<S: Simd, const M: usize, const N: usize>(&self) {
        let Self { plan, block, .. } = *self;
        let positions = block.len(plan.pitch).next_multiple_of(M * ROWS);
        let row_len = block.row_len(plan.pitch);
        let plane_len = positions + plan.reach[0] * row_len + plan.reach[1];
        let (chunk_stride, plane_stride) = (plane_len * LINE, plan.chunks() * plane_len * LINE);
        let len = plan.planes.len() * plane_stride;
        let mut lines = buffer(len.div_ceil(2));
        let lines = halves_mut(&mut lines, len);
        for (plane, lines) in lines.chunks_exact_mut(plane_stride).enumerate() {
            let runs = runs_of_plane(plan, plane, block);
            for (chunk, lines) in lines.chunks_exact_mut(chunk_stride).enumerate() {
                gather(self.source, &runs, chunk, plane_len, lines);
            }
        }
        let mut sums = buffer(M * N * SUMS);
        let panels = plan.result.channels.div_ceil(N * ROWS);
        let mut filters = self.filters;
        for phase in &plan.phases {
            let places = self.places(phase, positions);
            let at = |chunk: usize, tap: &Tap| {
                tap.plane * plane_stride + chunk * chunk_stride + (tap.row * row_len + tap.column) * LINE
            };
            let steps: Vec<u32> =
                (0..plan.chunks()).flat_map(|chunk| phase.taps.iter().map(move |tap| at(chunk, tap) as u32)).collect();
            let (groups, panel_len) = (positions / (M * ROWS), panel_len(plan, phase));
            let near = self.panels.len() * panel_len * size_of::<Bf16>() <= NEAR_FILTERS;
            let (outer, inner) = if near { (0..groups, self.panels.clone()) } else { (self.panels.clone(), 0..groups) };
            for o in outer {
                for i in inner.clone() {
                    let (panel, group) = if near { (i, o) } else { (o, i) };
                    let places = &places[group * M * ROWS..][..M * ROWS];
                    let b = &filters[panel * panel_len..(panel + 1) * panel_len];
                    let product = Product::<M, N> {
                        a: lines[group * M * TILE..].as_ptr(),
                        steps: &steps,
                        b: std::array::from_fn(|n| b.as_ptr().wrapping_add(n * TILE)),
                        b_step: N * TILE,
                        c: sums.as_mut_ptr(),
                        accumulate: false,
                    };
                    // SAFETY: taps reach no further than the lines of their plane, and each has a tile for every 16 results; the
                    // results are this task's own.
                    unsafe {
                        self.tiles.multiply(&product);
                        let moments = self.moments.map(|moments| (moments, group == 0));
                        S::vectorize(Narrow::<N> { sums: &sums, places, y: self.y, panel, plan, moments });
                    }
                }
            }
            filters = &filters[panels * panel_len..];
        }
    }

    /// Where the results of the block's positions start.
    fn places(&self, phase: &Phase, positions: usize) -> Vec<u32> {
        let (plan, result) = (self.plan, self.plan.result);
        let mut places = Vec::with_capacity(positions);
        for i in self.block.rows.clone() {
            for image in self.block.images.clone() {
                let end = places.len() + plan.pitch;
                if i < phase.size[0] {
                    let row = (image * result.height + phase.first[0] + i * plan.result_step) * result.width;
                    let place = |j: usize| (row + phase.first[1] + j * plan.result_step) * result.channels;
                    places.extend((0..phase.size[1]).map(|j| place(j) as u32));
                }
                places.resize(end, NOWHERE);
            }
        }
        places.resize(positions, NOWHERE);
        places
    }
}

/// Rounds the sums of a panel, and writes those that are results.
struct Narrow<'a, const N: usize> {
    /// Tiles `[M][N]`.
    sums: &'a [f32],
    /// By row of all M tiles.
    places: &'a [u32],
    y: Shared<'a, Bf16>,
    panel: usize,
    plan: &'a Plan,
    /// Where the results are summed up, and whether these are a block's first.
    moments: Option<(BlockSums, bool)>,
}

impl<const N: usize> Task for Narrow<'_, N> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        for n in 0..N {
            let first = (self.panel * N + n) * ROWS;
            let channels = self.plan.result.channels.saturating_sub(first).min(ROWS);
            if channels == 0 {
                break;
            }
            for (m, place) in self.places.iter().enumerate().filter(|(_, place)| **place != NOWHERE) {
                let sums = &self.sums[(m / ROWS * N + n) * SUMS + m % ROWS * ROWS..][..ROWS];
                // SAFETY: the caller grants that the place is a result's and nobody else's.
                unsafe {
                    let to = self.y.at(*place as usize + first);
                    for lane in (0..channels).step_by(S::LANES) {
                        let v = S::load(sums[lane..].as_ptr());
                        S::store_first_bf16(to.add(lane), v, S::LANES.min(channels - lane));
                    }
                }
            }
            if let Some((moments, is_first)) = self.moments {
                let places = self.places.iter().filter(|place| **place != NOWHERE);
                for lane in (0..channels).step_by(S::LANES) {
                    let n = S::LANES.min(channels - lane);
                    // SAFETY: as above; what is read was just written.
                    unsafe {
                        let results =
                            places.clone().map(|place| self.y.at(*place as usize + first + lane).cast_const());
                        moments.add::<S>(first + lane, n, is_first, results);
                    }
                }
            }
        }
    }
}
