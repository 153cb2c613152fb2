//! AdamW in one pass over parameter, gradient and both moments.

use crate::Kernels;
use crate::parallel::for_each_trio;
use crate::sgd::SOME;
use crate::shape::{Result, check_length};
use crate::simd::plain;

/// One step of `torch.optim.AdamW` (Loshchilov & Hutter 2019; no AMSGrad): with `g = scale * gradient`,
/// `w *= 1 - learning_rate * weight_decay`; `m += (1 - beta1) (g - m)`; `v = beta2 * v + (1 - beta2) g^2`;
/// `w -= learning_rate / correction1 * m / (sqrt(v) / sqrt(correction2) + epsilon)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamWStep {
    /// Step size.
    pub learning_rate: f64,
    /// Shares of the past in the means of the gradients and of their squares.
    pub betas: [f64; 2],
    /// Added to the root of the mean square.
    pub epsilon: f64,
    /// Decay of the parameters, times the learning rate, apart from the gradient.
    pub weight_decay: f64,
    /// Factor on the gradient.
    pub scale: f32,
    /// Which update it is, counted from 1: `correction = 1 - beta^number` undoes that the means begin at zero.
    pub number: u64,
}

/// The step's numbers as the parameters see them, each rounded once.
#[derive(Clone, Copy)]
struct Numbers {
    kept: f32,
    new_mean: f32,
    old_square: f32,
    new_square: f32,
    rate: f32,
    root: f32,
    epsilon: f32,
    scale: f32,
}

impl AdamWStep {
    fn numbers(self) -> Numbers {
        let [beta1, beta2] = self.betas;
        let correction = |beta: f64| 1.0 - beta.powf(self.number as f64);
        Numbers {
            kept: (1.0 - self.learning_rate * self.weight_decay) as f32,
            new_mean: (1.0 - beta1) as f32,
            old_square: beta2 as f32,
            new_square: (1.0 - beta2) as f32,
            rate: (self.learning_rate / correction(beta1)) as f32,
            root: correction(beta2).sqrt() as f32,
            epsilon: self.epsilon as f32,
            scale: self.scale,
        }
    }
}

impl Kernels {
    /// One optimizer step, in place. Both moments are zero before the first.
    ///
    /// # Errors
    ///
    /// If the slices have different lengths.
    pub fn adamw(
        &self,
        step: AdamWStep,
        parameters: &mut [f32],
        gradient: &[f32],
        mean: &mut [f32],
        square: &mut [f32],
    ) -> Result {
        check_length("the gradient", parameters.len(), gradient.len())?;
        check_length("the mean of the gradients", parameters.len(), mean.len())?;
        check_length("the mean of their squares", parameters.len(), square.len())?;
        let numbers = step.numbers();
        for_each_trio(parameters, mean, square, SOME, |i, w, m, v| {
            self.compute(update(numbers, w, &gradient[i * SOME..][..w.len()], m, v));
        });
        Ok(())
    }
}

plain! {
    fn update(numbers: Numbers, w: &'a mut [f32], g: &'a [f32], m: &'a mut [f32], v: &'a mut [f32]) {
        let Numbers { kept, new_mean, old_square, new_square, rate, root, epsilon, scale } = numbers;
        for (((w, g), m), v) in w.iter_mut().zip(g).zip(m).zip(v) {
            let g = scale * g;
            *m += new_mean * (g - *m);
            *v = old_square * *v + new_square * (g * g);
            *w = kept * *w - rate * (*m / (v.sqrt() / root + epsilon));
        }
    }
}
