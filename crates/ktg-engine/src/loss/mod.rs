//! Losses of label and transfer edges (SPEC 4, thesis eq. 1-4 and 6), value and gradient side by side, and their gates
//! (SPEC 5).
//!
//! Everything happens on the host, in plain loops over the samples of a batch: outputs are small. A loss is a type with one
//! method ([`Loss::sample`]), and all of them are in one table ([`of_design`]). Losses are per sample, computed in `f64`,
//! and added in the order of the samples, so that they do not depend on the number of threads. Only the target learns: no
//! gradient reaches the source.

mod attention;
mod graph;
mod label;
mod probability;
mod shown;

use ktg_graph::{Design, Direction};
use rayon::prelude::*;

pub use graph::{EdgeLoss, GraphLoss, GraphLosses};
pub use label::{Labels, cross_entropy};
pub use shown::Shown;

/// Settings that all edges of a graph share.
#[derive(Clone, Debug, PartialEq)]
pub struct LossSettings {
    /// Softmax temperature T of the probability losses, which are multiplied by T squared. Positive. Default: 1.
    pub temperature: f64,
    /// Sides of the square windows that the attention losses compare. Default: 3, 7, 11.
    pub crop_sizes: Vec<usize>,
}

impl Default for LossSettings {
    fn default() -> Self {
        Self { temperature: 1.0, crop_sizes: vec![3, 7, 11] }
    }
}

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

/// The losses that a design adds up.
pub fn of_design(design: Design, settings: &LossSettings) -> Vec<Box<dyn Loss>> {
    let temperature = settings.temperature;
    let probability: Box<dyn Loss> = match design.direction() {
        Direction::Closer => Box::new(probability::Closer { temperature }),
        Direction::Apart => Box::new(probability::Apart { temperature }),
    };
    let crop_sizes = settings.crop_sizes.clone();
    let attention: Box<dyn Loss> = match design.direction() {
        Direction::Closer => Box::new(attention::Closer { crop_sizes }),
        Direction::Apart => Box::new(attention::Apart { crop_sizes }),
    };
    let parts = [(design.probability(), probability), (design.attention(), attention)];
    parts.into_iter().filter(|(has, _)| *has).map(|(_, loss)| loss).collect()
}

/// Samples that a thread takes at least.
const SAMPLES: usize = 16;

/// The mean over the batch of a loss behind a gate, whose weights are given a sample (eq. 6). `sample` has the loss of a
/// sample and adds its gradient times the weight it is given to the sample's row of `gradient`, of `row` values.
fn gated_mean(
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
