//! Steps whose losses have not been read from the device yet.

use ktg_nn::burn::tensor::Tensor;
use ktg_nn::device::DeviceError;
use ktg_nn::loss::{EdgeParts, GraphLosses};
use ktg_nn::weights;

use crate::Error;
use crate::metrics::{EdgeReport, LabelName, NodeReport, Source, StepReport};
use crate::trainer::Moment;

/// A step on its way.
pub(crate) struct Pending {
    at: Moment,
    images: usize,
    edges: Vec<EdgeParts>,
    /// Which nodes have outputs.
    present: Vec<bool>,
    /// All losses, then the number of hits of each node with outputs.
    values: Vec<Tensor<1>>,
    losses: usize,
}

impl Pending {
    /// `present` says of every node whether it has outputs.
    pub fn new(losses: &GraphLosses, present: Vec<bool>, images: usize, at: Moment) -> Self {
        let count = losses.values.as_ref().map_or(0, |values| values.dims()[0]);
        let values = losses.values.clone().map(Tensor::detach);
        let hits = losses.correct.clone().map(|correct| correct.sum_dim(1).squeeze_dim::<1>(1));
        let values = values.into_iter().chain(hits).map(Tensor::inner).collect();
        Self { at, images, edges: losses.edges.clone(), present, values, losses: count }
    }

    /// Waits for the steps and reads what they lost, all in one transfer.
    ///
    /// # Errors
    ///
    /// [`Error::Diverged`] for the first loss that is not finite, after the reports of the steps before it; or if the
    /// device failed.
    pub fn read(steps: Vec<Pending>, reports: &mut Vec<StepReport>) -> Result<(), Error> {
        let all: Vec<Tensor<1>> = steps.iter().flat_map(|step| step.values.iter().cloned()).collect();
        let values = if all.is_empty() { Vec::new() } else { weights::try_values(Tensor::cat(all, 0))? };
        let mut rest = &values[..];
        for step in steps {
            let count = step.losses + step.present.iter().filter(|p| **p).count();
            let lost = || DeviceError::Failed("it gave back fewer numbers than it was asked for".to_owned());
            let (own, others) = rest.split_at_checked(count).ok_or_else(lost)?;
            rest = others;
            reports.push(step.report(own)?);
        }
        Ok(())
    }

    fn report(self, values: &[f32]) -> Result<StepReport, Error> {
        let Moment { step, epoch, learning_rate, .. } = self.at;
        let (losses, hits) = values.split_at(self.losses);
        let mut nodes = vec![NodeReport::default(); self.present.len()];
        let mut edges = Vec::new();
        for edge in &self.edges {
            let value = |&part: &usize| f64::from(losses[part]);
            let probability = edge.probability.iter().map(value).reduce(|a, b| a + b);
            let attention = edge.attention.as_ref().map(value);
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
        let mut hits = hits.iter();
        for (node, _) in nodes.iter_mut().zip(&self.present).filter(|(_, present)| **present) {
            node.accuracy = hits.next().map(|&hits| 100.0 * f64::from(hits) / self.images as f64);
        }
        Ok(StepReport { step, epoch, learning_rate, nodes, edges })
    }
}
