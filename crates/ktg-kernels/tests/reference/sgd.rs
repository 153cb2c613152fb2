//! Stochastic gradient descent with momentum, as `torch.optim.SGD` defines it.

use ktg_kernels::SgdStep;

pub fn sgd(step: SgdStep, parameters: &mut [f64], gradient: &[f64], velocity: &mut [f64]) {
    let [rate, momentum, decay] = [step.learning_rate, step.momentum, step.weight_decay].map(f64::from);
    for ((w, g), v) in parameters.iter_mut().zip(gradient).zip(velocity) {
        let d = g + decay * *w;
        *v = if step.first { d } else { momentum * *v + d };
        *w -= rate * *v;
    }
}
