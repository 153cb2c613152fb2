//! The networks of a graph and one training step of all of them.

use ktg_base::random::Rng;
use ktg_data::{Batch, Purpose};
use ktg_engine::loss::{GraphLoss, GraphLosses, Labels};
use ktg_engine::{
    Computing, Draws, Factors, Images, Job, Node, OptimizerState, OutputGradients, Outputs, Rule, Scratch, Uploads,
    node,
};
use ktg_graph::Graph;
use ktg_net::{Network, StateDict, weights};

use crate::Error;
use crate::metrics::{EdgeReport, LabelName, NodeReport, ReportSums, Source, StepReport};
use crate::schedule::{Length, Position};
use crate::start::Start;

/// Trains all networks of one graph together.
pub struct Trainer {
    nodes: Vec<Box<dyn Node>>,
    jobs: Vec<Job>,
    /// By node and tensor, what is special about it; empty where nothing is.
    factors: Vec<Vec<Factors>>,
    loss: GraphLoss,
    seed: u64,
    scratch: Scratch,
}

impl Trainer {
    /// Puts the networks to work, for images of the given height and width, with those weights of each node's file
    /// in `starts` that fit, and fresh ones from `seed` for the rest. What a start freezes or slows down, is.
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
        loss: GraphLoss,
        computing: Computing,
    ) -> Result<Self, Error> {
        let jobs = Job::of_graph(graph);
        let mut nodes = Vec::new();
        let mut factors = Vec::new();
        for (m, (mut network, job)) in networks.into_iter().zip(&jobs).enumerate() {
            let start = starts.get(m).cloned().unwrap_or_default();
            start.frozen.iter().for_each(|layer| network.layers[*layer].frozen = true);
            let mut node = node(network.clone(), image, *job, m, computing)?;
            let mut rng = ktg_data::rng(seed, Purpose::Init, m as u64, 0);
            network.initial(&mut rng).try_for_each(|(name, array)| node.set(&name, &array.data))?;
            loaded(&start, &network)?.iter().try_for_each(|(name, array)| node.set(name, &array.data))?;
            nodes.push(node);
            factors.push(start.factors(&network));
        }
        Ok(Self { nodes, jobs, factors, loss, seed, scratch: Scratch::default() })
    }

    /// Leaves norms, biases, scales and embeddings without weight decay.
    pub fn spare_norms_and_biases(&mut self) {
        for m in 0..self.nodes.len() {
            let parameters = self.nodes[m].network().parameters();
            for (parameter, factors) in parameters.iter().zip(self.factors_of(m)) {
                if parameter.is_spared {
                    factors.weight_decay = 0.0;
                }
            }
        }
    }

    /// What is special about the tensors of node `m`, one each.
    fn factors_of(&mut self, m: usize) -> &mut [Factors] {
        let count = self.nodes[m].network().parameters().len();
        self.factors[m].resize(count, Factors::ONE);
        &mut self.factors[m]
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
    ///
    /// # Errors
    ///
    /// If the node's device fails.
    pub fn state(&self, m: usize) -> Result<(StateDict, OptimizerState), Error> {
        Ok((self.nodes[m].weights()?, self.nodes[m].optimizer_state()?))
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

    /// Does one step: all needed networks see a batch, all edges that are not cut are computed, then every trained node
    /// goes backward; and so for every further batch of the step. Then the nodes learn by `rule`, whose learning rate is
    /// that after the schedule, from the mean of all batches.
    ///
    /// # Errors
    ///
    /// [`Error::Diverged`] if a loss is not finite. Everything is then as it was before the step, but for the running
    /// statistics, which the batches before have moved.
    pub fn step(&mut self, batches: &[Batch], at: Position, length: Length, rule: Rule) -> Result<StepReport, Error> {
        let mut sums = ReportSums::default();
        let mut first = 0;
        for (i, batch) in batches.iter().enumerate() {
            let uploads = Uploads::default();
            let images = Images::new(&batch.images, batch.labels.len()).uploaded_once(&uploads);
            let part = Part { images, step: at.step, first };
            let losses = self.losses(part, batch, at, length)?;
            sums.add(&report(&losses, images.count, at, rule.learning_rate)?);
            let is_last = i + 1 == batches.len();
            self.learn(part, &losses.gradients, is_last.then_some(rule))?;
            first += images.count;
        }
        Ok(sums.mean().unwrap_or_default())
    }

    /// The losses of a batch.
    fn losses(&mut self, part: Part, batch: &Batch, at: Position, length: Length) -> Result<GraphLosses, Error> {
        for (m, (node, job)) in self.nodes.iter_mut().zip(&self.jobs).enumerate() {
            if job.needed {
                node.begin_forward(part.images_of(self.seed, m))?;
            }
        }
        let mut outputs: Vec<Option<Outputs>> = Vec::with_capacity(self.nodes.len());
        for (m, (node, job)) in self.nodes.iter_mut().zip(&self.jobs).enumerate() {
            outputs.push(match job.needed {
                true => Some(node.forward(part.images_of(self.seed, m), &mut self.scratch)?),
                false => None,
            });
        }
        let mixed = batch.mixed.as_ref().map(|mixed| (&mixed.labels[..], mixed.share));
        let labels = Labels { own: &batch.labels, mixed };
        let progress = (at.step + 1) as f64 / length.steps() as f64;
        Ok(self.loss.step(&outputs, labels, progress))
    }

    /// Has every trained node go backward, and learn if there is a rule, else remember its gradients.
    fn learn(&mut self, part: Part, gradients: &[OutputGradients], rule: Option<Rule>) -> Result<(), Error> {
        let nodes = self.nodes.iter_mut().zip(&self.jobs).zip(gradients).zip(&self.factors);
        for (m, (((node, job), gradients), factors)) in nodes.enumerate() {
            if !job.trained {
                continue;
            }
            let images = part.images_of(self.seed, m);
            match rule {
                Some(rule) => node.learn(images, gradients, Rule { factors, ..rule }, &mut self.scratch)?,
                None => {
                    node.backward(images, gradients, &mut self.scratch)?;
                    node.accumulate(images.count, &self.scratch)?;
                }
            }
        }
        Ok(())
    }
}

/// A batch of a step.
#[derive(Clone, Copy)]
struct Part<'a> {
    images: Images<'a>,
    /// Number of the step.
    step: u64,
    /// Number of the batch's first image among those of the step.
    first: usize,
}

impl<'a> Part<'a> {
    /// The images as node `m` sees them, with random decisions of its own.
    fn images_of(self, seed: u64, m: usize) -> Images<'a> {
        let key = ktg_data::rng(seed, Purpose::DropPath, self.step, m as u64).next_u64();
        self.images.drawn(Draws { key, first: self.first })
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
        let loss = edge.parts.iter().fold(0.0, |sum, (_, part)| sum + f64::from(*part));
        let from = edge.source.map_or(Source::Label(LabelName::Label), |source| Source::Node(source + 1));
        let terms = edge.parts.iter().filter_map(|(knowledge, part)| Some(((*knowledge)?, f64::from(*part)))).collect();
        let report = EdgeReport { from, to: edge.target + 1, loss, terms };
        if !loss.is_finite() {
            let (node, edge, value) = (edge.target + 1, report.to_string(), loss as f32);
            return Err(Error::Diverged { node, edge, step, value, learning_rate });
        }
        *nodes[edge.target].loss.get_or_insert(0.0) += loss;
        edges.push(report);
    }
    Ok(StepReport { step, epoch, learning_rate, nodes, edges })
}
