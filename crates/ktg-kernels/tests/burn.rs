//! The operations on Burn tensors give what Burn's own give, values and gradients.
#![cfg(feature = "burn")]

use burn::tensor::activation::relu;
use burn::tensor::ops::{ConvOptions, MaxPoolOptions};
use burn::tensor::{Device, Tensor, TensorData, module};
use ktg_kernels::burn::{self as kernels, NormOptions};
use ktg_kernels::{SgdStep, Window};

mod support;

fn tensor<const D: usize>(seed: u64, shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(support::values(seed, shape.iter().product()), shape), device)
}

#[track_caller]
fn assert_close<const D: usize>(name: &str, a: Tensor<D>, b: Tensor<D>) {
    assert_eq!(a.dims(), b.dims(), "{name}");
    let values = |t: Tensor<D>| t.into_data().try_to_vec::<f32>().expect("f32");
    let (a, b) = (values(a), values(b));
    let most = b.iter().fold(1e-6f32, |m, x| m.max(x.abs()));
    for (i, (a, b)) in a.iter().zip(&b).enumerate() {
        assert!((a - b).abs() <= 1e-4 * most, "{name}: value {i} is {a}, not {b}");
    }
}

/// Runs both implementations on parameters made by `inputs` and compares results and all gradients.
#[track_caller]
fn compare<const N: usize, const D: usize>(
    name: &str,
    inputs: [Tensor<4>; N],
    ours: impl Fn([Tensor<4>; N]) -> Tensor<D>,
    theirs: impl Fn([Tensor<4>; N]) -> Tensor<D>,
) {
    let run = |f: &dyn Fn([Tensor<4>; N]) -> Tensor<D>| {
        let leaves = inputs.clone().map(|t| t.detach().require_grad());
        let y = f(leaves.clone());
        // Weights of their own for every value, so that no wrong order goes unseen.
        let weights = tensor(99, y.dims(), &y.device());
        let gradients = (y.clone() * weights).sum().backward();
        (y, leaves.map(|leaf| leaf.grad(&gradients).expect("every input has a gradient")))
    };
    let ((y, gradients), (expected, expected_gradients)) = (run(&ours), run(&theirs));
    assert_close(name, y, expected);
    for (i, (gradient, expected)) in gradients.into_iter().zip(expected_gradients).enumerate() {
        assert_close(&format!("{name}, gradient {i}"), gradient, expected);
    }
}

#[test]
fn convolutions() {
    let device = Device::flex().autodiff();
    for (kernel, stride, input, output) in [(3, 1, 10, 9), (3, 2, 10, 9), (1, 2, 3, 4), (7, 2, 3, 4)] {
        let inputs = [tensor(1, [2, input, 9, 11], &device), tensor(2, [output, input, kernel, kernel], &device)];
        let padding = kernel / 2;
        compare(
            &format!("{kernel}x{kernel} stride {stride}"),
            inputs,
            |[x, w]| kernels::conv2d(x, w, Window { kernel, stride, padding }),
            |[x, w]| module::conv2d(x, w, None, ConvOptions::new([stride; 2], [padding; 2], [1, 1], 1)),
        );
    }
}

#[test]
fn tensors_that_are_views() {
    let device = Device::flex().autodiff();
    let inputs = [tensor(1, [11, 2, 3, 9], &device), tensor(2, [5, 5, 4, 3], &device)];
    let view = |[x, w]: [Tensor<4>; 2]| (x.permute([1, 2, 3, 0]), w.slice([0..4, 1..4, 0..3, 0..3]));
    let window = Window { kernel: 3, stride: 1, padding: 1 };
    compare(
        "views",
        inputs,
        |inputs| {
            let (x, w) = view(inputs);
            kernels::conv2d(x, w, window)
        },
        |inputs| {
            let (x, w) = view(inputs);
            module::conv2d(x, w, None, ConvOptions::new([1; 2], [1; 2], [1, 1], 1))
        },
    );
}

