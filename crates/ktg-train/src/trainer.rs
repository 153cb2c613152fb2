//! The networks of a graph and one training step of all of them.

use ktg_data::{Batch, Purpose};
use ktg_engine::loss::{GraphLoss, GraphLosses, Labels, LossSettings};
use ktg_engine::{Images, Job, Node, OptimizerState, Outputs, Scratch, Sgd, node};
use ktg_graph::Graph;
use ktg_net::{Network, StateDict, weights};

use crate::Error;
use crate::metrics::{EdgeReport, LabelName, NodeReport, Source, StepReport};
use crate::schedule::{Length, Position};
use crate::start::Start;

/// Trains all networks of one graph together.
pub struct Trainer {
    nodes: Vec<Box<dyn Node>>,
    jobs: Vec<Job>,
    loss: GraphLoss,
    scratch: Scratch,
}

impl Trainer {
    /// Puts the networks to work, for images of the given height and width, with those weights of each node's file
    /// in `starts` that fit, and fresh ones from `seed` for the rest.
    ///
    /// Node m's weights depend on the seed and m alone, so a graph's edges never change how its networks start.
    ///
    /// # Errors
    ///
    /// If the images are too small, or a weights file cannot be used.
    pub fn new(
        graph: &Graph,
        networks: Vec<Network>,
        image: [usize; 2],
        starts: &[Start],
        seed: u64,
        loss: &LossSettings,
    ) -> Result<Self, Error> {
        let jobs = Job::of_graph(graph);
        let mut nodes = Vec::new();
        for (m, (network, job)) in networks.into_iter().zip(&jobs).enumerate() {
            let mut node = node(network.clone(), image, *job)?;
            let mut rng = ktg_data::rng(seed, Purpose::Init, m as u64, 0);
            network.initial(&mut rng).for_each(|(name, array)| node.set(&name, &array.data));
            let loaded = starts.get(m).map_or(Ok(StateDict::new()), |start| loaded(start, &network))?;
            loaded.iter().for_each(|(name, array)| node.set(name, &array.data));
            nodes.push(node);
        }
        Ok(Self { nodes, jobs, loss: GraphLoss::new(graph, loss), scratch: Scratch::default() })
    }

    /// How many networks there are.
    pub(crate) fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// The networks, and the memory they share, to evaluate them.
    pub fn nodes(&mut self) -> (&[Box<dyn Node>], &mut Scratch) {
        (&self.nodes, &mut self.scratch)
    }

    /// Weights and optimizer state of node `m` (from 0).
    pub fn state(&self, m: usize) -> (StateDict, OptimizerState) {
        (self.nodes[m].weights(), self.nodes[m].optimizer_state())
    }

    /// Puts back what [`state`](Self::state) gave; `origin` names it in messages.
    ///
    /// # Errors
    ///
    /// If it belongs to another network.
    pub fn restore(
        &mut self,
        m: usize,
        weights: &StateDict,
        optimizer: &OptimizerState,
        origin: &str,
    ) -> Result<(), Error> {
        self.nodes[m].load_weights(weights, origin)?;
        Ok(self.nodes[m].load_optimizer_state(optimizer, origin)?)
    }

    /// Does one step: all needed networks see the batch, all edges that are not cut are computed, then every trained node
    /// goes backward and learns by `rule`, whose learning rate is that after the schedule.
    ///
    /// # Errors
    ///
    /// [`Error::Diverged`] if a loss is not finite; everything is then as it was before the step.
    pub fn step(&mut self, batch: &Batch, at: Position, length: Length, rule: Sgd) -> Result<StepReport, Error> {
        let images = Images { data: &batch.images, count: batch.labels.len() };
        let mut outputs: Vec<Option<Outputs>> = Vec::with_capacity(self.nodes.len());
        for (node, job) in self.nodes.iter_mut().zip(&self.jobs) {
            outputs.push(job.needed.then(|| node.forward(images, &mut self.scratch)));
        }
        let mixed = batch.mixed.as_ref().map(|mixed| (&mixed.labels[..], mixed.share));
        let labels = Labels { own: &batch.labels, mixed };
        let progress = (at.step + 1) as f64 / length.steps() as f64;
        let losses = self.loss.step(&outputs, labels, progress);
        let report = report(&losses, images.count, at, rule.learning_rate)?;
        for ((node, job), gradients) in self.nodes.iter_mut().zip(&self.jobs).zip(&losses.gradients) {
            if job.trained {
                node.learn(images, gradients, rule, &mut self.scratch);
            }
        }
        Ok(report)
    }
}

/// What a network's file gives it.
fn loaded(start: &Start, network: &Network) -> Result<StateDict, Error> {
    let Some(path) = &start.path else { return Ok(StateDict::new()) };
    Ok(start.fit(network, &weights::read(path)?, &path.display().to_string())?.arrays)
}

/// What a step reports, or that it diverged.
fn report(losses: &GraphLosses, images: usize, at: Position, learning_rate: f64) -> Result<StepReport, Error> {
    let (step, epoch) = (at.step + 1, at.epoch + 1);
    let accuracy = |hits: &Option<usize>| hits.map(|hits| 100.0 * hits as f64 / images as f64);
    let node = |hits| NodeReport { loss: None, accuracy: accuracy(hits) };
    let mut nodes: Vec<NodeReport> = losses.hits.iter().map(node).collect();
    let mut edges = Vec::new();
    for edge in &losses.edges {
        let probability = edge.probability.iter().map(|part| f64::from(*part)).reduce(|a, b| a + b);
        let attention = edge.attention.map(f64::from);
        let loss = probability.unwrap_or(0.0) + attention.unwrap_or(0.0);
        let from = edge.source.map_or(Source::Label(LabelName::Label), |source| Source::Node(source + 1));
        let probability = probability.filter(|_| edge.source.is_some());
        let report = EdgeReport { from, to: edge.target + 1, loss, probability, attention };
        if !loss.is_finite() {
            let (node, edge, value) = (edge.target + 1, report.to_string(), loss as f32);
            return Err(Error::Diverged { node, edge, step, value, learning_rate });
        }
        *nodes[edge.target].loss.get_or_insert(0.0) += loss;
        edges.push(report);
    }
    Ok(StepReport { step, epoch, learning_rate, nodes, edges })
}
