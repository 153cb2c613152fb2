//! Filters as tiles B, in the order in which they are read.

use super::plan::{Phase, Plan};
use super::tiles::{LINE, ROWS, TILE};
use crate::number::{Bf16, halves, halves_mut};
use crate::parallel::{Shared, parallel};
use crate::planes::{Grid, Planes, Read};
use crate::shape::Conv2d;
use crate::simd::{Simd, Task};
use crate::workspace::{Buffer, buffer};

/// Which way a convolution's filters are gone through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Forward,
    /// To the images.
    Backward,
}

/// Results whose sums are made together: two tiles, or one if there are no more.
pub(crate) fn panel(results: usize) -> usize {
    if results <= ROWS { ROWS } else { 2 * ROWS }
}

/// Numbers of a phase's filters of a panel.
pub(crate) fn panel_len(plan: &Plan, phase: &Phase) -> usize {
    panel(plan.result.channels) / ROWS * plan.chunks() * phase.taps.len() * TILE
}

/// The filters of one direction: for each phase and panel, for each line of a position and each tap, a tile for every 16 results.
pub(crate) struct Filters {
    tiles: Buffer,
    len: usize,
}

impl Filters {
    /// Of the weights `[output, input, kernel, kernel]`.
    pub fn new<S: Simd>(shape: &Conv2d, plan: &Plan, direction: Direction, weights: &[f32]) -> Self {
        let (results, width) = (plan.result.channels, panel(plan.result.channels));
        let panels = results.div_ceil(width);
        let len = plan.phases.iter().map(|phase| panels * panel_len(plan, phase)).sum::<usize>();
        let mut tiles = buffer(len.div_ceil(2));
        let all = Shared::new(halves_mut(&mut tiles, len));
        let mut start = 0;
        // Phases without taps have no filters, nor a place for them.
        for phase in plan.phases.iter().filter(|phase| !phase.taps.is_empty()) {
            let panel_len = panel_len(plan, phase);
            parallel(panels * width / ROWS, |group| {
                let first = group * ROWS;
                let at = start + first / width * panel_len + first % width * LINE;
                let group = Group { shape, plan, phase, direction, first };
                // SAFETY: each task has the tiles of its own results.
                unsafe {
                    match plan.merged {
                        1 => pack::<S>(&group, weights, all.at(at)),
                        _ => pack_merged(&group, weights, all.at(at)),
                    }
                }
            });
            start += panels * panel_len;
        }
        Self { tiles, len }
    }

    pub fn values(&self) -> &[Bf16] {
        halves(&self.tiles, self.len)
    }
}

/// The filters of 16 results in a phase.
struct Group<'a> {
    shape: &'a Conv2d,
    plan: &'a Plan,
    phase: &'a Phase,
    direction: Direction,
    /// The first result.
    first: usize,
}

/// Of lines that are one pixel's channels: weights of 16 results come to lie side by side in vectors, two of which make a line of a tile.
///
/// # Safety
///
/// At `to` and every other group of a panel from there on there is room for the group's tiles, which nobody else uses.
unsafe fn pack<S: Simd>(group: &Group, weights: &[f32], to: *mut Bf16) {
    let Group { shape, plan, phase, direction, first } = *group;
    let (channels, results, window) = (plan.source.channels, plan.result.channels, plan.kernel * plan.kernel);
    let own = results.saturating_sub(first).min(ROWS);
    // Of a line's channels: `[channel][tap][result]`.
    let mut by_results = buffer(LINE * window * ROWS);
    for chunk in 0..plan.chunks() {
        let line = chunk * LINE..channels.min((chunk + 1) * LINE);
        by_results[line.len() * window * ROWS..].fill(0.0);
        match direction {
            Direction::Forward => {
                let from = Rows { start: (first * channels + line.start) * window, apart: channels * window };
                from.turn::<S>(weights, own, line.len() * window, &mut by_results);
            }
            Direction::Backward => {
                for (channel, to) in line.zip(by_results.chunks_exact_mut(window * ROWS)) {
                    let from = Rows { start: (channel * shape.input + first) * window, apart: window };
                    from.turn::<S>(weights, own, window, to);
                }
            }
        }
        for (t, tap) in phase.taps.iter().enumerate() {
            let [row, column] = tap.weight;
            let start = (chunk * phase.taps.len() + t) * panel(results) * LINE;
            for pair in 0..LINE / 2 {
                let at = (2 * pair * window + row * plan.kernel + column) * ROWS;
                let (a, b) = (&by_results[at..][..ROWS], &by_results[at + window * ROWS..][..ROWS]);
                // SAFETY: granted by the caller.
                unsafe { S::vectorize(Interleave { a, b, to: to.add(start + pair * LINE) }) }
            }
        }
    }
}

