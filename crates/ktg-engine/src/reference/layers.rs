//! Every operation and its gradients.

use ktg_net::{LAYER_NORM_EPSILON, Layer, Op, Shape, StateDict};

use super::convolution::Convolution;
use super::tokens;

/// The tensors of a layer.
#[derive(Clone, Copy)]
pub(super) struct Tensors<'a> {
    pub weights: &'a StateDict,
    pub layer: &'a Layer,
}

impl Tensors<'_> {
    fn get(&self, end: &str) -> Vec<f64> {
        self.weights[&self.layer.tensor(end)].data.iter().map(|v| f64::from(*v)).collect()
    }
}

/// Mean and biased variance of each channel of a batch.
pub(super) struct Moments {
    pub mean: Vec<f64>,
    pub variance: Vec<f64>,
    /// Values of a channel.
    pub count: usize,
}

impl Moments {
    pub fn of(x: &[f64], shape: Shape) -> Self {
        let count = x.len() / shape.channels;
        let of = |channel: usize, value: &dyn Fn(f64) -> f64| {
            channel_values(x, shape, channel).map(value).sum::<f64>() / count as f64
        };
        let mean: Vec<f64> = (0..shape.channels).map(|channel| of(channel, &|x| x)).collect();
        let variance = (0..shape.channels).map(|channel| of(channel, &|x| (x - mean[channel]).powi(2))).collect();
        Self { mean, variance, count }
    }
}

/// All values of a channel, image by image.
fn channel_values(x: &[f64], shape: Shape, channel: usize) -> impl Iterator<Item = f64> {
    x.chunks_exact(shape.len())
        .flat_map(move |image| image[channel * shape.pixels()..][..shape.pixels()].iter().copied())
}

/// Channel of the value at `i`.
fn channel(i: usize, shape: Shape) -> usize {
    i / shape.pixels() % shape.channels
}

/// Place, in a map of one channel, of the value at `i`.
fn in_map(i: usize, shape: Shape) -> usize {
    i / shape.len() * shape.pixels() + i % shape.pixels()
}

fn each(values: &[f64], result: impl Fn(usize, f64) -> f64) -> Vec<f64> {
    values.iter().enumerate().map(|(i, value)| result(i, *value)).collect()
}

fn convolution(op: &Op, [x, y]: [Shape; 2]) -> Convolution {
    match *op {
        // Zeros behind the image only say how many results there are.
        Op::Conv2d { kernel, stride, padding, .. } | Op::Depthwise { kernel, stride, padding, .. } => {
            Convolution { x, y, kernel, stride, padding: padding.before }
        }
        _ => Convolution { x, y, kernel: 1, stride: 1, padding: 0 },
    }
}

/// What a depthwise convolution does to a channel of all images, `[image, row, column]`, put together for all channels.
fn by_channel(
    op: &Op,
    shapes: [Shape; 2],
    values: &[f64],
    [from, to]: [Shape; 2],
    of_channel: impl Fn(&Convolution, usize, &[f64]) -> Vec<f64>,
) -> Vec<f64> {
    let convolution = convolution(op, shapes.map(|shape| Shape { channels: 1, ..shape }));
    let count = values.len() / from.len();
    let mut results = vec![0.0; count * to.len()];
    for channel in 0..from.channels {
        let plane: Vec<f64> = channel_values(values, from, channel).collect();
        for (image, result) in of_channel(&convolution, channel, &plane).chunks_exact(to.pixels()).enumerate() {
            results[image * to.len() + channel * to.pixels()..][..to.pixels()].copy_from_slice(result);
        }
    }
    results
}

/// Gradients of a depthwise convolution.
fn depthwise_backward(op: &Op, weights: &[f64], x: &[f64], shapes: [Shape; 2], g: &[f64]) -> Back {
    let [shape, of_result] = shapes;
    let len = weights.len() / shape.channels;
    let filter = |channel: usize| &weights[channel * len..][..len];
    let dx = by_channel(op, shapes, g, [of_result, shape], |convolution, channel, g| {
        convolution.backward_data(g, filter(channel))
    });
    let one = convolution(op, shapes.map(|shape| Shape { channels: 1, ..shape }));
    let of_filter = |channel: usize| {
        let [x, g]: [Vec<f64>; 2] =
            [(x, shape), (g, of_result)].map(|(values, shape)| channel_values(values, shape, channel).collect());
        one.backward_weights(&x, &g)
    };
    Back { inputs: vec![dx], parameters: vec![("weight", (0..shape.channels).flat_map(of_filter).collect())] }
}

