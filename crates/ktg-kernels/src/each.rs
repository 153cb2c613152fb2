//! Operations on each value by itself.

use crate::parallel::{Shared, parallel};
use crate::simd::{Simd, Task};

/// What becomes of a value `to`, given the value `from` at the same place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Each {
    /// `to + from`
    Add,
    /// `max(from, 0)`; NaN stays.
    Relu,
    /// `to` where `from`, the result of a ReLU, is not `<= 0`, else 0: the gradient of a ReLU.
    ReluBackward,
    /// `1 / (1 + exp(-from))`
    Sigmoid,
    /// `to * from * (1 - from)`, the gradient of a sigmoid whose result is `from`.
    SigmoidBackward,
}

/// Values a task handles.
const SOME: usize = 1 << 14;

pub(crate) fn each<S: Simd>(with: Each, to: &mut [f32], from: &[f32]) {
    let len = to.len();
    let to = Shared::new(to);
    parallel(len.div_ceil(SOME), |task| {
        let start = task * SOME;
        let some = SOME.min(len - start);
        // SAFETY: each task writes its own values; safe code compiled for the level's instructions.
        unsafe {
            let to = std::slice::from_raw_parts_mut(to.at(start), some);
            S::vectorize(Part { with, to, from: &from[start..start + some] });
        }
    });
}

struct Part<'a> {
    with: Each,
    to: &'a mut [f32],
    from: &'a [f32],
}

impl Task for Part<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let values = self.to.iter_mut().zip(self.from);
        match self.with {
            Each::Add => values.for_each(|(to, from)| *to += from),
            Each::Relu => values.for_each(|(to, from)| *to = if *from <= 0.0 { 0.0 } else { *from }),
            Each::ReluBackward => values.for_each(|(to, from)| *to = if *from <= 0.0 { 0.0 } else { *to }),
            // In double precision: there are few of them, and everything behind depends on each.
            Each::Sigmoid => values.for_each(|(to, from)| *to = (1.0 / (1.0 + (-f64::from(*from)).exp())) as f32),
            Each::SigmoidBackward => values.for_each(|(to, from)| *to *= from * (1.0 - from)),
        }
    }
}
