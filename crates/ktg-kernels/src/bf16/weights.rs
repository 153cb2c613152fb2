//! Backward to the weights: sums over positions.

use std::ops::Range;

use super::pixels::{Run, gather, runs_of_plane, runs_of_results};
use super::plan::{Block, Plan, Tap};
use super::tiles::{LINE, Product, ROWS, SUMS, TILE, Tiles};
use crate::number::{Bf16, halves_mut};
use crate::parallel::{Shared, parallel, part};
use crate::planes::{Grid, Planes};
use crate::shape::Conv2d;
use crate::simd::{Simd, Task};
use crate::workspace::buffer;

/// Bytes of images and gradients that a block should have, in the order in which they are multiplied, beside the sums.
const BLOCK: usize = 768 << 10;
/// Bytes of sums that a task has.
const SUMS_AT_A_TIME: usize = 640 << 10;
/// Columns of sums (of 16 inputs at a tap) that are computed together.
const COLUMNS: usize = 3;
/// Parts of the blocks that have sums of their own, where all sums fit into a task.
const PARTS: usize = 8;

/// Gradient of the weights, `[output, input, kernel, kernel]`.
pub(crate) fn backward_weights<S: Simd, T: Tiles>(
    tiles: T,
    shape: &Conv2d,
    images: &[Bf16],
    gradient: &[Bf16],
    dw: &mut [f32],
) {
    match shape.output {
        ..=ROWS => compute::<S, T, 1>(tiles, shape, images, gradient, dw),
        _ => compute::<S, T, 2>(tiles, shape, images, gradient, dw),
    }
}

/// The sums of some groups of M tiles of outputs and of some tiles of inputs, over some blocks.
struct Unit {
    groups: Range<usize>,
    inputs: Range<usize>,
    blocks: Range<usize>,
}

fn compute<S: Simd, T: Tiles, const M: usize>(
    tiles: T,
    shape: &Conv2d,
    images: &[Bf16],
    gradient: &[Bf16],
    dw: &mut [f32],
) {
    let plan = &Plan::forward(shape);
    let taps = plan.phases[0].taps.len();
    let (groups, inputs) = (plan.result.channels.div_ceil(M * ROWS), plan.inner().div_ceil(ROWS));
    // Sums of a group of outputs and a tile of inputs, and how many of these a task may have.
    let strip = M * taps * SUMS * size_of::<f32>();
    let most = (SUMS_AT_A_TIME / strip).max(1);
    let is_whole = groups * inputs <= most;
    // Nearly square parts: each group and each tile of inputs has to be brought in order once a unit.
    let group_parts = if is_whole { 1 } else { groups.div_ceil((most.isqrt() / M).max(1)) };
    let input_parts = if is_whole { 1 } else { inputs.div_ceil((most / groups.div_ceil(group_parts)).max(1)) };
    // Bytes of a position: two versions of the images, and the gradients.
    let versions = 2 * plan.planes.len();
    let bytes = LINE * (versions * inputs.div_ceil(input_parts) + M * groups.div_ceil(group_parts));
    let positions = (plan.rows() + plan.reach[0]) * plan.pitch;
    let blocks = Block::cut(plan, positions, (BLOCK / bytes).max(1));
    let parts = if is_whole { PARTS.min(blocks.len()) } else { 1 };
    let unit = |i: usize| Unit {
        groups: part(groups, i / parts / input_parts, group_parts),
        inputs: part(inputs, i / parts % input_parts, input_parts),
        blocks: part(blocks.len(), i % parts, parts),
    };
    let units: Vec<Unit> = (0..group_parts * input_parts * parts).map(unit).collect();
    let jobs: Vec<Job<T>> = units.iter().map(|unit| Job::new(tiles, plan, unit)).collect();
    let most = jobs.iter().map(|job| job.sums_len::<M>()).max().unwrap_or(0);
    let mut sums = buffer(units.len() * most);
    let all = Shared::new(&mut sums);
    parallel(jobs.len(), |number| {
        let (job, _held) = (&jobs[number], tiles.hold());
        // SAFETY: each job has its own sums.
        let sums = unsafe { all.piece(number, most) };
        for (i, block) in blocks[job.unit.blocks.clone()].iter().enumerate() {
            job.add_block::<S, M>(block, images, gradient, i > 0, sums);
        }
    });
    let sums = &sums;
    let out = Shared::new(dw);
    parallel(group_parts * input_parts, |number| {
        let parts: Vec<&[f32]> = (number * parts..(number + 1) * parts).map(|i| &sums[i * most..][..most]).collect();
        // SAFETY: each unit has its own weights.
        unsafe { jobs[number * parts.len()].write::<S, M>(shape, &parts, out) }
    });
}

