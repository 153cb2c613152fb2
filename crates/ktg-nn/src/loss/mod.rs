//! Losses of label and transfer edges (SPEC 4, thesis eq. 1-4 and 6) and their gates (SPEC 5).
//!
//! All edges of a graph are computed together: the nodes' outputs are stacked, `[nodes, n, ...]`, and a loss takes all
//! pairs of source and target that it joins at once, `[pairs, n]`. So the number of operations, which is what a GPU with
//! small networks waits for, depends on the designs a graph has and not on its edges. Losses are per sample; the source is
//! detached here: only the target learns.

mod attention;
mod graph;
mod probability;

pub use graph::{EdgeParts, GraphLoss, GraphLosses, NodeLabels};

use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Int, Tensor, TensorData};
use ktg_graph::{Direction, Gate};

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

/// Who teaches whom, by position in a stack of nodes.
#[derive(Clone, Debug)]
pub struct Pairs {
    sources: Tensor<1, Int>,
    targets: Tensor<1, Int>,
}

impl Pairs {
    /// `pairs` are positions of source and target.
    pub fn new(pairs: &[(usize, usize)], device: &Device) -> Self {
        let of = |pick: fn(&(usize, usize)) -> usize| positions(pairs.iter().map(pick), device);
        Self { sources: of(|p| p.0), targets: of(|p| p.1) }
    }

    fn of_sources<const D: usize>(&self, nodes: Tensor<D>) -> Tensor<D> {
        nodes.select(0, self.sources.clone())
    }

    fn of_targets<const D: usize>(&self, nodes: Tensor<D>) -> Tensor<D> {
        nodes.select(0, self.targets.clone())
    }
}

/// Positions in a stack, as an index.
fn positions(values: impl Iterator<Item = usize>, device: &Device) -> Tensor<1, Int> {
    let values: Vec<i64> = values.map(|value| value as i64).collect();
    Tensor::from_ints(values.as_slice(), device)
}

/// The probability loss of pairs of nodes with the given logits, `[nodes, n, classes]`; eq. 1 and 2. `[pairs, n]`.
pub fn probability(direction: Direction, logits: Tensor<3>, pairs: &Pairs, temperature: f64) -> Tensor<2> {
    match direction {
        Direction::Closer => probability::closer(logits, pairs, temperature),
        Direction::Apart => probability::apart(logits, pairs, temperature),
    }
}

/// The attention loss of pairs of nodes with the given maps, `[nodes, n, height, width]`; eq. 3 and 4. `[pairs, n]`.
pub fn attention(direction: Direction, maps: Tensor<4>, pairs: &Pairs, crop_sizes: &[usize]) -> Tensor<2> {
    match direction {
        Direction::Closer => attention::closer(maps, pairs, crop_sizes),
        Direction::Apart => attention::apart(maps, pairs, crop_sizes),
    }
}

/// Cross-entropy per sample of logits `[nodes, n, classes]` with class indices `[n]`; `[nodes, n]`.
pub fn cross_entropy(logits: Tensor<3>, labels: Tensor<1, Int>) -> Tensor<2> {
    let [nodes, n, _] = logits.dims();
    let labels = labels.reshape([1, n, 1]).expand([nodes, n, 1]);
    -log_softmax(logits, 2).gather(2, labels).squeeze_dim::<2>(2)
}

/// 1 where logits `[nodes, n, classes]` are highest at the label `[n]`, else 0; `[nodes, n]`.
pub fn correct(logits: Tensor<3>, labels: Tensor<1, Int>) -> Tensor<2> {
    let [nodes, n, _] = logits.dims();
    logits.argmax(2).squeeze_dim::<2>(2).equal(labels.reshape([1, n]).expand([nodes, n])).float()
}

/// What the gates of several edges let through at one moment of the training.
#[derive(Clone, Debug, PartialEq)]
pub struct GateWeights {
    /// By edge: the weight where the source is right, and where it is wrong.
    weights: Vec<(f32, f32)>,
}

impl GateWeights {
    /// `progress` is k/K at iteration k of K.
    pub fn at(gates: impl IntoIterator<Item = Gate>, progress: f64) -> Self {
        let of = |gate: Gate, right| gate.weight(progress, right) as f32;
        let weights = |gate: Gate| match gate.depends_on_correctness() {
            true => (of(gate, true), of(gate, false)),
            false => (of(gate, true), of(gate, true)),
        };
        Self { weights: gates.into_iter().map(weights).collect() }
    }

    /// The same for edges whose source is always right, as the label is.
    fn of_labels(gates: impl Iterator<Item = Gate>, progress: f64) -> Self {
        let Self { mut weights } = Self::at(gates, progress);
        for (right, wrong) in &mut weights {
            *wrong = *right;
        }
        Self { weights }
    }

    /// Weights the losses `[edges, n]` and takes the mean over the whole batch (eq. 6); `[edges]`. `correct` says per edge
    /// and sample whether the source is right, `[edges, n]`; it is asked for if a gate wants to know.
    pub fn means(&self, losses: Tensor<2>, correct: impl FnOnce() -> Tensor<2>) -> Tensor<1> {
        let device = losses.device();
        let column = |value: &dyn Fn(&(f32, f32)) -> f32| {
            let values: Vec<f32> = self.weights.iter().map(value).collect();
            Tensor::<2>::from_data(TensorData::new(values, [self.weights.len(), 1]), &device)
        };
        let losses = if self.weights.iter().all(|&w| w == (1.0, 1.0)) {
            losses
        } else if self.weights.iter().all(|(right, wrong)| right == wrong) {
            losses * column(&|w| w.0)
        } else {
            losses * (correct() * column(&|w| w.0 - w.1) + column(&|w| w.1))
        };
        losses.mean_dim(1).squeeze_dim::<1>(1)
    }
}