/// Rows of weights, of 16 results or fewer.
struct Rows {
    start: usize,
    apart: usize,
}

impl Rows {
    /// `[row][value]` of some rows as `[value][row]`, with 16 places for rows, of which the last are zeros.
    fn turn<S: Simd>(&self, weights: &[f32], rows: usize, values: usize, to: &mut [f32]) {
        for first in (0..ROWS).step_by(S::LANES) {
            let planes = Planes {
                start: weights.as_ptr().wrapping_add(self.start + first * self.apart),
                stride: self.apart,
                channels: rows.saturating_sub(first).min(S::LANES),
                width: values,
            };
            let grid = Grid { start: to[first..].as_mut_ptr(), row_step: 0, vector_step: ROWS };
            debug_assert!(to.len() >= values * ROWS);
            // SAFETY: the rows are within the weights, and there is room for all values.
            unsafe { S::vectorize(Read { planes, rows: 0..1, to: grid }) }
        }
    }
}

/// 16 pairs of numbers, of a value of `a` and one of `b` each.
struct Interleave<'a> {
    a: &'a [f32],
    b: &'a [f32],
    to: *mut Bf16,
}

impl Task for Interleave<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let [mut a, mut b] = [[Bf16::default(); ROWS]; 2];
        // SAFETY: vectors lie within the values; the caller grants a line at `to`.
        unsafe {
            for at in (0..ROWS).step_by(S::LANES) {
                S::store_bf16(a[at..].as_mut_ptr(), S::load(self.a[at..].as_ptr()));
                S::store_bf16(b[at..].as_mut_ptr(), S::load(self.b[at..].as_ptr()));
            }
            let mut line = [Bf16::default(); LINE];
            for (to, (a, b)) in line.chunks_exact_mut(2).zip(a.iter().zip(&b)) {
                (to[0], to[1]) = (*a, *b);
            }
            self.to.cast::<[Bf16; LINE]>().write(line);
        }
    }
}

/// Of lines with several pixels, number by number: there are few such filters.
///
/// # Safety
///
/// As for [`pack`].
unsafe fn pack_merged(group: &Group, weights: &[f32], to: *mut Bf16) {
    let Group { shape, plan, phase, direction, first } = *group;
    let (channels, results, kernel) = (plan.source.channels, plan.result.channels, plan.kernel);
    let width = panel(results);
    for n in 0..ROWS {
        for number in 0..plan.chunks() * LINE {
            let (channel, pixel) = (number % channels, number / channels);
            let [output, input] = match direction {
                Direction::Forward => [first + n, channel],
                Direction::Backward => [channel, first + n],
            };
            let filter = (output * shape.input + input) * kernel * kernel;
            let (chunk, k) = (number / LINE, number % LINE);
            for (t, tap) in phase.taps.iter().enumerate() {
                let [row, column] = tap.weight;
                let is_there = number < tap.inner && first + n < results;
                // Backward, the window is turned round: the pixels of a line go to the left.
                let column = match direction {
                    Direction::Forward => column + pixel,
                    Direction::Backward => column.wrapping_sub(pixel),
                };
                let weight = if is_there { weights[filter + row * kernel + column] } else { 0.0 };
                let place = (chunk * phase.taps.len() + t) * width * LINE + k / 2 * LINE + 2 * n + k % 2;
                // SAFETY: granted by the caller.
                unsafe { *to.add(place) = Bf16::from_f32(weight) };
            }
        }
    }
}
