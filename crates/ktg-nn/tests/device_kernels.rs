//! The kernels that GPUs have of ours, against those of the CPU: `KTG_DEVICE=vulkan cargo test --features vulkan ...`.

use burn::tensor::{Device, FloatDType, Tensor, TensorData};
use ktg_kernels::SgdStep;
use ktg_nn::kernels::{self, NormOptions};
use ktg_nn::{burn, device, weights};

#[path = "../../../fixtures/support.rs"]
mod support;
use support::assert_close;

/// The chosen device, if it is another one than that it would be compared with.
fn gpu() -> Option<Device> {
    let device = device::chosen();
    if kernels::is_gpu(&device) {
        return Some(device);
    }
    eprintln!("skipped: the device is the CPU; choose a GPU with {}", device::VARIABLE);
    None
}

fn numbers(count: usize, seed: u64, mean: f32) -> Vec<f32> {
    let mut state = seed;
    (0..count).map(|_| mean + support::uniform(&mut state)).collect()
}

struct Case {
    images: [usize; 4],
    residual: bool,
    relu: bool,
    /// Of the input: far from 0, sums of squares would lose the deviation.
    mean: f32,
    dtype: FloatDType,
}

/// Result, statistics, and the gradients of input, weight, bias and residual.
fn norm(case: &Case, device: &Device, train: bool) -> Vec<(&'static str, Vec<f32>)> {
    let device = device.clone().autodiff();
    let channels = case.images[1];
    let images = |seed, mean| {
        let values = numbers(case.images.iter().product(), seed, mean);
        Tensor::<4>::from_data(TensorData::new(values, case.images), &device)
    };
    let row = |seed, mean| Tensor::<1>::from_data(TensorData::new(numbers(channels, seed, mean), [channels]), &device);
    let x = images(1, case.mean).require_grad();
    let (weight, bias) = (row(2, 1.5).require_grad(), row(3, 0.2).require_grad());
    let residual = case.residual.then(|| images(4, 0.0).require_grad());
    let options = NormOptions { epsilon: 1e-5, relu: case.relu };
    let typed = |x: &Tensor<4>| x.clone().cast(case.dtype);
    let (y, mean, variance) = match train {
        true => {
            kernels::batch_norm_train(typed(&x), weight.clone(), bias.clone(), residual.as_ref().map(typed), options)
        }
        false => {
            let (mean, variance) = (row(5, case.mean), row(6, 2.0));
            let residual = residual.as_ref().map(typed);
            let (w, b) = (weight.clone(), bias.clone());
            let y = kernels::batch_norm_inference(typed(&x), w, b, mean.clone(), variance.clone(), residual, options);
            (y, mean, variance)
        }
    };
    let y = y.cast(FloatDType::F32);
    let gradients = (y.clone() * images(7, 0.1)).sum().backward();
    let mut all = vec![
        ("result", weights::values(y)),
        ("mean", weights::values(mean)),
        ("variance", weights::values(variance)),
        ("gradient of x", weights::values(x.grad(&gradients).unwrap())),
        ("gradient of weight", weights::values(weight.grad(&gradients).unwrap())),
        ("gradient of bias", weights::values(bias.grad(&gradients).unwrap())),
    ];
    if let Some(residual) = residual {
        all.push(("gradient of residual", weights::values(residual.grad(&gradients).unwrap())));
    }
    all
}

#[test]
fn batch_norms_are_those_of_the_cpu() {
    let Some(gpu) = gpu() else { return };
    // Images of one pixel, odd sizes, more channels than a cube takes at once, more rows than all parts take in one go.
    let sizes = [[5, 1, 1, 1], [1, 3, 5, 7], [2, 33, 4, 4], [3, 64, 9, 9], [2, 130, 3, 2], [2, 4, 190, 190]];
    for images in sizes {
        for (residual, relu) in [(false, false), (false, true), (true, true)] {
            for (mean, train) in [(0.0, true), (20.0, true), (0.5, false)] {
                let case = Case { images, residual, relu, mean, dtype: FloatDType::F32 };
                let (ours, cpu) = (norm(&case, &gpu, train), norm(&case, &Device::flex(), train));
                for ((what, ours), (_, cpu)) in ours.iter().zip(&cpu) {
                    let what = format!("{what} of {images:?}, residual {residual}, ReLU {relu}, mean {mean}, {train}");
                    let scale = (cpu.iter().map(|v| f64::from(v * v)).sum::<f64>() / cpu.len() as f64).sqrt();
                    // At a mean of 20 deviations the input itself has lost five bits.
                    assert_close(&what, ours, cpu, scale.max(1e-3), if mean > 1.0 { 1e-3 } else { 1e-4 });
                }
            }
        }
    }
}

#[test]
fn batch_norms_of_half_precision_are_near() {
    let Some(gpu) = gpu() else { return };
    if !gpu.supports_dtype(FloatDType::F16) {
        eprintln!("skipped: the device does not compute in f16");
        return;
    }
    for train in [true, false] {
        let mut case = Case { images: [4, 24, 11, 9], residual: true, relu: true, mean: 0.3, dtype: FloatDType::F16 };
        let half = norm(&case, &gpu, train);
        case.dtype = FloatDType::F32;
        let single = norm(&case, &Device::flex(), train);
        for ((what, half), (_, single)) in half.iter().zip(&single) {
            // A ReLU may decide otherwise where the sum is near 0: what counts is the whole.
            let off: f64 = half.iter().zip(single).map(|(a, b)| f64::from((a - b) * (a - b))).sum();
            let all: f64 = single.iter().map(|b| f64::from(b * b)).sum();
            assert!((off / all).sqrt() < 0.03, "{what}, train {train}: off by {}", (off / all).sqrt());
        }
    }
}

#[test]
fn equal_inputs_give_equal_bits() {
    let Some(gpu) = gpu() else { return };
    let case = Case { images: [3, 40, 31, 29], residual: true, relu: true, mean: 0.1, dtype: FloatDType::F32 };
    assert!(norm(&case, &gpu, true) == norm(&case, &gpu, true));
}

#[test]
fn optimiser_steps_are_those_of_the_cpu() {
    let Some(gpu) = gpu() else { return };
    for shape in [[1, 1, 1, 1], [5, 3, 3, 3], [64, 17, 1, 1]] {
        for first in [true, false] {
            let step = SgdStep { learning_rate: 0.1, momentum: 0.9, weight_decay: 1e-2, first };
            let run = |device: &Device| {
                let tensor = |seed| {
                    let values = numbers(shape.iter().product(), seed, 0.0);
                    Tensor::<4>::from_data(TensorData::new(values, shape), device)
                };
                // A gradient that lies in memory otherwise than the parameter, as convolutions give it.
                let gradient = tensor(2).permute([0, 2, 3, 1]) * 1.0;
                let (w, v) = kernels::sgd(tensor(1), gradient.permute([0, 3, 1, 2]), tensor(3), step);
                let blended = kernels::blend(tensor(1), 0.9, tensor(2), 0.3);
                [weights::values(w), weights::values(v), weights::values(blended)]
            };
            for (ours, cpu) in run(&gpu).iter().zip(&run(&Device::flex())) {
                assert_close("step", ours, cpu, 1e-2, 1e-5);
            }
        }
    }
}
