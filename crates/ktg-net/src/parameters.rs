//! The tensors that a network keeps, derived from its layers.

use crate::network::{Network, Op};

/// What a tensor is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Learned by gradients.
    Learned,
    /// A running statistic of batch normalization.
    Statistic,
}

/// A tensor that a network keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// PyTorch's name, such as `layer1.0.conv1.weight`.
    pub name: String,
    /// Sizes, outermost first.
    pub shape: Vec<usize>,
    /// What it is for.
    pub role: Role,
    /// Index of its layer.
    pub layer: usize,
}

impl Parameter {
    /// Numbers.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }
}

impl Network {
    /// All tensors, in the order of the layers. Those of a layer follow each other: weight, bias, and for batch
    /// normalization running mean and variance.
    pub fn parameters(&self) -> Vec<Parameter> {
        let mut all = Vec::new();
        for (index, layer) in self.layers.iter().enumerate() {
            let mut add = |end: &str, shape: &[usize], role: Role| {
                let name = format!("{}.{end}", layer.name);
                all.push(Parameter { name, shape: shape.to_vec(), role, layer: index });
            };
            match layer.op {
                Op::Conv2d { input, output, kernel, .. } => {
                    add("weight", &[output, input, kernel, kernel], Role::Learned);
                }
                Op::Depthwise { channels, kernel, .. } => {
                    add("weight", &[channels, 1, kernel, kernel], Role::Learned);
                }
                Op::BatchNorm { channels, .. } => {
                    add("weight", &[channels], Role::Learned);
                    add("bias", &[channels], Role::Learned);
                    add("running_mean", &[channels], Role::Statistic);
                    add("running_var", &[channels], Role::Statistic);
                }
                Op::Linear { input, output } => {
                    add("weight", &[output, input], Role::Learned);
                    add("bias", &[output], Role::Learned);
                }
                Op::Relu
                | Op::Relu6
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
