//! The networks of a graph and one training step of all of them.

use std::path::PathBuf;

use ktg_data::{Batch, Purpose};
use ktg_graph::Graph;
use ktg_nn::burn::module::Module;
use ktg_nn::burn::tensor::{Device, Int, Tensor, TensorData};
use ktg_nn::loss::{self, LossSettings};
use ktg_nn::{BatchStatistics, Network, NetworkConfig, Outputs, StateDict, weights};

use crate::evaluate::image_tensor;
use crate::metrics::{EdgeReport, LabelName, NodeReport, Source, StepReport};
use crate::plan::{NodePlan, plan};
use crate::sgd::Sgd;
use crate::{Error, SgdSettings};

/// A network node in training.
pub(crate) struct NodeState {
    /// On an autodiff device.
    pub(crate) network: Network,
    pub(crate) optimiser: Sgd,
    /// The inference twin of a node that is not trained.
    frozen: Option<Network>,
    plan: NodePlan,
}

impl NodeState {
    fn with_twin(mut self) -> Self {
        self.frozen = (!self.plan.trained).then(|| self.network.valid());
        self
    }
}

/// Trains all networks of one graph together.
pub struct Trainer {
    graph: Graph,
    pub(crate) nodes: Vec<NodeState>,
    loss: LossSettings,
    sgd: SgdSettings,
    device: Device,
}

/// Where a step stands in the training.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Counted from 1.
    pub step: u64,
    /// Steps of the whole training, K of the linear gate.
    pub steps: u64,
    /// Counted from 1.
    pub epoch: usize,
    /// After the schedule.
    pub learning_rate: f64,
}

/// An edge's losses on the device, each of shape `[1]`, and how they are reported.
struct EdgeLoss {
    from: Source,
    target: usize,
    probability: Option<Tensor<1>>,
    attention: Option<Tensor<1>>,
}

impl EdgeLoss {
    fn parts(&self) -> impl Iterator<Item = &Tensor<1>> {
        self.probability.iter().chain(&self.attention)
    }
}

impl Trainer {
    /// Builds the networks with fresh weights from `seed`, or those of each node's file in `pretrained`.
    ///
    /// `device` is a device without autodiff. Node m's weights depend on the seed and m alone, so a graph's edges never
    /// change how its networks start.
    pub fn new(
        graph: &Graph,
        configs: &[NetworkConfig],
        pretrained: &[Option<PathBuf>],
        seed: u64,
        loss: LossSettings,
        sgd: SgdSettings,
        device: &Device,
    ) -> Result<Self, Error> {
        let autodiff = device.clone().autodiff();
        let mut nodes = Vec::new();
        for (m, (config, plan)) in configs.iter().zip(plan(graph)).enumerate() {
            let mut rng = ktg_data::rng(seed, Purpose::Init, m as u64, 0);
            let mut network = config.init(&autodiff, &mut rng);
            if let Some(Some(path)) = pretrained.get(m) {
                network.load_state_dict(&weights::read(path)?, &path.display().to_string())?;
            }
            nodes.push(NodeState { network, optimiser: Sgd::default(), frozen: None, plan }.with_twin());
        }
        Ok(Self { graph: graph.clone(), nodes, loss, sgd, device: autodiff })
    }

    /// Inference twins of all networks.
    pub fn networks(&self) -> Vec<Network> {
        self.nodes.iter().map(|node| node.network.valid()).collect()
    }

    /// Weights and momentum buffers of node `m` (from 0).
    pub fn state(&self, m: usize) -> (StateDict, StateDict) {
        (self.nodes[m].network.state_dict(), self.nodes[m].optimiser.state())
    }

    /// Puts back what [`state`](Self::state) gave; `origin` names it in messages.
    pub fn restore(&mut self, m: usize, weights: &StateDict, momentum: &StateDict, origin: &str) -> Result<(), Error> {
        let node = &mut self.nodes[m];
        node.network.load_state_dict(weights, origin)?;
        node.optimiser = Sgd::from_state(momentum, &self.device.clone().inner());
        node.frozen = node.frozen.is_some().then(|| node.network.valid());
        Ok(())
    }

    /// One step: all needed networks see the batch, all edges that are not cut are computed, one backward pass over the
    /// sum of the node losses, one optimiser step per trained node.
    ///
    /// # Errors
    ///
    /// [`Error::Diverged`] if a loss is not finite; the weights are then those before the step.
    pub fn step(&mut self, mut batch: Batch, at: Moment) -> Result<StepReport, Error> {
        let n = batch.labels.len();
        let labels = self.label_tensor(&batch.labels);
        let mixed = batch.mixed.as_ref().map(|mixed| (self.label_tensor(&mixed.labels), mixed.share));
        let images = image_tensor(&mut batch, &self.device);

        let (outputs, statistics) = self.forward(&images);
        let correct = self.correct(&outputs, &labels);
        let edges = self.edges(&outputs, &correct, (&labels, mixed), at.step as f64 / at.steps as f64);
        let report = self.report(&edges, &correct, n, at)?;

        for (node, statistics) in self.nodes.iter_mut().zip(statistics) {
            if node.plan.trained {
                node.network.update_running(statistics);
            }
        }
        let parts: Vec<Tensor<1>> = edges.iter().flat_map(EdgeLoss::parts).cloned().collect();
        if !parts.is_empty() {
            let mut gradients = Tensor::cat(parts, 0).sum().backward();
            let nodes = std::mem::take(&mut self.nodes).into_iter().map(|mut node| {
                if node.plan.trained {
                    let network = node.optimiser.step(node.network, &mut gradients, at.learning_rate, self.sgd);
                    node.network = network;
                }
                node
            });
            self.nodes = nodes.collect();
        }
        Ok(report)
    }

