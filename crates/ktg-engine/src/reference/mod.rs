//! Networks computed from the definitions: layer by layer, in double precision, with nothing fused, reused or skipped. Slow
//! on purpose: what it does can be read, so that the fast engine can be compared with it. It shares no line with the
//! kernels, and is itself held to PyTorch and to finite differences.

mod convolution;
mod layers;
mod tokens;
mod update;

use std::collections::BTreeMap;

use ktg_net::{Array, Network, NormStyle, Op, Shape, ShapeError, StateDict, Value};

use crate::optimizer::{AVERAGE, check_state};
use crate::{EngineError, Images, Job, Map, Node, OptimizerState, OutputGradients, Outputs, Rule, Scratch, Wanted};
use layers::{Moments, Tensors};
use update::Gradients;

/// A network at work, computed from the definitions.
pub struct ReferenceNode {
    network: Network,
    shapes: Vec<Shape>,
    job: Job,
    weights: StateDict,
    /// What the optimizer remembers, of parameters that have had a gradient, and moving averages.
    state: OptimizerState,
    /// What the last forward pass computed.
    pass: Pass,
    /// Those of the last backward pass, by name.
    gradients: Gradients,
    /// Those of the batches before, where they are parts of a larger one.
    earlier: Vec<Gradients>,
    /// By value, whether it and its gradient are rounded to bf16; empty: none is. It is for tests of what computes in bf16.
    rounded: Vec<bool>,
}

/// The values of a forward pass.
#[derive(Default)]
struct Pass {
    /// By value, `[count, ...]`; the images come first.
    values: Vec<Vec<f64>>,
    /// By layer, mean and biased variance of the batch that a batch norm saw; none in inference mode.
    moments: Vec<Option<Moments>>,
    count: usize,
}

impl ReferenceNode {
    /// A node with all weights zero, for images of the given height and width.
    ///
    /// # Errors
    ///
    /// If the images are too small for the network.
    pub fn new(network: Network, image: [usize; 2], job: Job) -> Result<Self, ShapeError> {
        let shapes = network.shapes(image)?;
        let zeros = |parameter: &ktg_net::Parameter| {
            let array = Array { shape: parameter.shape.clone(), data: vec![0.0; parameter.len()] };
            (parameter.name.clone(), array)
        };
        let weights = network.parameters().iter().map(zeros).collect();
        let (state, pass, gradients, earlier, rounded) = Default::default();
        Ok(Self { network, shapes, job, weights, state, pass, gradients, earlier, rounded })
    }

    /// Has some values, and their gradients, rounded to bf16.
    #[cfg(test)]
    pub(crate) fn round(&mut self, rounded: Vec<bool>) {
        self.rounded = rounded;
    }

    /// The numbers of a value, or of its gradient, as they are kept.
    fn kept(&self, value: usize, mut numbers: Vec<f64>) -> Vec<f64> {
        if self.rounded.get(value) == Some(&true) {
            numbers.iter_mut().for_each(|number| *number = to_bf16(*number));
        }
        numbers
    }

    /// A value of the last forward pass.
    #[cfg(test)]
    pub(crate) fn value(&self, value: Value) -> &[f64] {
        &self.pass.values[value.index()]
    }

    fn tensors<'a>(&'a self, weights: &'a StateDict, layer: usize) -> Tensors<'a> {
        Tensors { weights, layer: &self.network.layers[layer] }
    }

    fn run(&self, weights: &StateDict, images: Images, training: bool) -> Pass {
        let mut values = vec![self.kept(0, images.data.iter().map(|pixel| f64::from(*pixel)).collect())];
        let mut all_moments = Vec::new();
        for (index, layer) in self.network.layers.iter().enumerate() {
            let x = layer.inputs[0].index();
            let inputs: Vec<&[f64]> = layer.inputs.iter().map(|value| &values[value.index()][..]).collect();
            let shapes = [self.shapes[x], self.shapes[index + 1]];
            let has_moments = training && !layer.frozen && matches!(layer.op, Op::BatchNorm { .. });
            let moments = has_moments.then(|| Moments::of(inputs[0], shapes[0]));
            let mut y = layers::forward(&layer.op, self.tensors(weights, index), &inputs, shapes, moments.as_ref());
            if let (Op::DropPath { rate }, true) = (&layer.op, training) {
                drop_paths(images.draws.path_factors(*rate, index, images.count), &mut y);
            }
            if layer.op.has_bias() {
                // Kernels keep what their biases are added to.
                y = layers::biased(&self.kept(index + 1, y), shapes[1], self.tensors(weights, index));
            }
            values.push(self.kept(index + 1, y));
            all_moments.push(moments);
        }
        Pass { values, moments: all_moments, count: images.count }
    }

