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
mod transfer;

use ktg_graph::Design;
use serde::{Deserialize, Serialize};

use attention::Attention;
use probability::Probability;

pub use graph::{EdgeLoss, GraphLoss, GraphLosses};
pub use label::{Labels, cross_entropy};
pub use shown::{Shown, argmax};
pub use transfer::{Knowledge, Loss, transfer};

/// Settings that all edges of a graph share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
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

/// The losses that a design adds up.
pub fn of_design(design: Design, settings: &LossSettings) -> Vec<Box<dyn Loss>> {
    let direction = design.direction();
    let probability = Probability { direction, temperature: settings.temperature };
    let attention = Attention { direction, crop_sizes: settings.crop_sizes.clone() };
    let mut losses: Vec<Box<dyn Loss>> = Vec::new();
    if design.probability() {
        losses.push(Box::new(probability));
    }
    if design.attention() {
        losses.push(Box::new(attention));
    }
    losses
}
