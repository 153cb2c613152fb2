//! The operations on `flex` tensors.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Flex, TensorMetadata};
use burn::tensor::{Bytes, DType, Shape};
use burn_flex::{FlexTensor, Layout};

use super::autodiff::{KernelGradients, NormBackward, NormGradients};
use super::{Choice, KernelOps, KernelOptimiser, NormOps, NormOptions, chosen};
use crate::{Affine, BackwardPass, Conv2d, Features, Fused, Kernels, Pool, SgdStep, ShapeError, Statistics, Window};

type Flat = FloatTensor<Flex>;

fn kernels() -> Kernels {
    match chosen() {
        Choice::Kernels(kernels) => kernels,
        Choice::Reference => panic!("the kernels are switched off; ask `convolves` before using them"),
    }
}

/// The values of a contiguous tensor.
fn values(tensor: &FlexTensor) -> &[f32] {
    tensor.as_slice::<f32>().expect("kernels work on contiguous f32 tensors")
}

fn tensor(values: Vec<f32>, shape: impl Into<Shape>) -> FlexTensor {
    FlexTensor::new(Bytes::from_elems(values), Layout::contiguous(shape.into()), DType::F32)
}

/// Errors here are the caller's: tensors whose shapes do not belong together.
fn valid<T>(result: Result<T, ShapeError>) -> T {
    result.unwrap_or_else(|error| panic!("shapes do not fit: {error}"))
}

fn dims<const D: usize>(tensor: &FlexTensor) -> [usize; D] {
    tensor.shape().dims()
}

fn conv_shape(x: [usize; 4], weight: [usize; 4], window: Window) -> Conv2d {
    let [batch, input, height, width] = x;
    assert_eq!(weight[1..], [input, window.kernel, window.kernel], "the weights are [output, input, kernel, kernel]");
    valid(Conv2d::new(batch, input, weight[0], [height, width], window))
}

fn features(x: &FlexTensor) -> Features {
    let [batch, channels, height, width] = dims(x);
    valid(Features::new(batch, channels, height * width))
}

fn pool_shape(x: [usize; 4], window: Window) -> Pool {
    let [batch, channels, height, width] = x;
    valid(Pool::new(batch * channels, [height, width], window))
}

/// The residual as it is added to x.
fn contiguous_residual(residual: Option<Flat>, x: &Flat) -> Option<Flat> {
    residual.map(|r| {
        assert_eq!(r.shape(), x.shape(), "a residual has the shape of what it is added to");
        r.to_contiguous()
    })
}

fn norm_train(x: Flat, weight: Flat, bias: Flat, residual: Option<Flat>, options: NormOptions) -> (Flat, Flat, Flat) {
    let (x, weight, bias) = (x.to_contiguous(), weight.to_contiguous(), bias.to_contiguous());
    let residual = contiguous_residual(residual, &x);
    let affine = Affine { weight: values(&weight), bias: values(&bias), epsilon: options.epsilon };
    let fused = Fused { residual: residual.as_ref().map(values), relu: options.relu };
    let result = valid(kernels().batch_norm_train(&features(&x), values(&x), affine, fused));
    let channels = [result.mean.len()];
    (tensor(result.output, x.shape()), tensor(result.mean, channels), tensor(result.variance, channels))
}

/// `channels` are weight, bias, mean and variance.
fn norm_inference(x: Flat, channels: [Flat; 4], residual: Option<Flat>, options: NormOptions) -> Flat {
    let x = x.to_contiguous();
    let [weight, bias, mean, variance] = channels.map(|t| t.to_contiguous());
    let residual = contiguous_residual(residual, &x);
    let affine = Affine { weight: values(&weight), bias: values(&bias), epsilon: options.epsilon };
    let statistics = Statistics { mean: values(&mean), variance: values(&variance) };
    let fused = Fused { residual: residual.as_ref().map(values), relu: options.relu };
    let result = kernels().batch_norm_inference(&features(&x), values(&x), affine, statistics, fused);
    tensor(valid(result), x.shape())
}

impl NormOps for Flex {
    fn kernel_batch_norm_train(x: Flat, weight: Flat, bias: Flat, options: NormOptions) -> (Flat, Flat, Flat) {
        norm_train(x, weight, bias, None, options)
    }

    fn kernel_batch_norm_train_add(
        x: Flat,
        weight: Flat,
        bias: Flat,
        residual: Flat,
        options: NormOptions,
    ) -> (Flat, Flat, Flat) {
        norm_train(x, weight, bias, Some(residual), options)
    }

    fn kernel_batch_norm_inference(
        x: Flat,
        weight: Flat,
        bias: Flat,
        mean: Flat,
        variance: Flat,
        options: NormOptions,
    ) -> Flat {
        norm_inference(x, [weight, bias, mean, variance], None, options)
    }

    fn kernel_batch_norm_inference_add(
        x: Flat,
        weight: Flat,
        bias: Flat,
        mean: Flat,
        variance: Flat,
        residual: Flat,
        options: NormOptions,
    ) -> Flat {
        norm_inference(x, [weight, bias, mean, variance], Some(residual), options)
    }
}