/// A unit's work. Sums are `[group][COLUMNS columns][M][COLUMNS]` tiles.
struct Job<'a, T> {
    tiles: T,
    plan: &'a Plan,
    unit: &'a Unit,
    /// Tile of inputs, counted in the unit, and tap.
    columns: Vec<(usize, Tap)>,
}

impl<'a, T: Tiles> Job<'a, T> {
    fn new(tiles: T, plan: &'a Plan, unit: &'a Unit) -> Self {
        let mut columns = Vec::new();
        for input in unit.inputs.clone() {
            let used = plan.phases[0].taps.iter().filter(|tap| input * ROWS < tap.inner);
            columns.extend(used.map(|tap| (input - unit.inputs.start, *tap)));
        }
        Self { tiles, plan, unit, columns }
    }

    fn group_len<const M: usize>(&self) -> usize {
        self.columns.len().next_multiple_of(COLUMNS) * M * SUMS
    }

    fn sums_len<const M: usize>(&self) -> usize {
        self.unit.groups.len() * self.group_len::<M>()
    }

    fn add_block<S: Simd, const M: usize>(
        &self,
        block: &Block,
        images: &[Bf16],
        gradient: &[Bf16],
        accumulate: bool,
        sums: &mut [f32],
    ) {
        let Self { plan, unit, .. } = *self;
        let steps = block.len(plan.pitch).div_ceil(LINE);
        let row_len = block.row_len(plan.pitch);
        let offset = |tap: &Tap| tap.row * row_len + tap.column;
        let pairs = (steps * LINE + plan.reach[0] * row_len + plan.reach[1]).div_ceil(2);
        // Pixels two by two, from even positions on and from odd ones, where taps need them: [plane][odd][tile of inputs][pair].
        let (input_stride, inputs) = (pairs * LINE, unit.inputs.len());
        let version = |tap: &Tap| 2 * tap.plane + offset(tap) % 2;
        let len = 2 * plan.planes.len() * inputs * input_stride;
        let mut images_memory = buffer(len.div_ceil(2));
        let paired = halves_mut(&mut images_memory, len);
        for (plane, paired) in paired.chunks_exact_mut(2 * inputs * input_stride).enumerate() {
            let needs = |odd: usize| self.columns.iter().any(|(_, tap)| version(tap) == 2 * plane + odd);
            let needed = [needs(0), needs(1)];
            let runs = runs_of_plane(plan, plane, block);
            in_tiles(images, &runs, &unit.inputs, 2 * pairs + 1, |tile, lines| {
                for odd in (0..2).filter(|odd| needed[*odd]) {
                    let input = odd * inputs + tile - unit.inputs.start;
                    let to = &mut paired[input * input_stride..][..input_stride];
                    // SAFETY: it has no pointers.
                    unsafe { S::vectorize(Pair { lines: &lines[odd * LINE..], half: tile % 2, to }) }
                }
            });
        }
        // Gradients with positions side by side: [group][step][M] tiles.
        let group_stride = steps * M * TILE;
        let len = unit.groups.len() * group_stride;
        let mut gradient_memory = buffer(len.div_ceil(2));
        let turned = halves_mut(&mut gradient_memory, len);
        let runs = runs_of_results(plan, block);
        let outputs = unit.groups.start * M..unit.groups.end * M;
        in_tiles(gradient, &runs, &outputs, steps * LINE, |tile, lines| {
            let to = &mut turned[(tile / M - unit.groups.start) * group_stride + tile % M * TILE..];
            // SAFETY: it has no pointers.
            unsafe { S::vectorize(Turn { lines, half: tile % 2, to, stride: M * TILE }) }
        });

        let steps: Vec<u32> = (0..steps).map(|step| (step * M * TILE) as u32).collect();
        let b = |(input, tap): &(usize, Tap)| {
            paired[version(tap) * inputs * input_stride + input * input_stride + offset(tap) / 2 * LINE..].as_ptr()
        };
        let mut sums = sums.chunks_exact_mut(M * COLUMNS * SUMS);
        for group in 0..unit.groups.len() {
            for (columns, sums) in self.columns.chunks(COLUMNS).zip(&mut sums) {
                let product = Product::<M, COLUMNS> {
                    a: turned[group * group_stride..].as_ptr(),
                    steps: &steps,
                    // The last one may stand there several times.
                    b: std::array::from_fn(|n| b(&columns[n.min(columns.len() - 1)])),
                    b_step: TILE,
                    c: sums.as_mut_ptr(),
                    accumulate,
                };
                // SAFETY: there are as many pairs behind each tap's first as there are steps, and the sums are ours.
                unsafe { self.tiles.multiply(&product) }
            }
        }
    }

