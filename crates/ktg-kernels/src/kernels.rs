//! The public operations: arguments checked, then the level's code.

use crate::norm::{self, Affine, BackwardPass, Fused, NormGradients, Normalised, Statistics};
use crate::sgd::{SgdStep, sgd};
use crate::shape::{Conv2d, Features, Pool, ShapeError, check_length};
use crate::simd::{Level, at_level};
use crate::{ChannelScale, bytes, direct, pool, winograd};

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
    pub fn conv2d(&self, shape: &Conv2d, images: &[f32], weights: &[f32]) -> Result<Vec<f32>, ShapeError> {
        use {direct::forward as implicit_gemm, winograd::forward as winograd};
        check_length("the images", shape.input_len(), images.len())?;
        check_length("the weights", shape.weight_len(), weights.len())?;
        Ok(if shape.is_winograd() {
            at_level!(self.level, winograd(shape, images, weights))
        } else {
            at_level!(self.level, implicit_gemm(shape, images, weights))
        })
    }

    /// Gradient of the images, from the result's `gradient`.
    pub fn conv2d_backward_data(
        &self,
        shape: &Conv2d,
        gradient: &[f32],
        weights: &[f32],
    ) -> Result<Vec<f32>, ShapeError> {
        use {direct::backward_data as implicit_gemm, winograd::backward_data as winograd};
        check_length("the gradient", shape.output_len(), gradient.len())?;
        check_length("the weights", shape.weight_len(), weights.len())?;
        Ok(if shape.is_winograd() {
            at_level!(self.level, winograd(shape, gradient, weights))
        } else {
            at_level!(self.level, implicit_gemm(shape, gradient, weights))
        })
    }

    /// Gradient of the weights, from the result's `gradient`.
    pub fn conv2d_backward_weights(
        &self,
        shape: &Conv2d,
        images: &[f32],
        gradient: &[f32],
    ) -> Result<Vec<f32>, ShapeError> {
        use {direct::backward_weights as implicit_gemm, winograd::backward_weights as winograd};
        check_length("the images", shape.input_len(), images.len())?;
        check_length("the gradient", shape.output_len(), gradient.len())?;
        Ok(if shape.is_winograd() {
            at_level!(self.level, winograd(shape, images, gradient))
        } else {
            at_level!(self.level, implicit_gemm(shape, images, gradient))
        })
    }

    /// Batch norm with the batch's statistics, then, where asked for, the addition of a residual and a ReLU.
    pub fn batch_norm_train(
        &self,
        shape: &Features,
        x: &[f32],
        affine: Affine,
        fused: Fused,
    ) -> Result<Normalised, ShapeError> {
        use norm::train;
        check_length("the input", shape.len(), x.len())?;
        affine.check(shape)?;
        fused.check(shape)?;
        Ok(at_level!(self.level, train(shape, x, affine, fused)))
    }

    /// Batch norm with given statistics, then, where asked for, the addition of a residual and a ReLU.
    pub fn batch_norm_inference(
        &self,
        shape: &Features,
        x: &[f32],
        affine: Affine,
        statistics: Statistics,
        fused: Fused,
    ) -> Result<Vec<f32>, ShapeError> {
        use norm::inference;
        check_length("the input", shape.len(), x.len())?;
        affine.check(shape)?;
        statistics.check(shape)?;
        fused.check(shape)?;
        Ok(at_level!(self.level, inference(shape, x, affine, statistics, fused)))
    }

    /// Gradients of either batch norm, from the result's `gradient`.
    pub fn batch_norm_backward(
        &self,
        shape: &Features,
        pass: &BackwardPass,
        gradient: &[f32],
    ) -> Result<NormGradients, ShapeError> {
        use norm::backward;
        check_length("the gradient", shape.len(), gradient.len())?;
        pass.check(shape)?;
        Ok(at_level!(self.level, backward(shape, pass, gradient)))
    }

    /// Maximum of every window. NaN counts as largest.
    pub fn max_pool(&self, shape: &Pool, x: &[f32]) -> Result<Vec<f32>, ShapeError> {
        use pool::max_pool;
        check_length("the input", shape.input_len(), x.len())?;
        Ok(at_level!(self.level, max_pool(shape, x)))
    }

    /// Gradient of the max-pool's input `x`: each result's gradient goes to the first maximum of its window.
    pub fn max_pool_backward(&self, shape: &Pool, x: &[f32], gradient: &[f32]) -> Result<Vec<f32>, ShapeError> {
        use pool::max_pool_backward;
        check_length("the input", shape.input_len(), x.len())?;
        check_length("the gradient", shape.output_len(), gradient.len())?;
        Ok(at_level!(self.level, max_pool_backward(shape, x, gradient)))
    }

    /// Mean over pixels: `[batch, channels]`.
    pub fn global_average_pool(&self, shape: &Features, x: &[f32]) -> Result<Vec<f32>, ShapeError> {
        use pool::global_average_pool;
        check_length("the input", shape.len(), x.len())?;
        Ok(at_level!(self.level, global_average_pool(shape, x)))
    }

    /// Gradient of the global average pool's input.
    pub fn global_average_pool_backward(&self, shape: &Features, gradient: &[f32]) -> Result<Vec<f32>, ShapeError> {
        check_length("the gradient", shape.batch * shape.channels, gradient.len())?;
        Ok(pool::global_average_pool_backward(shape, gradient))
    }

    /// One optimiser step, in place. `velocity` may be empty where the momentum is 0.
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
