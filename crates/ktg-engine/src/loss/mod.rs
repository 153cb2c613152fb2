//! Losses of label and transfer edges (SPEC 4, thesis eq. 1-4 and 6), value and gradient side by side, and their gates
//! (SPEC 5).
//!
//! Everything happens on the host, in plain loops over the samples of a batch: outputs are small. A loss is a type with one
//! method ([`Loss::of_batch`]), and all of them are in one table ([`of_term`]). Losses are per sample, computed in `f64`,
//! and added in the order of the samples, so that they do not depend on the number of threads. Only the target learns: no
//! gradient reaches the source.

mod attention;
mod graph;
mod label;
mod probability;
mod relation;
mod resize;
mod shown;
mod transfer;

use ktg_graph::{Knowledge, Term};
use serde::{Deserialize, Serialize};

use attention::Attention;
use probability::Probability;
use relation::Relation;

pub use graph::{EdgeLoss, GraphLoss, GraphLosses};
pub use label::{CrossEntropy, Labels};
pub use resize::resize_area;
pub use shown::{Shown, argmax};
pub use transfer::Loss;

/// Settings that all edges of a graph share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LossSettings {
    /// Softmax temperature T of the losses between class probabilities (probability and relation), which are multiplied by
    /// T squared. Positive. Default: 1.
    pub temperature: f64,
    /// Sides of the square windows that the attention losses compare. Default: 3, 7, 11.
    pub crop_sizes: Vec<usize>,
    /// How much of a label edge's target is spread over all classes, from 0 to below 1. Default: 0.
    #[serde(skip_serializing_if = "is_zero")]
    pub label_smoothing: f64,
    /// Weights of the classes in label losses. Default: none.
    #[serde(skip_serializing_if = "ClassWeights::is_none")]
    pub class_weights: ClassWeights,
}

/// How much the classes' samples count in label losses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClassWeights {
    /// Every sample the same.
    #[default]
    None,
    /// Every class the same: a sample of a class that has n of N training images counts N / (K n), where there are K classes.
    Balanced,
}

impl ClassWeights {
    /// By class, of so many training images each; none where all are 1.
    pub fn of(self, images: &[usize]) -> Vec<f64> {
        let all: usize = images.iter().sum();
        let balanced = |of_class: &usize| all as f64 / (images.len() * of_class.max(&1)) as f64;
        match self {
            ClassWeights::None => Vec::new(),
            ClassWeights::Balanced => images.iter().map(balanced).collect(),
        }
    }

    fn is_none(&self) -> bool {
        *self == ClassWeights::None
    }
}

/// Settings written before there was a choice stay as they are.
fn is_zero(value: &f64) -> bool {
    *value == 0.0
}

impl Default for LossSettings {
    fn default() -> Self {
        Self { temperature: 1.0, crop_sizes: vec![3, 7, 11], label_smoothing: 0.0, class_weights: ClassWeights::None }
    }
}

/// The loss of a term; `resize`: of maps of any two sizes ([`ktg_graph::Transfer::resize`]).
pub fn of_term(term: Term, resize: bool, settings: &LossSettings) -> Box<dyn Loss> {
    let Term { knowledge, direction } = term;
    let temperature = settings.temperature;
    match knowledge {
        Knowledge::Probability => Box::new(Probability { direction, temperature }),
        Knowledge::Attention => Box::new(Attention { direction, crop_sizes: settings.crop_sizes.clone(), resize }),
        Knowledge::Relation => Box::new(Relation { direction, temperature }),
    }
}