    /// Writes the gradients of the unit's weights, the total of `parts` in their order.
    ///
    /// # Safety
    ///
    /// Nobody else uses these weights.
    unsafe fn write<S: Simd, const M: usize>(&self, shape: &Conv2d, parts: &[&[f32]], dw: Shared) {
        for tile in self.unit.groups.start * M..(self.unit.groups.end * M).min(shape.output.div_ceil(ROWS)) {
            // SAFETY: granted by the caller.
            unsafe {
                match self.plan.merged {
                    1 => self.write_tile::<S, M>(shape, tile, parts, dw),
                    _ => self.write_merged_tile::<M>(shape, tile, parts, dw),
                }
            }
        }
    }

    /// Where the sums of a tile of outputs and a column are.
    fn place<const M: usize>(&self, tile: usize, column: usize) -> usize {
        let group = (tile / M - self.unit.groups.start) * self.group_len::<M>();
        group + (column / COLUMNS * M * COLUMNS + tile % M * COLUMNS + column % COLUMNS) * SUMS
    }

    /// Where every tile of inputs has all taps, in the order of the weights.
    ///
    /// # Safety
    ///
    /// As for [`Self::write`].
    unsafe fn write_tile<S: Simd, const M: usize>(&self, shape: &Conv2d, tile: usize, parts: &[&[f32]], dw: Shared) {
        let Conv2d { input, output, .. } = *shape;
        let (taps, outputs) = (self.plan.phases[0].taps.len(), ROWS.min(output - tile * ROWS));
        for (number, inputs) in self.unit.inputs.clone().enumerate() {
            let columns = number * taps..(number + 1) * taps;
            let places: Vec<usize> = columns.map(|column| self.place::<M>(tile, column)).collect();
            let (first, filter) = (inputs * ROWS, input * taps);
            let inputs = ROWS.min(input - first);
            // SAFETY: granted by the caller.
            unsafe {
                let dw = dw.at((tile * ROWS * input + first) * taps);
                S::vectorize(WriteFilters { parts, places: &places, outputs, inputs, filter, dw });
            }
        }
    }

    /// Where channels are few: a position's line has the pixels of several columns.
    ///
    /// # Safety
    ///
    /// As for [`Self::write`].
    unsafe fn write_merged_tile<const M: usize>(&self, shape: &Conv2d, tile: usize, parts: &[&[f32]], dw: Shared) {
        let (plan, Conv2d { input, output, .. }) = (self.plan, *shape);
        for (i, (inputs, tap)) in self.columns.iter().enumerate() {
            let place = self.place::<M>(tile, i);
            let [row, column] = tap.weight;
            let first = (self.unit.inputs.start + inputs) * ROWS;
            for m in 0..ROWS.min(output - tile * ROWS) {
                for n in 0..ROWS.min(tap.inner - first) {
                    let sum = parts.iter().map(|part| part[place + m * ROWS + n]).sum();
                    let (channel, pixel) = ((first + n) % input, (first + n) / input);
                    let filter = (tile * ROWS + m) * input + channel;
                    let weight = (filter * plan.kernel + row) * plan.kernel + column + pixel;
                    // SAFETY: granted by the caller.
                    unsafe { *dw.at(weight) = sum };
                }
            }
        }
    }
}