    fn outputs(&self, pass: &Pass, wanted: Wanted) -> Outputs {
        let single = |value: Value| pass.values[value.index()].iter().map(|v| *v as f32).collect();
        let Network { logits, attention_logits, attention_map, .. } = self.network;
        let Shape { height, width, .. } = self.shapes[attention_map.index()];
        let map = || Map { data: single(attention_map), height, width };
        Outputs {
            logits: single(logits),
            attention_logits: attention_logits.filter(|_| wanted.attention_logits).map(single),
            attention_map: wanted.attention_map.then(map),
        }
    }
}

/// Multiplies the values of each image.
fn drop_paths(factors: Vec<f32>, values: &mut [f64]) {
    let len = values.len() / factors.len();
    for (image, factor) in values.chunks_exact_mut(len).zip(factors) {
        image.iter_mut().for_each(|value| *value *= f64::from(factor));
    }
}

/// The nearest number with 8 digits of its mantissa, the even one of two (of which f64 has all; nothing here is so small or large that
/// bf16 would have less).
fn to_bf16(x: f64) -> f64 {
    const DROPPED: u32 = f64::MANTISSA_DIGITS - 8;
    let half = (1u64 << (DROPPED - 1)) - 1 + (x.to_bits() >> DROPPED & 1);
    f64::from_bits((x.to_bits() + half) >> DROPPED << DROPPED)
}

fn add(sum: &mut [f64], part: impl IntoIterator<Item = f64>) {
    sum.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
}

impl Node for ReferenceNode {
    fn network(&self) -> &Network {
        &self.network
    }

    fn weights(&self) -> Result<StateDict, EngineError> {
        Ok(self.weights.clone())
    }

    fn set(&mut self, name: &str, values: &[f32]) -> Result<(), EngineError> {
        self.weights.get_mut(name).expect("a parameter of the network").data.copy_from_slice(values);
        Ok(())
    }

    fn optimizer_state(&self) -> Result<OptimizerState, EngineError> {
        Ok(self.state.clone())
    }

    fn load_optimizer_state(&mut self, state: &OptimizerState, origin: &str) -> Result<(), EngineError> {
        check_state(&self.network.parameters(), state, origin)?;
        self.state = state.clone();
        Ok(())
    }

    fn forward(&mut self, images: Images, _: &mut Scratch) -> Result<Outputs, EngineError> {
        self.pass = self.run(&self.weights, images, self.job.trained);
        Ok(self.outputs(&self.pass, self.job.wanted))
    }

    fn infer(&self, images: Images, wanted: Wanted, _: &mut Scratch) -> Result<Outputs, EngineError> {
        let weights = self.state.get(AVERAGE).unwrap_or(&self.weights);
        Ok(self.outputs(&self.run(weights, images, false), wanted))
    }

