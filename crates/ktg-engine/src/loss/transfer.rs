//! What a loss between two nodes is, and its mean over a batch.

use rayon::prelude::*;

use super::shown::Shown;

/// A loss that moves one node's knowledge towards another's, or away from it.
pub trait Loss: Sync {
    /// The loss of a batch behind a gate, whose `weights` are given a sample (eq. 6). Its gradient with respect to the
    /// target's output that the loss is about is added to `gradient`, a row a sample.
    fn of_batch(&self, source: &Shown, target: &Shown, weights: &[f64], gradient: &mut [f64]) -> f32;
}

/// Samples that a thread takes at least.
const SAMPLES: usize = 16;

/// The mean over the batch of a loss that each sample has by itself, times its weight. `sample` has the loss of a sample and
/// adds its gradient times the weight it is given to the sample's row of `gradient`.
pub(super) fn gated_mean(
    weights: &[f64],
    gradient: &mut [f64],
    sample: impl Fn(usize, f64, &mut [f64]) -> f64 + Sync,
) -> f32 {
    let count = weights.len() as f64;
    let row = gradient.len() / weights.len();
    let rows = gradient.par_chunks_mut(row).with_min_len(SAMPLES).enumerate();
    let losses: Vec<f64> = rows.map(|(i, gradient)| weights[i] * sample(i, weights[i] / count, gradient)).collect();
    (losses.iter().sum::<f64>() / count) as f32
}
