//! Convolutions against the definition in double precision.

use std::marker::PhantomData;

use super::correlate::{backward_data, forward};
use super::maps::EachBf16;
use super::tiles::{Plain, Tiles};
use super::weights::backward_weights;
use crate::lanes::values as numbers;
use crate::norm::{BackwardPass, Fused, Moving, NormGradients};
use crate::number::Bf16;
use crate::shape::{Conv2d, Window};
use crate::simd::Simd;
use crate::simd::portable::{Array, Portable};

fn rounded(values: &[f32]) -> Vec<Bf16> {
    values.iter().map(|x| Bf16::from_f32(*x)).collect()
}

fn wide(values: &[Bf16]) -> Vec<f64> {
    values.iter().map(|x| f64::from(x.to_f32())).collect()
}

/// A sum, and the sum of its terms' sizes.
#[derive(Clone, Copy, Default)]
struct Sum {
    value: f64,
    size: f64,
}

impl Sum {
    fn add(&mut self, a: f64, b: f64) {
        (self.value, self.size) = (self.value + a * b, self.size + (a * b).abs());
    }
}

/// Results, gradient of the images, gradient of the weights.
struct Definition {
    y: Vec<Sum>,
    dx: Vec<Sum>,
    dw: Vec<Sum>,
}

fn definition(shape: &Conv2d, x: &[f64], w: &[f64], g: &[f64]) -> Definition {
    let Conv2d { batch, input, output, height, width, output_height, output_width, .. } = *shape;
    let Window { kernel, stride, padding } = shape.window;
    let [mut y, mut dx, mut dw] = [g.len(), x.len(), w.len()].map(|len| vec![Sum::default(); len]);
    for image in 0..batch {
        for (line, column) in (0..output_height).flat_map(|line| (0..output_width).map(move |column| (line, column))) {
            for (a, b) in (0..kernel).flat_map(|a| (0..kernel).map(move |b| (a, b))) {
                let row = (line * stride + a).checked_sub(padding).filter(|row| *row < height);
                let pixel = (column * stride + b).checked_sub(padding).filter(|pixel| *pixel < width);
                let (Some(row), Some(pixel)) = (row, pixel) else { continue };
                for o in 0..output {
                    let result = ((image * output_height + line) * output_width + column) * output + o;
                    for i in 0..input {
                        let seen = ((image * height + row) * width + pixel) * input + i;
                        let weight = ((o * input + i) * kernel + a) * kernel + b;
                        y[result].add(x[seen], w[weight]);
                        dx[seen].add(g[result], w[weight]);
                        dw[weight].add(x[seen], g[result]);
                    }
                }
            }
        }
    }
    Definition { y, dx, dw }
}

/// Rounding of f32 sums, by their terms, and of the result to bf16, half of its last place.
fn assert_close(what: &str, found: impl Iterator<Item = f64>, expected: &[Sum], is_rounded: bool) {
    for (i, (found, expected)) in found.zip(expected).enumerate() {
        let rounding = if is_rounded { expected.value.abs() / 256.0 } else { 0.0 };
        let bound = 4e-6 * expected.size + rounding;
        assert!((found - expected.value).abs() <= bound, "{what}, {i}: {found} is not {}", expected.value);
    }
}

/// What the kernels make of a convolution.
#[derive(PartialEq)]
struct Results {
    y: Vec<Bf16>,
    mean: Vec<f32>,
    variance: Vec<f32>,
    dx: Vec<Bf16>,
    dw: Vec<f32>,
}

impl Results {
    fn new<S: Simd, T: Tiles>(tiles: T, shape: &Conv2d, x: &[Bf16], w: &[f32], g: &[Bf16]) -> Self {
        let nan = Bf16::from_f32(f32::NAN);
        let (mut y, mut dx, mut dw) = (vec![nan; g.len()], vec![nan; x.len()], vec![f32::NAN; w.len()]);
        let [mut mean, mut variance] = [(); 2].map(|()| vec![f32::NAN; shape.output]);
        let statistics = Moving { mean: &mut mean, variance: &mut variance };
        forward::<S, _>(tiles, shape, x, w, &mut y, Some(statistics));
        backward_data::<S, _>(tiles, shape, g, w, &mut dx);
        backward_weights::<S, _>(tiles, shape, x, g, &mut dw);
        Self { y, mean, variance, dx, dw }
    }
}