/// Place of the first maximum of each window; NaN counts as largest.
fn maxima(op: &Op, x: &[f64], [from, to]: [Shape; 2]) -> Vec<usize> {
    let Op::MaxPool { kernel, stride, padding } = *op else { unreachable!("{op:?} is no max-pool") };
    let seen = |position: usize, side: usize| {
        let start = position * stride;
        start.saturating_sub(padding)..(start + kernel - padding).min(side)
    };
    let planes = x.len() / from.pixels();
    let places = (0..planes * to.pixels()).map(|i| {
        let (plane, row, column) = (i / to.pixels(), i / to.width % to.height, i % to.width);
        let mut best = None;
        for (y, x_) in seen(row, from.height).flat_map(|y| seen(column, from.width).map(move |x| (y, x))) {
            let at = plane * from.pixels() + y * from.width + x_;
            let is_better = |best: usize| x[at] > x[best] || x[at].is_nan() && !x[best].is_nan();
            if best.is_none_or(is_better) {
                best = Some(at);
            }
        }
        best.expect("a window sees a pixel")
    });
    places.collect()
}

/// The result of a layer, without the bias of a convolution or fully connected layer ([`biased`]). `moments` are the batch's, by which a batch norm normalizes in training.
pub(super) fn forward(
    op: &Op,
    tensors: Tensors,
    inputs: &[&[f64]],
    shapes: [Shape; 2],
    moments: Option<&Moments>,
) -> Vec<f64> {
    let (x, shape) = (inputs[0], shapes[0]);
    match op {
        Op::Conv2d { .. } | Op::Linear { .. } => convolution(op, shapes).forward(x, &tensors.get("weight")),
        Op::Depthwise { .. } => {
            let (weights, [shape, result]) = (tensors.get("weight"), shapes);
            let len = weights.len() / shape.channels;
            by_channel(op, shapes, x, [shape, result], |convolution, channel, x| {
                convolution.forward(x, &weights[channel * len..][..len])
            })
        }
        Op::LayerNorm { .. } => {
            let (norm, weight, bias) = (PixelNorm::of(x, shape), tensors.get("weight"), tensors.get("bias"));
            each(&norm.normalized, |i, n| n * weight[channel(i, shape)] + bias[channel(i, shape)])
        }
        Op::LayerScale { .. } => {
            let scale = tensors.get("");
            each(x, |i, x| x * scale[channel(i, shape)])
        }
        // Of all images in training, which is its caller's business.
        Op::DropPath { .. } => x.to_vec(),
        Op::Gelu => each(x, |_, x| x * normal_share(x)),
        Op::ClassToken { .. } => tokens::with_class(x, &tensors.get(""), shape),
        Op::Positions { .. } => {
            let positions = tensors.get("");
            each(x, |i, x| x + positions[tokens::position(i, shape)])
        }
        Op::Attention { heads } => tokens::Heads::new(*heads, shape).forward(x),
        Op::ClassAttention { heads, .. } => tokens::Heads::new(*heads, shape).class_map(x),
        Op::FirstToken => x.iter().step_by(shape.pixels()).copied().collect(),
        Op::BatchNorm { style, .. } => {
            let (mean, variance) = match moments {
                Some(moments) => (moments.mean.clone(), moments.variance.clone()),
                None => (tensors.get("running_mean"), tensors.get("running_var")),
            };
            let (weight, bias) = (tensors.get("weight"), tensors.get("bias"));
            each(x, |i, x| {
                let c = channel(i, shape);
                (x - mean[c]) / (variance[c] + style.epsilon()).sqrt() * weight[c] + bias[c]
            })
        }
        Op::Relu => each(x, |_, x| if x <= 0.0 { 0.0 } else { x }),
        Op::Relu6 => each(x, |_, x| x.clamp(0.0, 6.0)),
        Op::Sigmoid => each(x, |_, x| 1.0 / (1.0 + (-x).exp())),
        Op::Add => each(x, |i, x| x + inputs[1][i]),
        Op::Attend => each(x, |i, x| x * inputs[1][in_map(i, shape)]),
        Op::MaxPool { .. } => maxima(op, x, shapes).into_iter().map(|at| x[at]).collect(),
        Op::GlobalAveragePool => {
            let mean = |plane: &[f64]| plane.iter().sum::<f64>() / plane.len() as f64;
            x.chunks_exact(shape.pixels()).map(mean).collect()
        }
        Op::MeanSquare => {
            let mut y = vec![0.0; x.len() / shape.channels];
            x.iter().enumerate().for_each(|(i, x)| y[in_map(i, shape)] += x * x / shape.channels as f64);
            y
        }
    }
}

