//! Batch norm on GPUs: launches the [kernels](super::norm_kernels).

use burn_cubecl::CubeBackend;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::norm_kernels::{self as device, LANES, LINES};
use super::{Rows, cubes, element, floats_near, images};
use crate::burn::autodiff::{NormBackward, NormGradients};
use crate::burn::{NormOps, NormOptions};

/// Rows that one line of a cube adds up before the sum is handed on, unless that makes too many parts: long enough to make
/// these few, short enough to have many cubes.
const ROWS_PER_LINE: usize = 32;
/// Parts that one unit adds up at most.
const MOST_PARTS: usize = 256;

/// Weight, bias, mean and variance, `[channels]`.
struct Channels {
    weight: CubeTensor,
    bias: CubeTensor,
    mean: CubeTensor,
    variance: CubeTensor,
}

fn parts(rows: usize) -> usize {
    rows.div_ceil(ROWS_PER_LINE * LINES as usize).clamp(1, MOST_PARTS)
}

fn sum_cubes(x: &Rows) -> (CubeCount, CubeDim) {
    let across = x.channels.div_ceil(LANES as usize) as u32;
    (CubeCount::new_2d(across, parts(x.rows) as u32), CubeDim::new_2d(LANES, LINES))
}

/// Mean and biased variance of the batch.
fn statistics(x: &Rows) -> (CubeTensor, CubeTensor) {
    let parts = parts(x.rows);
    let partial = floats_near(&x.tensor, &[2, parts, x.channels]);
    let (mean, variance) = (floats_near(&x.tensor, &[x.channels]), floats_near(&x.tensor, &[x.channels]));
    let (count, dim) = sum_cubes(x);
    // SAFETY: every unit checks its channel and row against the sizes given, which are those of `x`, at least one each;
    // `partial` has room for two sums of every part and channel.
    unsafe {
        device::statistics_sums::launch_unchecked(
            &x.tensor.client,
            count,
            dim,
            x.tensor.clone().into_tensor_arg(),
            partial.clone().into_tensor_arg(),
            x.rows,
            x.channels,
            element(&x.tensor),
        );
    }
    let (count, dim) = cubes(&x.tensor, x.channels);
    // SAFETY: as above; mean and variance have one value a channel.
    unsafe {
        device::statistics::launch_unchecked(
            &x.tensor.client,
            count,
            dim,
            x.tensor.clone().into_tensor_arg(),
            partial.into_tensor_arg(),
            mean.clone().into_tensor_arg(),
            variance.clone().into_tensor_arg(),
            x.rows,
            x.channels,
            parts,
            element(&x.tensor),
        );
    }
    (mean, variance)
}

fn normalise(x: &Rows, channels: Channels, residual: Option<CubeTensor>, options: NormOptions) -> CubeTensor {
    let y = x.like();
    let vector = x.vector();
    let residual = residual.map(|r| x.matching(r));
    let has_residual = residual.is_some();
    let (count, dim) = cubes(&x.tensor, x.rows * x.channels / vector);
    // SAFETY: the kernel stops beyond `y`, which has the size of `x` and, as `matching` asserts, of the residual; a channel's
    // index is taken modulo their number, which is the length of the other four, as `per_channel` asserted. `Rows::of`
    // asserts that a `u32` counts them all.
    unsafe {
        device::normalise::launch_unchecked(
            &x.tensor.client,
            count,
            dim,
            vector,
            x.tensor.clone().into_linear_view(),
            residual.unwrap_or_else(|| x.tensor.clone()).into_linear_view(),
            channels.weight.into_linear_view(),
            channels.bias.into_linear_view(),
            channels.mean.into_linear_view(),
            channels.variance.into_linear_view(),
            y.clone().into_linear_view(),
            options.epsilon,
            x.channels / vector,
            has_residual,
            options.relu,
            element(&x.tensor),
        );
    }
    images(y)
}

fn train(
    x: CubeTensor,
    weight: CubeTensor,
    bias: CubeTensor,
    residual: Option<CubeTensor>,
    options: NormOptions,
) -> (CubeTensor, CubeTensor, CubeTensor) {
    let x = Rows::of(x);
    let (mean, variance) = statistics(&x);
    let channels = Channels {
        weight: x.per_channel(weight),
        bias: x.per_channel(bias),
        mean: mean.clone(),
        variance: variance.clone(),
    };
    (normalise(&x, channels, residual, options), mean, variance)
}

impl NormOps for CubeBackend {
    fn kernel_batch_norm_train(
        x: CubeTensor,
        weight: CubeTensor,
        bias: CubeTensor,
        options: NormOptions,
    ) -> (CubeTensor, CubeTensor, CubeTensor) {
        train(x, weight, bias, None, options)
    }

