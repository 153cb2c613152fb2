//! What a pass through a plan reads besides the values.

use ktg_kernels::{Affine, Attention, Conv2d, Depthwise, Features, Kernels, Pool, Statistics, Window};
use ktg_net::{LAYER_NORM_EPSILON, Network, NormStyle, Op, Padding, Shape, Value};

use super::call::Call;
use super::format::Format;
use super::memory::Span;
use super::places::Place;
use super::plan::Plan;
use crate::Draws;
use crate::parameters::Layout;

/// The plan's shapes are those of the buffers it made, so kernels never refuse them.
pub(crate) const FITS: &str = "a plan's shapes fit its buffers";

/// Mean and biased variance of what a batch norm saw in a training pass.
#[derive(Clone, Debug)]
pub(crate) struct Moments {
    pub mean: Vec<f32>,
    pub variance: Vec<f32>,
}

/// Where the statistics of a layer go, if it is a batch norm that takes those of the batch.
pub(crate) fn moments_of(moments: &mut [Option<Moments>], layer: usize) -> Option<&mut Moments> {
    moments.get_mut(layer).and_then(Option::as_mut)
}

/// What a pass reads besides the values.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub network: &'a Network,
    pub layout: &'a Layout,
    pub plan: &'a Plan,
    pub kernels: Kernels,
    /// Inference: an image's bits do not depend on how many others there are.
    pub for_any_batch: bool,
    /// What random decisions follow from; `None`: none are made.
    pub draws: Option<Draws>,
}

impl<'a> Context<'a> {
    /// Whether a layer stays as it is in training.
    pub fn is_frozen(&self, layer: usize) -> bool {
        self.network.layers[layer].frozen
    }

    /// What stochastic depth multiplies each of so many images with, if it drops any.
    pub fn path_factors(&self, call: &Call, count: usize) -> Option<Vec<f32>> {
        let Op::DropPath { rate } = *self.op(call) else { return None };
        self.draws.map(|draws| draws.path_factors(rate, call.layer, count))
    }

    /// What a batch norm was normalized by: `moments`, or the running statistics.
    pub fn statistics<'p>(&self, parameters: &'p [f32], layer: usize, moments: Option<&'p Moments>) -> Statistics<'p> {
        match moments {
            Some(Moments { mean, variance }) => Statistics { mean, variance },
            None => {
                let [_, _, mean, variance] = self.tensors(parameters, layer);
                Statistics { mean, variance }
            }
        }
    }

    pub fn op(&self, call: &Call) -> &'a Op {
        &self.network.layers[call.layer].op
    }

    pub fn shape(&self, value: Value) -> Shape {
        self.plan.shapes[value.index()]
    }

    /// In which numbers a value is, and its gradient.
    pub fn format(&self, value: Value) -> Format {
        self.plan.formats[value.index()]
    }

    /// Where a value, or its gradient, lies.
    pub fn span(&self, value: Value, place: Place) -> Span {
        (place, self.format(value).room(self.shape(value).len()))
    }

    /// Tensors of a layer, among all parameters and running statistics: weight, bias, and so on.
    pub fn tensors<'p, const N: usize>(&self, parameters: &'p [f32], layer: usize) -> [&'p [f32]; N] {
        self.layout.of_layer(layer).map(|range| &parameters[range])
    }

    /// What a convolution or fully connected layer adds to its channels, if it has a bias.
    pub fn bias<'p>(&self, parameters: &'p [f32], layer: usize) -> Option<&'p [f32]> {
        self.network.layers[layer].op.has_bias().then(|| {
            let [_, bias] = self.tensors(parameters, layer);
            bias
        })
    }

    pub fn affine<'p>(&self, parameters: &'p [f32], layer: usize) -> Affine<'p> {
        let [weight, bias] = self.tensors(parameters, layer);
        let style = self.network.layers[layer].op.norm_style();
        Affine { weight, bias, epsilon: style.map_or(LAYER_NORM_EPSILON, NormStyle::epsilon) as f32 }
    }

    /// The convolution of an operation on so many values of shape `x`.
    pub fn convolution(&self, op: &Op, x: Shape, count: usize) -> Conv2d {
        let (input, output, window, after) = match *op {
            Op::Conv2d { input, output, kernel, stride, padding: Padding { before, after }, .. } => {
                (input, output, Window { kernel, stride, padding: before }, after)
            }
            // A fully connected layer is a convolution of pixels.
            Op::Linear { input, output } => (input, output, Window::PIXEL, 0),
            _ => unreachable!("{op:?} is no convolution"),
        };
        let convolution = Conv2d::padded(count, input, output, [x.height, x.width], window, after).expect(FITS);
        if self.for_any_batch { convolution.for_any_batch() } else { convolution }
    }
}

/// The depthwise convolution of an operation on values of shape `x`.
pub(crate) fn depthwise(op: &Op, x: Shape, count: usize) -> Depthwise {
    let Op::Depthwise { channels, kernel, stride, padding, .. } = *op else {
        unreachable!("{op:?} is no depthwise one")
    };
    let window = Window { kernel, stride, padding: padding.before };
    Depthwise::new(count, channels, [x.height, x.width], window, padding.after).expect(FITS)
}

/// The pooling of an operation on values of shape `x`.
pub(crate) fn pooling(op: &Op, x: Shape, count: usize) -> Pool {
    let Op::MaxPool { kernel, stride, padding } = *op else { unreachable!("{op:?} is no max-pool") };
    Pool::new(count * x.channels, [x.height, x.width], Window { kernel, stride, padding }).expect(FITS)
}

/// The attention of an operation whose queries, keys and values have shape `x`.
pub(crate) fn attention(heads: usize, x: Shape, count: usize) -> Attention {
    Attention::new(count, heads, x.channels / 3 / heads, x.pixels()).expect(FITS)
}

pub(crate) fn features(x: Shape, count: usize) -> Features {
    Features::new(count, x.channels, x.pixels()).expect(FITS)
}
