//! How weights change.

use std::collections::BTreeMap;

use ktg_net::{Parameter, Role, StateDict, WeightsError};

/// One step of an optimizer on the weights of a node.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule<'a> {
    /// What is done with a gradient.
    pub optimizer: Optimizer,
    /// Step size, after the schedule.
    pub learning_rate: f64,
    /// Pull of every weight towards 0; what it means is the optimizer's affair.
    pub weight_decay: f64,
    /// Which update of the training it is, counted from 1.
    pub number: u64,
    /// Largest norm of all gradients of a node together; longer ones are scaled down to it, as by
    /// `torch.nn.utils.clip_grad_norm_`.
    pub clip_norm: Option<f64>,
    /// Share of the past in the moving average of the weights and running statistics, by which a node then answers
    /// ([`Node::infer`](crate::Node::infer)). `None`: there is no average.
    pub average: Option<f64>,
    /// By tensor, in the order of [`Network::parameters`](ktg_net::Network::parameters); empty: no tensor is special.
    pub factors: &'a [Factors],
}

/// What an optimizer does with a gradient.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Optimizer {
    /// Stochastic gradient descent with PyTorch's semantics (`torch.optim.SGD`, dampening 0).
    ///
    /// Per parameter: `d = gradient + weight_decay * w`; `v = momentum * v + d` (first `v = d`); `w -= learning_rate * v`,
    /// or with Nesterov's momentum `w -= learning_rate * (d + momentum * v)`.
    Sgd {
        /// Share of the last update that goes on; 0 switches momentum off.
        momentum: f64,
        /// Nesterov's momentum.
        nesterov: bool,
    },
    /// Adam with decoupled weight decay (Loshchilov & Hutter 2019), as `torch.optim.AdamW`.
    AdamW {
        /// Shares of the past in the means of the gradients and of their squares.
        betas: [f64; 2],
        /// Added to the root of the mean square.
        epsilon: f64,
    },
}

/// What is special about a tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Factors {
    /// On the learning rate.
    pub learning_rate: f64,
    /// On the weight decay.
    pub weight_decay: f64,
}

impl Factors {
    /// Nothing is.
    pub const ONE: Factors = Factors { learning_rate: 1.0, weight_decay: 1.0 };
}

/// What an optimizer remembers of a network: for each kind of memory ([`MOMENTUM`], ...), arrays by the names of the
/// parameters. Empty before the first step. A moving average of the weights is among them ([`AVERAGE`]).
pub type OptimizerState = BTreeMap<String, StateDict>;

/// The kind of SGD's velocities.
pub const MOMENTUM: &str = "momentum";

/// The kinds of AdamW's moments, by PyTorch's names.
pub const MOMENTS: [&str; 2] = ["exp_avg", "exp_avg_sq"];

/// The kind of the moving averages of weights and running statistics.
pub const AVERAGE: &str = "average";

/// The kind under which the scale of gradients in half precision is kept; it is no parameter's.
pub const LOSS_SCALE: &str = "loss_scale";

impl Optimizer {
    /// The kinds of arrays that it remembers.
    pub fn kinds(&self) -> &'static [&'static str] {
        match self {
            Optimizer::Sgd { momentum: 0.0, .. } => &[],
            Optimizer::Sgd { .. } => &[MOMENTUM],
            Optimizer::AdamW { .. } => &MOMENTS,
        }
    }
}

impl Rule<'_> {
    /// Plain stochastic gradient descent.
    pub const fn sgd(learning_rate: f64, momentum: f64, weight_decay: f64) -> Self {
        let optimizer = Optimizer::Sgd { momentum, nesterov: false };
        Rule { optimizer, learning_rate, weight_decay, number: 1, clip_norm: None, average: None, factors: &[] }
    }

    /// What is special about tensor `i`.
    pub(crate) fn factors_of(&self, i: usize) -> Factors {
        self.factors.get(i).copied().unwrap_or(Factors::ONE)
    }

    /// Share of the new weights in their moving average, where there is one. The first average is the weights themselves,
    /// and the next ones forget the start quickly: the past's share is at most (1 + n) / (10 + n) at the n-th update after
    /// the first.
    pub(crate) fn new_share(&self) -> Option<f64> {
        let before = (self.number - 1) as f64;
        let past = |most: f64| if before == 0.0 { 0.0 } else { most.min((1.0 + before) / (10.0 + before)) };
        self.average.map(|most| 1.0 - past(most))
    }

    /// Factor on gradients of this norm.
    pub(crate) fn scale(&self, norm: impl FnOnce() -> f64) -> f32 {
        // As PyTorch has it, which adds a little to the norm.
        self.clip_norm.map_or(1.0, |largest| (largest / (norm() + 1e-6)).min(1.0) as f32)
    }
}

/// Errs unless all arrays of `state` are those of parameters; some may be missing, as of layers that nothing reaches.
pub(crate) fn check_state(parameters: &[Parameter], state: &OptimizerState, origin: &str) -> Result<(), WeightsError> {
    for (kind, dict) in state {
        let is_known = kind == MOMENTUM || kind == AVERAGE || MOMENTS.contains(&kind.as_str());
        for (name, array) in dict {
            let fits = |parameter: &Parameter| {
                let has_kind = parameter.role == Role::Learned || kind == AVERAGE;
                parameter.name == *name && parameter.shape == array.shape && has_kind
            };
            let is_expected = is_known && parameters.iter().any(fits) || kind == LOSS_SCALE && array.shape == [3];
            if !is_expected {
                let reason = format!("its optimizer has a `{kind}` of shape {:?} for `{name}`", array.shape);
                return Err(WeightsError::Mismatch { path: origin.to_owned(), reason });
            }
        }
    }
    Ok(())
}

/// Root of the sum of all squares, with the rounding of eight sums whatever the number of threads.
pub(crate) fn norm<'a>(tensors: impl Iterator<Item = &'a [f32]>) -> f64 {
    tensors.map(sum_of_squares).sum::<f64>().sqrt()
}

fn sum_of_squares(values: &[f32]) -> f64 {
    let mut sums = [0.0; 8];
    for chunk in values.chunks(sums.len()) {
        sums.iter_mut().zip(chunk).for_each(|(sum, value)| *sum += f64::from(*value) * f64::from(*value));
    }
    sums.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages_begin_with_the_weights_and_forget_the_start() {
        let rule = |number| Rule { number, average: Some(0.9), ..Rule::sgd(0.1, 0.9, 0.0) };
        assert_eq!(rule(1).new_share(), Some(1.0));
        assert_eq!(rule(2).new_share(), Some(1.0 - 2.0 / 11.0));
        assert_eq!(rule(1000).new_share(), Some(1.0 - 0.9));
        assert_eq!(Rule::sgd(0.1, 0.9, 0.0).new_share(), None);
    }

    #[test]
    fn only_long_gradients_are_scaled() {
        let rule = Rule { clip_norm: Some(2.0), ..Rule::sgd(0.1, 0.9, 0.0) };
        assert_eq!(rule.scale(|| 1.0), 1.0);
        assert_eq!(rule.scale(|| 4.0), (2.0f64 / 4.000001) as f32);
        assert_eq!(norm([&[3.0f32; 4][..], &[2.0; 4], &[1.0; 12]].into_iter()), 8.0);
    }
}
