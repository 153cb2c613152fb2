//! The pixels of positions ([`Plan`]), copied into lines.

use std::ops::Range;

use super::plan::{Block, Maps, Plan};
use super::tiles::LINE;
use crate::number::Bf16;

/// Positions that follow each other and have pixels; those between runs have none.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    /// The first position.
    pub start: usize,
    pub len: usize,
    /// Where the numbers of the first position start in the source (those that are there), and from each to the next one.
    pub from: usize,
    pub distance: usize,
    /// Which of a position's numbers are there.
    pub numbers: Range<usize>,
}

/// The runs of a plane, for the positions of a block and for the rows below it that taps reach.
pub(crate) fn runs_of_plane(plan: &Plan, plane: usize, block: &Block) -> Vec<Run> {
    let Maps { height, width, channels, .. } = plan.source;
    let [row, column] = plan.planes[plane];
    let columns = plan.columns(column);
    let columns = columns.start..columns.end.min(plan.pitch);
    let pixel = |position: usize| (plan.step * position) as isize + column;
    let is_whole =
        |position: &usize| pixel(*position) >= 0 && pixel(*position) + plan.merged as isize <= width as isize;
    // Positions whose line lacks a pixel are runs of their own.
    let begin = columns.clone().find(is_whole).unwrap_or(columns.end);
    let end = columns.clone().rev().find(is_whole).map_or(begin, |last| last + 1);
    let single = |position: usize| position..position + 1;
    let mut pieces: Vec<Range<usize>> = (columns.start..begin).map(single).collect();
    pieces.extend((begin < end).then_some(begin..end));
    pieces.extend((end..columns.end).map(single));
    let mut runs = Vec::new();
    for (i, r) in (block.rows.start..block.rows.end + plan.reach[0]).enumerate() {
        let Some(y) = (plan.step * r).checked_add_signed(row).filter(|y| *y < height) else { continue };
        for (n, image) in block.images.clone().enumerate() {
            for positions in &pieces {
                let x = pixel(positions.start);
                let missing = (-x).max(0) as usize;
                let there = missing..(width as isize - x).min(plan.merged as isize) as usize;
                let first = (image * height + y) * width + x.max(0) as usize;
                runs.push(Run {
                    start: i * block.row_len(plan.pitch) + n * plan.pitch + positions.start,
                    len: positions.len(),
                    from: first * channels,
                    distance: plan.step * channels,
                    numbers: there.start * channels..there.end * channels,
                });
            }
        }
    }
    runs
}

/// The runs of the results of a block's positions, for a plan whose results follow each other.
pub(crate) fn runs_of_results(plan: &Plan, block: &Block) -> Vec<Run> {
    let Maps { height, width, channels, .. } = plan.result;
    let mut runs = Vec::new();
    for (i, y) in block.rows.clone().enumerate() {
        for (n, image) in block.images.clone().enumerate() {
            runs.push(Run {
                start: i * block.row_len(plan.pitch) + n * plan.pitch,
                len: width,
                from: (image * height + y) * width * channels,
                distance: channels,
                numbers: 0..channels,
            });
        }
    }
    runs
}

/// Copies the numbers of a chunk of the runs' positions to `len` lines; zeros where there is nothing.
pub(crate) fn gather(source: &[Bf16], runs: &[Run], chunk: usize, len: usize, lines: &mut [Bf16]) {
    let mut end = 0;
    for run in runs {
        lines[end * LINE..run.start * LINE].fill(Bf16::default());
        end = run.start + run.len;
        let numbers = run.numbers.start.max(chunk * LINE)..run.numbers.end.min((chunk + 1) * LINE);
        let positions = lines[run.start * LINE..end * LINE].chunks_exact_mut(LINE);
        if numbers.is_empty() {
            positions.for_each(|line| line.fill(Bf16::default()));
            continue;
        }
        let from = run.from + numbers.start - run.numbers.start;
        let inside = numbers.start - chunk * LINE..numbers.end - chunk * LINE;
        for (i, line) in positions.enumerate() {
            let from = &source[from + i * run.distance..];
            if inside == (0..LINE) {
                line.copy_from_slice(&from[..LINE]);
            } else {
                line.fill(Bf16::default());
                line[inside.clone()].copy_from_slice(&from[..inside.len()]);
            }
        }
    }
    lines[end * LINE..len * LINE].fill(Bf16::default());
}
