//! How the weights of a node move, by a few operations on all of them at once.

use std::collections::BTreeMap;

use tch::{Kind, TchError, Tensor};

use super::tensors::{Piece, Tensors};
use crate::optimizer::{MOMENTS, MOMENTUM};
use crate::{Factors, Optimizer, Rule};

/// What an optimizer remembers of a node's learned parameters, by kind, each laid out as they are.
pub type Memories = BTreeMap<&'static str, Tensor>;

/// How the parameters of a node are updated.
#[derive(Default)]
pub struct Update {
    /// What is special about parameters, as a tensor laid out as they are: kept, since it hardly ever changes.
    special: Option<Special>,
}

/// Factors that are not all the same.
struct Special {
    /// One for each parameter.
    factors: Vec<Factors>,
    learning_rate: Tensor,
    weight_decay: Tensor,
}

/// What a rule is for each value: tensors of one number, or of as many as there are parameters.
struct Rates {
    /// The negative learning rate.
    backwards: Tensor,
    decay: Tensor,
}

impl Update {
    /// Moves the parameters that learn by their gradients.
    pub fn learned(
        &mut self,
        rule: Rule,
        tensors: &mut Tensors,
        learns: &[bool],
        gradients: Vec<Piece>,
        memories: &mut Memories,
    ) -> Result<(), TchError> {
        if gradients.is_empty() {
            return Ok(());
        }
        let rates = self.rates(rule, tensors, learns)?;
        for kind in rule.optimizer.kinds() {
            if !memories.contains_key(kind) {
                memories.insert(kind, tensors.learned.f_zeros_like()?);
            }
        }
        let shrink = rule.clip_norm.map(|largest| shrinking(&gradients, largest)).transpose()?;
        for gradient in gradients {
            if let Some(shrink) = &shrink {
                let _ = gradient.values.shallow_clone().f_mul_(shrink)?;
            }
            piece(rule, &tensors.learned, gradient, &rates, memories)?;
        }
        Ok(())
    }

    /// The rates of a rule; parameters that have no gradient do not move.
    fn rates(&mut self, rule: Rule, tensors: &Tensors, learns: &[bool]) -> Result<Rates, TchError> {
        let still = Factors { learning_rate: 0.0, weight_decay: 0.0 };
        let factor = |i: usize| if learns[i] { rule.factors_of(i) } else { still };
        let factors: Vec<Factors> = (0..learns.len()).map(factor).collect();
        let learned = factors.iter().enumerate().filter(|(i, _)| tensors.is_learned(*i));
        if learned.clone().all(|(_, factors)| *factors == Factors::ONE) {
            let one = |rate: f64| Tensor::f_full([0_i64; 0], rate, (Kind::Float, tensors.learned.device()));
            return Ok(Rates { backwards: one(-rule.learning_rate)?, decay: one(rule.weight_decay)? });
        }
        let special = match self.special.take().filter(|special| special.factors == factors) {
            Some(special) => special,
            None => {
                let [learning_rates, weight_decays]: [Vec<f64>; 2] =
                    [|f: &Factors| f.learning_rate, |f: &Factors| f.weight_decay]
                        .map(|of| factors.iter().map(of).collect());
                let learning_rate = tensors.by_parameter(&learning_rates)?;
                Special { factors, learning_rate, weight_decay: tensors.by_parameter(&weight_decays)? }
            }
        };
        let rates = Rates {
            backwards: special.learning_rate.f_mul_scalar(-rule.learning_rate)?,
            decay: special.weight_decay.f_mul_scalar(rule.weight_decay)?,
        };
        self.special = Some(special);
        Ok(rates)
    }
}

/// The factor that makes the norm of all gradients at most `largest`; as PyTorch has it, without asking the device for it.
fn shrinking(gradients: &[Piece], largest: f64) -> Result<Tensor, TchError> {
    let norms = gradients.iter().map(|gradient| gradient.values.f_norm()).collect::<Result<Vec<Tensor>, TchError>>()?;
    let norm = Tensor::f_stack(&norms, 0)?.f_norm()?.f_add_scalar(1e-6)?;
    norm.f_reciprocal()?.f_mul_scalar(largest)?.f_clamp_max(1.0)
}

/// Moves some values of `learned` by their gradients.
fn piece(rule: Rule, learned: &Tensor, gradient: Piece, rates: &Rates, memories: &Memories) -> Result<(), TchError> {
    let mut learned = gradient.of(learned)?;
    let [mut backwards, mut decay] = [rates.backwards.shallow_clone(), rates.decay.shallow_clone()];
    if decay.dim() > 0 {
        (backwards, decay) = (gradient.of(&backwards)?, gradient.of(&decay)?);
    }
    let memory = |kind: &str| memories.get(kind).map(|memory| gradient.of(memory)).transpose();
    let mut values = gradient.values.shallow_clone();
    let step = match rule.optimizer {
        Optimizer::Sgd { momentum, nesterov } => {
            let _ = values.f_addcmul_(&learned, &decay)?;
            match memory(MOMENTUM)?.filter(|_| momentum != 0.0) {
                None => values,
                Some(mut velocity) => {
                    let _ = velocity.f_mul_scalar_(momentum)?;
                    let _ = velocity.f_add_(&values)?;
                    if nesterov { values.f_add(&velocity.f_mul_scalar(momentum)?)? } else { velocity }
                }
            }
        }
        Optimizer::AdamW { betas: [beta1, beta2], epsilon } => {
            let [Some(mut mean), Some(mut square)] = [memory(MOMENTS[0])?, memory(MOMENTS[1])?] else {
                unreachable!("AdamW has two moments")
            };
            let decayed = learned.f_mul(&decay)?;
            let _ = learned.f_addcmul_(&decayed, &backwards)?;
            let _ = mean.f_lerp_(&values, 1.0 - beta1)?;
            let _ = square.f_lerp_(&values.f_square()?, 1.0 - beta2)?;
            let number = rule.number as i32;
            let root = square.f_div_scalar(1.0 - beta2.powi(number))?.f_sqrt()?.f_add_scalar(epsilon)?;
            mean.f_div(&root)?.f_div_scalar(1.0 - beta1.powi(number))?
        }
    };
    learned.f_addcmul_(&step, &backwards).map(drop)
}
