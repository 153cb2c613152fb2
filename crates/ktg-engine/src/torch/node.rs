//! A network at work on a device of PyTorch.

use std::sync::{Mutex, MutexGuard, PoisonError};

use ktg_net::{Network, Op, StateDict, Value};
use tch::{Kind, TchError, Tensor};

use super::layers::LayerTensors;
use super::layout::Layout;
use super::pass::{Computation, Moments, Pass};
use super::scale::LossScale;
use super::tensors::{Piece, Tensors, tensor};
use super::update::{Memories, Update};
use crate::optimizer::{AVERAGE, MOMENTS, MOMENTUM, check_state};
use crate::{
    Device, EngineError, Images, Job, LOSS_SCALE, Node, OptimizerState, OutputGradients, Outputs, Precision, Rule,
    Scratch, Wanted,
};

/// A network at work.
pub struct TorchNode {
    computation: Computation,
    device: Device,
    /// Of a network that is evaluated, several threads may ask.
    state: Mutex<State>,
}

/// What is on the device.
struct State {
    place: tch::Device,
    tensors: Tensors,
    memories: Memories,
    update: Update,
    /// On the way back through 16 bits.
    scale: Option<LossScale>,
    /// Moving averages of `learned` and `statistics`.
    average: Option<[Tensor; 2]>,
    /// The last forward pass, until it is gone back through.
    pass: Option<Pass>,
    /// It was begun and its outputs were not asked for.
    begun: bool,
    /// Of the last backward pass, and which parameters have one.
    gradients: Option<(Vec<Piece>, Vec<bool>)>,
    /// Of the batch that was last seen.
    moments: Option<Moments>,
    /// Sum of the gradients of batches that are parts of a larger one, and their number.
    sum: Option<(Vec<Piece>, usize)>,
    /// The parameters that have ever had a gradient.
    learned: Vec<bool>,
}

impl TorchNode {
    /// A node with all weights zero, for images of the given height and width.
    ///
    /// # Errors
    ///
    /// If the images are too small for the network, or the device fails.
    pub fn new(
        network: Network,
        image: [usize; 2],
        job: Job,
        precision: Precision,
        device: Device,
    ) -> Result<Self, EngineError> {
        let shapes = network.shapes(image)?;
        let place = device.to_torch().ok_or_else(|| failed(device, "it is no device of PyTorch's"))?;
        if device == Device::Torch {
            tch::set_num_threads(rayon::current_num_threads() as i32);
        }
        let layout = Layout::of(device, precision);
        let tensors = Tensors::new(&network, layout, place).map_err(|e| failure(device, &e))?;
        let learned = vec![false; tensors.parameters.len()];
        let (memories, update, average, pass, begun, gradients, moments, sum) = Default::default();
        let scale = (precision == Precision::F16).then(LossScale::default);
        let state =
            State { place, tensors, memories, update, scale, average, pass, begun, gradients, moments, sum, learned };
        let computation = Computation { network, shapes, job, precision, layout };
        Ok(Self { computation, device, state: Mutex::new(state) })
    }

    /// The state, even after a thread that had it panicked.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something on the device.
    fn on_device<T>(&self, action: impl FnOnce(&mut State) -> Result<T, TchError>) -> Result<T, EngineError> {
        action(&mut self.state()).map_err(|e| failure(self.device, &e))
    }

    /// Moves the running statistics of the batch norms that saw the batch.
    fn move_statistics(&self, state: &mut State, images: usize) -> Result<(), TchError> {
        let Some(Moments { moments, norms }) = state.moments.take() else { return Ok(()) };
        let _no_grad = tch::no_grad_guard();
        for layer in norms {
            let [mean, variance] = [2, 3].map(|n| state.tensors.of_layer(layer).start + n);
            if images * self.computation.shapes[layer + 1].pixels() == 1 {
                // One value a channel has no unbiased variance; as the other engines, this one takes the biased one.
                let _ = state.tensors.part(&moments, variance)?.f_zero_()?;
            }
            for i in [mean, variance] {
                let (mut running, batch) = (state.tensors.get(i)?, state.tensors.part(&moments, i)?);
                let _ = running.f_lerp_(&batch, Op::NORM_MOMENTUM)?;
            }
        }
        Ok(())
    }

