//! Initial values of parameters (SPEC 3).

use ktg_base::random::{Rng, unit};

use crate::network::{Network, Op};
use crate::parameters::Parameter;
use crate::weights::Array;

impl Network {
    /// Fresh random weights: Kaiming-normal convolutions (fan-out, gain of ReLU; He et al. 2015), normalizations at 1 and 0,
    /// classifiers as PyTorch's default, uniform in ±1/√in; in transformers and ConvNeXt, normal numbers of a deviation of 0.02 (their
    /// authors'), and layer scales of 1e-6. The same generator state gives the same weights anywhere. They are made one by one, so that a large network is never in memory twice.
    pub fn initial<'a>(&'a self, rng: &'a mut impl Rng) -> impl Iterator<Item = (String, Array)> + 'a {
        let mut parameters = self.parameters();
        parameters.sort_by_key(|parameter| self.declared.iter().position(|layer| *layer == parameter.layer));
        parameters.into_iter().map(|parameter| {
            let data = self.initial_values(&parameter, rng);
            (parameter.name, Array { shape: parameter.shape, data })
        })
    }

    fn initial_values(&self, parameter: &Parameter, rng: &mut impl Rng) -> Vec<f32> {
        let count = parameter.len();
        let is_bias = parameter.name.ends_with("bias");
        let is_head = self.logits.layer() == Some(parameter.layer);
        let op = &self.layers[parameter.layer].op;
        match *op {
            Op::Linear { input, .. } if is_head => {
                let bound = 1.0 / (input as f64).sqrt();
                (0..count).map(|_| ((2.0 * unit(rng) - 1.0) * bound) as f32).collect()
            }
            _ if op.has_bias() && is_bias => vec![0.0; count],
            // Layers with a bias are those of networks without batch norm.
            _ if op.has_bias() => normals(count, SMALL, rng),
            Op::Positions { .. } => normals(count, SMALL, rng),
            Op::Conv2d { output, kernel, .. } => normals(count, kaiming(output * kernel * kernel), rng),
            // A pixel of a channel is seen by that channel's results alone.
            Op::Depthwise { kernel, .. } => normals(count, kaiming(kernel * kernel), rng),
            Op::LayerScale { .. } => vec![1e-6; count],
            // Weights and variances are 1, biases, means and the class token 0.
            _ => {
                let is_scale = parameter.name.ends_with(".weight") || parameter.name.ends_with(".running_var");
                vec![if is_scale { 1.0 } else { 0.0 }; count]
            }
        }
    }
}

/// Deviation of the first weights of transformers and ConvNeXt.
const SMALL: f64 = 0.02;

/// Deviation by the number of results that see a pixel.
fn kaiming(fan_out: usize) -> f64 {
    (2.0 / fan_out as f64).sqrt()
}

/// Normal numbers of a deviation.
fn normals(count: usize, deviation: f64, rng: &mut impl Rng) -> Vec<f32> {
    (0..count).map(|_| (normal(rng) * deviation) as f32).collect()
}

/// Standard normal numbers by the Box-Muller transform.
fn normal(rng: &mut impl Rng) -> f64 {
    let radius = (-2.0 * (1.0 - unit(rng)).ln()).sqrt();
    radius * (std::f64::consts::TAU * unit(rng)).cos()
}
