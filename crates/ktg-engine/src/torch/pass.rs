//! Forward passes of a network.

use std::sync::PoisonError;

use ktg_net::{Layer, Network, Op, Shape, Value};
use tch::{Kind, TchError, Tensor};

use super::layers::{LayerTensors, forward};
use super::layout::Layout;
use super::tensors::{Tensors, tensor, upload, values};
use crate::{Images, Job, Map, Outputs, Precision, Uploads, Wanted};

/// What is computed.
pub struct Computation {
    pub network: Network,
    pub shapes: Vec<Shape>,
    pub job: Job,
    pub precision: Precision,
    pub layout: Layout,
    /// By layer, which inputs nobody needs any more: sums and batch norms that nobody else reads.
    pub last_reads: Vec<Vec<bool>>,
}

/// What a forward pass leaves.
pub struct Pass {
    /// The wanted outputs.
    pub outputs: Vec<(Value, Tensor)>,
    /// By parameter, what its gradient is asked of; none where it has none.
    pub leaves: Vec<Option<Tensor>>,
}

/// Moments of a batch.
pub struct Moments {
    /// Laid out as the running statistics.
    pub moments: Tensor,
    /// The batch norms that have them.
    pub norms: Vec<usize>,
}

/// By layer, which inputs it may overwrite with its result, as layers of PyTorch's own networks do: sums and batch
/// norms that nobody else reads. Neither needs its result on the way back.
pub fn last_reads(network: &Network) -> Vec<Vec<bool>> {
    let outputs = Wanted::ALL.outputs(network);
    let mut readers = vec![0; network.layers.len() + 1];
    for value in network.layers.iter().flat_map(|layer| &layer.inputs) {
        readers[value.index()] += 1;
    }
    let is_last = |value: &Value| {
        let Some(maker) = value.index().checked_sub(1) else { return false };
        let keeps_nothing = matches!(network.layers[maker].op, Op::BatchNorm { .. } | Op::Add);
        keeps_nothing && readers[value.index()] == 1 && !outputs.contains(value)
    };
    network.layers.iter().map(|layer| layer.inputs.iter().map(is_last).collect()).collect()
}

