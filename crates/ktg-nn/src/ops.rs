//! The operations that networks spend their time in: by our CPU kernels where they can be used
//! ([`ktg_kernels::burn::is_supported`]), else by Burn's own.

use burn::tensor::activation::relu;
use burn::tensor::ops::{ConvOptions, MaxPoolOptions};
use burn::tensor::{Tensor, module};
use ktg_kernels::burn::{self as kernels, NormOptions};
use ktg_kernels::{SgdStep, Window};

/// What a batch norm does to its input, apart from the statistics.
pub(crate) struct NormInput {
    /// `[batch, channels, height, width]`
    pub x: Tensor<4>,
    /// `[channels]`
    pub weight: Tensor<1>,
    /// `[channels]`
    pub bias: Tensor<1>,
    pub epsilon: f64,
    /// Added to the result.
    pub residual: Option<Tensor<4>>,
    /// Apply a ReLU in the end.
    pub relu: bool,
}

impl NormInput {
    fn options(&self) -> NormOptions {
        NormOptions { epsilon: self.epsilon as f32, relu: self.relu }
    }
}

/// Convolution of `[batch, in, height, width]` with `[out, in, kernel, kernel]`, without bias.
pub(crate) fn conv2d(x: Tensor<4>, weight: Tensor<4>, stride: usize, padding: usize) -> Tensor<4> {
    if kernels::is_supported(&x.device()) {
        let kernel = weight.dims()[2];
        return kernels::conv2d(x, weight, Window { kernel, stride, padding });
    }
    module::conv2d(x, weight, None, ConvOptions::new([stride; 2], [padding; 2], [1, 1], 1))
}

/// Result, mean and biased variance of a batch norm with the batch's own statistics.
pub(crate) fn batch_norm_train(input: NormInput) -> (Tensor<4>, Tensor<1>, Tensor<1>) {
    let options = input.options();
    let NormInput { x, weight, bias, epsilon, residual, relu } = input;
    if kernels::is_supported(&x.device()) {
        return kernels::batch_norm_train(x, weight, bias, residual, options);
    }
    let result = module::batch_norm_train(x, weight, bias, epsilon);
    (finish(result.output, residual, relu), result.mean.detach(), result.variance.detach())
}

/// Batch norm with given mean and variance.
pub(crate) fn batch_norm_inference(input: NormInput, mean: Tensor<1>, variance: Tensor<1>) -> Tensor<4> {
    let options = input.options();
    let NormInput { x, weight, bias, epsilon, residual, relu } = input;
    if kernels::is_supported(&x.device()) {
        return kernels::batch_norm_inference(x, weight, bias, mean, variance, residual, options);
    }
    finish(module::batch_norm(x, weight, bias, mean, variance, epsilon), residual, relu)
}

fn finish(y: Tensor<4>, residual: Option<Tensor<4>>, with_relu: bool) -> Tensor<4> {
    let y = if let Some(residual) = residual { y + residual } else { y };
    if with_relu { relu(y) } else { y }
}

/// Maximum of 3x3 windows two pixels apart, with a border.
pub(crate) fn stem_pool(x: Tensor<4>) -> Tensor<4> {
    let window = Window { kernel: 3, stride: 2, padding: 1 };
    if kernels::is_supported(&x.device()) {
        return kernels::max_pool(x, window);
    }
    let Window { kernel, stride, padding } = window;
    let options = MaxPoolOptions::new([kernel; 2]).with_stride([stride; 2]).with_padding([padding; 2]);
    module::max_pool2d(x, options)
}

/// Mean over height and width: `[batch, channels, height, width]` to `[batch, channels]`.
pub(crate) fn global_average_pool(x: Tensor<4>) -> Tensor<2> {
    if kernels::is_supported(&x.device()) {
        return kernels::global_average_pool(x);
    }
    let [batch, channels, height, width] = x.dims();
    x.reshape([batch, channels, height * width]).mean_dim(2).reshape([batch, channels])
}

/// One step of stochastic gradient descent on tensors off the tape: with `d = gradient + weight_decay * w`, the velocity
/// becomes `momentum * velocity + d` (at first `d`), and `w` becomes `w - learning_rate * velocity`. Returns both;
/// without momentum there is no velocity.
pub fn sgd<const D: usize>(
    w: Tensor<D>,
    gradient: Tensor<D>,
    velocity: Option<Tensor<D>>,
    learning_rate: f64,
    momentum: f64,
    weight_decay: f64,
) -> (Tensor<D>, Option<Tensor<D>>) {
    if kernels::is_supported(&w.device()) {
        let step = SgdStep {
            learning_rate: learning_rate as f32,
            momentum: momentum as f32,
            weight_decay: weight_decay as f32,
            first: velocity.is_none(),
        };
        // At the first step the kernel writes the velocity without reading it: any tensor of its shape will do.
        let velocity = velocity.unwrap_or_else(|| Tensor::empty(w.shape(), &w.device()));
        let (w, velocity) = kernels::sgd(w, gradient, velocity, step);
        return (w, (momentum != 0.0).then_some(velocity));
    }
    let mut update = gradient;
    if weight_decay != 0.0 {
        update = update + w.clone() * weight_decay;
    }
    if momentum == 0.0 {
        return (w - update * learning_rate, None);
    }
    if let Some(velocity) = velocity {
        update = velocity * momentum + update;
    }
    (w - update.clone() * learning_rate, Some(update))
}
