//! How the weights of a node move, by a few operations on all of them at once.

use std::collections::BTreeMap;

use tch::{TchError, Tensor};

use super::tensors::Tensors;
use crate::optimizer::{MOMENTS, MOMENTUM};
use crate::{Factors, Optimizer, Rule};

/// What an optimizer remembers of a node's learned parameters, by kind, each laid out as they are.
pub type Memories = BTreeMap<&'static str, Tensor>;

/// What a rule is for each value: numbers, or tensors where parameters differ.
struct Rates {
    learning: Rate,
    decay: Rate,
}

enum Rate {
    One(f64),
    Each(Tensor),
}

impl Rate {
    /// `tensor` times it.
    fn times(&self, tensor: &Tensor) -> Result<Tensor, TchError> {
        match self {
            Rate::One(rate) => tensor.f_mul_scalar(*rate),
            Rate::Each(rates) => tensor.f_mul(rates),
        }
    }
}

impl Rates {
    /// Those of a rule; parameters that have no gradient do not move.
    fn new(rule: Rule, tensors: &Tensors, learns: &[bool]) -> Result<Self, TchError> {
        let learned = || (0..learns.len()).filter(|i| tensors.is_learned(*i));
        if learned().all(|i| learns[i] && rule.factors_of(i) == Factors::ONE) {
            return Ok(Self { learning: Rate::One(rule.learning_rate), decay: Rate::One(rule.weight_decay) });
        }
        let of = |rate: f64, factor: fn(Factors) -> f64| {
            tensors.by_parameter(|i| if learns[i] { (rate * factor(rule.factors_of(i))) as f32 } else { 0.0 })
        };
        Ok(Self {
            learning: Rate::Each(of(rule.learning_rate, |factors| factors.learning_rate)?),
            decay: Rate::Each(of(rule.weight_decay, |factors| factors.weight_decay)?),
        })
    }
}

/// Moves the parameters that learn by their gradients, which are laid out as they are and zero where there is none.
pub fn learned(
    rule: Rule,
    tensors: &mut Tensors,
    learns: &[bool],
    gradients: &Tensor,
    memories: &mut Memories,
) -> Result<(), TchError> {
    let rates = Rates::new(rule, tensors, learns)?;
    let mut gradients = gradients.shallow_clone();
    if let Some(largest) = rule.clip_norm {
        // As PyTorch has it, without asking the device for the norm.
        let norm = gradients.f_norm()?.f_add_scalar(1e-6)?;
        gradients = gradients.f_mul(&norm.f_reciprocal()?.f_mul_scalar(largest)?.f_clamp_max(1.0)?)?;
    }
    for kind in rule.optimizer.kinds() {
        if !memories.contains_key(kind) {
            memories.insert(kind, tensors.learned.f_zeros_like()?);
        }
    }
    let memory = |kind: &str| memories.get(kind).map(Tensor::shallow_clone);
    let step = match rule.optimizer {
        Optimizer::Sgd { momentum, nesterov } => {
            let decayed = gradients.f_add(&rates.decay.times(&tensors.learned)?)?;
            match memory(MOMENTUM).filter(|_| momentum != 0.0) {
                None => decayed,
                Some(mut velocity) => {
                    let _ = velocity.f_mul_scalar_(momentum)?;
                    let _ = velocity.f_add_(&decayed)?;
                    if nesterov { decayed.f_add(&velocity.f_mul_scalar(momentum)?)? } else { velocity }
                }
            }
        }
        Optimizer::AdamW { betas: [beta1, beta2], epsilon } => {
            let [Some(mut mean), Some(mut square)] = [memory(MOMENTS[0]), memory(MOMENTS[1])] else {
                unreachable!("AdamW has two moments")
            };
            let decay = rates.learning.times(&rates.decay.times(&tensors.learned)?)?;
            let _ = tensors.learned.f_sub_(&decay)?;
            let _ = mean.f_lerp_(&gradients, 1.0 - beta1)?;
            let _ = square.f_lerp_(&gradients.f_square()?, 1.0 - beta2)?;
            let number = rule.number as i32;
            let root = square.f_div_scalar(1.0 - beta2.powi(number))?.f_sqrt()?.f_add_scalar(epsilon)?;
            mean.f_div(&root)?.f_div_scalar(1.0 - beta1.powi(number))?
        }
    };
    tensors.learned.f_sub_(&rates.learning.times(&step)?).map(drop)
}
