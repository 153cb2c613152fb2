//! What a loss between two nodes is, and its mean over a batch.

use rayon::prelude::*;

use super::shown::Shown;

/// Which output a loss is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Knowledge {
    /// The class probabilities.
    Probability,
    /// The attention map.
    Attention,
}

/// A loss that moves one node's knowledge towards another's, or away from it.
pub trait Loss: Sync {
    /// The output that has the gradient.
    fn knowledge(&self) -> Knowledge;

    /// The loss of sample `i`. Adds `weight` times its gradient with respect to the target's output to `gradient`, the
    /// sample's row.
    fn sample(&self, i: usize, source: &Shown, target: &Shown, weight: f64, gradient: &mut [f64]) -> f64;
}

/// Samples that a thread takes at least.
const SAMPLES: usize = 16;

/// The mean over the batch of a loss behind a gate, whose weights are given a sample (eq. 6). `sample` has the loss of a
/// sample and adds its gradient times the weight it is given to the sample's row of `gradient`, of `row` values.
pub(super) fn gated_mean(
    weights: &[f64],
    gradient: &mut [f64],
    row: usize,
    sample: impl Fn(usize, f64, &mut [f64]) -> f64 + Sync,
) -> f32 {
    let count = weights.len() as f64;
    let rows = gradient.par_chunks_mut(row).with_min_len(SAMPLES).enumerate();
    let losses: Vec<f64> = rows.map(|(i, gradient)| weights[i] * sample(i, weights[i] / count, gradient)).collect();
    (losses.iter().sum::<f64>() / count) as f32
}

/// Behind a gate, the mean over the batch of a loss between the nodes' outputs; its gradient is added to `gradient`, as
/// large as the target's output.
pub fn transfer(loss: &dyn Loss, source: &Shown, target: &Shown, weights: &[f64], gradient: &mut [f64]) -> f32 {
    let row = gradient.len() / weights.len();
    gated_mean(weights, gradient, row, |i, weight, gradient| loss.sample(i, source, target, weight, gradient))
}
