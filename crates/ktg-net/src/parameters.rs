//! The tensors that a network keeps, derived from its layers.

use crate::network::{Layer, Network, Op};

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
    /// It is no matrix that values are multiplied with, but a norm's, a bias, a scale or an embedding: recipes leave those without
    /// weight decay.
    pub is_spared: bool,
}

impl Parameter {
    /// Numbers.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }
}

impl Layer {
    /// The name of the layer's tensor whose name ends so; PyTorch's attention joins them by an underscore. A tensor that PyTorch keeps by
    /// itself has no end.
    pub fn tensor(&self, end: &str) -> String {
        match &self.name {
            name if end.is_empty() => name.clone(),
            name if name.ends_with(".in_proj") => format!("{name}_{end}"),
            name => format!("{name}.{end}"),
        }
    }
}

impl Network {
    /// All tensors, in the order of the layers. Those of a layer follow each other: weight, bias, and for batch
    /// normalization running mean and variance.
    pub fn parameters(&self) -> Vec<Parameter> {
        let mut all = Vec::new();
        for (index, layer) in self.layers.iter().enumerate() {
            let mut add = |end: &str, shape: &[usize]| {
                let name = layer.tensor(end);
                let role = if end.starts_with("running") { Role::Statistic } else { Role::Learned };
                let is_spared = shape.len() == 1 || end.is_empty();
                all.push(Parameter { name, shape: shape.to_vec(), role, layer: index, is_spared });
            };
            match layer.op {
                Op::Conv2d { input, output, kernel, bias, .. } => {
                    add("weight", &[output, input, kernel, kernel]);
                    if bias {
                        add("bias", &[output]);
                    }
                }
                Op::Depthwise { channels, kernel, bias, .. } => {
                    add("weight", &[channels, 1, kernel, kernel]);
                    if bias {
                        add("bias", &[channels]);
                    }
                }
                Op::BatchNorm { channels, .. } => {
                    add("weight", &[channels]);
                    add("bias", &[channels]);
                    add("running_mean", &[channels]);
                    add("running_var", &[channels]);
                }
                Op::LayerNorm { channels } => {
                    add("weight", &[channels]);
                    add("bias", &[channels]);
                }
                Op::Linear { input, output } => {
                    add("weight", &[output, input]);
                    add("bias", &[output]);
                }
                Op::LayerScale { channels } => add("", &[channels, 1, 1]),
                Op::ClassToken { channels } => add("", &[1, 1, channels]),
                Op::Positions { channels, tokens } => add("", &[1, tokens, channels]),
                Op::Relu
                | Op::Relu6
                | Op::Gelu
                | Op::Sigmoid
                | Op::DropPath { .. }
                | Op::Add
                | Op::Attend
                | Op::MaxPool { .. }
                | Op::GlobalAveragePool
                | Op::MeanSquare
                | Op::Attention { .. }
                | Op::ClassAttention { .. }
                | Op::FirstToken => {}
            }
        }
        all
    }
}
