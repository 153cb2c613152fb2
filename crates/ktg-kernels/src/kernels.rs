//! The public operations: arguments checked, then the level's code.

use crate::each::Each;
use crate::norm::{self, Affine, BackwardPass, Fused, Moving, NormGradients, Statistics};
use crate::sgd::{SgdStep, sgd};
use crate::shape::{Conv2d, Features, Pool, ShapeError, check_length};
use crate::simd::{Level, at_level};
use crate::{ChannelScale, attend, bytes, direct, each, pool, winograd};

/// All operations, at one dispatch level.
///
/// Everything is `f32`, row-major, images as `[batch, channels, height, width]`. Work is shared by the threads of the
/// current rayon pool; results do not depend on how many there are, nor on what ran before. Levels differ in the order
/// of additions, hence in rounding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernels {
    level: Level,
}

impl Default for Kernels {
    fn default() -> Self {
        Self::new()
    }
}

impl Kernels {
    /// The best level of this machine.
    pub fn new() -> Self {
        Self { level: Level::best() }
    }

    /// A certain level; `None` if this machine lacks it.
    pub fn at(level: Level) -> Option<Self> {
        level.is_available().then_some(Self { level })
    }

    /// The level in use.
    pub fn level(&self) -> Level {
        self.level
    }

    /// Appends an 8-bit image of `scales.len()` channels to `out`, as one plane a channel. `pixels` are row by row, the
    /// channels of a pixel together; `mirrored` swaps left and right. Equal, bit for bit, at all levels.
    ///
    /// # Errors
    ///
    /// If `pixels` are no whole rows of `width` pixels, or there are no channels.
    pub fn append_planes(
        &self,
        pixels: &[u8],
        width: usize,
        scales: &[ChannelScale],
        mirrored: bool,
        out: &mut Vec<f32>,
    ) -> Result<(), ShapeError> {
        bytes::append_planes(self.level, pixels, width, scales, mirrored, out)
    }

    /// Convolution of `images` with `weights`; shapes see [`Conv2d`].
    ///
    /// # Errors
    ///
    /// If a slice has another length than the shape says; so for all operations.
    pub fn conv2d(
        &self,
        shape: &Conv2d,
        images: &[f32],
        weights: &[f32],
        result: &mut [f32],
    ) -> Result<(), ShapeError> {
        use {direct::forward as implicit_gemm, winograd::forward as winograd};
        check_length("the images", shape.input_len(), images.len())?;
        check_length("the weights", shape.weight_len(), weights.len())?;
        check_length("the result", shape.output_len(), result.len())?;
        if shape.is_winograd() {
            at_level!(self.level, winograd(shape, images, weights, result))
        } else {
            at_level!(self.level, implicit_gemm(shape, images, weights, result))
        }
        Ok(())
    }

    /// Gradient of the images, from the result's `gradient`.
    pub fn conv2d_backward_data(
        &self,
        shape: &Conv2d,
        gradient: &[f32],
        weights: &[f32],
        result: &mut [f32],
    ) -> Result<(), ShapeError> {
        use {direct::backward_data as implicit_gemm, winograd::backward_data as winograd};
        check_length("the gradient", shape.output_len(), gradient.len())?;
        check_length("the weights", shape.weight_len(), weights.len())?;
        check_length("the gradient of the images", shape.input_len(), result.len())?;
        if shape.is_winograd() {
            at_level!(self.level, winograd(shape, gradient, weights, result))
        } else {
            at_level!(self.level, implicit_gemm(shape, gradient, weights, result))
        }
        Ok(())
    }

    /// Gradient of the weights, from the result's `gradient`.
    pub fn conv2d_backward_weights(
        &self,
        shape: &Conv2d,
        images: &[f32],
        gradient: &[f32],
        result: &mut [f32],
    ) -> Result<(), ShapeError> {
        use {direct::backward_weights as implicit_gemm, winograd::backward_weights as winograd};
        check_length("the images", shape.input_len(), images.len())?;
        check_length("the gradient", shape.output_len(), gradient.len())?;
        check_length("the gradient of the weights", shape.weight_len(), result.len())?;
        if shape.is_winograd() {
            at_level!(self.level, winograd(shape, images, gradient, result))
        } else {
            at_level!(self.level, implicit_gemm(shape, images, gradient, result))
        }
        Ok(())
    }

    /// Batch norm with the batch's statistics, which go to `statistics`; then, where asked for, the addition of a residual
    /// and a ReLU.
    pub fn batch_norm_train(
        &self,
        shape: &Features,
        x: &[f32],
        affine: Affine,
        fused: Fused,
        statistics: Moving,
        result: &mut [f32],
    ) -> Result<(), ShapeError> {
        use norm::train;
        check_length("the input", shape.len(), x.len())?;
        check_length("the result", shape.len(), result.len())?;
        affine.check(shape)?;
        fused.check(shape)?;
        statistics.check(shape)?;
        at_level!(self.level, train(shape, x, affine, fused, statistics, result));
        Ok(())
    }

    /// Batch norm with given statistics, then, where asked for, the addition of a residual and a ReLU. Without `x`, what is
    /// in `result` is normalized in place.
    pub fn batch_norm_inference(
        &self,
        shape: &Features,
        x: Option<&[f32]>,
        affine: Affine,
        statistics: Statistics,
        fused: Fused,
        result: &mut [f32],
    ) -> Result<(), ShapeError> {
        use norm::inference;
        x.map_or(Ok(()), |x| check_length("the input", shape.len(), x.len()))?;
        check_length("the result", shape.len(), result.len())?;
        affine.check(shape)?;
        statistics.check(shape)?;
        fused.check(shape)?;
        at_level!(self.level, inference(shape, x, affine, statistics, fused, result));
        Ok(())
    }

