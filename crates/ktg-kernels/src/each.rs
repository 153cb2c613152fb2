//! Operations on each value by itself.

use crate::Kernels;
use crate::parallel::for_each_piece;
use crate::shape::{Result, check_length};
use crate::simd::plain;

/// What becomes of a value `to`, given the value `from` at the same place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Each {
    /// `to + from`
    Add,
    /// `max(from, 0)`; NaN stays.
    Relu,
    /// `to` where `from`, the result of a ReLU, is not `<= 0`, else 0: the gradient of a ReLU.
    ReluBackward,
    /// `min(max(from, 0), 6)`; NaN stays.
    Relu6,
    /// `to` where `from`, the result of a ReLU6, is neither `<= 0` nor `>= 6`, else 0: the gradient of a ReLU6.
    Relu6Backward,
    /// `1 / (1 + exp(-from))`
    Sigmoid,
    /// `to * from * (1 - from)`, the gradient of a sigmoid whose result is `from`.
    SigmoidBackward,
}

/// Values a task handles.
const SOME: usize = 1 << 14;

impl Kernels {
    /// An operation on each value by itself: `to` becomes what `with` says of it and of `from`.
    ///
    /// # Errors
    ///
    /// If there are not as many values in both.
    pub fn each(&self, with: Each, to: &mut [f32], from: &[f32]) -> Result {
        check_length("the values", to.len(), from.len())?;
        for_each_piece(to, SOME, |i, to| self.compute(part(with, to, &from[i * SOME..][..to.len()])));
        Ok(())
    }
}

plain! {
    fn part(with: Each, to: &'a mut [f32], from: &'a [f32]) {
        let values = to.iter_mut().zip(from);
        match with {
            Each::Add => values.for_each(|(to, from)| *to += from),
            Each::Relu => values.for_each(|(to, from)| *to = if *from <= 0.0 { 0.0 } else { *from }),
            Each::ReluBackward => values.for_each(|(to, from)| *to = if *from <= 0.0 { 0.0 } else { *to }),
            Each::Relu6 => values.for_each(|(to, from)| {
                let above = if *from <= 0.0 { 0.0 } else { *from };
                *to = if above >= 6.0 { 6.0 } else { above };
            }),
            Each::Relu6Backward => {
                values.for_each(|(to, from)| *to = if (*from <= 0.0) | (*from >= 6.0) { 0.0 } else { *to });
            }
            // In double precision: there are few of them, and everything behind depends on each.
            Each::Sigmoid => values.for_each(|(to, from)| *to = (1.0 / (1.0 + (-f64::from(*from)).exp())) as f32),
            Each::SigmoidBackward => values.for_each(|(to, from)| *to *= from * (1.0 - from)),
        }
    }
}