    fn backward(&mut self, images: Images, at_outputs: &OutputGradients, _: &mut Scratch) -> Result<(), EngineError> {
        let given = |output: Value| Some((output, at_outputs.of(&self.network, output)?));
        let given: Vec<(Value, &[f32])> = Wanted::ALL.outputs(&self.network).into_iter().filter_map(given).collect();
        let learns = self.network.sources(given.iter().map(|(output, _)| *output));
        let mut gradients: Vec<Vec<f64>> = self.pass.values.iter().map(|value| vec![0.0; value.len()]).collect();
        for (output, given) in given {
            add(&mut gradients[output.index()], given.iter().map(|g| f64::from(*g)));
        }
        let mut of_parameters = BTreeMap::new();
        for (index, layer) in self.network.layers.iter().enumerate().rev() {
            if !learns[index + 1] {
                continue;
            }
            let inputs: Vec<&[f64]> = layer.inputs.iter().map(|v| &self.pass.values[v.index()][..]).collect();
            let shapes = [self.shapes[layer.inputs[0].index()], self.shapes[index + 1]];
            let result = layers::Result {
                y: &self.pass.values[index + 1],
                gradient: &gradients[index + 1],
                moments: self.pass.moments[index].as_ref(),
            };
            let mut back = layers::backward(&layer.op, self.tensors(&self.weights, index), &inputs, shapes, &result);
            if let (Op::DropPath { rate }, true) = (&layer.op, self.job.trained) {
                drop_paths(images.draws.path_factors(*rate, index, images.count), &mut back.inputs[0]);
            }
            for (value, part) in layer.inputs.iter().zip(back.inputs) {
                let sum = &mut gradients[value.index()];
                add(sum, self.kept(value.index(), part));
                *sum = self.kept(value.index(), std::mem::take(sum));
            }
            if !layer.frozen {
                let named = back.parameters.into_iter().map(|(end, g)| (layer.tensor(end), g));
                of_parameters.extend(named);
            }
        }
        self.gradients = of_parameters;
        Ok(())
    }

    fn gradients(&self, _: &Scratch) -> Result<StateDict, EngineError> {
        let array = |(name, gradient): (&String, &Vec<f64>)| {
            let data = gradient.iter().map(|g| *g as f32).collect();
            (name.clone(), Array { shape: self.weights[name].shape.clone(), data })
        };
        Ok(self.gradients.iter().map(array).collect())
    }

    fn update(&mut self, images: usize, rule: Rule, _: &Scratch) -> Result<(), EngineError> {
        if !self.job.trained {
            return Ok(());
        }
        self.move_statistics(images);
        let gradients = self.mean_gradients();
        update::parameters(rule, &self.network.parameters(), &gradients, &mut self.weights, &mut self.state);
        update::average(rule, &self.weights, &mut self.state);
        Ok(())
    }

    fn accumulate(&mut self, images: usize, _: &Scratch) -> Result<(), EngineError> {
        if self.job.trained {
            self.move_statistics(images);
            self.earlier.push(std::mem::take(&mut self.gradients));
        }
        Ok(())
    }
}

impl ReferenceNode {
    /// `running += momentum (batch - running)`, with the unbiased variance, where the wanted outputs depend on the layer.
    fn move_statistics(&mut self, images: usize) {
        debug_assert_eq!(images, self.pass.count);
        let reached = self.network.sources(self.job.wanted.outputs(&self.network));
        for (index, (layer, moments)) in self.network.layers.iter().zip(&self.pass.moments).enumerate() {
            let Some(Moments { mean, variance, count }) = moments.as_ref().filter(|_| reached[index + 1]) else {
                continue;
            };
            let Some(momentum) = layer.op.norm_style().map(NormStyle::momentum) else { continue };
            // One value a channel has no unbiased variance; PyTorch refuses it, we keep the biased one (zero).
            let unbias = if *count > 1 { *count as f64 / (*count - 1) as f64 } else { 1.0 };
            let unbiased = variance.iter().map(|v| v * unbias).collect();
            for (end, batch) in [("running_mean", mean.clone()), ("running_var", unbiased)] {
                let running = self.weights.get_mut(&format!("{}.{end}", layer.name)).expect("a batch norm has both");
                for (running, batch) in running.data.iter_mut().zip::<Vec<f64>>(batch) {
                    *running = (f64::from(*running) * (1.0 - momentum) + batch * momentum) as f32;
                }
            }
        }
    }

    /// The gradients of the last batch, or the mean of all that are parts of a larger one. They begin anew then.
    fn mean_gradients(&mut self) -> Gradients {
        let mut mean = std::mem::take(&mut self.gradients);
        let earlier = std::mem::take(&mut self.earlier);
        let batches = (earlier.len() + 1) as f64;
        for (name, sum) in &mut mean {
            earlier.iter().for_each(|gradients| add(sum, gradients[name].iter().copied()));
            sum.iter_mut().for_each(|sum| *sum /= batches);
        }
        mean
    }
}

#[cfg(test)]
mod tests;
