//! What the test files share: random values, the levels to test, comparisons that say where and how far off.

// Every test file is a crate of its own and uses a part of this.
#![allow(dead_code)]

pub mod bf16;

use std::fmt::Display;

use ktg_kernels::{
    Affine, BackwardPass, Conv2d, Depthwise, Features, Fused, Kernels, Level, Moving, NormGradients, Pool, ShapeError,
    Statistics,
};

/// `len` values from [-1, 1], the same for the same seed (SplitMix64, whose upper bits make the value).
pub fn values(seed: u64, len: usize) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        // 24 bits, all that an f32 holds, to -1 + i / 2^23.
        ((z ^ (z >> 31)) >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

/// The same values in double precision.
pub fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().copied().map(f64::from).collect()
}

/// Kernels of every level of this machine.
pub fn all_levels() -> Vec<Kernels> {
    Level::available().into_iter().map(|level| Kernels::at(level).expect("an available level")).collect()
}

/// For comparisons that tell -0.0 from 0.0 and find NaN equal to itself.
pub fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

pub fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |most, v| v.abs().max(most))
}

/// Panics, naming the worst value, unless every value is within `limit(index)` of the reference. NaN is never within.
#[track_caller]
pub fn assert_within(what: impl Display, found: &[f32], reference: &[f64], limit: impl Fn(usize) -> f64) {
    assert_eq!(found.len(), reference.len(), "{what}: number of values");
    // How far the error exceeds its limit; `total_cmp` puts NaN above all numbers.
    let excess = |i: usize| (f64::from(found[i]) - reference[i]).abs() - limit(i);
    if let Some(worst) = (0..found.len()).max_by(|&a, &b| excess(a).total_cmp(&excess(b))) {
        assert!(
            excess(worst) <= 0.0,
            "{what}: value {worst} of {} is {}, not {} +- {:e}",
            found.len(),
            found[worst],
            reference[worst],
            limit(worst),
        );
    }
}

/// Panics, naming the first difference, unless both are the same bit by bit.
#[track_caller]
pub fn assert_same(what: impl Display, found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len(), "{what}: number of values");
    let different = |i: &usize| found[*i].to_bits() != expected[*i].to_bits();
    if let Some(first) = (0..found.len()).find(different) {
        let count = (0..found.len()).filter(different).count();
        panic!(
            "{what}: {count} of {} values differ, the first is value {first}: {} instead of {}",
            found.len(),
            found[first],
            expected[first],
        );
    }
}

/// What a training pass of batch norm gives.
pub struct Normalized {
    pub output: Vec<f32>,
    pub mean: Vec<f32>,
    pub variance: Vec<f32>,
}

/// The gradients of a batch norm: the residual's where it was asked for.
pub struct Gradients {
    pub x: Vec<f32>,
    pub weight: Vec<f32>,
    pub bias: Vec<f32>,
    pub residual: Option<Vec<f32>>,
}

/// Not finite and never equal: whatever a kernel leaves unwritten is noticed.
fn unwritten(len: usize) -> Vec<f32> {
    vec![f32::NAN; len]
}

type Result<T> = std::result::Result<T, ShapeError>;

/// The operations with vectors as results.
pub trait Returning {
    fn conv(&self, shape: &Conv2d, images: &[f32], weights: &[f32]) -> Result<Vec<f32>>;
    fn conv_backward_data(&self, shape: &Conv2d, gradient: &[f32], weights: &[f32]) -> Result<Vec<f32>>;
    fn conv_backward_weights(&self, shape: &Conv2d, images: &[f32], gradient: &[f32]) -> Result<Vec<f32>>;
    fn depth(&self, shape: &Depthwise, images: &[f32], weights: &[f32]) -> Result<Vec<f32>>;
    fn depth_backward_data(&self, shape: &Depthwise, gradient: &[f32], weights: &[f32]) -> Result<Vec<f32>>;
    fn depth_backward_weights(&self, shape: &Depthwise, images: &[f32], gradient: &[f32]) -> Result<Vec<f32>>;
    fn norm_train(&self, shape: &Features, x: &[f32], affine: Affine, fused: Fused) -> Result<Normalized>;
    fn norm_inference(
        &self,
        shape: &Features,
        x: &[f32],
        affine: Affine,
        statistics: Statistics,
        fused: Fused,
    ) -> Result<Vec<f32>>;
    fn norm_backward(
        &self,
        shape: &Features,
        pass: &BackwardPass,
        gradient: &[f32],
        residual: bool,
    ) -> Result<Gradients>;
    fn pool_max(&self, shape: &Pool, x: &[f32]) -> Result<Vec<f32>>;
    fn pool_max_backward(&self, shape: &Pool, x: &[f32], gradient: &[f32]) -> Result<Vec<f32>>;
    fn pool_mean(&self, shape: &Features, x: &[f32]) -> Result<Vec<f32>>;
    fn pool_mean_backward(&self, shape: &Features, gradient: &[f32]) -> Result<Vec<f32>>;
}

