//! The operations that networks spend their time in: by our kernels where there are some for the device and the type of
//! number ([`ktg_kernels::burn`]), else by Burn's own.

use burn::tensor::activation::relu;
use burn::tensor::ops::{ConvOptions, MaxPoolOptions};
use burn::tensor::{DType, FloatDType, Tensor, module};
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

/// `weight` in the type of number that `x` has; its gradient comes back in its own.
pub(crate) fn in_type_of<const D: usize>(x: &Tensor<D>, weight: Tensor<D>) -> Tensor<D> {
    let dtype = x.dtype();
    if dtype == weight.dtype() { weight } else { weight.cast(FloatDType::from(dtype)) }
}

/// The same in `f32`: what sums over many values, or is not large, is not worth the digits that half precision lacks.
pub(crate) fn in_single<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    if x.dtype() == DType::F32 { x } else { x.cast(FloatDType::F32) }
}

/// Convolution of `[batch, in, height, width]` with `[out, in, kernel, kernel]`, without bias.
pub(crate) fn conv2d(x: Tensor<4>, weight: Tensor<4>, stride: usize, padding: usize) -> Tensor<4> {
    if kernels::convolves(&x) {
        let kernel = weight.dims()[2];
        return kernels::conv2d(x, weight, Window { kernel, stride, padding });
    }
    module::conv2d(x, weight, None, ConvOptions::new([stride; 2], [padding; 2], [1, 1], 1))
}

/// Result, mean and biased variance of a batch norm with the batch's own statistics.
pub(crate) fn batch_norm_train(input: NormInput) -> (Tensor<4>, Tensor<1>, Tensor<1>) {
    let options = input.options();
    let NormInput { x, weight, bias, epsilon, residual, relu } = input;
    if kernels::normalises(&x) {
        return kernels::batch_norm_train(x, weight, bias, residual, options);
    }
    let dtype = FloatDType::from(x.dtype());
    let result = module::batch_norm_train(in_single(x), weight, bias, epsilon);
    (finish(result.output, residual, relu, dtype), result.mean.detach(), result.variance.detach())
}

/// Batch norm with given mean and variance.
pub(crate) fn batch_norm_inference(input: NormInput, mean: Tensor<1>, variance: Tensor<1>) -> Tensor<4> {
    let options = input.options();
    let NormInput { x, weight, bias, epsilon, residual, relu } = input;
    if kernels::normalises(&x) {
        return kernels::batch_norm_inference(x, weight, bias, mean, variance, residual, options);
    }
    let dtype = FloatDType::from(x.dtype());
    finish(module::batch_norm(in_single(x), weight, bias, mean, variance, epsilon), residual, relu, dtype)
}

/// As the fused kernels do it: everything in `f32`, then the result in the type of the images.
fn finish(y: Tensor<4>, residual: Option<Tensor<4>>, with_relu: bool, dtype: FloatDType) -> Tensor<4> {
    let y = if let Some(residual) = residual { y + in_single(residual) } else { y };
    let y = if with_relu { relu(y) } else { y };
    if dtype == FloatDType::F32 { y } else { y.cast(dtype) }
}

/// Maximum of 3x3 windows two pixels apart, with a border.
pub(crate) fn stem_pool(x: Tensor<4>) -> Tensor<4> {
    let window = Window { kernel: 3, stride: 2, padding: 1 };
    if kernels::convolves(&x) {
        return kernels::max_pool(x, window);
    }
    let Window { kernel, stride, padding } = window;
    let options = MaxPoolOptions::new([kernel; 2]).with_stride([stride; 2]).with_padding([padding; 2]);
    module::max_pool2d(x, options)
}

/// Mean over height and width: `[batch, channels, height, width]` to `[batch, channels]`, in `f32`.
pub(crate) fn global_average_pool(x: Tensor<4>) -> Tensor<2> {
    let x = in_single(x);
    if kernels::convolves(&x) {
        return kernels::global_average_pool(x);
    }
    let [batch, channels, height, width] = x.dims();
    x.reshape([batch, channels, height * width]).mean_dim(2).reshape([batch, channels])
}

/// `old * kept + new * added`, of tensors off the tape.
pub(crate) fn blend<const D: usize>(old: Tensor<D>, kept: f64, new: Tensor<D>, added: f64) -> Tensor<D> {
    if kernels::optimises(&old) {
        return kernels::blend(old, kept as f32, new, added as f32);
    }
    old * kept + new * added
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
    if kernels::optimises(&w) {
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
