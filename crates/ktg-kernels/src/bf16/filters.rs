//! Filters as tiles B, in the order in which they are read.

use super::plan::{Phase, Plan};
use super::tiles::{LINE, ROWS, TILE};
use crate::number::{Bf16, halves, halves_mut};
use crate::parallel::{Shared, parallel};
use crate::shape::Conv2d;
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
    pub fn new(shape: &Conv2d, plan: &Plan, direction: Direction, weights: &[f32]) -> Self {
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
                // SAFETY: each task has the tiles of its own results.
                unsafe { pack(&Group { shape, plan, phase, direction, first }, weights, all.at(at)) }
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

/// # Safety
///
/// At `to` and every other group of a panel from there on there is room for the group's tiles, which nobody else uses.
unsafe fn pack(group: &Group, weights: &[f32], to: *mut Bf16) {
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