fn check<S: Simd>(batch: usize, channels: [usize; 2], image: [usize; 2], window: (usize, usize, usize)) {
    let (kernel, stride, padding) = window;
    check_padded::<S>(batch, channels, image, Window { kernel, stride, padding }, padding)
}

/// With so many zeros behind the images.
fn check_padded<S: Simd>(batch: usize, [input, output]: [usize; 2], image: [usize; 2], window: Window, after: usize) {
    let shape = &Conv2d::padded(batch, input, output, image, window, after).unwrap();
    check_tiles::<S, _>(Plain::<S>(PhantomData), shape);
    #[cfg(target_arch = "x86_64")]
    {
        type Level = crate::simd::x86_bf16::Avx512Bf16;
        if let Some(dot) = super::dot::Dot::new() {
            check_tiles::<Level, _>(dot, shape);
        }
        if let Some(amx) = super::amx::Amx::new() {
            check_tiles::<Level, _>(amx, shape);
        }
    }
}

fn check_tiles<S: Simd, T: Tiles>(tiles: T, shape: &Conv2d) {
    let (what, output) = (format!("{shape:?}"), shape.output);
    let (x, w, g) = (
        rounded(&numbers(1, shape.input_len())),
        numbers(2, shape.weight_len()),
        rounded(&numbers(3, shape.output_len())),
    );
    let expected = definition(shape, &wide(&x), &wide(&rounded(&w)), &wide(&g));
    let found = Results::new::<S, T>(tiles, shape, &x, &w, &g);
    assert_close(&format!("{what}, forward"), wide(&found.y).into_iter(), &expected.y, true);
    assert_close(&format!("{what}, to images"), wide(&found.dx).into_iter(), &expected.dx, true);
    assert_close(&format!("{what}, to weights"), found.dw.iter().map(|x| f64::from(*x)), &expected.dw, false);
    let norm = Norm::new(&wide(&found.y), output, 0.0);
    assert_statistics(&what, &found.mean, &found.variance, &norm);
    let mut y = vec![Bf16::from_f32(f32::NAN); g.len()];
    forward::<S, _>(tiles, shape, &x, &w, &mut y, None);
    assert!(y == found.y, "{what}: statistics change the results");
    // The bits do not depend on the threads.
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let again = pool.install(|| Results::new::<S, T>(tiles, shape, &x, &w, &g));
        assert!(again == found, "{what}, {threads} threads");
    }
}

#[test]
fn convolutions_are_those_of_the_definition() {
    check::<Array<16, 14>>(2, [32, 32], [8, 8], (3, 1, 1));
    check::<Array<16, 14>>(3, [16, 16], [9, 7], (3, 1, 1));
    check::<Array<8, 6>>(2, [40, 70], [7, 7], (3, 1, 1));
    check::<Portable>(1, [33, 17], [5, 6], (3, 1, 1));
    check::<Array<16, 14>>(2, [3, 16], [12, 13], (3, 1, 1));
    check::<Array<16, 14>>(2, [1, 8], [6, 9], (3, 1, 1));
}

#[test]
fn strided_convolutions() {
    check::<Array<16, 14>>(2, [32, 48], [8, 8], (3, 2, 1));
    check::<Array<8, 6>>(2, [20, 33], [9, 11], (3, 2, 1));
    check::<Array<16, 14>>(2, [32, 64], [8, 6], (1, 2, 0));
    check::<Array<16, 14>>(1, [18, 20], [11, 10], (5, 3, 2));
    check::<Array<16, 14>>(2, [3, 64], [20, 18], (7, 2, 3));
    check::<Array<16, 14>>(1, [5, 40], [9, 9], (3, 3, 0));
}

