//! Which pixels of a map the pixels of a result see through a window, line by line.

use std::ops::Range;

use crate::shape::{Sides, Window};

/// Where a tap reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tap {
    /// Row or column of the window.
    pub number: usize,
    /// Row of the map, or column with its border, that the first pixel sees.
    pub at: usize,
}

/// Pixels of a line of the result, `pixel_step` apart, that see the map through the same columns of the window.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Phase {
    pub first: usize,
    pub count: usize,
    pub columns: Vec<Tap>,
}

/// Which pixel of the result sees which pixels of the map. Rows outside of the map are left out; columns outside are zeros beside it.
pub(crate) struct View {
    /// `[height, width]` of the map that is seen, and of the result.
    pub from: [usize; 2],
    pub to: [usize; 2],
    /// Columns of zeros before and behind a row of the map.
    pub border: [usize; 2],
    /// By line of the result, the rows of the window that lie within the map.
    pub rows: Vec<Vec<Tap>>,
    pub phases: Vec<Phase>,
    /// From one pixel of a phase to the next, and between what these see.
    pub pixel_step: usize,
    pub seen_step: usize,
}

impl View {
    /// Results see images.
    pub fn forward(Sides { image, result, window, after }: Sides) -> Self {
        let Window { kernel, stride, padding } = window;
        let rows_of = |line: usize| {
            let at = |number: usize| (line * stride + number).checked_sub(padding).filter(|row| *row < image[0]);
            (0..kernel).filter_map(|number| Some(Tap { number, at: at(number)? })).collect()
        };
        let columns = (0..kernel).map(|number| Tap { number, at: number }).collect();
        Self {
            from: image,
            to: result,
            border: [padding, after],
            rows: (0..result[0]).map(rows_of).collect(),
            phases: vec![Phase { first: 0, count: result[1], columns }],
            pixel_step: 1,
            seen_step: stride,
        }
    }

    /// Images see gradients of results: one at `y` sees row `y * stride + a - padding` of the image through row `a` of the window;
    /// columns likewise.
    pub fn backward(Sides { image, result, window, .. }: Sides) -> Self {
        let Window { kernel, stride, padding } = window;
        let [height, width] = image;
        let rows_of = |row: usize| {
            let at = |number: usize| {
                let at = (row + padding).checked_sub(number).filter(|at| at.is_multiple_of(stride))?;
                Some(at / stride).filter(|line| *line < result[0])
            };
            (0..kernel).filter_map(|number| Some(Tap { number, at: at(number)? })).collect()
        };
        // The first pixel of a phase may see columns before the first, the last one columns behind the last.
        let before = (kernel - 1).saturating_sub(padding).div_ceil(stride);
        let phase = |first: usize| {
            let at = |number: usize| {
                let at = (first + padding + before * stride).checked_sub(number)?;
                at.is_multiple_of(stride).then_some(at / stride)
            };
            let columns = (0..kernel).filter_map(|number| Some(Tap { number, at: at(number)? })).collect();
            Phase { first, count: (width - first).div_ceil(stride), columns }
        };
        let phases: Vec<Phase> = (0..stride.min(width)).map(phase).collect();
        let end = |phase: &Phase| phase.columns.iter().map(|tap| tap.at + phase.count).max().unwrap_or(0);
        let columns = phases.iter().map(end).max().unwrap_or(0);
        Self {
            from: result,
            to: image,
            border: [before, columns.saturating_sub(before + result[1])],
            rows: (0..height).map(rows_of).collect(),
            phases,
            pixel_step: stride,
            seen_step: 1,
        }
    }

    /// Columns of a row of the map with its border.
    pub fn columns(&self) -> usize {
        self.border[0] + self.from[1] + self.border[1]
    }

    /// The rows of the map that some lines of the result see.
    pub fn rows_seen(&self, lines: Range<usize>) -> Range<usize> {
        let rows = self.rows[lines].iter().flatten().map(|tap| tap.at);
        let (first, last) = rows.fold((usize::MAX, 0), |(first, last), row| (row.min(first), row.max(last)));
        if first > last { 0..0 } else { first..last + 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// TensorFlow's SAME with a stride of 2 on 4 pixels: a zero behind, none before.
    #[test]
    fn borders_may_be_behind_only() {
        let window = Window { kernel: 3, stride: 2, padding: 0 };
        let sides = Sides { image: [4, 4], result: [2, 2], window, after: 1 };
        let tap = |number, at| Tap { number, at };
        let forward = View::forward(sides);
        assert_eq!((forward.border, forward.columns()), ([0, 1], 5));
        assert_eq!(forward.rows, [vec![tap(0, 0), tap(1, 1), tap(2, 2)], vec![tap(0, 2), tap(1, 3)]]);
        assert_eq!(forward.rows_seen(1..2), 2..4);
        let backward = View::backward(sides);
        assert_eq!(backward.border, [1, 0]);
        assert_eq!(backward.rows, [vec![tap(0, 0)], vec![tap(1, 0)], vec![tap(0, 1), tap(2, 0)], vec![tap(1, 1)]]);
        let even = Phase { first: 0, count: 2, columns: vec![tap(0, 1), tap(2, 0)] };
        let odd = Phase { first: 1, count: 2, columns: vec![tap(1, 1)] };
        assert_eq!(backward.phases, [even, odd]);
    }
}
