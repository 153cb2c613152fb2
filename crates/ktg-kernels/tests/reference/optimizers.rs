//! Stochastic gradient descent and AdamW, as `torch.optim` defines them.

use ktg_kernels::{AdamWStep, SgdStep};

pub fn sgd(step: SgdStep, parameters: &mut [f64], gradient: &[f64], velocity: &mut [f64]) {
    let [rate, momentum, decay, scale] =
        [step.learning_rate, step.momentum, step.weight_decay, step.scale].map(f64::from);
    for ((w, g), v) in parameters.iter_mut().zip(gradient).zip(velocity) {
        let d = scale * g + decay * *w;
        *v = if step.first { d } else { momentum * *v + d };
        *w -= rate * if step.nesterov { d + momentum * *v } else { *v };
    }
}

pub fn adamw(step: AdamWStep, parameters: &mut [f64], gradient: &[f64], [mean, square]: &mut [Vec<f64>; 2]) {
    let [beta1, beta2] = step.betas;
    for (((w, g), m), v) in parameters.iter_mut().zip(gradient).zip(mean).zip(square) {
        let g = f64::from(step.scale) * g;
        *m = beta1 * *m + (1.0 - beta1) * g;
        *v = beta2 * *v + (1.0 - beta2) * g * g;
        let unbiased_mean = *m / (1.0 - beta1.powf(step.number as f64));
        let unbiased_square = *v / (1.0 - beta2.powf(step.number as f64));
        *w -= step.learning_rate * step.weight_decay * *w;
        *w -= step.learning_rate * unbiased_mean / (unbiased_square.sqrt() + step.epsilon);
    }
}
