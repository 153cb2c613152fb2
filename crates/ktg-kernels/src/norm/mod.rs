//! Batch normalisation (Ioffe & Szegedy 2015), with the addition and the ReLU that follow it in residual networks.

mod backward;
mod forward;

pub(crate) use backward::backward;
pub(crate) use forward::{inference, train};

use crate::shape::Features;

/// Scale and shift per channel.
#[derive(Clone, Copy, Debug)]
pub struct Affine<'a> {
    /// `[channels]`
    pub weight: &'a [f32],
    /// `[channels]`
    pub bias: &'a [f32],
    /// Added to the variance.
    pub epsilon: f32,
}

/// Mean and biased variance per channel.
#[derive(Clone, Copy, Debug)]
pub struct Statistics<'a> {
    /// `[channels]`
    pub mean: &'a [f32],
    /// `[channels]`
    pub variance: &'a [f32],
}

/// What is computed along with a batch norm: `relu(norm(x) + residual)`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fused<'a> {
    /// Added after the normalisation; as large as x.
    pub residual: Option<&'a [f32]>,
    /// Negative results become 0.
    pub relu: bool,
}

/// Where the statistics of a batch go.
#[derive(Debug)]
pub struct Moving<'a> {
    /// Mean of the batch, `[channels]`.
    pub mean: &'a mut [f32],
    /// Biased variance of the batch, `[channels]`.
    pub variance: &'a mut [f32],
}

/// What the backward pass needs to know of the forward pass.
#[derive(Clone, Copy, Debug)]
pub struct BackwardPass<'a> {
    /// The input, `[batch, channels, pixels]`.
    pub x: &'a [f32],
    /// `[channels]`
    pub weight: &'a [f32],
    /// As in the forward pass.
    pub epsilon: f32,
    /// What the input was normalised with.
    pub statistics: Statistics<'a>,
    /// The statistics were those of x itself (training) rather than given (inference).
    pub from_batch: bool,
    /// The forward pass's output, where it ended with a ReLU: the gradient passes unless the output is `<= 0`.
    pub relu_output: Option<&'a [f32]>,
}

/// Gradients of a batch norm.
#[derive(Debug)]
pub struct NormGradients<'a> {
    /// Of the result, before. It becomes the gradient of the input, or, where that has a place of its own, that of the
    /// residual.
    pub result: &'a mut [f32],
    /// Where the gradient of the input goes, if not into `result`.
    pub x: Option<&'a mut [f32]>,
    /// Of the weight, `[channels]`.
    pub weight: &'a mut [f32],
    /// Of the bias, `[channels]`.
    pub bias: &'a mut [f32],
}

/// Bytes of the planes of a task.
const TASK_BYTES: usize = 32 << 10;

/// How many planes one task takes: they lie side by side, and whoever computed them before, image by image, has them in its
/// cache.
fn planes_at_a_time(shape: &Features) -> usize {
    (TASK_BYTES / (shape.pixels * size_of::<f32>())).clamp(1, shape.planes())
}