#[test]
fn batch_norms() {
    let device = Device::flex().autodiff();
    let shape = [3, 5, 4, 7];
    for (training, with_residual, with_relu) in
        [(true, false, false), (true, false, true), (true, true, true), (false, false, true), (false, true, true)]
    {
        let channels = |seed| tensor(seed, [1, 5, 1, 1], &device);
        let inputs = [tensor(1, shape, &device), channels(2), channels(3), tensor(4, shape, &device)];
        let (mean, variance) = (tensor::<1>(5, [5], &device), tensor::<1>(6, [5], &device).square() + 0.1);
        let options = NormOptions { epsilon: 1e-5, relu: with_relu };
        let flat = |t: Tensor<4>| t.reshape([5]);
        let finish = |y: Tensor<4>| if with_relu { relu(y) } else { y };
        // Without a residual in the operation it is added behind it, so that it has a gradient in any case.
        compare(
            &format!("training {training}, residual {with_residual}, relu {with_relu}"),
            inputs,
            |[x, w, b, r]| {
                let fused = with_residual.then(|| r.clone());
                let y = if training {
                    kernels::batch_norm_train(x, flat(w), flat(b), fused, options).0
                } else {
                    let (mean, variance) = (mean.clone(), variance.clone());
                    kernels::batch_norm_inference(x, flat(w), flat(b), mean, variance, fused, options)
                };
                if with_residual { y } else { y + r }
            },
            |[x, w, b, r]| {
                let y = if training {
                    module::batch_norm_train(x, flat(w), flat(b), 1e-5).output
                } else {
                    module::batch_norm(x, flat(w), flat(b), mean.clone(), variance.clone(), 1e-5)
                };
                if with_residual { finish(y + r) } else { finish(y) + r }
            },
        );
    }
    let (x, w) = (tensor(1, shape, &device), tensor::<1>(2, [5], &device));
    let options = NormOptions { epsilon: 1e-5, relu: false };
    let (_, mean, variance) = kernels::batch_norm_train(x.clone(), w.clone(), w.clone(), None, options);
    let expected = module::batch_norm_train(x, w.clone(), w, 1e-5);
    assert_close("mean", mean, expected.mean);
    assert_close("variance", variance, expected.variance);
}

#[test]
fn pools() {
    let device = Device::flex().autodiff();
    let x = || [tensor(1, [2, 3, 9, 12], &device)];
    compare(
        "max-pool",
        x(),
        |[x]| kernels::max_pool(x, Window { kernel: 3, stride: 2, padding: 1 }),
        |[x]| module::max_pool2d(x, MaxPoolOptions::new([3; 2]).with_stride([2; 2]).with_padding([1; 2])),
    );
    compare(
        "global average",
        x(),
        |[x]| kernels::global_average_pool(x),
        |[x]| x.reshape([2, 3, 108]).mean_dim(2).reshape([2, 3]),
    );
}

#[test]
fn an_input_that_needs_no_gradient_gets_none() {
    let device = Device::flex().autodiff();
    let x = tensor(1, [1, 3, 8, 8], &device);
    let w = tensor(2, [4, 3, 3, 3], &device).require_grad();
    let y = kernels::conv2d(x.clone(), w.clone(), Window { kernel: 3, stride: 1, padding: 1 });
    let gradients = y.sum().backward();
    assert!(x.grad(&gradients).is_none() && w.grad(&gradients).is_some());
}

#[test]
fn sgd_steps_leave_tensors_that_others_hold_alone() {
    let device = Device::flex();
    let step = SgdStep { learning_rate: 0.1, momentum: 0.9, weight_decay: 0.01, first: false };
    let (w, g, v) = (tensor(1, [7, 3], &device), tensor(2, [7, 3], &device), tensor(3, [7, 3], &device));
    let (kept_w, kept_v) = (w.clone().into_data(), v.clone().into_data());
    let (new_w, new_v) = kernels::sgd(w.clone(), g.clone(), v.clone(), step);
    let expected_v = v.clone() * 0.9 + g + w.clone() * 0.01;
    assert_close("velocity", new_v, expected_v.clone());
    assert_close("parameter", new_w, w.clone() - expected_v * 0.1);
    assert_eq!((w.into_data(), v.into_data()), (kept_w, kept_v));
}

#[test]
fn sgd_takes_views_of_larger_tensors() {
    let device = Device::flex();
    let step = SgdStep { learning_rate: 0.1, momentum: 0.9, weight_decay: 0.0, first: true };
    let (w, g) = (tensor::<1>(1, [10], &device), tensor::<1>(2, [3], &device));
    let view = w.clone().narrow(0, 2, 3);
    let (new, _) = kernels::sgd(view.clone(), g.clone(), view.clone(), step);
    assert_close("parameter", new, view - g * 0.1);
}

#[test]
#[should_panic(expected = "the weights are [output, input, kernel, kernel]")]
fn weights_of_another_window_are_refused() {
    let device = Device::flex();
    let window = Window { kernel: 2, stride: 1, padding: 0 };
    kernels::conv2d(tensor(1, [1, 9, 5, 5], &device), tensor(2, [2, 4, 3, 3], &device), window);
}