/// Writes the filters of 16 outputs and 16 inputs, or fewer.
struct WriteFilters<'a> {
    parts: &'a [&'a [f32]],
    /// By tap, where in the parts its tile `[output][input]` is.
    places: &'a [usize],
    outputs: usize,
    inputs: usize,
    /// Values from one output's filters to the next one's.
    filter: usize,
    dw: *mut f32,
}

impl Task for WriteFilters<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { parts, places, outputs, inputs, filter, dw } = self;
        let taps = places.len();
        let mut totals = buffer(taps * S::LANES);
        for output in 0..outputs {
            for first in (0..inputs).step_by(S::LANES) {
                // SAFETY: tiles are within the parts; the caller grants these filters.
                unsafe {
                    for (tap, place) in places.iter().enumerate() {
                        let at = place + output * ROWS + first;
                        let mut total = S::load(parts[0][at..].as_ptr());
                        for part in &parts[1..] {
                            total = S::add(total, S::load(part[at..].as_ptr()));
                        }
                        S::store(totals[tap * S::LANES..].as_mut_ptr(), total);
                    }
                    let start = dw.add(output * filter + first * taps);
                    let channels = S::LANES.min(inputs - first);
                    let planes = Planes { start, stride: taps, channels, width: taps };
                    planes.write::<S>(0..1, Grid { start: totals.as_ptr(), row_step: 0, vector_step: S::LANES });
                }
            }
        }
    }
}

/// Calls `body(tile, lines)` for some tiles of 16 numbers of the runs' positions, with the lines that have them: `len` positions.
fn in_tiles(source: &[Bf16], runs: &[Run], tiles: &Range<usize>, len: usize, mut body: impl FnMut(usize, &[Bf16])) {
    let mut memory = buffer((len * LINE).div_ceil(2));
    let lines = halves_mut(&mut memory, len * LINE);
    for chunk in tiles.start / 2..tiles.end.div_ceil(2) {
        gather(source, runs, chunk, len, lines);
        for tile in (2 * chunk).max(tiles.start)..(2 * chunk + 2).min(tiles.end) {
            body(tile, lines);
        }
    }
}

/// Half of the numbers of lines, those of each two positions side by side.
struct Pair<'a> {
    lines: &'a [Bf16],
    half: usize,
    to: &'a mut [Bf16],
}

impl Task for Pair<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        for (to, lines) in self.to.chunks_exact_mut(LINE).zip(self.lines.chunks_exact(2 * LINE)) {
            let (first, second) = (&lines[self.half * ROWS..][..ROWS], &lines[LINE + self.half * ROWS..][..ROWS]);
            for (to, (first, second)) in to.chunks_exact_mut(2).zip(first.iter().zip(second)) {
                (to[0], to[1]) = (*first, *second);
            }
        }
    }
}

/// Half of the numbers of lines with positions side by side: a tile for every 32 positions, `stride` apart.
struct Turn<'a> {
    lines: &'a [Bf16],
    half: usize,
    to: &'a mut [Bf16],
    stride: usize,
}

impl Task for Turn<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        for (step, lines) in self.lines.chunks_exact(LINE * LINE).enumerate() {
            let tile = &mut self.to[step * self.stride..][..TILE];
            for (position, line) in lines.chunks_exact(LINE).enumerate() {
                for (channel, number) in line[self.half * ROWS..][..ROWS].iter().enumerate() {
                    tile[channel * LINE + position] = *number;
                }
            }
        }
    }
}
