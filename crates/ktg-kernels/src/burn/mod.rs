//! The kernels as operations on [Burn](https://burn.dev) tensors, with their gradients: all of them on the CPU device
//! `flex`, batch norm and the optimiser on GPUs too (feature `cube`, by way of `vulkan`, `cuda`, `metal` or `rocm`).
//!
//! All functions panic, as Burn's own do, if shapes do not fit together. On tensors they have no kernel for they panic
//! too, or where Burn's own operations were chosen: ask [`convolves`], [`normalises`] or [`optimises`] first.

mod autodiff;
mod choice;
#[cfg(feature = "cube")]
mod cube;
mod flex;
mod gpu;

pub use crate::keep_freed_memory;
pub use choice::{Choice, ChoiceError, VARIABLE, choose, chosen};
pub use gpu::{Hardware, Queue, hardware, in_queue, is_gpu};

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, DispatchDevice, backend_extension};
use burn::tensor::{DType, Tensor};

use crate::{SgdStep, Window};

/// What is computed along with a batch norm; see [`Fused`](crate::Fused).
#[derive(Clone, Copy, Debug)]
pub struct NormOptions {
    /// Added to the variance.
    pub epsilon: f32,
    /// Negative results become 0.
    pub relu: bool,
}

/// Batch norm as Burn's backends see it. (Twice each: `backend_extension` knows no optional tensors.)
#[backend_extension(Autodiff, Flex, Cube: cfg(feature = "cube"))]
pub trait NormOps: Backend {
    /// See [`batch_norm_train`].
    fn kernel_batch_norm_train(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        options: NormOptions,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// See [`batch_norm_train`].
    fn kernel_batch_norm_train_add(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        options: NormOptions,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// See [`batch_norm_inference`].
    fn kernel_batch_norm_inference(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        variance: FloatTensor<Self>,
        options: NormOptions,
    ) -> FloatTensor<Self>;

    /// See [`batch_norm_inference`].
    fn kernel_batch_norm_inference_add(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        variance: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        options: NormOptions,
    ) -> FloatTensor<Self>;
}

/// The other operations of networks as Burn's backends see them.
#[backend_extension(Autodiff, Flex)]
pub trait KernelOps: Backend {
    /// See [`conv2d`].
    fn kernel_conv2d(x: FloatTensor<Self>, weight: FloatTensor<Self>, window: Window) -> FloatTensor<Self>;

    /// See [`max_pool`].
    fn kernel_max_pool(x: FloatTensor<Self>, window: Window) -> FloatTensor<Self>;

    /// See [`global_average_pool`].
    fn kernel_global_average_pool(x: FloatTensor<Self>) -> FloatTensor<Self>;
}

/// The optimiser, which has no gradient.
#[backend_extension(Flex, Cube: cfg(feature = "cube"))]
pub trait KernelOptimiser: Backend {
    /// See [`sgd`].
    fn kernel_sgd(
        parameter: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        velocity: FloatTensor<Self>,
        step: SgdStep,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// See [`blend`].
    fn kernel_blend(old: FloatTensor<Self>, kept: f32, new: FloatTensor<Self>, added: f32) -> FloatTensor<Self>;
}

fn is_cpu<const D: usize>(tensor: &Tensor<D>) -> bool {
    matches!(tensor.device().inner().as_dispatch(), DispatchDevice::Flex(_)) && tensor.dtype() == DType::F32
}

/// Whether [`conv2d`] and the pools work on this tensor: `f32` on the CPU, and not switched off ([`Choice`]).
pub fn convolves(x: &Tensor<4>) -> bool {
    chosen() != Choice::Reference && is_cpu(x)
}

/// Whether the batch norms work on this tensor: `f32` on the CPU, any float on a GPU, and not switched off ([`Choice`]).
pub fn normalises(x: &Tensor<4>) -> bool {
    chosen() != Choice::Reference && (is_cpu(x) || gpu::is_on_gpu(x))
}

/// Whether [`sgd`] works on this tensor: `f32` on CPU or GPU, and not switched off ([`Choice`]).
pub fn optimises<const D: usize>(parameter: &Tensor<D>) -> bool {
    chosen() != Choice::Reference && (is_cpu(parameter) || gpu::is_on_gpu(parameter) && parameter.dtype() == DType::F32)
}

/// Convolution of images `[batch, input, height, width]` with weights `[output, input, kernel, kernel]`.
pub fn conv2d(x: Tensor<4>, weight: Tensor<4>, window: Window) -> Tensor<4> {
    Tensor::from_dispatch(Dispatch::kernel_conv2d(x.into_dispatch(), weight.into_dispatch(), window))
}

/// Batch norm of `x`, `[batch, channels, height, width]`, with the batch's statistics; then the residual is added, then
/// comes a ReLU, both where asked for. Returns the result, the batch's mean and its biased variance; no gradient flows
/// through the latter two.
pub fn batch_norm_train(
    x: Tensor<4>,
    weight: Tensor<1>,
    bias: Tensor<1>,
    residual: Option<Tensor<4>>,
    options: NormOptions,
) -> (Tensor<4>, Tensor<1>, Tensor<1>) {
    let (x, weight, bias) = (x.into_dispatch(), weight.into_dispatch(), bias.into_dispatch());
    let (y, mean, variance) = match residual {
        None => Dispatch::kernel_batch_norm_train(x, weight, bias, options),
        Some(r) => Dispatch::kernel_batch_norm_train_add(x, weight, bias, r.into_dispatch(), options),
    };
    (Tensor::from_dispatch(y), Tensor::from_dispatch(mean), Tensor::from_dispatch(variance))
}

/// As [`batch_norm_train`], with given statistics.
pub fn batch_norm_inference(
    x: Tensor<4>,
    weight: Tensor<1>,
    bias: Tensor<1>,
    mean: Tensor<1>,
    variance: Tensor<1>,
    residual: Option<Tensor<4>>,
    options: NormOptions,
) -> Tensor<4> {
    let (x, weight, bias) = (x.into_dispatch(), weight.into_dispatch(), bias.into_dispatch());
    let (mean, variance) = (mean.into_dispatch(), variance.into_dispatch());
    Tensor::from_dispatch(match residual {
        None => Dispatch::kernel_batch_norm_inference(x, weight, bias, mean, variance, options),
        Some(r) => {
            let residual = r.into_dispatch();
            Dispatch::kernel_batch_norm_inference_add(x, weight, bias, mean, variance, residual, options)
        }
    })
}

/// Maximum of every window of `[batch, channels, height, width]`.
pub fn max_pool(x: Tensor<4>, window: Window) -> Tensor<4> {
    Tensor::from_dispatch(Dispatch::kernel_max_pool(x.into_dispatch(), window))
}

/// Mean over height and width: `[batch, channels, height, width]` to `[batch, channels]`.
pub fn global_average_pool(x: Tensor<4>) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::kernel_global_average_pool(x.into_dispatch()))
}

/// One optimiser step; returns the new parameter and velocity. On the CPU their memory is used again where nobody else
/// holds it. All three are off the tape, `f32` and of one shape; the velocity is ignored at the first step and where momentum is 0.
pub fn sgd<const D: usize>(
    parameter: Tensor<D>,
    gradient: Tensor<D>,
    velocity: Tensor<D>,
    step: SgdStep,
) -> (Tensor<D>, Tensor<D>) {
    let (parameter, gradient) = (parameter.into_dispatch(), gradient.into_dispatch());
    let (parameter, velocity) = Dispatch::kernel_sgd(parameter, gradient, velocity.into_dispatch(), step);
    (Tensor::from_dispatch(parameter), Tensor::from_dispatch(velocity))
}

/// `old * kept + new * added`; both are off the tape and of one shape.
pub fn blend<const D: usize>(old: Tensor<D>, kept: f32, new: Tensor<D>, added: f32) -> Tensor<D> {
    Tensor::from_dispatch(Dispatch::kernel_blend(old.into_dispatch(), kept, new.into_dispatch(), added))
}
