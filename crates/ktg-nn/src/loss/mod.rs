//! Losses of label and transfer edges (SPEC 4, thesis eq. 1-4 and 6) and their gates (SPEC 5).
//!
//! All losses are per sample, shape `[n]`. The source must be detached by the caller
//! ([`Outputs::detach`](crate::Outputs::detach)): only the target learns.

mod attention;
mod label;
mod probability;

pub use label::{cross_entropy, label};

use burn::tensor::{Int, Tensor};
use ktg_graph::{Design, Direction, Gate};

use crate::network::Outputs;

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

/// The two parts of a transfer edge's loss, per sample `[n]`; a part that the design does not use is `None`.
pub struct TransferLoss {
    /// From the class probabilities.
    pub probability: Option<Tensor<1>>,
    /// From the attention maps.
    pub attention: Option<Tensor<1>>,
}

/// The per-sample loss of a transfer edge. This match is all there is to a loss design apart from its name.
///
/// # Panics
///
/// Panics if the design uses attention and a map is absent or the maps differ in size.
pub fn transfer(design: Design, target: &Outputs, source: &Outputs, settings: &LossSettings) -> TransferLoss {
    let probability = design.probability().then(|| {
        let loss = match design.direction() {
            Direction::Closer => probability::closer,
            Direction::Apart => probability::apart,
        };
        loss(target.logits.clone(), source.logits.clone(), settings.temperature)
    });
    let attention = design.attention().then(|| {
        let loss = match design.direction() {
            Direction::Closer => attention::closer,
            Direction::Apart => attention::apart,
        };
        let map = |outputs: &Outputs| outputs.attention_map.clone().expect("an attention edge joins nodes with maps");
        loss(map(target), map(source), &settings.crop_sizes)
    });
    TransferLoss { probability, attention }
}

/// 1 where the perception logits `[n, classes]` are highest at the label `[n]`, else 0; shape `[n]`.
pub fn correct(logits: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
    logits.argmax(1).squeeze_dim::<1>(1).equal(labels).float()
}

/// Weights the per-sample losses `[n]` by the edge's gate and takes the mean over the whole batch (eq. 6); shape `[1]`.
///
/// `progress` is k/K at iteration k of K; `correct` says per sample whether the source is right (see [`correct`]), and
/// is only read by gates that depend on it.
pub fn gated_mean(gate: Gate, losses: Tensor<1>, progress: f64, correct: Option<&Tensor<1>>) -> Tensor<1> {
    match correct {
        Some(correct) if gate.depends_on_correctness() => {
            let (right, wrong) = (gate.weight(progress, true), gate.weight(progress, false));
            let weights = correct.clone() * (right - wrong) + wrong;
            (losses * weights).mean()
        }
        _ => {
            let weight = gate.weight(progress, true);
            let mean = losses.mean();
            if weight == 1.0 { mean } else { mean * weight }
        }
    }
}
