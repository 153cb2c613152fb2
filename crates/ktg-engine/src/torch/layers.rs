//! What PyTorch computes for each layer.

use ktg_net::{LAYER_NORM_EPSILON, Layer, Op, Padding};
use tch::{Kind, TchError, Tensor};

/// What a layer works with.
pub struct LayerTensors {
    /// Weight, bias, and for a batch norm running mean and variance.
    pub parameters: Vec<Tensor>,
    /// Where a batch norm that normalizes by the batch leaves the batch's mean and unbiased variance, both zero before.
    pub moments: Option<[Tensor; 2]>,
    /// What stochastic depth multiplies the images with, if it drops any.
    pub path_factors: Option<Tensor>,
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
        Op::Conv2d { stride, padding, .. } => convolve(x, parameters, stride, padding, 1),
        Op::Depthwise { channels, stride, padding, .. } => convolve(x, parameters, stride, padding, channels),
        Op::Linear { .. } => {
            let x = x.f_to_kind(parameters[0].kind())?;
            of_pixels(&x, |x| x.f_linear(&parameters[0], Some(&parameters[1])))
        }
        Op::LayerNorm { channels } => {
            let x = x.f_to_kind(Kind::Float)?;
            of_pixels(&x, |x| {
                let (weight, bias) = (Some(&parameters[0]), Some(&parameters[1]));
                x.f_layer_norm([channels as i64], weight, bias, LAYER_NORM_EPSILON, true)
            })
        }
        Op::LayerScale { .. } => x.f_mul(&parameters[0]),
        Op::DropPath { .. } => match &tensors.path_factors {
            Some(factors) => x.f_mul(factors),
            None => Ok(x.shallow_clone()),
        },
        Op::Gelu => x.f_gelu("none"),
        Op::ClassToken { channels } => {
            let channels = channels as i64;
            let pixels = x.f_to_kind(Kind::Float)?.f_flatten(2, 3)?;
            let token = parameters[0].f_view([1, channels, 1])?.f_expand([pixels.size()[0], channels, 1], false)?;
            Tensor::f_cat(&[token, pixels], 2)?.f_unsqueeze(2)
        }
        Op::Positions { .. } => x.f_add(&parameters[0].f_transpose(1, 2)?.f_unsqueeze(2)?),
        Op::Attention { heads } => {
            let [q, k, v] = heads_of(x, heads)?;
            let none = None::<&Tensor>;
            let y = Tensor::f_scaled_dot_product_attention(&q, &k, &v, none, 0.0, false, None, false)?;
            y.f_transpose(2, 3)?.f_flatten(1, 2)?.f_unsqueeze(2)
        }
        Op::ClassAttention { heads, map: [height, width] } => {
            let [q, k, _] = heads_of(&x.f_to_kind(Kind::Float)?, heads)?;
            let head_width = q.size()[3] as f64;
            let scores = q.f_narrow(2, 0, 1)?.f_matmul(&k.f_transpose(2, 3)?)?.f_div_scalar(head_width.sqrt())?;
            let others = scores.size()[3] - 1;
            let seen = scores.f_softmax(3, Kind::Float)?.f_narrow(3, 1, others)?;
            seen.f_mean_dim([1_i64].as_slice(), true, Kind::Float)?.f_view([-1, 1, height as i64, width as i64])
        }
        Op::FirstToken => x.f_select(3, 0)?.f_select(2, 0),
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

/// What is computed of vectors, `[..., channels]`, of each pixel of a map, `[batch, channels, height, width]`, or of a vector.
fn of_pixels(x: &Tensor, of_vectors: impl Fn(&Tensor) -> Result<Tensor, TchError>) -> Result<Tensor, TchError> {
    match x.dim() {
        4 => of_vectors(&x.f_permute([0, 2, 3, 1])?)?.f_permute([0, 3, 1, 2]),
        _ => of_vectors(x),
    }
}

/// Queries, keys and values, `[batch, heads, tokens, width]` each.
fn heads_of(qkv: &Tensor, heads: usize) -> Result<[Tensor; 3], TchError> {
    let [batch, channels, tokens] = [0, 1, 3].map(|axis| qkv.size()[axis]);
    let heads = heads as i64;
    let all = qkv.f_reshape([batch, 3, heads, channels / 3 / heads, tokens])?.f_transpose(3, 4)?;
    Ok([all.f_select(1, 0)?, all.f_select(1, 1)?, all.f_select(1, 2)?])
}

/// A convolution with weights, and a bias if there is one, in the numbers of its weights.
fn convolve(
    x: &Tensor,
    parameters: &[Tensor],
    stride: usize,
    padding: Padding,
    groups: usize,
) -> Result<Tensor, TchError> {
    let (weights, bias) = (&parameters[0], parameters.get(1));
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
    x.f_conv2d(weights, bias, [stride as i64; 2], [padding; 2], [1; 2], groups as i64)
}