/// What a layer gave, and what came back to it.
pub(super) struct Result<'a> {
    pub y: &'a [f64],
    pub gradient: &'a [f64],
    /// Of the batch, where it was normalized by them.
    pub moments: Option<&'a Moments>,
}

/// Gradients that a layer has.
pub(super) struct Back {
    /// Of each value it read.
    pub inputs: Vec<Vec<f64>>,
    /// Of its parameters, by the end of their names.
    pub parameters: Vec<(&'static str, Vec<f64>)>,
}

/// Gradients of a layer in training.
pub(super) fn backward(op: &Op, tensors: Tensors, inputs: &[&[f64]], shapes: [Shape; 2], result: &Result) -> Back {
    let ([shape, _], x, g) = (shapes, inputs[0], result.gradient);
    let inputs = match op {
        Op::Conv2d { .. } | Op::Linear { .. } => {
            let convolution = convolution(op, shapes);
            let mut parameters = vec![("weight", convolution.backward_weights(x, g))];
            if op.has_bias() {
                parameters.push(("bias", channel_sums(g, shapes[1])));
            }
            return Back { inputs: vec![convolution.backward_data(g, &tensors.get("weight"))], parameters };
        }
        Op::Depthwise { bias, .. } => {
            let mut back = depthwise_backward(op, &tensors.get("weight"), x, shapes, g);
            back.parameters.extend(bias.then(|| ("bias", channel_sums(g, shapes[1]))));
            return back;
        }
        Op::LayerNorm { .. } => return layer_norm_backward(tensors, x, shape, g),
        Op::LayerScale { .. } => {
            let scale = tensors.get("");
            let products = each(g, |i, g| g * x[i]);
            return Back {
                inputs: vec![each(g, |i, g| g * scale[channel(i, shape)])],
                parameters: vec![("", channel_sums(&products, shape))],
            };
        }
        Op::DropPath { .. } => vec![g.to_vec()],
        // Slope of x times the share of normal numbers below it: that share, and x times their density.
        Op::Gelu => vec![each(g, |i, g| {
            let x = x[i];
            g * (normal_share(x) + x * (-x * x / 2.0).exp() / std::f64::consts::TAU.sqrt())
        })],
        Op::ClassToken { .. } => {
            let (dx, token) = tokens::with_class_backward(g, shape);
            return Back { inputs: vec![dx], parameters: vec![("", token)] };
        }
        Op::Positions { .. } => {
            let mut sums = vec![0.0; shape.len()];
            g.iter().enumerate().for_each(|(i, g)| sums[tokens::position(i, shape)] += g);
            return Back { inputs: vec![g.to_vec()], parameters: vec![("", sums)] };
        }
        Op::Attention { heads } => vec![tokens::Heads::new(*heads, shape).backward(x, g)],
        Op::ClassAttention { heads, .. } => vec![tokens::Heads::new(*heads, shape).class_map_backward(x, g)],
        Op::FirstToken => {
            let mut dx = vec![0.0; x.len()];
            dx.iter_mut().step_by(shape.pixels()).zip(g).for_each(|(dx, g)| *dx = *g);
            vec![dx]
        }
        Op::BatchNorm { style, .. } => return batch_norm_backward(style.epsilon(), tensors, x, shape, result),
        Op::Relu6 => vec![each(g, |i, g| if result.y[i] <= 0.0 || result.y[i] >= 6.0 { 0.0 } else { g })],
        Op::Relu => vec![each(g, |i, g| if result.y[i] <= 0.0 { 0.0 } else { g })],
        Op::Sigmoid => vec![each(g, |i, g| g * result.y[i] * (1.0 - result.y[i]))],
        Op::Add => vec![g.to_vec(), g.to_vec()],
        Op::Attend => {
            let mut of_map = vec![0.0; inputs[1].len()];
            g.iter().enumerate().for_each(|(i, g)| of_map[in_map(i, shape)] += g * x[i]);
            vec![each(g, |i, g| g * inputs[1][in_map(i, shape)]), of_map]
        }
        Op::MaxPool { .. } => {
            let mut dx = vec![0.0; x.len()];
            maxima(op, x, shapes).into_iter().zip(g).for_each(|(at, g)| dx[at] += g);
            vec![dx]
        }
        Op::GlobalAveragePool => vec![each(x, |i, _| g[i / shape.pixels()] / shape.pixels() as f64)],
        Op::MeanSquare => vec![each(x, |i, x| 2.0 * x / shape.channels as f64 * g[in_map(i, shape)])],
    };
    Back { inputs, parameters: Vec::new() }
}

/// Results of a convolution or fully connected layer and its bias.
pub(super) fn biased(y: &[f64], shape: Shape, tensors: Tensors) -> Vec<f64> {
    let bias = tensors.get("bias");
    each(y, |i, y| y + bias[channel(i, shape)])
}

fn channel_sums(values: &[f64], shape: Shape) -> Vec<f64> {
    (0..shape.channels).map(|channel| channel_values(values, shape, channel).sum()).collect()
}

/// The share of standard normal numbers that are smaller.
fn normal_share(x: f64) -> f64 {
    libm::erfc(-x / std::f64::consts::SQRT_2) / 2.0
}

/// Values normalized over the channels of their pixel.
struct PixelNorm {
    normalized: Vec<f64>,
    /// By pixel of all images.
    deviations: Vec<f64>,
}

impl PixelNorm {
    fn of(x: &[f64], shape: Shape) -> Self {
        let pixels = x.len() / shape.channels;
        let mean_of = |values: &[f64]| {
            let mut means = vec![0.0; pixels];
            let share = 1.0 / shape.channels as f64;
            values.iter().enumerate().for_each(|(i, value)| means[in_map(i, shape)] += share * value);
            means
        };
        let means = mean_of(x);
        let centered = each(x, |i, x| x - means[in_map(i, shape)]);
        let variances = mean_of(&each(&centered, |_, x| x * x));
        let deviations: Vec<f64> = variances.iter().map(|variance| (variance + LAYER_NORM_EPSILON).sqrt()).collect();
        Self { normalized: each(&centered, |i, x| x / deviations[in_map(i, shape)]), deviations }
    }
}

fn layer_norm_backward(tensors: Tensors, x: &[f64], shape: Shape, g: &[f64]) -> Back {
    let PixelNorm { normalized, deviations } = PixelNorm::of(x, shape);
    let weight = tensors.get("weight");
    let of_weight = channel_sums(&each(g, |i, g| g * normalized[i]), shape);
    let weighted = each(g, |i, g| g * weight[channel(i, shape)]);
    let (mut sums, mut products) = (vec![0.0; deviations.len()], vec![0.0; deviations.len()]);
    for (i, g) in weighted.iter().enumerate() {
        sums[in_map(i, shape)] += g;
        products[in_map(i, shape)] += g * normalized[i];
    }
    let dx = each(&weighted, |i, g| {
        let at = in_map(i, shape);
        (g - (sums[at] + normalized[i] * products[at]) / shape.channels as f64) / deviations[at]
    });
    Back { inputs: vec![dx], parameters: vec![("weight", of_weight), ("bias", channel_sums(g, shape))] }
}

fn batch_norm_backward(epsilon: f64, tensors: Tensors, x: &[f64], shape: Shape, result: &Result) -> Back {
    let running = || (tensors.get("running_mean"), tensors.get("running_var"));
    let batch = |moments: &Moments| (moments.mean.clone(), moments.variance.clone());
    let (mean, variance) = result.moments.map_or_else(running, batch);
    let deviation = |c: usize| (variance[c] + epsilon).sqrt();
    let normalized = each(x, |i, x| (x - mean[channel(i, shape)]) / deviation(channel(i, shape)));
    let (mut of_weight, mut of_bias) = (vec![0.0; shape.channels], vec![0.0; shape.channels]);
    for (i, g) in result.gradient.iter().enumerate() {
        of_weight[channel(i, shape)] += g * normalized[i];
        of_bias[channel(i, shape)] += g;
    }
    let weight = tensors.get("weight");
    let dx = each(result.gradient, |i, g| {
        let c = channel(i, shape);
        // Running statistics do not depend on the batch.
        let of_batch = |moments: &Moments| (of_bias[c] + normalized[i] * of_weight[c]) / moments.count as f64;
        let from_statistics = result.moments.map_or(0.0, of_batch);
        weight[c] / deviation(c) * (g - from_statistics)
    });
    Back { inputs: vec![dx], parameters: vec![("weight", of_weight), ("bias", of_bias)] }
}
