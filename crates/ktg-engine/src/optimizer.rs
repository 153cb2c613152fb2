//! How weights change.

use std::collections::BTreeMap;

use ktg_net::{Parameter, StateDict, WeightsError};

/// One step of stochastic gradient descent with PyTorch's semantics (`torch.optim.SGD`, dampening 0, no Nesterov).
///
/// Per parameter: `d = gradient + weight_decay * w`; `v = momentum * v + d` (first `v = d`); `w -= learning_rate * v`. A
/// parameter without a gradient is left alone, as in PyTorch with `zero_grad(set_to_none=True)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    /// Step size, after the schedule.
    pub learning_rate: f64,
    /// Share of the last update that goes on; 0 switches momentum off.
    pub momentum: f64,
    /// L2 penalty, added to the gradient of every parameter.
    pub weight_decay: f64,
}

/// What an optimizer remembers of a network: for each kind of memory (`momentum`), arrays by the names of the parameters.
/// Empty before the first step.
pub type OptimizerState = BTreeMap<String, StateDict>;

/// The kind of SGD's velocities.
pub const MOMENTUM: &str = "momentum";

/// Errs unless all arrays of `state` are those of parameters; some may be missing, as of layers that nothing reaches.
pub(crate) fn check_state(parameters: &[Parameter], state: &OptimizerState, origin: &str) -> Result<(), WeightsError> {
    for (kind, dict) in state {
        for (name, array) in dict {
            let fits = |parameter: &&Parameter| parameter.name == *name && parameter.shape == array.shape;
            if kind != MOMENTUM || !parameters.iter().any(|parameter| fits(&parameter)) {
                let reason = format!("its optimizer has a `{kind}` of shape {:?} for `{name}`", array.shape);
                return Err(WeightsError::Mismatch { path: origin.to_owned(), reason });
            }
        }
    }
    Ok(())
}
