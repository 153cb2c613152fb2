//! Operations on each value by itself.

use crate::Kernels;
use crate::exponential::{gelu, gelu_slope};
use crate::parallel::for_each_piece;
use crate::shape::{Result, check_length};
use crate::simd::{Simd, Task, at_level, plain};

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
    /// `from (1 + erf(from / sqrt 2)) / 2`, the exact GELU.
    Gelu,
    /// `to` times the derivative of GELU at `from`, its input: the gradient of a GELU.
    GeluBackward,
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
        if matches!(with, Each::Gelu | Each::GeluBackward) {
            at_level!(self.level(), S => gelu_all::<S>(with == Each::GeluBackward, to, from));
            return Ok(());
        }
        for_each_piece(to, SOME, |i, to| self.compute(part(with, to, &from[i * SOME..][..to.len()])));
        Ok(())
    }
}

/// GELU, or its gradient: in vectors that we make, since compilers make none of exponential functions.
pub(crate) fn gelu_all<S: Simd>(backward: bool, to: &mut [f32], from: &[f32]) {
    for_each_piece(to, SOME, |i, to| {
        let from = &from[i * SOME..][..to.len()];
        // SAFETY: both slices are equally long.
        unsafe { S::vectorize(Gelu { to, from, backward }) }
    });
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
            Each::Gelu | Each::GeluBackward => unreachable!("a task of its own"),
        }
    }
}

/// GELU of values, or its gradient. Both slices are equally long.
struct Gelu<'a> {
    to: &'a mut [f32],
    from: &'a [f32],
    backward: bool,
}

impl Task for Gelu<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { to, from, backward } = self;
        for (to, from) in to.chunks_mut(S::LANES).zip(from.chunks(S::LANES)) {
            let n = to.len();
            // SAFETY: both pieces have n values.
            unsafe {
                let x = S::load_up_to(from.as_ptr(), n);
                let y = if backward { S::mul(S::load_up_to(to.as_ptr(), n), gelu_slope::<S>(x)) } else { gelu::<S>(x) };
                S::store_up_to(to.as_mut_ptr(), y, n);
            }
        }
    }
}
