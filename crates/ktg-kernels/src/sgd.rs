//! Stochastic gradient descent in one pass over parameter, gradient and velocity.

use crate::parallel::{Shared, parallel};
use crate::simd::{Simd, Task};

/// One step of `torch.optim.SGD` (dampening 0, no Nesterov): `d = gradient + weight_decay * w`;
/// `v = momentum * v + d` (at the first step `v = d`); `w -= learning_rate * v`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SgdStep {
    /// Step size.
    pub learning_rate: f32,
    /// Share of the last update that goes on. With 0 there is no velocity.
    pub momentum: f32,
    /// L2 penalty.
    pub weight_decay: f32,
    /// The velocity is not read.
    pub first: bool,
}

/// Parameters a task updates.
const SOME: usize = 1 << 16;

pub(crate) fn sgd<S: Simd>(step: SgdStep, parameters: &mut [f32], gradient: &[f32], velocity: &mut [f32]) {
    let len = parameters.len();
    let (w, v) = (Shared::new(parameters), Shared::new(velocity));
    parallel(len.div_ceil(SOME), |task| {
        let start = task * SOME;
        let some = SOME.min(len - start);
        // SAFETY: each task updates its own parameters; without momentum the velocity is not touched.
        unsafe {
            let w = std::slice::from_raw_parts_mut(w.at(start), some);
            let v = if step.momentum == 0.0 {
                Default::default()
            } else {
                std::slice::from_raw_parts_mut(v.at(start), some)
            };
            S::vectorize(Update { step, w, g: &gradient[start..start + some], v });
        }
    });
}

struct Update<'a> {
    step: SgdStep,
    w: &'a mut [f32],
    g: &'a [f32],
    v: &'a mut [f32],
}

impl Task for Update<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let SgdStep { learning_rate, momentum, weight_decay, first } = self.step;
        let parameters = self.w.iter_mut().zip(self.g);
        if momentum == 0.0 {
            parameters.for_each(|(w, g)| *w -= learning_rate * (g + weight_decay * *w));
        } else {
            for ((w, g), v) in parameters.zip(self.v) {
                let d = g + weight_decay * *w;
                *v = if first { d } else { momentum * *v + d };
                *w -= learning_rate * *v;
            }
        }
    }
}