#[test]
fn one_by_one_convolutions() {
    check::<Array<16, 14>>(2, [64, 120], [7, 7], (1, 1, 0));
    check::<Array<8, 6>>(3, [70, 1], [5, 5], (1, 1, 0));
    check::<Portable>(1, [10, 33], [1, 1], (1, 1, 0));
}

#[test]
fn unusual_windows() {
    for window in [(1, 3, 0), (2, 3, 3), (3, 1, 0), (2, 1, 0), (4, 1, 2), (5, 1, 2), (3, 1, 3), (1, 1, 1), (2, 2, 0)] {
        check::<Array<16, 14>>(2, [18, 20], [9, 8], window);
        check::<Array<16, 14>>(1, [2, 3], [7, 9], window);
    }
}

/// More zeros behind the images than before them, as in TensorFlow's SAME, and fewer.
#[test]
fn borders_that_differ() {
    let windows = [(3, 2, 0, 1), (3, 2, 1, 0), (5, 2, 1, 2), (5, 2, 2, 1), (3, 1, 0, 2), (3, 1, 2, 0), (3, 1, 1, 3)];
    let others = [(2, 1, 0, 1), (2, 2, 0, 1), (1, 1, 0, 2), (1, 2, 0, 1), (3, 3, 0, 4)];
    for (kernel, stride, padding, after) in windows.into_iter().chain(others) {
        let window = Window { kernel, stride, padding };
        for (channels, image) in [([18, 20], [7, 7]), ([3, 17], [8, 9]), ([40, 16], [5, 6])] {
            check_padded::<Array<16, 14>>(2, channels, image, window, after);
        }
    }
}

/// Several blocks, several panels in several groups, several units of weights.
#[test]
fn large_convolutions() {
    check::<Array<16, 14>>(9, [64, 64], [28, 28], (3, 1, 1));
    check::<Array<16, 14>>(2, [256, 264], [7, 7], (3, 1, 1));
    check::<Array<16, 14>>(3, [200, 130], [9, 9], (3, 2, 1));
}

/// Pixels around a mean that is so many deviations away from zero.
fn pixels(len: usize, channels: usize, mean: f32) -> Vec<Bf16> {
    let values = numbers(7, len);
    rounded(&values.iter().enumerate().map(|(i, x)| x + mean * (1.0 + (i % channels) as f32)).collect::<Vec<f32>>())
}

/// A batch norm in double precision.
struct Norm {
    mean: Vec<f64>,
    variance: Vec<f64>,
    normalized: Vec<f64>,
}

impl Norm {
    fn new(x: &[f64], channels: usize, epsilon: f64) -> Self {
        let count = (x.len() / channels) as f64;
        let mean_of = |value: &dyn Fn(usize) -> f64| -> Vec<f64> {
            (0..channels).map(|c| (c..x.len()).step_by(channels).map(value).sum::<f64>() / count).collect()
        };
        let mean = mean_of(&|i| x[i]);
        let variance = mean_of(&|i| (x[i] - mean[i % channels]).powi(2));
        let normalize = |(i, x): (usize, &f64)| (x - mean[i % channels]) / (variance[i % channels] + epsilon).sqrt();
        let normalized = x.iter().enumerate().map(normalize).collect();
        Self { mean, variance, normalized }
    }
}

#[track_caller]
fn assert_near(what: &str, found: f64, expected: f64, bound: f64) {
    assert!((found - expected).abs() <= bound, "{what}: {found} is not {expected}");
}

/// Mean and variance of each channel.
fn assert_statistics(what: &str, mean: &[f32], variance: &[f32], expected: &Norm) {
    for c in 0..mean.len() {
        let (of_mean, of_variance) = (expected.mean[c], expected.variance[c]);
        assert_near(what, f64::from(mean[c]), of_mean, 1e-6 * (1.0 + of_mean.abs()));
        assert_near(what, f64::from(variance[c]), of_variance, 2e-5 * of_variance + 1e-12);
    }
}

