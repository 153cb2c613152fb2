//! A network node in training.

use ktg_nn::burn::module::Module;
use ktg_nn::burn::tensor::{Gradients, Tensor};
use ktg_nn::{BatchStatistics, Network, Outputs};

use crate::SgdSettings;
use crate::plan::NodePlan;
use crate::sgd::Sgd;

/// A network node in training.
pub(crate) struct NodeState {
    /// On an autodiff device.
    pub network: Network,
    pub optimiser: Sgd,
    /// The inference twin of a node that is not trained.
    pub frozen: Option<Network>,
    pub plan: NodePlan,
}

/// What a node's forward pass leaves.
pub(crate) struct Forward {
    /// On the node's own tape; `None` for a node that is not trained.
    taped: Option<Outputs>,
    /// The same values at the beginning of a new tape, which the losses go on.
    pub shown: Outputs,
    statistics: Vec<BatchStatistics>,
}

impl NodeState {
    pub fn new(network: Network, optimiser: Sgd, plan: NodePlan) -> Self {
        let frozen = (!plan.trained).then(|| network.valid());
        Self { network, optimiser, frozen, plan }
    }

    /// Outputs for images `[n, channels, height, width]`; `None` if nobody needs them. A node that is not trained runs in
    /// inference mode, off the tape.
    pub fn forward(&self, images: &Tensor<4>) -> Option<Forward> {
        let NodePlan { trained, needed, wanted, logits_learn, map_learns } = self.plan;
        if trained {
            let (taped, statistics) = self.network.forward_train(images.clone(), wanted);
            let shown = taped.clone().detach();
            let shown = Outputs {
                logits: if logits_learn { shown.logits.require_grad() } else { shown.logits },
                attention_logits: shown.attention_logits.map(Tensor::require_grad),
                attention_map: shown.attention_map.map(|map| if map_learns { map.require_grad() } else { map }),
            };
            return Some(Forward { taped: Some(taped), shown, statistics });
        }
        if !needed {
            return None;
        }
        let twin = self.frozen.as_ref().expect("a node that is not trained has its twin");
        let outputs = twin.forward(images.clone().inner(), wanted);
        let shown = Outputs {
            logits: outputs.logits.autodiff(),
            attention_logits: None,
            attention_map: outputs.attention_map.map(Tensor::autodiff),
        };
        Some(Forward { taped: None, shown, statistics: Vec::new() })
    }

    /// Updates the running statistics and, where the losses have gradients at the outputs, the weights.
    pub fn learn(mut self, forward: Forward, gradients: OutputGradients, rate: f64, settings: SgdSettings) -> Self {
        let Forward { taped: Some(taped), statistics, .. } = forward else { return self };
        self.network.update_running(statistics);
        let Some(mut pull) = gradients.pull(taped) else { return self };
        if let Some(factor) = self.optimiser.loss_factor() {
            pull = pull * Tensor::from_inner(factor);
        }
        let mut gradients = pull.backward();
        self.network = self.optimiser.step(self.network, &mut gradients, rate, settings);
        self
    }
}

impl Forward {
    /// Takes what the losses have at the outputs.
    pub fn gradients(&self, at_outputs: &Gradients) -> OutputGradients {
        OutputGradients {
            logits: self.shown.logits.grad(at_outputs),
            attention_logits: self.shown.attention_logits.as_ref().and_then(|o| o.grad(at_outputs)),
            attention_map: self.shown.attention_map.as_ref().and_then(|o| o.grad(at_outputs)),
        }
    }
}

/// Gradients of the losses at a node's outputs.
pub(crate) struct OutputGradients {
    logits: Option<Tensor<2>>,
    attention_logits: Option<Tensor<2>>,
    attention_map: Option<Tensor<3>>,
}

impl OutputGradients {
    /// A number `[1]` on the network's tape that has these gradients at the outputs; `None` if there are none.
    fn pull(self, taped: Outputs) -> Option<Tensor<1>> {
        let pulls = [
            pull(Some(taped.logits), self.logits),
            pull(taped.attention_logits, self.attention_logits),
            pull(taped.attention_map, self.attention_map),
        ];
        let pulls: Vec<Tensor<1>> = pulls.into_iter().flatten().collect();
        (!pulls.is_empty()).then(|| Tensor::cat(pulls, 0).sum())
    }
}

fn pull<const D: usize>(taped: Option<Tensor<D>>, gradient: Option<Tensor<D>>) -> Option<Tensor<1>> {
    Some((taped? * Tensor::from_inner(gradient?)).reshape([-1]))
}
