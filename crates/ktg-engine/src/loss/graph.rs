//! The losses of all edges of a graph in one step.

use ktg_graph::{Gate, Graph, Knowledge, Output, Term, Transfer};

use super::{CrossEntropy, Labels, Loss, LossSettings, Shown, of_term};
use crate::{Job, OutputGradients, Outputs};

/// The loss of an edge, gated and averaged over the batch.
#[derive(Clone, Debug, PartialEq)]
pub struct EdgeLoss {
    /// The node that teaches, from 0; `None` where the label does.
    pub source: Option<usize>,
    /// The node that learns, from 0.
    pub target: usize,
    /// What it adds up: a part a term of its design with the term's knowledge, or the cross-entropies of the target's
    /// branches, which have none.
    pub parts: Vec<(Option<Knowledge>, f32)>,
}

/// The losses of one step.
#[derive(Clone, Debug, PartialEq)]
pub struct GraphLosses {
    /// Label edges in the order of their targets, then transfer edges in the order of the graph.
    pub edges: Vec<EdgeLoss>,
    /// By node with outputs, how many samples it classifies correctly.
    pub hits: Vec<Option<usize>>,
    /// By node, gradients of the sum of all losses at its outputs; all `None` for nodes that do not learn.
    pub gradients: Vec<OutputGradients>,
}

/// A transfer edge that is not cut.
struct Edge {
    source: usize,
    target: usize,
    gate: Gate,
    terms: Vec<(Knowledge, Box<dyn Loss>)>,
}

/// Computes the losses of a graph.
pub struct GraphLoss {
    jobs: Vec<Job>,
    /// By node; `None` where the label does not teach.
    label_gates: Vec<Option<Gate>>,
    cross_entropy: CrossEntropy,
    transfers: Vec<Edge>,
    temperature: f64,
}

/// Sums of gradients at the outputs of a node; a node without outputs has none.
#[derive(Default)]
struct Sums {
    logits: Vec<f64>,
    attention_logits: Vec<f64>,
    attention_map: Vec<f64>,
}

impl Sums {
    fn new(outputs: &Outputs) -> Self {
        Self {
            logits: vec![0.0; outputs.logits.len()],
            attention_logits: vec![0.0; outputs.attention_logits.as_ref().map_or(0, Vec::len)],
            attention_map: vec![0.0; outputs.attention_map.as_ref().map_or(0, |map| map.data.len())],
        }
    }

    /// What the job says has a gradient.
    fn finish(&self, job: &Job) -> OutputGradients {
        let single = |sums: &[f64]| sums.iter().map(|sum| *sum as f32).collect();
        let has_branch = job.trained && job.wanted.attention_logits && !self.attention_logits.is_empty();
        OutputGradients {
            logits: job.logits_learn.then(|| single(&self.logits)),
            attention_logits: has_branch.then(|| single(&self.attention_logits)),
            attention_map: job.map_learns.then(|| single(&self.attention_map)),
        }
    }
}

/// The losses of an edge.
fn terms(transfer: Transfer, settings: &LossSettings) -> Vec<(Knowledge, Box<dyn Loss>)> {
    let loss = |term: Term| (term.knowledge, of_term(term, transfer.resize, settings));
    transfer.design.terms().map(loss).collect()
}

impl GraphLoss {
    /// Of the edges of `graph` that are not cut; `images` are how many the training has of each class.
    pub fn new(graph: &Graph, settings: &LossSettings, images: &[usize]) -> Self {
        let label_gate = |m: usize| Some(graph.label_gate(m)).filter(|gate| !gate.is_cut() && graph.is_trained(m));
        let edge = |(source, target, transfer): (usize, usize, Transfer)| Edge {
            source,
            target,
            gate: transfer.gate,
            terms: terms(transfer, settings),
        };
        Self {
            jobs: Job::of_graph(graph),
            label_gates: (0..graph.len()).map(label_gate).collect(),
            transfers: graph.active_transfers().map(edge).collect(),
            cross_entropy: CrossEntropy {
                smoothing: settings.label_smoothing,
                class_weights: settings.class_weights.of(images),
            },
            temperature: settings.temperature,
        }
    }

    /// The losses and gradients for the nodes' outputs; nodes that nobody needs have none. `progress` is k/K at iteration
    /// k of K.
    ///
    /// # Panics
    ///
    /// Panics if an attention edge joins nodes without maps, or with maps of different size that it does not resize.
    pub fn step(&self, outputs: &[Option<Outputs>], labels: Labels, progress: f64) -> GraphLosses {
        let show = |outputs| Shown::new(outputs, labels.own, self.temperature);
        let shown: Vec<Option<Shown>> = outputs.iter().map(|outputs| outputs.as_ref().map(show)).collect();
        let sums = outputs.iter().map(|outputs| outputs.as_ref().map(Sums::new).unwrap_or_default());
        let mut sums: Vec<Sums> = sums.collect();
        let mut edges = Vec::new();
        for (target, (gate, outputs)) in self.label_gates.iter().zip(outputs).enumerate() {
            if let (Some(gate), Some(outputs)) = (gate, outputs) {
                let weight = gate.weight(progress, true);
                edges.push(self.label_edge(target, weight, outputs, labels, &mut sums[target]));
            }
        }
        for edge in &self.transfers {
            if let (Some(source), Some(target)) = (&shown[edge.source], &shown[edge.target]) {
                edges.push(edge.loss(source, target, progress, &mut sums[edge.target]));
            }
        }
        let hits = |shown: &Shown| shown.correct.iter().filter(|correct| **correct).count();
        GraphLosses {
            edges,
            hits: shown.iter().map(|shown| shown.as_ref().map(hits)).collect(),
            gradients: sums.iter().zip(&self.jobs).map(|(sums, job)| sums.finish(job)).collect(),
        }
    }

    /// Both branches learn from the label, which is always right: the gate `correct` lets everything through (SPEC 5).
    fn label_edge(&self, target: usize, weight: f64, outputs: &Outputs, labels: Labels, sums: &mut Sums) -> EdgeLoss {
        let mut parts = vec![(None, self.cross_entropy.mean(&outputs.logits, labels, weight, &mut sums.logits))];
        if let Some(logits) = &outputs.attention_logits {
            parts.push((None, self.cross_entropy.mean(logits, labels, weight, &mut sums.attention_logits)));
        }
        EdgeLoss { source: None, target, parts }
    }
}

impl Edge {
    fn loss(&self, source: &Shown, target: &Shown, progress: f64, sums: &mut Sums) -> EdgeLoss {
        let weights: Vec<f64> = source.correct.iter().map(|&correct| self.gate.weight(progress, correct)).collect();
        let mut parts = Vec::new();
        for (knowledge, loss) in &self.terms {
            let gradient = match knowledge.output() {
                Output::Logits => &mut sums.logits,
                Output::AttentionMap => &mut sums.attention_map,
            };
            parts.push((Some(*knowledge), loss.of_batch(source, target, &weights, gradient)));
        }
        EdgeLoss { source: Some(self.source), target: self.target, parts }
    }
}