/// Where all results are of one size, their squares say little about their variance.
#[test]
fn statistics_of_results_far_from_zero_keep_their_digits() {
    let kernels = crate::Kernels::new();
    let (channels, window) = (20, Window { kernel: 1, stride: 1, padding: 0 });
    let shape = Conv2d::new(30, 1, channels, [31, 33], window).unwrap();
    let x = rounded(&numbers(1, shape.input_len()).iter().map(|x| x + 300.0).collect::<Vec<f32>>());
    let [mut mean, mut variance] = [(); 2].map(|()| vec![f32::NAN; channels]);
    let mut y = vec![Bf16::from_f32(f32::NAN); shape.output_len()];
    let statistics = crate::Moving { mean: &mut mean, variance: &mut variance };
    kernels.conv2d_statistics_bf16(&shape, &x, &numbers(2, channels), &mut y, statistics).unwrap();
    let norm = Norm::new(&wide(&y), channels, 0.0);
    assert!(norm.mean.iter().zip(&norm.variance).any(|(mean, variance)| mean.abs() > 100.0 * variance.sqrt()));
    assert_statistics("far from zero", &mean, &variance, &norm);
}

#[test]
fn batch_norms_are_those_of_the_definition() {
    let kernels = crate::Kernels::new();
    let epsilon = 1e-5f32;
    for (batch, channels, image) in [(3, 16, 49), (2, 37, 5), (40, 64, 64), (1, 1, 9)] {
        for (mean, adds) in [(0.0, false), (10.0, true), (300.0, false)] {
            let shape = crate::Features::new(batch, channels, image).unwrap();
            let x = pixels(shape.len(), channels, mean);
            let (residual, g) = (rounded(&numbers(8, shape.len())), rounded(&numbers(9, shape.len())));
            let (weight, bias) = (numbers(10, channels), numbers(11, channels));
            let affine = crate::Affine { weight: &weight, bias: &bias, epsilon };
            let fused = Fused { residual: adds.then_some(&residual), relu: adds };
            let (mut moving, mut variance) = (vec![f32::NAN; channels], vec![f32::NAN; channels]);
            let mut y = vec![Bf16::from_f32(f32::NAN); shape.len()];
            let statistics = crate::Moving { mean: &mut moving, variance: &mut variance };
            kernels.batch_norm_train_bf16(&shape, &x, affine, fused, statistics, &mut y).unwrap();

            let what = format!("{batch} x {channels} x {image}, mean {mean}");
            let norm = Norm::new(&wide(&x), channels, f64::from(epsilon));
            assert_statistics(&what, &moving, &variance, &norm);
            let wide_residual = wide(&residual);
            // What the mean's own rounding to f32 is, in deviations.
            let of_mean = |c: usize| norm.mean[c].abs() * 1e-7 / (norm.variance[c] + f64::from(epsilon)).sqrt();
            for (i, y) in wide(&y).into_iter().enumerate() {
                let c = i % channels;
                let sum = norm.normalized[i] * f64::from(weight[c])
                    + f64::from(bias[c])
                    + if adds { wide_residual[i] } else { 0.0 };
                let expected = if adds { sum.max(0.0) } else { sum };
                assert_near(&what, y, expected, expected.abs() / 256.0 + 2e-5 + of_mean(c));
            }

            let statistics = crate::Statistics { mean: &moving, variance: &variance };
            let relu_output = adds.then_some(&y[..]);
            let pass = BackwardPass { x: &x, weight: &weight, epsilon, statistics, from_batch: true, relu_output };
            let (mut result, mut dx) = (g.clone(), vec![Bf16::from_f32(f32::NAN); shape.len()]);
            let (mut of_weight, mut of_bias) = (vec![f32::NAN; channels], vec![f32::NAN; channels]);
            let x_place = adds.then_some(&mut dx[..]);
            let gradients =
                NormGradients { result: &mut result, x: x_place, weight: &mut of_weight, bias: &mut of_bias };
            kernels.batch_norm_backward_bf16(&shape, &pass, gradients).unwrap();
            let passed: Vec<f64> =
                wide(&g).into_iter().zip(wide(&y)).map(|(g, y)| if adds && y <= 0.0 { 0.0 } else { g }).collect();
            if adds {
                assert_eq!(wide(&result), passed, "{what}: the residual's gradient");
            } else {
                dx = result;
            }
            let count = (shape.len() / channels) as f64;
            let sum =
                |c: usize, value: &dyn Fn(usize) -> f64| (c..passed.len()).step_by(channels).map(value).sum::<f64>();
            for c in 0..channels {
                let (sum_g, sum_gx) = (sum(c, &|i| passed[i]), sum(c, &|i| passed[i] * norm.normalized[i]));
                let size = sum(c, &|i| passed[i].abs() * (1.0 + norm.normalized[i].abs()));
                assert_near(&what, f64::from(of_bias[c]), sum_g, 1e-5 * size);
                assert_near(&what, f64::from(of_weight[c]), sum_gx, (2e-5 + of_mean(c)) * size + 1e-6);
                let scale = f64::from(weight[c]) / (norm.variance[c] + f64::from(epsilon)).sqrt();
                for i in (c..passed.len()).step_by(channels) {
                    let expected = scale * (passed[i] - sum_g / count - norm.normalized[i] * sum_gx / count);
                    let size = |x: f64| x.abs() * (1.0 + norm.normalized[i].abs());
                    let terms = scale.abs() * (size(passed[i]) + size(sum_g) / count + size(sum_gx) / count);
                    let found = f64::from(dx[i].to_f32());
                    assert_near(&what, found, expected, expected.abs() / 256.0 + (1e-5 + of_mean(c)) * terms + 1e-7);
                }
            }
        }
    }
}

