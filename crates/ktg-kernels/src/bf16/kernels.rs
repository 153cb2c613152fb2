//! The operations in bf16, at one level.

use super::correlate::{backward_data, forward};
use super::instructions::with_tiles;
use super::maps::{self, EachBf16};
use super::norm;
use super::pool;
use super::weights::backward_weights;
use crate::Kernels;
use crate::norm::{Affine, BackwardPass, Fused, Moving, NormGradients, Statistics};
use crate::number::Bf16;
use crate::shape::{Conv2d, Features, Pool, Result, check_if_given, check_length};

/// Images and results are `[image, row, column, channel]` here; weights, and their gradients, are those of the other operations.
impl Kernels {
    /// Convolution of `images` with `weights`, which are rounded to bf16; sums are f32.
    ///
    /// # Errors
    ///
    /// If a slice has another length than the shape says; so for all operations.
    pub fn conv2d_bf16(&self, shape: &Conv2d, images: &[Bf16], weights: &[f32], result: &mut [Bf16]) -> Result {
        shape.lengths().check(images.len(), weights.len(), result.len())?;
        with_tiles!(self, S, tiles => forward::<S, _>(tiles, shape, images, weights, result, None));
        Ok(())
    }

    /// The same, and mean and (biased) variance of each channel of the result, which a batch norm behind it asks for.
    pub fn conv2d_statistics_bf16(
        &self,
        shape: &Conv2d,
        images: &[Bf16],
        weights: &[f32],
        result: &mut [Bf16],
        statistics: Moving,
    ) -> Result {
        shape.lengths().check(images.len(), weights.len(), result.len())?;
        check_length("the mean", shape.output, statistics.mean.len())?;
        check_length("the variance", shape.output, statistics.variance.len())?;
        with_tiles!(self, S, tiles => forward::<S, _>(tiles, shape, images, weights, result, Some(statistics)));
        Ok(())
    }

    /// Gradient of the images, from the result's `gradient`.
    pub fn conv2d_backward_data_bf16(
        &self,
        shape: &Conv2d,
        gradient: &[Bf16],
        weights: &[f32],
        result: &mut [Bf16],
    ) -> Result {
        shape.lengths().check_backward_data(gradient.len(), weights.len(), result.len())?;
        with_tiles!(self, S, tiles => backward_data::<S, _>(tiles, shape, gradient, weights, result));
        Ok(())
    }

    /// Gradient of the weights, in f32, from the result's `gradient`.
    pub fn conv2d_backward_weights_bf16(
        &self,
        shape: &Conv2d,
        images: &[Bf16],
        gradient: &[Bf16],
        result: &mut [f32],
    ) -> Result {
        shape.lengths().check_backward_weights(images.len(), gradient.len(), result.len())?;
        with_tiles!(self, S, tiles => backward_weights::<S, _>(tiles, shape, images, gradient, result));
        Ok(())
    }

    /// Batch norm in training, as [`batch_norm_train`](Self::batch_norm_train).
    pub fn batch_norm_train_bf16(
        &self,
        shape: &Features,
        x: &[Bf16],
        affine: Affine,
        fused: Fused<Bf16>,
        statistics: Moving,
        result: &mut [Bf16],
    ) -> Result {
        check_norm(shape, affine, fused, result)?;
        check_length("the input", shape.len(), x.len())?;
        check_length("the mean", shape.channels(), statistics.mean.len())?;
        check_length("the variance", shape.channels(), statistics.variance.len())?;
        with_tiles!(self, S, _tiles => norm::train::<S>(x, affine, fused, statistics, result));
        Ok(())
    }

    /// Batch norm with given statistics, as [`batch_norm_inference`](Self::batch_norm_inference); without `x` in place.
    pub fn batch_norm_inference_bf16(
        &self,
        shape: &Features,
        x: Option<&[Bf16]>,
        affine: Affine,
        statistics: Statistics,
        fused: Fused<Bf16>,
        result: &mut [Bf16],
    ) -> Result {
        check_norm(shape, affine, fused, result)?;
        check_if_given("the input", shape.len(), x)?;
        check_length("the mean", shape.channels(), statistics.mean.len())?;
        check_length("the variance", shape.channels(), statistics.variance.len())?;
        with_tiles!(self, S, _tiles => norm::inference::<S>(x, affine, statistics, fused, result));
        Ok(())
    }

    /// Gradients of a batch norm, as [`batch_norm_backward`](Self::batch_norm_backward).
    pub fn batch_norm_backward_bf16(
        &self,
        shape: &Features,
        pass: &BackwardPass<Bf16>,
        gradients: NormGradients<Bf16>,
    ) -> Result {
        check_length("the input", shape.len(), pass.x.len())?;
        check_length("the weight", shape.channels(), pass.weight.len())?;
        check_length("the mean", shape.channels(), pass.statistics.mean.len())?;
        check_length("the variance", shape.channels(), pass.statistics.variance.len())?;
        check_if_given("the ReLU's output", shape.len(), pass.relu_output)?;
        check_length("the gradient", shape.len(), gradients.result.len())?;
        check_if_given("the gradient of the input", shape.len(), gradients.x.as_deref())?;
        check_length("the gradient of the weight", shape.channels(), gradients.weight.len())?;
        check_length("the gradient of the bias", shape.channels(), gradients.bias.len())?;
        with_tiles!(self, S, _tiles => norm::backward::<S>(pass, gradients));
        Ok(())
    }
}

/// Maps are `[image, pixel, channel]`.
impl Kernels {
    /// An operation on each number by itself, as [`each`](Self::each).
    pub fn each_bf16(&self, with: EachBf16, to: &mut [Bf16], from: &[Bf16]) -> Result {
        check_length("the values", to.len(), from.len())?;
        with_tiles!(self, S, _tiles => maps::each::<S>(with, to, from));
        Ok(())
    }