    /// Gradients of either batch norm.
    pub fn batch_norm_backward(
        &self,
        shape: &Features,
        pass: &BackwardPass,
        gradients: NormGradients,
    ) -> Result<(), ShapeError> {
        use norm::backward;
        gradients.check(shape)?;
        pass.check(shape)?;
        at_level!(self.level, backward(shape, pass, gradients));
        Ok(())
    }

    /// Maximum of every window. NaN counts as largest.
    pub fn max_pool(&self, shape: &Pool, x: &[f32], result: &mut [f32]) -> Result<(), ShapeError> {
        use pool::max_pool;
        check_length("the input", shape.input_len(), x.len())?;
        check_length("the result", shape.output_len(), result.len())?;
        at_level!(self.level, max_pool(shape, x, result));
        Ok(())
    }

    /// Gradient of the max-pool's input `x`: each result's gradient goes to the first maximum of its window.
    pub fn max_pool_backward(
        &self,
        shape: &Pool,
        x: &[f32],
        gradient: &[f32],
        result: &mut [f32],
    ) -> Result<(), ShapeError> {
        use pool::max_pool_backward;
        check_length("the input", shape.input_len(), x.len())?;
        check_length("the gradient", shape.output_len(), gradient.len())?;
        check_length("the gradient of the input", shape.input_len(), result.len())?;
        at_level!(self.level, max_pool_backward(shape, x, gradient, result));
        Ok(())
    }

    /// Mean over pixels: `[batch, channels]`.
    pub fn global_average_pool(&self, shape: &Features, x: &[f32], result: &mut [f32]) -> Result<(), ShapeError> {
        use pool::global_average_pool;
        check_length("the input", shape.len(), x.len())?;
        check_length("the result", shape.batch * shape.channels, result.len())?;
        at_level!(self.level, global_average_pool(shape, x, result));
        Ok(())
    }

    /// Gradient of the global average pool's input.
    pub fn global_average_pool_backward(
        &self,
        shape: &Features,
        gradient: &[f32],
        result: &mut [f32],
    ) -> Result<(), ShapeError> {
        check_length("the gradient", shape.batch * shape.channels, gradient.len())?;
        check_length("the gradient of the input", shape.len(), result.len())?;
        pool::global_average_pool_backward(shape, gradient, result);
        Ok(())
    }

    /// Product of maps `x` and a map of one channel, `[batch, pixels]`, plus `x` itself where it `keeps` it.
    pub fn attend(
        &self,
        shape: &Features,
        x: &[f32],
        map: &[f32],
        keeps: bool,
        result: &mut [f32],
    ) -> Result<(), ShapeError> {
        use attend::forward;
        check_length("the input", shape.len(), x.len())?;
        check_length("the map", shape.batch * shape.pixels, map.len())?;
        check_length("the result", shape.len(), result.len())?;
        at_level!(self.level, forward(shape, x, map, keeps, result));
        Ok(())
    }

    /// Gradients of [`attend`](Self::attend): `gradient`, of the result, becomes that of `x`; that of the map goes to
    /// `result`.
    pub fn attend_backward(
        &self,
        shape: &Features,
        x: &[f32],
        map: &[f32],
        keeps: bool,
        gradient: &mut [f32],
        result: &mut [f32],
    ) -> Result<(), ShapeError> {
        use attend::backward;
        check_length("the input", shape.len(), x.len())?;
        check_length("the map", shape.batch * shape.pixels, map.len())?;
        check_length("the gradient", shape.len(), gradient.len())?;
        check_length("the gradient of the map", shape.batch * shape.pixels, result.len())?;
        at_level!(self.level, backward(shape, x, map, keeps, gradient, result));
        Ok(())
    }

    /// Mean over channels of the squares: `[batch, pixels]`.
    pub fn mean_square(&self, shape: &Features, x: &[f32], result: &mut [f32]) -> Result<(), ShapeError> {
        use attend::mean_square;
        check_length("the input", shape.len(), x.len())?;
        check_length("the result", shape.batch * shape.pixels, result.len())?;
        at_level!(self.level, mean_square(shape, x, result));
        Ok(())
    }

    /// Gradient of the input `x` of [`mean_square`](Self::mean_square).
    pub fn mean_square_backward(
        &self,
        shape: &Features,
        x: &[f32],
        gradient: &[f32],
        result: &mut [f32],
    ) -> Result<(), ShapeError> {
        use attend::mean_square_backward;
        check_length("the input", shape.len(), x.len())?;
        check_length("the gradient", shape.batch * shape.pixels, gradient.len())?;
        check_length("the gradient of the input", shape.len(), result.len())?;
        at_level!(self.level, mean_square_backward(shape, x, gradient, result));
        Ok(())
    }

    /// An operation on each value by itself: `to` becomes what `with` says of it and of `from`.
    pub fn each(&self, with: Each, to: &mut [f32], from: &[f32]) -> Result<(), ShapeError> {
        use each::each;
        check_length("the values", to.len(), from.len())?;
        at_level!(self.level, each(with, to, from));
        Ok(())
    }

    /// One optimizer step, in place. `velocity` may be empty where the momentum is 0.
    pub fn sgd(
        &self,
        step: SgdStep,
        parameters: &mut [f32],
        gradient: &[f32],
        velocity: &mut [f32],
    ) -> Result<(), ShapeError> {
        check_length("the gradient", parameters.len(), gradient.len())?;
        if step.momentum != 0.0 {
            check_length("the velocity", parameters.len(), velocity.len())?;
        }
        at_level!(self.level, sgd(step, parameters, gradient, velocity));
        Ok(())
    }
}