impl Computation {
    pub fn images(&self, images: Images, place: tch::Device) -> Result<Tensor, TchError> {
        let Shape { channels, height, width } = self.shapes[0];
        let shape = [images.count, channels, height, width].map(|side| side as i64);
        let own = Uploads::default();
        let mut copies = images.uploads.unwrap_or(&own).copies.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, copy)) = copies.iter().find(|(device, _)| *device == place) {
            return Ok(copy.shallow_clone());
        }
        let copy = self.layout.laid(&upload(images.data, &shape, place)?)?;
        copies.push((place, copy.shallow_clone()));
        Ok(copy)
    }

    /// Whether a layer's weights are rounded to that type: those of convolutions, and of fully connected layers of maps.
    fn is_rounded(&self, layer: usize) -> bool {
        let Layer { op, inputs, .. } = &self.network.layers[layer];
        match op {
            Op::Conv2d { .. } | Op::Depthwise { .. } => true,
            Op::Linear { .. } => self.shapes[inputs[0].index()].pixels() > 1,
            _ => false,
        }
    }

    /// The type of number in which convolutions compute while they learn.
    fn kind(&self) -> Kind {
        match self.precision {
            Precision::F32 => Kind::Float,
            Precision::Bf16 => Kind::BFloat16,
            Precision::F16 => Kind::Half,
        }
    }

    /// Runs the layers that the outputs depend on; `tensors_of` gives what a layer works with.
    pub fn run(
        &self,
        images: Tensor,
        outputs: &[Value],
        mut tensors_of: impl FnMut(usize) -> Result<LayerTensors, TchError>,
    ) -> Result<Vec<(Value, Tensor)>, TchError> {
        let needed = self.network.sources(outputs.iter().copied());
        let mut last_reader = vec![0; self.shapes.len()];
        for (index, layer) in self.network.layers.iter().enumerate().filter(|(index, _)| needed[index + 1]) {
            layer.inputs.iter().for_each(|value| last_reader[value.index()] = index);
        }
        let mut values: Vec<Option<Tensor>> = vec![Some(images)];
        for (index, layer) in self.network.layers.iter().enumerate() {
            let result = match needed[index + 1] {
                true => {
                    let inputs: Vec<&Tensor> =
                        layer.inputs.iter().filter_map(|value| values[value.index()].as_ref()).collect();
                    Some(forward(layer, &tensors_of(index)?, &inputs, &self.last_reads[index])?)
                }
                false => None,
            };
            values.push(result);
            // What nobody reads any more is given back; autograd holds what it needs.
            for value in &layer.inputs {
                if last_reader[value.index()] <= index && !outputs.contains(value) {
                    values[value.index()] = None;
                }
            }
        }
        let taken = outputs.iter().filter_map(|output| Some((*output, values[output.index()].take()?)));
        Ok(taken.collect())
    }

    /// The forward pass of a training step.
    pub fn train(&self, tensors: &Tensors, images: Images) -> Result<(Pass, Moments), TchError> {
        let x = self.images(images, tensors.learned.device())?;
        let outputs = self.job.wanted.outputs(&self.network);
        let mut leaves: Vec<Option<Tensor>> = tensors.parameters.iter().map(|_| None).collect();
        let (moments, rounded) = {
            let _no_grad = tch::no_grad_guard();
            (tensors.statistics.f_zeros_like()?, tensors.learned.f_to_kind(self.kind())?)
        };
        let mut moved = Vec::new();
        let of_layer = |index: usize| {
            let layer = &self.network.layers[index];
            let mut parameters = Vec::new();
            for i in tensors.of_layer(index) {
                let parameter = {
                    let _no_grad = tch::no_grad_guard();
                    match self.is_rounded(index) {
                        true => tensors.part(&rounded, i)?.f_detach()?,
                        false => tensors.get(i)?.f_detach()?,
                    }
                };
                if self.job.trained && !layer.frozen && tensors.is_learned(i) {
                    leaves[i] = Some(parameter.f_set_requires_grad(true)?);
                }
                parameters.push(parameter);
            }
            let mut of_batch = None;
            if self.job.trained && !layer.frozen && matches!(layer.op, Op::BatchNorm { .. }) {
                let [mean, variance] = [2, 3].map(|n| tensors.of_layer(index).start + n);
                of_batch = Some([tensors.part(&moments, mean)?, tensors.part(&moments, variance)?]);
                moved.push(index);
            }
            let path_factors = match layer.op {
                Op::DropPath { rate } if self.job.trained => {
                    let factors = images.draws.path_factors(rate, index, images.count);
                    Some(tensor(&factors, &[images.count as i64, 1, 1, 1], tensors.learned.device())?)
                }
                _ => None,
            };
            Ok(LayerTensors { parameters, moments: of_batch, path_factors })
        };
        let outputs = match self.job.trained {
            true => self.run(x, &outputs, of_layer)?,
            false => {
                let _no_grad = tch::no_grad_guard();
                self.run(x, &outputs, of_layer)?
            }
        };
        Ok((Pass { outputs, leaves }, Moments { moments, norms: moved }))
    }

    /// Outputs as the host has them.
    pub fn to_host(&self, outputs: &[(Value, Tensor)], wanted: Wanted) -> Result<Outputs, TchError> {
        let of = |value: Value| {
            let found = outputs.iter().find(|(output, _)| *output == value);
            found.map(|(_, tensor)| values(&tensor.f_detach()?)).transpose()
        };
        let Network { logits, attention_logits, attention_map, .. } = self.network;
        let Shape { height, width, .. } = self.shapes[attention_map.index()];
        let branch = attention_logits.filter(|_| wanted.attention_logits);
        let map = if wanted.attention_map { of(attention_map)? } else { None };
        Ok(Outputs {
            logits: of(logits)?.unwrap_or_default(),
            attention_logits: branch.map(of).transpose()?.flatten(),
            attention_map: map.map(|data| Map { data, height, width }),
        })
    }
}