/// Found numbers are those that the f32 kernels give, but for the rounding of results.
fn assert_rounded(what: &str, found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!((found - expected).abs() <= expected.abs() / 256.0 + 1e-5, "{what}, {i}: {found} is not {expected}");
    }
}

#[test]
fn other_operations_are_those_in_f32() {
    let kernels = crate::Kernels::new();
    let (batch, channels, [height, width]) = (3, 21, [7, 9]);
    let pixels = height * width;
    let shape = crate::Features::new(batch, channels, pixels).unwrap();
    let bf16 = |values: &[f32]| {
        let mut to = vec![Bf16::default(); values.len()];
        kernels.to_bf16(&shape, values, &mut to).unwrap();
        to
    };
    let f32 = |values: &[Bf16]| {
        let mut to = vec![f32::NAN; values.len()];
        kernels.from_bf16(&shape, values, &mut to).unwrap();
        to
    };
    let of = |seed: u64| {
        // Beyond the 6 of a ReLU6, too.
        let x = bf16(&numbers(seed, shape.len()).iter().map(|x| 8.0 * x).collect::<Vec<f32>>());
        (f32(&x), x)
    };
    let ((x, x16), (g, g16)) = (of(20), of(21));
    assert_eq!(f32(&bf16(&x)), x, "there and back");
    let nan = || vec![f32::NAN; shape.len()];
    let nan16 = || vec![Bf16::from_f32(f32::NAN); shape.len()];
    for (with, with16) in [
        (crate::Each::Add, EachBf16::Add),
        (crate::Each::Relu, EachBf16::Relu),
        (crate::Each::ReluBackward, EachBf16::ReluBackward),
        (crate::Each::Relu6, EachBf16::Relu6),
        (crate::Each::Relu6Backward, EachBf16::Relu6Backward),
    ] {
        let (mut to, mut to16) = (g.clone(), g16.clone());
        kernels.each(with, &mut to, &x).unwrap();
        kernels.each_bf16(with16, &mut to16, &x16).unwrap();
        assert_rounded(&format!("{with:?}"), &f32(&to16), &to);
    }
    let map = numbers(22, batch * pixels);
    for keeps in [false, true] {
        let (mut y, mut y16) = (nan(), nan16());
        kernels.attend(&shape, &x, &map, keeps, &mut y).unwrap();
        kernels.attend_bf16(&shape, &x16, &map, keeps, &mut y16).unwrap();
        assert_rounded("attend", &f32(&y16), &y);
        let (mut dx, mut dx16) = (g.clone(), g16.clone());
        let [mut of_map, mut of_map16] = [map.clone(), map.clone()];
        kernels.attend_backward(&shape, &x, &map, keeps, &mut dx, &mut of_map).unwrap();
        kernels.attend_backward_bf16(&shape, &x16, &map, keeps, &mut dx16, &mut of_map16).unwrap();
        assert_rounded("attend, backward", &f32(&dx16), &dx);
        assert_rounded("attend, to the map", &of_map16, &of_map);
    }
    let [mut y, mut y16] = [map.clone(), map.clone()];
    kernels.mean_square(&shape, &x, &mut y).unwrap();
    kernels.mean_square_bf16(&shape, &x16, &mut y16).unwrap();
    assert_rounded("mean square", &y16, &y);
    let (mut dx, mut dx16) = (nan(), nan16());
    kernels.mean_square_backward(&shape, &x, &map, &mut dx).unwrap();
    kernels.mean_square_backward_bf16(&shape, &x16, &map, &mut dx16).unwrap();
    assert_rounded("mean square, backward", &f32(&dx16), &dx);
    let means = numbers(23, batch * channels);
    let [mut y, mut y16] = [means.clone(), means.clone()];
    kernels.global_average_pool(&shape, &x, &mut y).unwrap();
    kernels.global_average_pool_bf16(&shape, &x16, &mut y16).unwrap();
    assert_rounded("average pool", &y16, &y);
    kernels.global_average_pool_backward(&shape, &means, &mut dx).unwrap();
    kernels.global_average_pool_backward_bf16(&shape, &means, &mut dx16).unwrap();
    assert_rounded("average pool, backward", &f32(&dx16), &dx);
}