    fn kernel_batch_norm_train_add(
        x: CubeTensor,
        weight: CubeTensor,
        bias: CubeTensor,
        residual: CubeTensor,
        options: NormOptions,
    ) -> (CubeTensor, CubeTensor, CubeTensor) {
        train(x, weight, bias, Some(residual), options)
    }

    fn kernel_batch_norm_inference(
        x: CubeTensor,
        weight: CubeTensor,
        bias: CubeTensor,
        mean: CubeTensor,
        variance: CubeTensor,
        options: NormOptions,
    ) -> CubeTensor {
        let x = Rows::of(x);
        let [weight, bias, mean, variance] = [weight, bias, mean, variance].map(|values| x.per_channel(values));
        normalise(&x, Channels { weight, bias, mean, variance }, None, options)
    }

    fn kernel_batch_norm_inference_add(
        x: CubeTensor,
        weight: CubeTensor,
        bias: CubeTensor,
        mean: CubeTensor,
        variance: CubeTensor,
        residual: CubeTensor,
        options: NormOptions,
    ) -> CubeTensor {
        let x = Rows::of(x);
        let [weight, bias, mean, variance] = [weight, bias, mean, variance].map(|values| x.per_channel(values));
        normalise(&x, Channels { weight, bias, mean, variance }, Some(residual), options)
    }
}

impl NormGradients for CubeBackend {
    fn batch_norm_backward(
        gradient: CubeTensor,
        state: NormBackward<CubeBackend>,
    ) -> (CubeTensor, CubeTensor, CubeTensor, Option<CubeTensor>) {
        let x = Rows::of(state.x);
        let gradient = x.matching(gradient);
        let [weight, mean, variance] = [state.weight, state.mean, state.variance].map(|values| x.per_channel(values));
        let relu = state.relu_output.is_some();
        let y = state.relu_output.map_or_else(|| x.tensor.clone(), |y| x.matching(y));

        let parts = parts(x.rows);
        let partial = floats_near(&x.tensor, &[2, parts, x.channels]);
        let (count, dim) = sum_cubes(&x);
        // SAFETY: every unit checks its channel and row against the sizes given, which are those of all three images, as
        // `matching` asserts.
        unsafe {
            device::gradient_sums::launch_unchecked(
                &x.tensor.client,
                count,
                dim,
                gradient.clone().into_tensor_arg(),
                x.tensor.clone().into_tensor_arg(),
                y.clone().into_tensor_arg(),
                mean.clone().into_tensor_arg(),
                partial.clone().into_tensor_arg(),
                x.rows,
                x.channels,
                relu,
                element(&x.tensor),
            );
        }
        let weight_gradient = floats_near(&x.tensor, &[x.channels]);
        let bias_gradient = floats_near(&x.tensor, &[x.channels]);
        let (count, dim) = cubes(&x.tensor, x.channels);
        // SAFETY: every unit checks its channel; all tensors but `partial`, see above, have one value a channel.
        unsafe {
            device::affine_gradients::launch_unchecked(
                &x.tensor.client,
                count,
                dim,
                partial.into_tensor_arg(),
                variance.clone().into_tensor_arg(),
                weight_gradient.clone().into_tensor_arg(),
                bias_gradient.clone().into_tensor_arg(),
                state.epsilon,
                x.channels,
                parts,
            );
        }
        let x_gradient = x.like();
        let residual_gradient = if state.residual { x.like() } else { floats_near(&x.tensor, &[x.channels]) };
        let vector = x.vector();
        let (count, dim) = cubes(&x.tensor, x.rows * x.channels / vector);
        // SAFETY: the kernel stops beyond `x_gradient`, which has the size of all images, and of the residual's gradient
        // where that is written; a channel's index is taken modulo their number, the length of the rest.
        unsafe {
            device::input_gradient::launch_unchecked(
                &x.tensor.client,
                count,
                dim,
                vector,
                gradient.into_linear_view(),
                x.tensor.clone().into_linear_view(),
                y.into_linear_view(),
                weight.into_linear_view(),
                mean.into_linear_view(),
                variance.into_linear_view(),
                weight_gradient.clone().into_linear_view(),
                bias_gradient.clone().into_linear_view(),
                x_gradient.clone().into_linear_view(),
                residual_gradient.clone().into_linear_view(),
                state.epsilon,
                x.rows,
                x.channels / vector,
                relu,
                state.from_batch,
                state.residual,
                element(&x.tensor),
            );
        }
        let residual = state.residual.then(|| images(residual_gradient));
        (images(x_gradient), weight_gradient, bias_gradient, residual)
    }
}
