//! Initial values of parameters (SPEC 3).

use ktg_base::random::{Rng, unit};

use crate::network::{Network, Op};
use crate::parameters::Parameter;
use crate::weights::Array;

impl Network {
    /// Fresh random weights: Kaiming-normal convolutions (fan-out, gain of ReLU; He et al. 2015), batch normalization at 1
    /// and 0, fully connected layers as PyTorch's default, uniform in ±1/√in. The same generator state gives the same
    /// weights anywhere. They are made one by one, so that a large network is never in memory twice.
    pub fn initial<'a>(&'a self, rng: &'a mut impl Rng) -> impl Iterator<Item = (String, Array)> + 'a {
        let mut parameters = self.parameters();
        parameters.sort_by_key(|parameter| self.declared.iter().position(|layer| *layer == parameter.layer));
        parameters.into_iter().map(|parameter| {
            let data = initial_values(&self.layers[parameter.layer].op, &parameter, rng);
            (parameter.name, Array { shape: parameter.shape, data })
        })
    }
}

fn initial_values(op: &Op, parameter: &Parameter, rng: &mut impl Rng) -> Vec<f32> {
    let count = parameter.len();
    match *op {
        Op::Conv2d { output, kernel, .. } => normals(count, output * kernel * kernel, rng),
        // A pixel of a channel is seen by that channel's results alone.
        Op::Depthwise { kernel, .. } => normals(count, kernel * kernel, rng),
        Op::Linear { input, .. } => {
            let bound = 1.0 / (input as f64).sqrt();
            (0..count).map(|_| ((2.0 * unit(rng) - 1.0) * bound) as f32).collect()
        }
        // Weights and variances are 1, biases and means 0.
        _ => {
            let is_scale = parameter.name.ends_with(".weight") || parameter.name.ends_with(".running_var");
            vec![if is_scale { 1.0 } else { 0.0 }; count]
        }
    }
}

/// Normal numbers by the results that see a pixel.
fn normals(count: usize, fan_out: usize, rng: &mut impl Rng) -> Vec<f32> {
    let deviation = (2.0 / fan_out as f64).sqrt();
    (0..count).map(|_| (normal(rng) * deviation) as f32).collect()
}

/// Standard normal numbers by the Box-Muller transform.
fn normal(rng: &mut impl Rng) -> f64 {
    let radius = (-2.0 * (1.0 - unit(rng)).ln()).sqrt();
    radius * (std::f64::consts::TAU * unit(rng)).cos()
}
