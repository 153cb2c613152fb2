//! What a network consists of, for people.

use crate::network::{Network, Op};
use crate::parameters::Role;
use crate::shapes::{Shape, ShapeError};

/// A layer, for one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// PyTorch's path.
    pub name: String,
    /// The operation, such as `conv 3x3, stride 2`.
    pub operation: String,
    /// Of the result.
    pub shape: Shape,
    /// Numbers that are learned; running statistics do not count.
    pub parameters: usize,
    /// Multiplications and additions in pairs, of convolutions (padding included), fully connected layers and the two products of
    /// attention; those of the other operations do not count, as is usual.
    pub multiply_adds: u64,
}

/// All layers of `network` for images of the given height and width.
///
/// # Errors
///
/// If the images are too small.
pub fn rows(network: &Network, image: [usize; 2]) -> Result<Vec<Row>, ShapeError> {
    let shapes = network.shapes(image)?;
    let mut rows: Vec<Row> = network
        .layers
        .iter()
        .zip(&shapes[1..])
        .map(|(layer, shape)| Row {
            name: layer.name.clone(),
            operation: operation(&layer.op),
            shape: *shape,
            parameters: 0,
            multiply_adds: multiply_adds(&layer.op, *shape),
        })
        .collect();
    for parameter in network.parameters().iter().filter(|parameter| parameter.role == Role::Learned) {
        rows[parameter.layer].parameters += parameter.len();
    }
    Ok(rows)
}

fn operation(op: &Op) -> String {
    let window = |kernel: &usize, stride: &usize| match stride {
        1 => format!("{kernel}x{kernel}"),
        stride => format!("{kernel}x{kernel}, stride {stride}"),
    };
    match op {
        Op::Conv2d { kernel, stride, .. } => format!("conv {}", window(kernel, stride)),
        Op::Depthwise { kernel, stride, .. } => format!("depthwise {}", window(kernel, stride)),
        Op::MaxPool { kernel, stride, .. } => format!("max pool {}", window(kernel, stride)),
        Op::BatchNorm { .. } => "batch norm".to_owned(),
        Op::LayerNorm { .. } => "layer norm".to_owned(),
        Op::LayerScale { .. } => "layer scale".to_owned(),
        Op::DropPath { rate } => format!("drop path {}", rate.get()),
        Op::Gelu => "gelu".to_owned(),
        Op::ClassToken { .. } => "class token".to_owned(),
        Op::Positions { .. } => "positions".to_owned(),
        Op::Attention { heads } => format!("attention, {heads} heads"),
        Op::ClassAttention { .. } => "class attention".to_owned(),
        Op::FirstToken => "first token".to_owned(),
        Op::Relu => "relu".to_owned(),
        Op::Relu6 => "relu6".to_owned(),
        Op::Sigmoid => "sigmoid".to_owned(),
        Op::Add => "add".to_owned(),
        Op::Attend => "multiply by map".to_owned(),
        Op::GlobalAveragePool => "average pool".to_owned(),
        Op::MeanSquare => "mean square".to_owned(),
        Op::Linear { .. } => "linear".to_owned(),
    }
}

fn multiply_adds(op: &Op, result: Shape) -> u64 {
    let per_result = match op {
        Op::Conv2d { input, kernel, .. } => input * kernel * kernel,
        Op::Depthwise { kernel, .. } => kernel * kernel,
        Op::Linear { input, .. } => *input,
        // Each number of a query meets each key, and each probability a number of a value.
        Op::Attention { .. } => 2 * result.width,
        _ => 0,
    };
    per_result as u64 * result.len() as u64
}