impl NormGradients for Flex {
    fn batch_norm_backward(gradient: Flat, state: NormBackward<Flex>) -> (Flat, Flat, Flat, Option<Flat>) {
        let (gradient, x, weight) = (gradient.to_contiguous(), state.x.to_contiguous(), state.weight.to_contiguous());
        let (mean, variance) = (state.mean.to_contiguous(), state.variance.to_contiguous());
        let output = state.relu_output.map(|y| y.to_contiguous());
        let pass = BackwardPass {
            x: values(&x),
            weight: values(&weight),
            epsilon: state.epsilon,
            statistics: Statistics { mean: values(&mean), variance: values(&variance) },
            from_batch: state.from_batch,
            relu_output: output.as_ref().map(values),
            residual: state.residual,
        };
        let result = valid(kernels().batch_norm_backward(&features(&x), &pass, values(&gradient)));
        let channels = [result.weight.len()];
        (
            tensor(result.x, x.shape()),
            tensor(result.weight, channels),
            tensor(result.bias, channels),
            result.residual.map(|r| tensor(r, x.shape())),
        )
    }
}

impl KernelOps for Flex {
    fn kernel_conv2d(x: Flat, weight: Flat, window: Window) -> Flat {
        let (x, weight) = (x.to_contiguous(), weight.to_contiguous());
        let shape = conv_shape(dims(&x), dims(&weight), window);
        let result = valid(kernels().conv2d(&shape, values(&x), values(&weight)));
        let ([batch, ..], [output, ..]) = (dims::<4>(&x), dims::<4>(&weight));
        let [height, width] = shape.output_image();
        tensor(result, [batch, output, height, width])
    }

    fn kernel_max_pool(x: Flat, window: Window) -> Flat {
        let x = x.to_contiguous();
        let [batch, channels, ..] = dims::<4>(&x);
        let shape = pool_shape(dims(&x), window);
        let [height, width] = shape.output_image();
        tensor(valid(kernels().max_pool(&shape, values(&x))), [batch, channels, height, width])
    }

    fn kernel_global_average_pool(x: Flat) -> Flat {
        let x = x.to_contiguous();
        let [batch, channels, ..] = dims::<4>(&x);
        tensor(valid(kernels().global_average_pool(&features(&x), values(&x))), [batch, channels])
    }
}

impl KernelGradients for Flex {
    fn conv2d_backward_data(gradient: Flat, weight: Flat, images: [usize; 4], window: Window) -> Flat {
        let (gradient, weight) = (gradient.to_contiguous(), weight.to_contiguous());
        let shape = conv_shape(images, dims(&weight), window);
        let result = kernels().conv2d_backward_data(&shape, values(&gradient), values(&weight));
        tensor(valid(result), images)
    }

    fn conv2d_backward_weights(x: Flat, gradient: Flat, weights: [usize; 4], window: Window) -> Flat {
        let (x, gradient) = (x.to_contiguous(), gradient.to_contiguous());
        let shape = conv_shape(dims(&x), weights, window);
        let result = kernels().conv2d_backward_weights(&shape, values(&x), values(&gradient));
        tensor(valid(result), weights)
    }

    fn max_pool_backward(x: Flat, gradient: Flat, window: Window) -> Flat {
        let (x, gradient) = (x.to_contiguous(), gradient.to_contiguous());
        let shape = pool_shape(dims(&x), window);
        tensor(valid(kernels().max_pool_backward(&shape, values(&x), values(&gradient))), x.shape())
    }

    fn global_average_pool_backward(gradient: Flat, images: [usize; 4]) -> Flat {
        let gradient = gradient.to_contiguous();
        let [batch, channels, height, width] = images;
        let shape = valid(Features::new(batch, channels, height * width));
        tensor(valid(kernels().global_average_pool_backward(&shape, values(&gradient))), images)
    }
}

impl KernelOptimiser for Flex {
    fn kernel_sgd(parameter: Flat, gradient: Flat, velocity: Flat, step: SgdStep) -> (Flat, Flat) {
        assert_eq!(parameter.shape(), gradient.shape(), "a gradient has the shape of its parameter");
        assert_eq!(parameter.shape(), velocity.shape(), "a velocity has the shape of its parameter");
        let gradient = gradient.to_contiguous();
        // `to_contiguous` gives a second handle on a tensor that is contiguous already, and the writes below would copy.
        let whole = |t: &Flat| t.as_slice::<f32>().is_some_and(|s| s.len() == t.storage::<f32>().len());
        let contiguous = |t: Flat| if whole(&t) { t } else { t.to_contiguous() };
        let (mut parameter, mut velocity) = (contiguous(parameter), contiguous(velocity));
        let (w, v) = (parameter.storage_mut::<f32>(), velocity.storage_mut::<f32>());
        valid(kernels().sgd(step, w, values(&gradient), v));
        (parameter, velocity)
    }

    fn kernel_blend(old: Flat, kept: f32, new: Flat, added: f32) -> Flat {
        assert_eq!(old.shape(), new.shape(), "what is blended has one shape");
        let (old, new) = (old.to_contiguous(), new.to_contiguous());
        let blended = values(&old).iter().zip(values(&new)).map(|(old, new)| old * kept + new * added).collect();
        tensor(blended, old.shape())
    }
}