    /// Product of maps and a map of one channel in f32, as [`attend`](Self::attend).
    pub fn attend_bf16(&self, shape: &Features, x: &[Bf16], map: &[f32], keeps: bool, result: &mut [Bf16]) -> Result {
        check_length("the input", shape.len(), x.len())?;
        check_length("the map", shape.batch * shape.pixels, map.len())?;
        check_length("the result", shape.len(), result.len())?;
        with_tiles!(self, S, _tiles => maps::attend::<S>(shape.channels, x, map, keeps, result));
        Ok(())
    }

    /// Gradients of [`attend_bf16`](Self::attend_bf16): `gradient`, of the result, becomes that of `x`; that of the map goes to
    /// `result`.
    pub fn attend_backward_bf16(
        &self,
        shape: &Features,
        x: &[Bf16],
        map: &[f32],
        keeps: bool,
        gradient: &mut [Bf16],
        result: &mut [f32],
    ) -> Result {
        check_length("the input", shape.len(), x.len())?;
        check_length("the map", shape.batch * shape.pixels, map.len())?;
        check_length("the gradient", shape.len(), gradient.len())?;
        check_length("the gradient of the map", shape.batch * shape.pixels, result.len())?;
        with_tiles!(self, S, _tiles => maps::attend_backward::<S>(shape.channels, x, map, keeps, gradient, result));
        Ok(())
    }

    /// Mean over channels of the squares, in f32.
    pub fn mean_square_bf16(&self, shape: &Features, x: &[Bf16], result: &mut [f32]) -> Result {
        check_length("the input", shape.len(), x.len())?;
        check_length("the result", shape.batch * shape.pixels, result.len())?;
        with_tiles!(self, S, _tiles => maps::mean_square::<S>(shape.channels, x, result));
        Ok(())
    }

    /// Gradient of the input `x` of [`mean_square_bf16`](Self::mean_square_bf16).
    pub fn mean_square_backward_bf16(
        &self,
        shape: &Features,
        x: &[Bf16],
        gradient: &[f32],
        result: &mut [Bf16],
    ) -> Result {
        check_length("the input", shape.len(), x.len())?;
        check_length("the gradient", shape.batch * shape.pixels, gradient.len())?;
        check_length("the gradient of the input", shape.len(), result.len())?;
        with_tiles!(self, S, _tiles => maps::mean_square_backward::<S>(shape.channels, x, gradient, result));
        Ok(())
    }

    /// Mean over pixels in f32, `[batch, channels]`.
    pub fn global_average_pool_bf16(&self, shape: &Features, x: &[Bf16], result: &mut [f32]) -> Result {
        check_length("the input", shape.len(), x.len())?;
        check_length("the result", shape.batch * shape.channels, result.len())?;
        with_tiles!(self, S, _tiles => maps::global_average_pool::<S>(shape, x, result));
        Ok(())
    }

    /// Gradient of the global average pool's input.
    pub fn global_average_pool_backward_bf16(&self, shape: &Features, gradient: &[f32], result: &mut [Bf16]) -> Result {
        check_length("the gradient", shape.batch * shape.channels, gradient.len())?;
        check_length("the gradient of the input", shape.len(), result.len())?;
        maps::global_average_pool_backward(shape, gradient, result);
        Ok(())
    }

    /// Maps `[image, channel, pixel]` in f32, rounded to `[image, pixel, channel]`.
    pub fn to_bf16(&self, shape: &Features, x: &[f32], result: &mut [Bf16]) -> Result {
        check_length("the input", shape.len(), x.len())?;
        check_length("the result", shape.len(), result.len())?;
        maps::narrow(shape, x, result);
        Ok(())
    }

    /// Maps `[image, pixel, channel]` as `[image, channel, pixel]` in f32.
    pub fn from_bf16(&self, shape: &Features, x: &[Bf16], result: &mut [f32]) -> Result {
        check_length("the input", shape.len(), x.len())?;
        check_length("the result", shape.len(), result.len())?;
        maps::widen(shape, x, result);
        Ok(())
    }

    /// Maximum of every window, as [`max_pool`](Self::max_pool); the planes of an image are its `channels`.
    pub fn max_pool_bf16(&self, shape: &Pool, channels: usize, x: &[Bf16], result: &mut [Bf16]) -> Result {
        check_length("the input", shape.input_len(), x.len())?;
        check_length("the result", shape.output_len(), result.len())?;
        with_tiles!(self, S, _tiles => pool::max_pool::<S>(shape, channels, x, result));
        Ok(())
    }

    /// Gradient of the max-pool's input `x`, as [`max_pool_backward`](Self::max_pool_backward).
    pub fn max_pool_backward_bf16(
        &self,
        shape: &Pool,
        channels: usize,
        x: &[Bf16],
        gradient: &[Bf16],
        result: &mut [Bf16],
    ) -> Result {
        check_length("the input", shape.input_len(), x.len())?;
        check_length("the gradient", shape.output_len(), gradient.len())?;
        check_length("the gradient of the input", shape.input_len(), result.len())?;
        with_tiles!(self, S, _tiles => pool::max_pool_backward::<S>(shape, channels, x, gradient, result));
        Ok(())
    }
}

fn check_norm(shape: &Features, affine: Affine, fused: Fused<Bf16>, result: &[Bf16]) -> Result {
    check_length("the weight", shape.channels(), affine.weight.len())?;
    check_length("the bias", shape.channels(), affine.bias.len())?;
    check_if_given("the residual", shape.len(), fused.residual)?;
    check_length("the result", shape.len(), result.len())
}
