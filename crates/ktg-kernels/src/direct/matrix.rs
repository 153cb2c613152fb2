//! Matrices that products read row by row.

use super::source::Data;
use crate::parallel::for_each_piece;
use crate::planes::{Grid, Planes, Read};
use crate::simd::Simd;
use crate::workspace::buffer;

/// A matrix by rows.
pub(super) struct Matrix<'a> {
    pub values: Data<'a>,
    /// Values from one row to the next.
    pub step: usize,
}

/// Bytes of which the distance of rows should be no multiple: the rows of a tile would fall into one set of a first-level
/// cache, which holds less.
const ONE_SET: usize = 4096;

/// Where rows of so many values should be, from one to the next.
pub(super) fn good_step(len: usize) -> usize {
    if (len * size_of::<f32>()).is_multiple_of(ONE_SET) { len + 16 } else { len }
}

impl<'a> Matrix<'a> {
    /// Rows of `len` values that follow each other.
    pub fn new(values: &'a [f32], len: usize) -> Self {
        Self { values: Data::Given(values), step: len }
    }

    /// The weights `[output, rest]` as `[rest, output]`.
    pub fn transposed<S: Simd>(weights: &'a [f32], output: usize) -> Self {
        let rest = weights.len() / output;
        if output == 1 || rest == 1 {
            return Self::new(weights, output);
        }
        // Whole vectors are written.
        let step = good_step(output.next_multiple_of(S::LANES));
        let mut result = buffer(rest * step);
        const ROWS: usize = 64;
        for_each_piece(&mut result, ROWS * step, |task, rows| {
            let width = rows.len() / step;
            for first in (0..output).step_by(S::LANES) {
                let start = weights[first * rest + task * ROWS..].as_ptr();
                let planes = Planes { start, stride: rest, channels: S::LANES.min(output - first), width };
                let to = Grid { start: rows[first..].as_mut_ptr(), row_step: 0, vector_step: step };
                // SAFETY: these weights are there, and a row has room for whole vectors.
                unsafe { S::vectorize(Read { planes, rows: 0..1, to }) }
            }
        });
        Self { values: Data::Made(result), step }
    }
}
