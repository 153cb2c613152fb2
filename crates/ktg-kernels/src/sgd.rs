//! Stochastic gradient descent in one pass over parameter, gradient and velocity.

use crate::Kernels;
use crate::parallel::for_each_pair;
use crate::shape::{Result, check_length};
use crate::simd::plain;

/// One step of `torch.optim.SGD` (dampening 0): `d = scale * gradient + weight_decay * w`; `v = momentum * v + d` (at the
/// first step `v = d`); `w -= learning_rate * v`, or with Nesterov's momentum `w -= learning_rate * (d + momentum * v)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SgdStep {
    /// Step size.
    pub learning_rate: f32,
    /// Share of the last update that goes on. With 0 there is no velocity.
    pub momentum: f32,
    /// Nesterov's momentum: the step looks one update ahead.
    pub nesterov: bool,
    /// L2 penalty.
    pub weight_decay: f32,
    /// Factor on the gradient.
    pub scale: f32,
    /// The velocity is not read.
    pub first: bool,
}

/// Parameters a task updates.
pub(crate) const SOME: usize = 1 << 16;

impl Kernels {
    /// One optimizer step, in place. `velocity` may be empty where the momentum is 0.
    ///
    /// # Errors
    ///
    /// If the slices have different lengths.
    pub fn sgd(&self, step: SgdStep, parameters: &mut [f32], gradient: &[f32], velocity: &mut [f32]) -> Result {
        check_length("the gradient", parameters.len(), gradient.len())?;
        if step.momentum != 0.0 {
            check_length("the velocity", parameters.len(), velocity.len())?;
        }
        for_each_pair(parameters, SOME, velocity, SOME, |i, w, v| {
            self.compute(update(step, w, &gradient[i * SOME..][..w.len()], v));
        });
        Ok(())
    }
}

plain! {
    fn update(step: SgdStep, w: &'a mut [f32], g: &'a [f32], v: &'a mut [f32]) {
        let SgdStep { learning_rate, momentum, nesterov, weight_decay, scale, first } = step;
        let parameters = w.iter_mut().zip(g);
        if momentum == 0.0 {
            parameters.for_each(|(w, g)| *w -= learning_rate * (scale * g + weight_decay * *w));
        } else {
            for ((w, g), v) in parameters.zip(v) {
                let d = scale * g + weight_decay * *w;
                *v = if first { d } else { momentum * *v + d };
                *w -= learning_rate * if nesterov { d + momentum * *v } else { *v };
            }
        }
    }
}