/// With ties, in which the first maximum counts, and NaN.
#[test]
fn max_pools_are_those_in_f32() {
    let kernels = crate::Kernels::new();
    let (batch, channels) = (2, 19);
    for (kernel, stride, padding) in [(3, 2, 1), (2, 2, 0), (3, 1, 1)] {
        let shape = crate::Pool::new(batch * channels, [11, 8], Window { kernel, stride, padding }).unwrap();
        let (image, result) = (shape.input_len() / (batch * channels), shape.output_len() / (batch * channels));
        let features = |pixels| crate::Features::new(batch, channels, pixels).unwrap();
        let mut x: Vec<f32> = numbers(30, shape.input_len()).iter().map(|x| (x * 4.0).round() / 4.0).collect();
        x[5] = f32::NAN;
        let g: Vec<f32> = numbers(31, shape.output_len()).iter().map(|g| Bf16::from_f32(*g).to_f32()).collect();
        let mut x16 = vec![Bf16::default(); x.len()];
        let mut g16 = vec![Bf16::default(); g.len()];
        kernels.to_bf16(&features(image), &x, &mut x16).unwrap();
        kernels.to_bf16(&features(result), &g, &mut g16).unwrap();
        let (mut y, mut y16) = (g.clone(), g16.clone());
        kernels.max_pool(&shape, &x, &mut y).unwrap();
        kernels.max_pool_bf16(&shape, channels, &x16, &mut y16).unwrap();
        let mut back = g.clone();
        kernels.from_bf16(&features(result), &y16, &mut back).unwrap();
        assert!(back.iter().zip(&y).all(|(a, b)| a == b || a.is_nan() && b.is_nan()), "{shape:?}");
        let (mut dx, mut dx16) = (x.clone(), x16.clone());
        kernels.max_pool_backward(&shape, &x, &g, &mut dx).unwrap();
        kernels.max_pool_backward_bf16(&shape, channels, &x16, &g16, &mut dx16).unwrap();
        let mut back = x.clone();
        kernels.from_bf16(&features(image), &dx16, &mut back).unwrap();
        assert_rounded(&format!("{shape:?}"), &back, &dx);
    }
}
