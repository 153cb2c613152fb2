//! Stochastic gradient descent with PyTorch's semantics (`torch.optim.SGD`, dampening 0, no Nesterov).

use std::collections::BTreeMap;
use std::path::Path;

use ktg_nn::burn::module::Module;
use ktg_nn::burn::module::Param;
use ktg_nn::burn::tensor::{Bool, Device, Gradients, Tensor, TensorData};
use ktg_nn::{Array, NamedVisitor, Network, StateDict, ops};
use serde::{Deserialize, Serialize};

use crate::precision::LossScale;
use crate::{Error, Precision};

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
    /// What the loss was multiplied by, where gradients are computed in `f16`.
    scale: Option<LossScale>,
}

/// The name that the loss scale has among the momentum buffers of a checkpoint; no parameter is called so.
const SCALE: &str = "loss_scale";

impl Sgd {
    /// Prepares for gradients that are computed in `precision`.
    pub fn set_precision(&mut self, precision: Precision, device: &Device) {
        self.scale = (precision == Precision::F16).then(|| LossScale::new(device));
    }

    /// What the loss must be multiplied by before the gradients are computed, `[1]`; they are divided by it here.
    pub fn loss_factor(&self) -> Option<Tensor<1>> {
        self.scale.as_ref().map(LossScale::factor)
    }

    /// Updates the parameters of `network` whose gradients are in `gradients`; none of them where a scaled gradient
    /// overflowed.
    pub fn step(&mut self, network: Network, gradients: &mut Gradients, rate: f64, settings: SgdSettings) -> Network {
        let mut scale = self.scale.take();
        let unscale = scale.as_ref().map(|scale| {
            let mut find = Overflows { gradients, found: Vec::new() };
            network.visit_named(&mut find);
            Unscale { factor: scale.factor().recip(), overflowed: find.any(&network) }
        });
        let network =
            network.map_named(&mut Update { sgd: self, gradients, rate, settings, unscale: unscale.as_ref() });
        if let (Some(scale), Some(unscale)) = (&mut scale, unscale) {
            scale.adapt(unscale.overflowed);
        }
        self.scale = scale;
        network
    }

    /// The momentum buffers.
    pub fn state(&self) -> StateDict {
        let array = |(name, velocity): (&String, &Tensor<1>)| {
            let data = ktg_nn::weights::values(velocity.clone());
            (name.clone(), Array { shape: self.shapes[name].clone(), data })
        };
        let scale = self.scale.iter().map(|scale| (SCALE.to_owned(), scale.to_array()));
        self.velocity.iter().map(array).chain(scale).collect()
    }

    /// Puts back what [`state`](Self::state) gave; `origin` names it in messages.
    pub fn restore(&mut self, state: &StateDict, device: &Device, origin: &str) -> Result<(), Error> {
        self.velocity.clear();
        self.shapes.clear();
        if let (Some(scale), false) = (&mut self.scale, state.is_empty()) {
            let saved = state.get(SCALE).and_then(|array| LossScale::from_array(array, device));
            let reason = "its optimiser has no loss scale, which f16 needs; train anew elsewhere";
            *scale = saved.ok_or_else(|| Error::run(Path::new(origin), reason))?;
        }
        for (name, array) in state.iter().filter(|(name, _)| *name != SCALE) {
            let data = TensorData::new(array.data.clone(), [array.data.len()]);
            self.velocity.insert(name.clone(), Tensor::from_data(data, device));
            self.shapes.insert(name.clone(), array.shape.clone());
        }
        Ok(())
    }
}

/// How scaled gradients are used.
struct Unscale {
    /// `[1]`
    factor: Tensor<1>,
    /// 1 if a gradient is infinite or NaN, else 0; `[1]`.
    overflowed: Tensor<1>,
}

impl Unscale {
    /// Where nothing may change, in the shape of a parameter.
    fn keeps<const D: usize>(&self, like: &Tensor<D>) -> Tensor<D, Bool> {
        self.overflowed.clone().equal_elem(1.0).reshape([1; D]).expand(like.shape())
    }
}

/// Looks for gradients that are not finite.
struct Overflows<'a> {
    gradients: &'a Gradients,
    found: Vec<Tensor<1>>,
}

impl NamedVisitor for Overflows<'_> {
    fn visit<const D: usize>(&mut self, _: String, param: &Param<Tensor<D>>) {
        if let Some(gradient) = param.val().grad(self.gradients) {
            // 0 for a number, NaN for anything else.
            self.found.push((gradient.reshape([1, -1]) * 0.0).sum_dim(1).reshape([1]));
        }
    }
}

impl Overflows<'_> {
    fn any(self, network: &Network) -> Tensor<1> {
        if self.found.is_empty() {
            return Tensor::zeros([1], &network.devices()[0].clone().inner());
        }
        let sum = Tensor::cat(self.found, 0).reshape([1, -1]).sum_dim(1).reshape([1]);
        sum.equal_elem(0.0).bool_not().float()
    }
}

struct Update<'a> {
    sgd: &'a mut Sgd,
    gradients: &'a mut Gradients,
    rate: f64,
    settings: SgdSettings,
    unscale: Option<&'a Unscale>,
}

impl ktg_nn::NamedMapper for Update<'_> {
    fn map<const D: usize>(&mut self, name: &str, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(gradient) = param.val().grad_remove(self.gradients) else { return param };
        let SgdSettings { momentum, weight_decay } = self.settings;
        let (sgd, rate, unscale) = (&mut *self.sgd, self.rate, self.unscale);
        param.map(|value| {
            let value = value.inner();
            let shape = value.shape();
            let velocity = sgd.velocity.remove(name).map(|velocity| velocity.reshape(shape));
            if velocity.is_none() && momentum != 0.0 {
                sgd.shapes.insert(name.to_owned(), value.dims().to_vec());
            }
            let gradient = gradient.inner();
            let (value, velocity) = match unscale {
                None => ops::sgd(value, gradient, velocity, rate, momentum, weight_decay),
                Some(unscale) => {
                    let gradient = gradient * unscale.factor.clone().reshape([1; D]).expand(value.shape());
                    let before = velocity.unwrap_or_else(|| value.zeros_like());
                    let old = Some(before.clone());
                    let (new, velocity) = ops::sgd(value.clone(), gradient, old, rate, momentum, weight_decay);
                    let keeps = unscale.keeps(&value);
                    let velocity = velocity.map(|velocity| velocity.mask_where(keeps.clone(), before));
                    (new.mask_where(keeps, value), velocity)
                }
            };
            if let Some(velocity) = velocity {
                sgd.velocity.insert(name.to_owned(), velocity.reshape([-1]));
            }
            Tensor::from_inner(value).require_grad()
        })
    }
}
