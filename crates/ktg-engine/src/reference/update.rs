//! Optimizers from their definitions.

use std::collections::BTreeMap;

use ktg_net::{Array, Parameter, StateDict};

use crate::optimizer::AVERAGE;
use crate::{Optimizer, OptimizerState, Rule};

/// Gradients by the names of their parameters.
pub(super) type Gradients = BTreeMap<String, Vec<f64>>;

/// Moves all parameters that have a gradient.
pub(super) fn parameters(
    rule: Rule,
    parameters: &[Parameter],
    gradients: &Gradients,
    weights: &mut StateDict,
    state: &mut OptimizerState,
) {
    let squares = gradients.values().flatten().map(|g| g * g);
    let norm = squares.sum::<f64>().sqrt();
    let scale = rule.clip_norm.map_or(1.0, |largest| (largest / (norm + 1e-6)).min(1.0));
    for (i, Parameter { name, shape, .. }) in parameters.iter().enumerate() {
        let Some(gradient) = gradients.get(name) else { continue };
        let factors = rule.factors_of(i);
        let tensor = Tensor {
            rate: rule.learning_rate * factors.learning_rate,
            decay: rule.weight_decay * factors.weight_decay,
            number: rule.number as i32,
            gradient: gradient.iter().map(|g| scale * g).collect(),
            weights: &mut weights.get_mut(name).expect("all parameters have weights").data,
        };
        let zeros = || Array { shape: shape.clone(), data: vec![0.0; gradient.len()] };
        let mut memory: Vec<Array> = Vec::new();
        for kind in rule.optimizer.kinds() {
            memory.push(state.entry((*kind).to_owned()).or_default().remove(name).unwrap_or_else(zeros));
        }
        match rule.optimizer {
            Optimizer::Sgd { momentum, nesterov } => {
                let mut none = zeros();
                tensor.sgd(momentum, nesterov, &mut memory.first_mut().unwrap_or(&mut none).data);
            }
            Optimizer::AdamW { betas, epsilon } => {
                let [mean, square] = memory.get_disjoint_mut([0, 1]).expect("AdamW has two moments");
                tensor.adamw(betas, epsilon, &mut mean.data, &mut square.data);
            }
        }
        for (kind, array) in rule.optimizer.kinds().iter().zip(memory) {
            state.entry((*kind).to_owned()).or_default().insert(name.clone(), array);
        }
    }
}

/// A parameter, and what moves it.
struct Tensor<'a> {
    rate: f64,
    decay: f64,
    number: i32,
    gradient: Vec<f64>,
    weights: &'a mut [f32],
}

impl Tensor<'_> {
    fn sgd(self, momentum: f64, nesterov: bool, velocity: &mut [f32]) {
        for ((w, g), v) in self.weights.iter_mut().zip(&self.gradient).zip(velocity) {
            let d = g + self.decay * f64::from(*w);
            *v = (momentum * f64::from(*v) + d) as f32;
            let step = if nesterov { d + momentum * f64::from(*v) } else { f64::from(*v) };
            *w = (f64::from(*w) - self.rate * step) as f32;
        }
    }

    fn adamw(self, [beta1, beta2]: [f64; 2], epsilon: f64, mean: &mut [f32], square: &mut [f32]) {
        for (((w, g), m), v) in self.weights.iter_mut().zip(&self.gradient).zip(mean).zip(square) {
            let decayed = f64::from(*w) * (1.0 - self.rate * self.decay);
            *m = (beta1 * f64::from(*m) + (1.0 - beta1) * g) as f32;
            *v = (beta2 * f64::from(*v) + (1.0 - beta2) * g * g) as f32;
            let unbiased_mean = f64::from(*m) / (1.0 - beta1.powi(self.number));
            let unbiased_square = f64::from(*v) / (1.0 - beta2.powi(self.number));
            *w = (decayed - self.rate * unbiased_mean / (unbiased_square.sqrt() + epsilon)) as f32;
        }
    }
}

/// Moves the averages, if the rule has them.
pub(super) fn average(rule: Rule, weights: &StateDict, state: &mut OptimizerState) {
    let Some(share) = rule.new_share() else { return };
    let averages = state.entry(AVERAGE.to_owned()).or_insert_with(|| weights.clone());
    for (name, average) in averages {
        for (average, weight) in average.data.iter_mut().zip(&weights[name].data) {
            let (old, new) = (f64::from(*average), f64::from(*weight));
            *average = (old + share * (new - old)) as f32;
        }
    }
}
