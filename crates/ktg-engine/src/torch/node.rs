//! A network at work on a device of PyTorch.

use std::sync::{Mutex, MutexGuard, PoisonError};

use ktg_net::{Network, StateDict, Value};
use tch::{Kind, TchError, Tensor};

use super::layers::LayerTensors;
use super::layout::Layout;
use super::pass::{Computation, last_reads};
use super::scale::LossScale;
use super::state::State;
use super::tensors::{Tensors, tensor, upload};
use crate::optimizer::check_state;
use crate::{
    Device, EngineError, Images, Job, Node, OptimizerState, OutputGradients, Outputs, Precision, Rule, Scratch, Wanted,
};

/// A network at work.
pub struct TorchNode {
    computation: Computation,
    device: Device,
    /// Of a network that is evaluated, several threads may ask.
    state: Mutex<State>,
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
        match device {
            Device::Torch => {
                tch::set_num_threads(rayon::current_num_threads() as i32);
                ktg_kernels::keep_freed_memory();
            }
            // All batches of a training have the same size, so that it pays to try which algorithms are the fastest.
            Device::Cuda(_) if job.trained => tch::Cuda::cudnn_set_benchmark(true),
            Device::Cuda(_) | Device::Cpu | Device::Mps => {}
        }
        let layout = Layout::of(device, precision, &network, &shapes);
        let tensors = Tensors::new(&network, layout, place).map_err(|e| failure(device, &e))?;
        let learned = vec![false; tensors.parameters.len()];
        let (memories, update, average, pass, begun, gradients, moments, sum) = Default::default();
        let scale = (precision == Precision::F16).then(LossScale::default);
        let state =
            State { place, tensors, memories, update, scale, average, pass, begun, gradients, moments, sum, learned };
        let last_reads = last_reads(&network);
        let computation = Computation { network, shapes, job, precision, layout, last_reads };
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
        self.on_device(|state| state.optimizer_state())
    }

    fn load_optimizer_state(&mut self, given: &OptimizerState, origin: &str) -> Result<(), EngineError> {
        check_state(&self.computation.network.parameters(), given, origin)?;
        self.on_device(|state| state.load_optimizer_state(given))
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
                let part = |i: usize| tensors.part_of([learned, statistics], i);
                let parameters = tensors.of_layer(index).map(part).collect::<Result<Vec<Tensor>, TchError>>()?;
                Ok(LayerTensors { parameters, moments: None, path_factors: None })
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
            let all: Vec<f32> = given.iter().flat_map(|(.., gradient)| gradient.iter().copied()).collect();
            let (all, mut start) = (upload(&all, &[all.len() as i64], state.place)?, 0);
            for (_, output, gradient) in &given {
                let count = gradient.len() as i64;
                let gradient = all.f_narrow(0, start, count)?.f_view(&output.size()[..])?;
                start += count;
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
            let gradients = match scalar.filter(|_| !leaves.is_empty()) {
                Some(scalar) => Tensor::f_run_backward(&[scalar], &leaves, false, false)?,
                None => Vec::new(),
            };
            let _no_grad = tch::no_grad_guard();
            let mut pieces = state.tensors.pieces(&learns, &gradients)?;
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
            state.move_statistics(&self.computation, images)?;
            let is_finite = state.move_parameters(rule)?;
            state.move_average(rule)?;
            Ok(is_finite)
        })?
        .then_some(())
        .ok_or(EngineError::Overflow)
    }

    fn accumulate(&mut self, images: usize, _: &Scratch) -> Result<(), EngineError> {
        if !self.computation.job.trained {
            return Ok(());
        }
        self.on_device(|state| {
            state.move_statistics(&self.computation, images)?;
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

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
