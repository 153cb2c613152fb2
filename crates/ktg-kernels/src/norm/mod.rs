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
pub struct Fused<'a, T = f32> {
    /// Added after the normalisation; as large as x.
    pub residual: Option<&'a [T]>,
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
pub struct BackwardPass<'a, T = f32> {
    /// The input, as it lay in the forward pass.
    pub x: &'a [T],
    /// `[channels]`
    pub weight: &'a [f32],
    /// As in the forward pass.
    pub epsilon: f32,
    /// What the input was normalised with.
    pub statistics: Statistics<'a>,
    /// The statistics were those of x itself (training) rather than given (inference).
    pub from_batch: bool,
    /// The forward pass's output, where it ended with a ReLU: the gradient passes unless the output is `<= 0`.
    pub relu_output: Option<&'a [T]>,
}

/// Gradients of a batch norm.
#[derive(Debug)]
pub struct NormGradients<'a, T = f32> {
    /// Of the result, before. It becomes the gradient of the input, or, where that has a place of its own, that of the
    /// residual.
    pub result: &'a mut [T],
    /// Where the gradient of the input goes, if not into `result`.
    pub x: Option<&'a mut [T]>,
    /// Of the weight, `[channels]`.
    pub weight: &'a mut [f32],
    /// Of the bias, `[channels]`.
    pub bias: &'a mut [f32],
}

/// What the gradient of a channel's input is made of: `scale * g + slope * (x - mean) + constant`.
#[derive(Clone, Copy, Default)]
pub(crate) struct Line {
    pub scale: f32,
    pub slope: f32,
    pub constant: f32,
}

impl<T> BackwardPass<'_, T> {
    /// One over the standard deviation of a channel.
    fn inverse_deviation(&self, channel: usize) -> f64 {
        1.0 / f64::from(self.statistics.variance[channel] + self.epsilon).sqrt()
    }

    /// Gradient of a channel's weight, from the sum of `g (x - mean)`.
    pub(crate) fn of_weight(&self, channel: usize, product: f64) -> f64 {
        product * self.inverse_deviation(channel)
    }

    /// `dx = scale (g - mean(g) - normalised x * mean(g normalised x))` of a channel of so many values, the latter two terms
    /// only where mean and variance depend on x.
    pub(crate) fn line(&self, channel: usize, sum: f64, of_weight: f64, count: f64) -> Line {
        let deviation = self.inverse_deviation(channel);
        let scale = f64::from(self.weight[channel]) * deviation;
        let (constant, slope) = match self.from_batch {
            true => (-scale * sum / count, -scale * deviation * of_weight / count),
            false => (0.0, 0.0),
        };
        Line { scale: scale as f32, slope: slope as f32, constant: constant as f32 }
    }
}

/// Bytes of the planes of a task.
const TASK_BYTES: usize = 32 << 10;

/// How many planes one task takes: they lie side by side, and whoever computed them before, image by image, has them in its
/// cache.
pub(crate) fn planes_at_a_time(shape: &Features) -> usize {
    (TASK_BYTES / (shape.pixels * size_of::<f32>())).clamp(1, shape.planes())
}
