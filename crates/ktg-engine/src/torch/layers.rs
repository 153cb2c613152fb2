//! What PyTorch computes for each layer.

use ktg_net::{Layer, Op, Padding};
use tch::{Kind, TchError, Tensor};

/// What a layer works with.
pub struct LayerTensors {
    /// Weight, bias, and for a batch norm running mean and variance.
    pub parameters: Vec<Tensor>,
    /// Where a batch norm that normalizes by the batch leaves the batch's mean and unbiased variance, both zero before.
    pub moments: Option<[Tensor; 2]>,
}

/// The result of a layer. It computes in the numbers of its weights or, if it has none, of its input; but what goes to the
/// host, maps and logits, is `f32`. What `may_overwrite` says of an input: nobody needs it any more.
pub fn forward(
    layer: &Layer,
    tensors: &LayerTensors,
    inputs: &[&Tensor],
    may_overwrite: &[bool],
) -> Result<Tensor, TchError> {
    let (x, parameters) = (inputs[0], &tensors.parameters);
    match layer.op {
        Op::Conv2d { stride, padding, .. } => convolve(x, &parameters[0], stride, padding, 1),
        Op::Depthwise { channels, stride, padding, .. } => convolve(x, &parameters[0], stride, padding, channels),
        Op::Linear { .. } => x.f_to_kind(parameters[0].kind())?.f_linear(&parameters[0], Some(&parameters[1])),
        Op::BatchNorm { style, .. } => {
            // Buffers that forget all of the past take the batch's moments themselves.
            let ([mean, variance], training, momentum) = match &tensors.moments {
                Some([mean, variance]) => ([mean, variance], true, 1.0),
                None => ([&parameters[2], &parameters[3]], false, style.momentum()),
            };
            let (weight, bias) = (Some(&parameters[0]), Some(&parameters[1]));
            x.f_batch_norm(weight, bias, Some(mean), Some(variance), training, momentum, style.epsilon(), true)
        }
        Op::Relu if may_overwrite[0] => x.shallow_clone().f_relu_(),
        Op::Relu => x.f_relu(),
        Op::Relu6 if may_overwrite[0] => x.shallow_clone().f_relu6_(),
        Op::Relu6 => x.f_relu6(),
        Op::Sigmoid => x.f_to_kind(Kind::Float)?.f_sigmoid(),
        Op::Add if may_overwrite[0] => x.shallow_clone().f_add_(inputs[1]),
        Op::Add if may_overwrite[1] => inputs[1].shallow_clone().f_add_(x),
        Op::Add => x.f_add(inputs[1]),
        Op::Attend => x.f_mul(&inputs[1].f_to_kind(x.kind())?),
        Op::MaxPool { kernel, stride, padding } => {
            let [kernel, stride, padding] = [kernel, stride, padding].map(|size| [size as i64; 2]);
            x.f_max_pool2d(kernel, stride, padding, [1; 2], false)
        }
        Op::GlobalAveragePool => x.f_mean_dim([2_i64, 3].as_slice(), false, Kind::Float),
        Op::MeanSquare => x.f_to_kind(Kind::Float)?.f_square()?.f_mean_dim([1_i64].as_slice(), true, Kind::Float),
    }
}

/// A convolution without bias, in the numbers of its weights.
fn convolve(x: &Tensor, weights: &Tensor, stride: usize, padding: Padding, groups: usize) -> Result<Tensor, TchError> {
    let x = x.f_to_kind(weights.kind())?;
    let Padding { before, after } = padding;
    // PyTorch's convolutions have the same padding on all sides.
    let (x, padding) = match before == after {
        true => (x, before as i64),
        false => {
            let sides = [before, after, before, after].map(|zeros| zeros as i64);
            (x.f_constant_pad_nd(sides)?, 0)
        }
    };
    x.f_conv2d(weights, None::<&Tensor>, [stride as i64; 2], [padding; 2], [1; 2], groups as i64)
}