impl Returning for Kernels {
    fn conv(&self, shape: &Conv2d, images: &[f32], weights: &[f32]) -> Result<Vec<f32>> {
        let mut result = unwritten(shape.output_len());
        self.conv2d(shape, images, weights, &mut result).map(|()| result)
    }

    fn conv_backward_data(&self, shape: &Conv2d, gradient: &[f32], weights: &[f32]) -> Result<Vec<f32>> {
        let mut result = unwritten(shape.input_len());
        self.conv2d_backward_data(shape, gradient, weights, &mut result).map(|()| result)
    }

    fn conv_backward_weights(&self, shape: &Conv2d, images: &[f32], gradient: &[f32]) -> Result<Vec<f32>> {
        let mut result = unwritten(shape.weight_len());
        self.conv2d_backward_weights(shape, images, gradient, &mut result).map(|()| result)
    }

    fn depth(&self, shape: &Depthwise, images: &[f32], weights: &[f32]) -> Result<Vec<f32>> {
        let mut result = unwritten(shape.output_len());
        self.depthwise(shape, images, weights, &mut result).map(|()| result)
    }

    fn depth_backward_data(&self, shape: &Depthwise, gradient: &[f32], weights: &[f32]) -> Result<Vec<f32>> {
        let mut result = unwritten(shape.input_len());
        self.depthwise_backward_data(shape, gradient, weights, &mut result).map(|()| result)
    }

    fn depth_backward_weights(&self, shape: &Depthwise, images: &[f32], gradient: &[f32]) -> Result<Vec<f32>> {
        let mut result = unwritten(shape.weight_len());
        self.depthwise_backward_weights(shape, images, gradient, &mut result).map(|()| result)
    }

    fn norm_train(&self, shape: &Features, x: &[f32], affine: Affine, fused: Fused) -> Result<Normalized> {
        let mut output = unwritten(shape.len());
        let (mut mean, mut variance) = (unwritten(shape.channels()), unwritten(shape.channels()));
        let statistics = Moving { mean: &mut mean, variance: &mut variance };
        self.batch_norm_train(shape, x, affine, fused, statistics, &mut output)?;
        Ok(Normalized { output, mean, variance })
    }

    /// Both ways, which must agree.
    fn norm_inference(
        &self,
        shape: &Features,
        x: &[f32],
        affine: Affine,
        statistics: Statistics,
        fused: Fused,
    ) -> Result<Vec<f32>> {
        let mut result = unwritten(shape.len());
        self.batch_norm_inference(shape, Some(x), affine, statistics, fused, &mut result)?;
        let mut in_place = x.to_vec();
        self.batch_norm_inference(shape, None, affine, statistics, fused, &mut in_place)?;
        assert_same("in place", &in_place, &result);
        Ok(result)
    }

    /// Both ways, which must agree.
    fn norm_backward(
        &self,
        shape: &Features,
        pass: &BackwardPass,
        gradient: &[f32],
        residual: bool,
    ) -> Result<Gradients> {
        let mut in_place = gradient.to_vec();
        let (mut weight, mut bias) = (unwritten(shape.channels()), unwritten(shape.channels()));
        let gradients = NormGradients { result: &mut in_place, x: None, weight: &mut weight, bias: &mut bias };
        self.batch_norm_backward(shape, pass, gradients)?;
        let (mut x, mut behind) = (unwritten(shape.len()), gradient.to_vec());
        let gradients = NormGradients { result: &mut behind, x: Some(&mut x), weight: &mut weight, bias: &mut bias };
        self.batch_norm_backward(shape, pass, gradients)?;
        assert_same("in place", &in_place, &x);
        Ok(Gradients { x, weight, bias, residual: residual.then_some(behind) })
    }

    fn pool_max(&self, shape: &Pool, x: &[f32]) -> Result<Vec<f32>> {
        let mut result = unwritten(shape.output_len());
        self.max_pool(shape, x, &mut result).map(|()| result)
    }

    fn pool_max_backward(&self, shape: &Pool, x: &[f32], gradient: &[f32]) -> Result<Vec<f32>> {
        let mut result = unwritten(shape.input_len());
        self.max_pool_backward(shape, x, gradient, &mut result).map(|()| result)
    }

    fn pool_mean(&self, shape: &Features, x: &[f32]) -> Result<Vec<f32>> {
        let mut result = unwritten(shape.batch() * shape.channels());
        self.global_average_pool(shape, x, &mut result).map(|()| result)
    }

    fn pool_mean_backward(&self, shape: &Features, gradient: &[f32]) -> Result<Vec<f32>> {
        let mut result = unwritten(shape.len());
        self.global_average_pool_backward(shape, gradient, &mut result).map(|()| result)
    }
}
