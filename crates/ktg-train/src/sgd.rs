//! Stochastic gradient descent with PyTorch's semantics (`torch.optim.SGD`, dampening 0, no Nesterov).

use std::collections::BTreeMap;

use ktg_nn::burn::module::Param;
use ktg_nn::burn::tensor::{Gradients, Tensor, TensorData};
use ktg_nn::{Array, Network, StateDict, ops};
use serde::{Deserialize, Serialize};

/// Settings of the optimiser.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SgdSettings {
    /// Share of the last update that goes on; 0 switches momentum off.
    pub momentum: f64,
    /// L2 penalty, added to the gradient of every parameter.
    pub weight_decay: f64,
}

/// The optimiser of one network: its momentum buffers, by PyTorch's parameter names.
///
/// Per parameter: `d = gradient + weight_decay * w`; `v = momentum * v + d` (first `v = d`); `w -= lr * v`.
/// A parameter without a gradient is left alone, as in PyTorch with `zero_grad(set_to_none=True)`.
#[derive(Default)]
pub(crate) struct Sgd {
    velocity: BTreeMap<String, Tensor<1>>,
    shapes: BTreeMap<String, Vec<usize>>,
}

impl Sgd {
    /// Updates the parameters of `network` whose gradients are in `gradients`.
    pub fn step(&mut self, network: Network, gradients: &mut Gradients, rate: f64, settings: SgdSettings) -> Network {
        network.map_named(&mut Update { sgd: self, gradients, rate, settings })
    }

    /// The momentum buffers.
    pub fn state(&self) -> StateDict {
        let array = |(name, velocity): (&String, &Tensor<1>)| {
            let data = ktg_nn::weights::values(velocity.clone());
            (name.clone(), Array { shape: self.shapes[name].clone(), data })
        };
        self.velocity.iter().map(array).collect()
    }

    /// An optimiser with the given momentum buffers.
    pub fn from_state(state: &StateDict, device: &ktg_nn::burn::tensor::Device) -> Self {
        let mut sgd = Sgd::default();
        for (name, array) in state {
            let data = TensorData::new(array.data.clone(), [array.data.len()]);
            sgd.velocity.insert(name.clone(), Tensor::from_data(data, device));
            sgd.shapes.insert(name.clone(), array.shape.clone());
        }
        sgd
    }
}

struct Update<'a> {
    sgd: &'a mut Sgd,
    gradients: &'a mut Gradients,
    rate: f64,
    settings: SgdSettings,
}

impl ktg_nn::NamedMapper for Update<'_> {
    fn map<const D: usize>(&mut self, name: &str, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(gradient) = param.val().grad_remove(self.gradients) else { return param };
        let SgdSettings { momentum, weight_decay } = self.settings;
        let (sgd, rate) = (&mut *self.sgd, self.rate);
        param.map(|value| {
            let value = value.inner();
            let shape = value.shape();
            let velocity = sgd.velocity.remove(name).map(|velocity| velocity.reshape(shape));
            if velocity.is_none() && momentum != 0.0 {
                sgd.shapes.insert(name.to_owned(), value.dims().to_vec());
            }
            let (value, velocity) = ops::sgd(value, gradient.inner(), velocity, rate, momentum, weight_decay);
            if let Some(velocity) = velocity {
                sgd.velocity.insert(name.to_owned(), velocity.reshape([-1]));
            }
            Tensor::from_inner(value).require_grad()
        })
    }
}