    fn label_tensor(&self, labels: &[u32]) -> Tensor<1, Int> {
        let values: Vec<i64> = labels.iter().map(|&label| i64::from(label)).collect();
        Tensor::from_data(TensorData::new(values, [labels.len()]), &self.device)
    }

    /// Outputs of the nodes that somebody needs, and what their batch norms saw. Nodes that are not trained run in
    /// inference mode, off the tape.
    fn forward(&self, images: &Tensor<4>) -> (Vec<Option<Outputs>>, Vec<Vec<BatchStatistics>>) {
        let node = |node: &NodeState| match node.plan {
            NodePlan { trained: true, wanted, .. } => {
                let (outputs, statistics) = node.network.forward_train(images.clone(), wanted);
                (Some(outputs), statistics)
            }
            NodePlan { needed: true, wanted, .. } => {
                let twin = node.frozen.as_ref().expect("a node that is not trained has its twin");
                let outputs = twin.forward(images.clone().inner(), wanted);
                let outputs = Outputs {
                    logits: outputs.logits.autodiff(),
                    attention_logits: None,
                    attention_map: outputs.attention_map.map(Tensor::autodiff),
                };
                (Some(outputs), Vec::new())
            }
            _ => (None, Vec::new()),
        };
        self.nodes.iter().map(node).unzip()
    }

    /// Which samples each node with outputs classifies correctly, `[n]` of 1 and 0.
    fn correct(&self, outputs: &[Option<Outputs>], labels: &Tensor<1, Int>) -> Vec<Option<Tensor<1>>> {
        let node = |outputs: &Option<Outputs>| {
            outputs.as_ref().map(|o| loss::correct(o.logits.clone().detach(), labels.clone()))
        };
        outputs.iter().map(node).collect()
    }

    /// Losses of all edges. With mixup there are the labels of the partners too, and the share of the sample's own.
    fn edges(
        &self,
        outputs: &[Option<Outputs>],
        correct: &[Option<Tensor<1>>],
        (labels, mixed): (&Tensor<1, Int>, Option<(Tensor<1, Int>, f32)>),
        progress: f64,
    ) -> Vec<EdgeLoss> {
        let mut edges = Vec::new();
        for (target, own) in outputs.iter().enumerate() {
            let gate = self.graph.label_gate(target);
            if let (Some(own), false) = (own, gate.is_cut() || !self.nodes[target].plan.trained) {
                let mut losses = loss::label(own, labels.clone());
                if let Some((partners, share)) = &mixed {
                    losses = losses * *share + loss::label(own, partners.clone()) * (1.0 - share);
                }
                // The label is always right, so the gate `correct` lets everything through (SPEC 5).
                let loss = loss::gated_mean(gate, losses, progress, None);
                edges.push(EdgeLoss {
                    from: Source::Label(LabelName::Label),
                    target,
                    probability: Some(loss),
                    attention: None,
                });
            }
        }
        let sources: Vec<Option<Outputs>> = outputs.iter().map(|o| o.clone().map(Outputs::detach)).collect();
        for (source, target, transfer) in self.graph.active_transfers() {
            let (Some(from), Some(to)) = (&sources[source], &outputs[target]) else { continue };
            let losses = loss::transfer(transfer.design, to, from, &self.loss);
            let gated = |losses| loss::gated_mean(transfer.gate, losses, progress, correct[source].as_ref());
            edges.push(EdgeLoss {
                from: Source::Node(source + 1),
                target,
                probability: losses.probability.map(gated),
                attention: losses.attention.map(gated),
            });
        }
        edges
    }

    /// Reads all losses and hit counts from the device in one transfer.
    fn report(
        &self,
        edges: &[EdgeLoss],
        correct: &[Option<Tensor<1>>],
        images: usize,
        at: Moment,
    ) -> Result<StepReport, Error> {
        let losses = edges.iter().flat_map(EdgeLoss::parts).map(|part| part.clone().detach());
        let hits = correct.iter().flatten().map(|correct| correct.clone().sum());
        let all: Vec<Tensor<1>> = losses.chain(hits).collect();
        let mut values = if all.is_empty() { Vec::new() } else { weights::values(Tensor::cat(all, 0)) }.into_iter();
        let mut next = || values.next().unwrap_or(f32::NAN);

        let mut nodes = vec![NodeReport::default(); self.nodes.len()];
        let mut reports = Vec::new();
        for edge in edges {
            let mut part = |part: &Option<Tensor<1>>| part.as_ref().map(|_| f64::from(next()));
            let (probability, attention) = (part(&edge.probability), part(&edge.attention));
            let loss = probability.unwrap_or(0.0) + attention.unwrap_or(0.0);
            let is_label = matches!(edge.from, Source::Label(_));
            let report = EdgeReport {
                from: edge.from,
                to: edge.target + 1,
                loss,
                probability: probability.filter(|_| !is_label),
                attention,
            };
            if !loss.is_finite() {
                return Err(Error::Diverged {
                    node: edge.target + 1,
                    edge: report.to_string(),
                    step: at.step,
                    value: loss as f32,
                    learning_rate: at.learning_rate,
                });
            }
            *nodes[edge.target].loss.get_or_insert(0.0) += loss;
            reports.push(report);
        }
        for (node, correct) in nodes.iter_mut().zip(correct) {
            node.accuracy = correct.as_ref().map(|_| 100.0 * f64::from(next()) / images as f64);
        }
        let Moment { step, epoch, learning_rate, .. } = at;
        Ok(StepReport { step, epoch, learning_rate, nodes, edges: reports })
    }
}
