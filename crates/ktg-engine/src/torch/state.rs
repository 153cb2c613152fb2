//! What a node has on its device, and how it learns.

use ktg_net::{NormStyle, StateDict};
use tch::{TchError, Tensor};

use super::pass::{Computation, Moments, Pass};
use super::scale::LossScale;
use super::tensors::{Piece, Tensors, tensor};
use super::update::{Memories, Update};
use crate::optimizer::{AVERAGE, MOMENTS, MOMENTUM};
use crate::{LOSS_SCALE, OptimizerState, Rule};

/// What is on the device.
pub struct State {
    pub place: tch::Device,
    pub tensors: Tensors,
    pub memories: Memories,
    pub update: Update,
    /// On the way back through 16 bits.
    pub scale: Option<LossScale>,
    /// Moving averages of `learned` and `statistics`.
    pub average: Option<[Tensor; 2]>,
    /// The last forward pass, until it is gone back through.
    pub pass: Option<Pass>,
    /// It was begun and its outputs were not asked for.
    pub begun: bool,
    /// Of the last backward pass, and which parameters have one.
    pub gradients: Option<(Vec<Piece>, Vec<bool>)>,
    /// Of the batch that was last seen.
    pub moments: Option<Moments>,
    /// Sum of the gradients of batches that are parts of a larger one, and their number.
    pub sum: Option<(Vec<Piece>, usize)>,
    /// The parameters that have ever had a gradient.
    pub learned: Vec<bool>,
}

impl State {
    /// Moves the running statistics of the batch norms that saw the batch.
    pub fn move_statistics(&mut self, computation: &Computation, images: usize) -> Result<(), TchError> {
        let Some(Moments { moments, norms }) = self.moments.take() else { return Ok(()) };
        let _no_grad = tch::no_grad_guard();
        let has_one_value = |layer: &usize| images * computation.shapes[layer + 1].pixels() == 1;
        let momentum = |layer: &usize| computation.network.layers[*layer].op.norm_style().map(NormStyle::momentum);
        let momenta: Vec<f64> = norms.iter().filter_map(momentum).collect();
        let is_one = momenta.windows(2).all(|pair| pair[0] == pair[1]);
        if 2 * norms.len() == self.tensors.statistics_count() && is_one && !norms.iter().any(has_one_value) {
            let Some(momentum) = momenta.first() else { return Ok(()) };
            return self.tensors.statistics.f_lerp_(&moments, *momentum).map(drop);
        }
        for (layer, momentum) in norms.into_iter().zip(momenta) {
            let [mean, variance] = [2, 3].map(|n| self.tensors.of_layer(layer).start + n);
            if has_one_value(&layer) {
                // One value a channel has no unbiased variance; as the other engines, this one takes the biased one.
                let _ = self.tensors.part(&moments, variance)?.f_zero_()?;
            }
            for i in [mean, variance] {
                let (mut running, batch) = (self.tensors.get(i)?, self.tensors.part(&moments, i)?);
                let _ = running.f_lerp_(&batch, momentum)?;
            }
        }
        Ok(())
    }

    /// Moves the parameters by the gradients of the last batches. `false`: they overflow in f16, and will in any scale.
    pub fn move_parameters(&mut self, rule: Rule) -> Result<bool, TchError> {
        let _no_grad = tch::no_grad_guard();
        let Some((mut gradients, learns)) = self.gradients.take() else { return Ok(true) };
        if let Some((sum, batches)) = self.sum.take() {
            for (gradient, sum) in gradients.iter_mut().zip(&sum) {
                gradient.values = sum.values.f_add(&gradient.values)?.f_div_scalar((batches + 1) as f64)?;
            }
        }
        if let Some(scale) = &mut self.scale {
            // The device is asked, and waited for.
            let mut is_finite = true;
            for gradient in &gradients {
                is_finite &= bool::try_from(gradient.values.f_isfinite()?.f_all()?)?;
            }
            let is_sound = scale.update(is_finite);
            if !is_finite {
                return Ok(is_sound);
            }
        }
        // A step that moved nothing is none, for AdamW either.
        let skipped = self.scale.map_or(0, |scale| u64::from(scale.skipped));
        let rule = Rule { number: rule.number.saturating_sub(skipped).max(1), ..rule };
        self.update.learned(rule, &mut self.tensors, &learns, gradients, &mut self.memories)?;
        self.learned.iter_mut().zip(&learns).for_each(|(learned, learns)| *learned |= learns);
        Ok(true)
    }

    /// Moves the averages of parameters and statistics, if there are any.
    pub fn move_average(&mut self, rule: Rule) -> Result<(), TchError> {
        let Some(share) = rule.new_share() else { return Ok(()) };
        let _no_grad = tch::no_grad_guard();
        let Tensors { learned, statistics, .. } = &self.tensors;
        match &mut self.average {
            None => self.average = Some([learned.f_detach_copy()?, statistics.f_detach_copy()?]),
            Some(average) => {
                for (average, new) in average.iter_mut().zip([learned, statistics]) {
                    let _ = average.f_lerp_(new, share)?;
                }
            }
        }
        Ok(())
    }

    /// What the optimizer remembers, as the host has it.
    pub fn optimizer_state(&self) -> Result<OptimizerState, TchError> {
        let State { tensors, memories, scale, average, learned, .. } = self;
        let mut of_kinds = OptimizerState::new();
        for (kind, memory) in memories.iter() {
            let dict = tensors.to_dict(memory, &tensors.statistics, |i| learned[i])?;
            of_kinds.insert((*kind).to_owned(), dict);
        }
        if let Some(scale) = scale {
            of_kinds.insert(LOSS_SCALE.to_owned(), scale.to_dict());
        }
        if let Some([of_learned, of_statistics]) = average {
            of_kinds.insert(AVERAGE.to_owned(), tensors.to_dict(of_learned, of_statistics, |_| true)?);
        }
        Ok(of_kinds)
    }

    /// Puts back what [`optimizer_state`](Self::optimizer_state) gave.
    pub fn load_optimizer_state(&mut self, given: &OptimizerState) -> Result<(), TchError> {
        let _no_grad = tch::no_grad_guard();
        let State { place, tensors, memories, scale, average, learned, .. } = self;
        let fill = |dict: &StateDict, whole: [&Tensor; 2]| -> Result<(), TchError> {
            for (name, array) in dict {
                let i = tensors.named(name);
                let mut part = tensors.part_of(whole, i)?;
                part.f_copy_(&tensor(&array.data, &part.size(), *place)?)?;
            }
            Ok(())
        };
        memories.clear();
        learned.fill(false);
        *scale = scale.map(|_| LossScale::of_state(given).unwrap_or_default());
        for kind in [MOMENTUM, MOMENTS[0], MOMENTS[1]] {
            let Some(dict) = given.get(kind).filter(|dict| !dict.is_empty()) else { continue };
            let memory = tensors.learned.f_zeros_like()?;
            fill(dict, [&memory, &tensors.statistics])?;
            dict.keys().for_each(|name| learned[tensors.named(name)] = true);
            memories.insert(kind, memory);
        }
        *average = None;
        if let Some(dict) = given.get(AVERAGE) {
            let [of_learned, of_statistics] = [tensors.learned.f_detach_copy()?, tensors.statistics.f_detach_copy()?];
            fill(dict, [&of_learned, &of_statistics])?;
            *average = Some([of_learned, of_statistics]);
        }
        Ok(())
    }
}
