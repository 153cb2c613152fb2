//! The networks of a graph and one training step of all of them.

use std::path::PathBuf;

use ktg_data::{Batch, Purpose};
use ktg_graph::Graph;
use ktg_nn::burn::module::Module;
use ktg_nn::burn::tensor::{Device, Gradients, Tensor};
use ktg_nn::kernels::{Queue, in_queue, is_gpu};
use ktg_nn::loss::{GraphLoss, LossSettings, NodeLabels};
use ktg_nn::{Network, NetworkConfig, Outputs, StateDict, weights};
use rayon::prelude::*;

use crate::metrics::StepReport;
use crate::node::{Forward, NodeState};
use crate::pending::Pending;
use crate::plan::plan;
use crate::sgd::Sgd;
use crate::{Error, Precision, SgdSettings, StepBatch};

/// Steps that a GPU may be behind: their losses are read together, and it has work to do meanwhile.
const MOST_PENDING: usize = 16;

/// Trains all networks of one graph together.
pub struct Trainer {
    pub(crate) nodes: Vec<NodeState>,
    loss: GraphLoss,
    sgd: SgdSettings,
    /// With autodiff.
    device: Device,
    precision: Precision,
    /// Steps that the device was told to do and whose losses nobody has read.
    pending: Vec<Pending>,
    /// Of steps that were read but not asked for yet.
    reports: Vec<StepReport>,
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
            // A network's tensors belong to its queue from the beginning, so that it waits for no other.
            let node = in_queue(Queue::Network(m), || {
                let mut rng = ktg_data::rng(seed, Purpose::Init, m as u64, 0);
                let mut network = config.init(&autodiff, &mut rng);
                if let Some(Some(path)) = pretrained.get(m) {
                    network.load_state_dict(&weights::read(path)?.arrays, &path.display().to_string())?;
                }
                Ok::<_, Error>(NodeState::new(network, Sgd::default(), plan))
            });
            nodes.push(node?);
        }
        let loss = GraphLoss::new(graph, loss);
        let (precision, pending, reports) = (Precision::F32, Vec::new(), Vec::new());
        Ok(Self { nodes, loss, sgd, device: autodiff, precision, pending, reports })
    }

    /// The same, computing in another type of number.
    ///
    /// # Errors
    ///
    /// If the device cannot.
    pub fn with_precision(mut self, precision: Precision) -> Result<Self, Error> {
        let device = self.device.clone().inner();
        if !device.supports_dtype(precision.dtype()) {
            return Err(Error::Setting(format!(
                "`train.precision` is {}, which this device does not compute in; choose another precision or device",
                precision.name()
            )));
        }
        self.precision = precision;
        for (m, node) in self.nodes.iter_mut().enumerate() {
            in_queue(Queue::Network(m), || node.optimiser.set_precision(precision, &device));
        }
        Ok(self)
    }

    /// The type of number that images must have.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// With autodiff.
    pub(crate) fn device(&self) -> &Device {
        &self.device
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
        let (node, device) = (&mut self.nodes[m], self.device.clone().inner());
        in_queue(Queue::Network(m), || {
            node.network.load_state_dict(weights, origin)?;
            node.optimiser.restore(momentum, &device, origin)?;
            node.frozen = node.frozen.is_some().then(|| node.network.valid());
            Ok(())
        })
    }

    /// Does one step and waits for it: [`submit`](Self::submit) and [`wait`](Self::wait).
    ///
    /// # Errors
    ///
    /// As theirs.
    pub fn step(&mut self, batch: Batch, at: Moment) -> Result<StepReport, Error> {
        let batch = StepBatch::new(batch, &self.device, self.precision);
        self.submit(batch, at)?;
        self.wait()?;
        let report = self.known_reports().pop();
        report.ok_or_else(|| Error::Setting("a step gave no report".to_owned()))
    }

    /// Starts one step: all needed networks see the batch, all edges that are not cut are computed, then every node's
    /// backward pass, then one optimiser step per trained node. A GPU is only told to do so; its losses become known
    /// later. Every network has a queue of its own there.
    ///
    /// # Errors
    ///
    /// [`Error::Diverged`] if a loss of this step (on a GPU: of an earlier one) is not finite. On the CPU the weights are
    /// then those before the step. [`Error::Device`] if the device failed.
    pub fn submit(&mut self, batch: StepBatch, at: Moment) -> Result<(), Error> {
        let StepBatch { images, labels, mixed, len } = batch;
        let forwards = self.forward(&images);
        let outputs: Vec<Option<Outputs>> =
            forwards.iter().map(|forward| forward.as_ref().map(|forward| forward.shown.clone())).collect();
        let progress = at.step as f64 / at.steps as f64;
        let losses = self.loss.forward(&outputs, &NodeLabels { own: labels, mixed }, progress);
        let present = outputs.iter().map(Option::is_some).collect();
        self.pending.push(Pending::new(&losses, present, len, at));
        if !is_gpu(&self.device) {
            Pending::read(std::mem::take(&mut self.pending), &mut self.reports)?;
        }
        // Edges into frozen nodes have losses, but nothing to learn from them.
        if let Some(values) = losses.values.filter(Tensor::is_tracked) {
            drop(outputs);
            let at_outputs = values.sum().backward();
            self.learn(forwards, &at_outputs, at.learning_rate);
        }
        if self.pending.len() > MOST_PENDING {
            // All but the newest, so that the device has that one's backward pass to do while we go on.
            let newest = self.pending.split_off(self.pending.len() - 1);
            Pending::read(std::mem::replace(&mut self.pending, newest), &mut self.reports)?;
        }
        Ok(())
    }

    /// The reports of the steps submitted since the last call, oldest first, as far as they are known. After an error,
    /// those of the steps before it.
    pub fn known_reports(&mut self) -> Vec<StepReport> {
        std::mem::take(&mut self.reports)
    }

    /// Waits for all steps, so that their reports are known and their weights are there.
    ///
    /// # Errors
    ///
    /// [`Error::Diverged`] if a loss is not finite, [`Error::Device`] if the device failed.
    pub fn wait(&mut self) -> Result<(), Error> {
        Pending::read(std::mem::take(&mut self.pending), &mut self.reports)?;
        if is_gpu(&self.device) {
            // What failed in a backward pass shows in the weights of the first layer, which it reaches last.
            for node in &self.nodes {
                weights::try_values(node.network.first_weights())?;
            }
        }
        Ok(())
    }

    fn forward(&self, images: &Tensor<4>) -> Vec<Option<Forward>> {
        for_networks(&self.device, self.nodes.iter().collect(), |node| node.forward(images))
    }

    fn learn(&mut self, forwards: Vec<Option<Forward>>, at_outputs: &Gradients, rate: f64) {
        let sgd = self.sgd;
        let with_gradients = |forward: Forward| {
            let gradients = forward.gradients(at_outputs);
            (forward, gradients)
        };
        let forwards = forwards.into_iter().map(|forward| forward.map(with_gradients));
        let pairs = std::mem::take(&mut self.nodes).into_iter().zip(forwards).collect();
        self.nodes = for_networks(&self.device, pairs, |(node, forward)| match forward {
            Some((forward, gradients)) => node.learn(forward, gradients, rate, sgd),
            None => node,
        });
    }
}

/// Does the `work` of all networks: on a GPU side by side, each in its queue.
fn for_networks<T: Send, R: Send>(device: &Device, networks: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    if !is_gpu(device) {
        return networks.into_iter().map(work).collect();
    }
    let networks = networks.into_par_iter().enumerate();
    networks.map(|(m, network)| in_queue(Queue::Network(m), || work(network))).collect()
}