    fn move_parameters(state: &mut State, rule: Rule) -> Result<(), TchError> {
        let _no_grad = tch::no_grad_guard();
        let Some((mut gradients, learns)) = state.gradients.take() else { return Ok(()) };
        if let Some((sum, batches)) = state.sum.take() {
            for (gradient, sum) in gradients.iter_mut().zip(&sum) {
                gradient.values = sum.values.f_add(&gradient.values)?.f_div_scalar((batches + 1) as f64)?;
            }
        }
        if let Some(scale) = &mut state.scale {
            // The device is asked, and waited for.
            let mut is_finite = true;
            for gradient in &gradients {
                is_finite &= bool::try_from(gradient.values.f_isfinite()?.f_all()?)?;
            }
            if !scale.update(is_finite) {
                let reason = "gradients in f16 are not finite whatever their scale; train in bf16 or f32".to_owned();
                return Err(TchError::Torch(reason));
            }
            if !is_finite {
                return Ok(());
            }
        }
        state.update.learned(rule, &mut state.tensors, &learns, gradients, &mut state.memories)?;
        state.learned.iter_mut().zip(&learns).for_each(|(learned, learns)| *learned |= learns);
        Ok(())
    }

    fn move_average(state: &mut State, rule: Rule) -> Result<(), TchError> {
        let Some(share) = rule.new_share() else { return Ok(()) };
        let _no_grad = tch::no_grad_guard();
        let Tensors { learned, statistics, .. } = &state.tensors;
        match &mut state.average {
            None => state.average = Some([learned.f_detach_copy()?, statistics.f_detach_copy()?]),
            Some(average) => {
                for (average, new) in average.iter_mut().zip([learned, statistics]) {
                    let _ = average.f_lerp_(new, share)?;
                }
            }
        }
        Ok(())
    }
}

fn failed(device: Device, reason: &str) -> EngineError {
    EngineError::Device { device: device.to_string(), reason: reason.to_owned() }
}

/// PyTorch's errors have a backtrace after their first line.
fn failure(device: Device, error: &TchError) -> EngineError {
    let text = error.to_string();
    failed(device, text.lines().next().unwrap_or_default())
}

impl Node for TorchNode {
    fn network(&self) -> &Network {
        &self.computation.network
    }

    fn weights(&self) -> Result<StateDict, EngineError> {
        self.on_device(|state| {
            let Tensors { learned, statistics, .. } = &state.tensors;
            state.tensors.to_dict(learned, statistics, |_| true)
        })
    }

    fn set(&mut self, name: &str, values: &[f32]) -> Result<(), EngineError> {
        self.on_device(|state| {
            let _no_grad = tch::no_grad_guard();
            let mut parameter = state.tensors.get(state.tensors.named(name))?;
            let given = tensor(values, &parameter.size(), state.place)?;
            parameter.f_copy_(&given)
        })
    }

    fn optimizer_state(&self) -> Result<OptimizerState, EngineError> {
        self.on_device(|state| {
            let State { tensors, memories, scale, average, learned, .. } = state;
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
        })
    }

