//! Initial values of parameters (SPEC 3).

use rand::Rng;

use crate::network::{Network, Op};
use crate::weights::{Array, StateDict};

impl Network {
    /// Fresh random weights: Kaiming-normal convolutions (fan-out, gain of ReLU; He et al. 2015), batch normalization at 1
    /// and 0, fully connected layers as PyTorch's default, uniform in ±1/√in. The same generator state gives the same
    /// weights anywhere.
    pub fn initial(&self, rng: &mut impl Rng) -> StateDict {
        let mut all = StateDict::new();
        for &index in &self.declared {
            let layer = &self.layers[index];
            let mut add = |end: &str, shape: &[usize], data: Vec<f32>| {
                all.insert(format!("{}.{end}", layer.name), Array { shape: shape.to_vec(), data });
            };
            match layer.op {
                Op::Conv2d { input, output, kernel, .. } => {
                    let deviation = (2.0 / (output * kernel * kernel) as f64).sqrt();
                    let count = output * input * kernel * kernel;
                    let data = (0..count).map(|_| (normal(rng) * deviation) as f32).collect();
                    add("weight", &[output, input, kernel, kernel], data);
                }
                Op::BatchNorm { channels } => {
                    add("weight", &[channels], vec![1.0; channels]);
                    add("bias", &[channels], vec![0.0; channels]);
                    add("running_mean", &[channels], vec![0.0; channels]);
                    add("running_var", &[channels], vec![1.0; channels]);
                }
                Op::Linear { input, output } => {
                    let bound = 1.0 / (input as f64).sqrt();
                    let mut values = |count: usize| -> Vec<f32> {
                        (0..count).map(|_| ((2.0 * uniform(rng) - 1.0) * bound) as f32).collect()
                    };
                    add("weight", &[output, input], values(output * input));
                    add("bias", &[output], values(output));
                }
                Op::Relu
                | Op::Sigmoid
                | Op::Add
                | Op::Attend
                | Op::MaxPool { .. }
                | Op::GlobalAveragePool
                | Op::MeanSquare => {}
            }
        }
        all
    }
}

/// Uniform number in `[0, 1)` with 53 random bits.
fn uniform(rng: &mut impl Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

/// Standard normal numbers by the Box-Muller transform.
fn normal(rng: &mut impl Rng) -> f64 {
    let radius = (-2.0 * (1.0 - uniform(rng)).ln()).sqrt();
    radius * (std::f64::consts::TAU * uniform(rng)).cos()
}
