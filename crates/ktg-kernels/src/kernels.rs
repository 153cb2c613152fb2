//! The operations, at one level: here the large ones, in files of their own the others.

use crate::Algorithm;
use crate::norm::{self, Affine, BackwardPass, Fused, Moving, NormGradients, Statistics};
use crate::shape::{Conv2d, Features, Result, check_if_given, check_length};
use crate::simd::{Level, Plain, Simd, Task, at_level};
use crate::{direct, small_maps, winograd};

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

    /// Runs a task, compiled for the level's instructions.
    ///
    /// # Safety
    ///
    /// The pointers in the task may be used as it says.
    pub(crate) unsafe fn run<T: Task>(&self, task: T) -> T::Output {
        // SAFETY: this machine has the level; the rest is granted by the caller.
        unsafe { at_level!(self.level, S => S::vectorize(task)) }
    }

    /// Runs a plain piece of work, compiled for the level's instructions.
    pub(crate) fn compute(&self, work: impl Plain) {
        // SAFETY: it has no pointers.
        unsafe { self.run(work) }
    }

    /// Convolution of `images` with `weights`; shapes see [`Conv2d`].
    ///
    /// # Errors
    ///
    /// If a slice has another length than the shape says; so for all operations.
    pub fn conv2d(&self, shape: &Conv2d, images: &[f32], weights: &[f32], result: &mut [f32]) -> Result {
        shape.lengths().check(images.len(), weights.len(), result.len())?;
        at_level!(self.level, S => match shape.algorithm() {
            Algorithm::Winograd => winograd::forward::<S>(shape, images, weights, result),
            Algorithm::Direct => direct::forward::<S>(shape, images, weights, result),
            Algorithm::SmallMaps => small_maps::forward::<S>(shape, images, weights, result),
        });
        Ok(())
    }

    /// Gradient of the images, from the result's `gradient`.
    pub fn conv2d_backward_data(
        &self,
        shape: &Conv2d,
        gradient: &[f32],
        weights: &[f32],
        result: &mut [f32],
    ) -> Result {
        shape.lengths().check_backward_data(gradient.len(), weights.len(), result.len())?;
        at_level!(self.level, S => match shape.algorithm() {
            Algorithm::Winograd => winograd::backward_data::<S>(shape, gradient, weights, result),
            Algorithm::Direct => direct::backward_data::<S>(shape, gradient, weights, result),
            Algorithm::SmallMaps => small_maps::backward_data::<S>(shape, gradient, weights, result),
        });
        Ok(())
    }

    /// Gradient of the weights, from the result's `gradient`.
    pub fn conv2d_backward_weights(
        &self,
        shape: &Conv2d,
        images: &[f32],
        gradient: &[f32],
        result: &mut [f32],
    ) -> Result {
        shape.lengths().check_backward_weights(images.len(), gradient.len(), result.len())?;
        at_level!(self.level, S => match shape.algorithm() {
            Algorithm::Winograd => winograd::backward_weights::<S>(shape, images, gradient, result),
            Algorithm::Direct => direct::backward_weights::<S>(shape, images, gradient, result),
            Algorithm::SmallMaps => small_maps::backward_weights::<S>(shape, images, gradient, result),
        });
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
    ) -> Result {
        check_length("the input", shape.len(), x.len())?;
        check_length("the result", shape.len(), result.len())?;
        check_norm(shape, affine, fused)?;
        check_statistics(shape, Statistics { mean: statistics.mean, variance: statistics.variance })?;
        at_level!(self.level, S => norm::train::<S>(shape, x, affine, fused, statistics, result));
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
    ) -> Result {
        check_if_given("the input", shape.len(), x)?;
        check_length("the result", shape.len(), result.len())?;
        check_norm(shape, affine, fused)?;
        check_statistics(shape, statistics)?;
        at_level!(self.level, S => norm::inference::<S>(shape, x, affine, statistics, fused, result));
        Ok(())
    }

    /// Gradients of either batch norm.
    pub fn batch_norm_backward(&self, shape: &Features, pass: &BackwardPass, gradients: NormGradients) -> Result {
        check_length("the input", shape.len(), pass.x.len())?;
        check_length("the batch norm's weight", shape.channels, pass.weight.len())?;
        check_statistics(shape, pass.statistics)?;
        check_if_given("the output", shape.len(), pass.relu_output)?;
        check_length("the gradient", shape.len(), gradients.result.len())?;
        check_if_given("the gradient of the input", shape.len(), gradients.x.as_deref())?;
        check_length("the gradient of the weight", shape.channels, gradients.weight.len())?;
        check_length("the gradient of the bias", shape.channels, gradients.bias.len())?;
        at_level!(self.level, S => norm::backward::<S>(shape, pass, gradients));
        Ok(())
    }
}

fn check_norm(shape: &Features, affine: Affine, fused: Fused) -> Result {
    check_length("the batch norm's weight", shape.channels, affine.weight.len())?;
    check_length("the batch norm's bias", shape.channels, affine.bias.len())?;
    check_if_given("the residual", shape.len(), fused.residual)
}

fn check_statistics(shape: &Features, Statistics { mean, variance }: Statistics) -> Result {
    check_length("the mean", shape.channels, mean.len())?;
    check_length("the variance", shape.channels, variance.len())
}
