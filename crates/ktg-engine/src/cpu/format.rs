//! In which numbers the values of a plan are.

use ktg_net::{Network, Op, Shape, Value};

use crate::Precision;

/// The numbers of a value, and of its gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// `[image, channel, row, column]`
    F32,
    /// `[image, row, column, channel]`
    Bf16,
}

impl Format {
    /// Values of f32 in whose place so many numbers of an image lie.
    pub fn room(self, len: usize) -> usize {
        match self {
            Format::F32 => len,
            Format::Bf16 => len.div_ceil(2),
        }
    }
}

/// By value. In bf16, whatever a convolution gives, and what comes of that without a mean, a sigmoid or the choice of one token: attention
/// maps and logits are f32.
pub(crate) fn formats(network: &Network, shapes: &[Shape], precision: Precision) -> Vec<Format> {
    let mut formats = vec![Format::F32; shapes.len()];
    if precision != Precision::Bf16 {
        return formats;
    }
    for (index, layer) in network.layers.iter().enumerate() {
        let all_are = |format: Format| layer.inputs.iter().all(|value| formats[value.index()] == format);
        formats[Value::of_layer(index).index()] = match layer.op {
            Op::Conv2d { .. } => Format::Bf16,
            Op::Sigmoid | Op::GlobalAveragePool | Op::MeanSquare | Op::ClassAttention { .. } | Op::FirstToken => {
                Format::F32
            }
            // The map is f32 in any case.
            Op::Attend => formats[layer.inputs[0].index()],
            Op::Depthwise { .. }
            | Op::BatchNorm { .. }
            | Op::LayerNorm { .. }
            | Op::LayerScale { .. }
            | Op::DropPath { .. }
            | Op::MaxPool { .. }
            | Op::Relu
            | Op::Relu6
            | Op::Gelu
            | Op::Linear { .. }
            | Op::ClassToken { .. }
            | Op::Positions { .. }
            | Op::Attention { .. } => formats[layer.inputs[0].index()],
            Op::Add if all_are(Format::Bf16) => Format::Bf16,
            Op::Add => Format::F32,
        };
    }
    formats
}