    fn load_optimizer_state(&mut self, given: &OptimizerState, origin: &str) -> Result<(), EngineError> {
        check_state(&self.computation.network.parameters(), given, origin)?;
        self.on_device(|state| {
            let _no_grad = tch::no_grad_guard();
            let State { place, tensors, memories, scale, average, learned, .. } = state;
            let fill = |dict: &StateDict, [of_learned, of_statistics]: [&Tensor; 2]| -> Result<(), TchError> {
                for (name, array) in dict {
                    let i = tensors.named(name);
                    let mut part = tensors.part(if tensors.is_learned(i) { of_learned } else { of_statistics }, i)?;
                    part.f_copy_(&tensor(&array.data, &part.size(), *place)?)?;
                }
                Ok(())
            };
            memories.clear();
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
                let [of_learned, of_statistics] =
                    [tensors.learned.f_detach_copy()?, tensors.statistics.f_detach_copy()?];
                fill(dict, [&of_learned, &of_statistics])?;
                *average = Some([of_learned, of_statistics]);
            }
            Ok(())
        })
    }

    fn begin_forward(&mut self, images: Images) -> Result<(), EngineError> {
        self.on_device(|state| {
            state.pass = None;
            let (pass, moments) = self.computation.train(&state.tensors, images)?;
            (state.pass, state.moments) = (Some(pass), Some(moments));
            state.begun = true;
            Ok(())
        })
    }

    fn forward(&mut self, images: Images, _: &mut Scratch) -> Result<Outputs, EngineError> {
        if !self.state().begun {
            self.begin_forward(images)?;
        }
        self.on_device(|state| {
            state.begun = false;
            let outputs = state.pass.as_ref().map_or(&[][..], |pass| &pass.outputs);
            self.computation.to_host(outputs, self.computation.job.wanted)
        })
    }

    fn infer(&self, images: Images, wanted: Wanted, _: &mut Scratch) -> Result<Outputs, EngineError> {
        self.on_device(|state| {
            let _no_grad = tch::no_grad_guard();
            let State { place, tensors, average, .. } = state;
            let [learned, statistics] = match average {
                Some([learned, statistics]) => [&*learned, &*statistics],
                None => [&tensors.learned, &tensors.statistics],
            };
            let of_layer = |index: usize| {
                let part = |i: usize| tensors.part(if tensors.is_learned(i) { learned } else { statistics }, i);
                let parameters = tensors.of_layer(index).map(part).collect::<Result<Vec<Tensor>, TchError>>()?;
                Ok(LayerTensors { parameters, moments: None })
            };
            let Computation { network, .. } = &self.computation;
            let images = self.computation.images(images, *place)?;
            let outputs = self.computation.run(images, &wanted.outputs(network), of_layer)?;
            self.computation.to_host(&outputs, wanted)
        })
    }

    fn backward(&mut self, _: Images, at_outputs: &OutputGradients, _: &mut Scratch) -> Result<(), EngineError> {
        self.on_device(|state| {
            let Some(pass) = state.pass.take() else { return Ok(()) };
            let given = |(output, tensor): &(Value, Tensor)| {
                let gradient = at_outputs.of(&self.computation.network, *output)?;
                Some((*output, tensor.shallow_clone(), gradient))
            };
            let given: Vec<(Value, Tensor, &[f32])> = pass.outputs.iter().filter_map(given).collect();
            let reached = self.computation.network.sources(given.iter().map(|(output, ..)| *output));
            let parameters = state.tensors.parameters.iter();
            let learns = parameters.zip(&pass.leaves).map(|(p, leaf)| leaf.is_some() && reached[p.layer + 1]);
            let learns: Vec<bool> = learns.collect();
            // PyTorch goes back from a scalar: the gradients of its dot product with the outputs are those given.
            let mut scalar: Option<Tensor> = None;
            for (_, output, gradient) in &given {
                let gradient = tensor(gradient, &output.size(), state.place)?;
                let product = output.f_mul(&gradient)?.f_sum(Kind::Float)?;
                scalar = Some(match scalar {
                    Some(sum) => sum.f_add(&product)?,
                    None => product,
                });
            }
            if let Some(LossScale { factor, .. }) = state.scale {
                scalar = scalar.map(|scalar| scalar.f_mul_scalar(f64::from(factor))).transpose()?;
            }
            let leaves = pass.leaves.iter().zip(&learns).filter_map(|(leaf, learns)| leaf.as_ref().filter(|_| *learns));
            let leaves: Vec<&Tensor> = leaves.collect();
            let mut gradients = match scalar.filter(|_| !leaves.is_empty()) {
                Some(scalar) => Tensor::f_run_backward(&[scalar], &leaves, false, false)?,
                None => Vec::new(),
            }
            .into_iter();
            let _no_grad = tch::no_grad_guard();
            let mut pieces = state.tensors.pieces(&learns, |_| gradients.next().unwrap_or_default())?;
            if let Some(LossScale { factor, .. }) = state.scale {
                for piece in &mut pieces {
                    let _ = piece.values.f_mul_scalar_(1.0 / f64::from(factor))?;
                }
            }
            state.gradients = Some((pieces, learns));
            Ok(())
        })
    }

    fn gradients(&self, _: &Scratch) -> Result<StateDict, EngineError> {
        self.on_device(|state| {
            let Some((gradients, learns)) = &state.gradients else { return Ok(StateDict::new()) };
            let gradients = state.tensors.whole(gradients)?;
            state.tensors.to_dict(&gradients, &state.tensors.statistics, |i| learns[i])
        })
    }

    fn update(&mut self, images: usize, rule: Rule, _: &Scratch) -> Result<(), EngineError> {
        if !self.computation.job.trained {
            return Ok(());
        }
        self.on_device(|state| {
            self.move_statistics(state, images)?;
            Self::move_parameters(state, rule)?;
            Self::move_average(state, rule)
        })
    }

    fn accumulate(&mut self, images: usize, _: &Scratch) -> Result<(), EngineError> {
        if !self.computation.job.trained {
            return Ok(());
        }
        self.on_device(|state| {
            self.move_statistics(state, images)?;
            let _no_grad = tch::no_grad_guard();
            let Some((gradients, _)) = state.gradients.take() else { return Ok(()) };
            state.sum = Some(match state.sum.take() {
                None => (gradients, 1),
                Some((mut sum, batches)) => {
                    for (sum, gradient) in sum.iter_mut().zip(&gradients) {
                        let _ = sum.values.f_add_(&gradient.values)?;
                    }
                    (sum, batches + 1)
                }
            });
            Ok(())
        })
    }
}
