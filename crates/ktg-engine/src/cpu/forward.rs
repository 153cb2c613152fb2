//! Forward through a plan.

use ktg_kernels::{Affine, Conv2d, Each, Features, Fused, Kernels, Moving, Pool, Statistics, Window};
use ktg_net::{Network, Op, Shape, Value};

use super::account::{Clock, Part};
use super::call::Call;
use super::memory::{Memory, Span};
use super::places::Place;
use super::plan::{Plan, PlannedCall};
use crate::parameters::Layout;

/// The plan's shapes are those of the buffers it made, so kernels never refuse them.
pub(crate) const FITS: &str = "a plan's shapes fit its buffers";

/// Mean and biased variance of what a batch norm saw in a training pass.
#[derive(Clone, Debug)]
pub(crate) struct Moments {
    pub mean: Vec<f32>,
    pub variance: Vec<f32>,
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
}

impl<'a> Context<'a> {
    /// Whether a layer stays as it is in training.
    pub fn is_frozen(&self, layer: usize) -> bool {
        self.network.layers[layer].frozen
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

    /// Where a value, or its gradient, lies.
    pub fn span(&self, value: Value, place: Place) -> Span {
        (place, self.shape(value).len())
    }

    /// Tensors of a layer, among all parameters and running statistics: weight, bias, and so on.
    pub fn tensors<'p, const N: usize>(&self, parameters: &'p [f32], layer: usize) -> [&'p [f32]; N] {
        self.layout.of_layer(layer).map(|range| &parameters[range])
    }

    pub fn affine<'p>(&self, parameters: &'p [f32], layer: usize) -> Affine<'p> {
        let [weight, bias] = self.tensors(parameters, layer);
        Affine { weight, bias, epsilon: Op::NORM_EPSILON as f32 }
    }

    /// The convolution of an operation on so many values of shape `x`.
    pub fn convolution(&self, op: &Op, x: Shape, count: usize) -> Conv2d {
        let (input, output, window) = match *op {
            Op::Conv2d { input, output, kernel, stride, padding } => {
                (input, output, Window { kernel, stride, padding })
            }
            // A fully connected layer is a convolution of images of one pixel.
            Op::Linear { input, output } => (input, output, Window::PIXEL),
            _ => unreachable!("{op:?} is no convolution"),
        };
        let convolution = Conv2d::new(count, input, output, [x.height, x.width], window).expect(FITS);
        if self.for_any_batch { convolution.for_any_batch() } else { convolution }
    }
}

/// The pooling of an operation on values of shape `x`.
pub(crate) fn pooling(op: &Op, x: Shape, count: usize) -> Pool {
    let Op::MaxPool { kernel, stride, padding } = *op else { unreachable!("{op:?} is no max-pool") };
    Pool::new(count * x.channels, [x.height, x.width], Window { kernel, stride, padding }).expect(FITS)
}

pub(crate) fn features(x: Shape, count: usize) -> Features {
    Features::new(count, x.channels, x.pixels()).expect(FITS)
}

/// Computes all calls of the plan. `moments`, by layer, is where batch norms put the batch's statistics, by which they
/// normalize then; without, as where they are frozen, they take the running ones.
pub(crate) fn forward(context: Context, parameters: &[f32], memory: &mut Memory, moments: &mut [Option<Moments>]) {
    for planned in &context.plan.calls {
        let moments = moments.get_mut(planned.call.layer).and_then(Option::as_mut);
        let clock = Clock::start();
        compute(context, planned, parameters, memory, moments);
        clock.stop(context, Part::Forward, &planned.call, memory.count);
    }
}

fn compute(
    context: Context,
    planned: &PlannedCall,
    parameters: &[f32],
    memory: &mut Memory,
    moments: Option<&mut Moments>,
) {
    let PlannedCall { call, reads, gives } = planned;
    let (count, kernels, op, shape) = (memory.count, context.kernels, context.op(call), context.shape(call.reads[0]));
    if let (Op::BatchNorm { .. }, None) = (op, &moments) {
        let statistics = context.statistics(parameters, call.layer, None);
        return normalize(context, planned, parameters, memory, statistics);
    }
    let read = |i: usize| context.span(call.reads[i], reads[i]);
    // Where only one value is read, the second is the first again.
    let second = usize::from(reads.len() > 1);
    let (y, [x, other]) = memory.split(context.span(call.gives, *gives), [read(0), read(second)]);
    let result = match op {
        Op::Conv2d { .. } => {
            let [weights] = context.tensors(parameters, call.layer);
            kernels.conv2d(&context.convolution(op, shape, count), x, weights, y)
        }
        Op::Linear { .. } => {
            let [weights, bias] = context.tensors(parameters, call.layer);
            let result = kernels.conv2d(&context.convolution(op, shape, count), x, weights, y);
            for y in y.chunks_exact_mut(bias.len()) {
                y.iter_mut().zip(bias).for_each(|(y, bias)| *y += bias);
            }
            result
        }
        Op::BatchNorm { .. } => {
            let Moments { mean, variance } = moments.expect("without, it is done already");
            let fused = Fused { residual: call.adds.then_some(other), relu: call.relu };
            let affine = context.affine(parameters, call.layer);
            kernels.batch_norm_train(&features(shape, count), x, affine, fused, Moving { mean, variance }, y)
        }
        Op::MaxPool { .. } => kernels.max_pool(&pooling(op, shape, count), x, y),
        Op::GlobalAveragePool => kernels.global_average_pool(&features(shape, count), x, y),
        Op::MeanSquare => kernels.mean_square(&features(shape, count), x, y),
        Op::Attend => kernels.attend(&features(shape, count), x, other, call.adds, y),
        Op::Add => {
            y.copy_from_slice(x);
            kernels.each(Each::Add, y, other)
        }
        Op::Relu => kernels.each(Each::Relu, y, x),
        Op::Sigmoid => kernels.each(Each::Sigmoid, y, x),
    };
    result.expect(FITS);
}

/// Computes a batch norm with given statistics, the sum and the ReLU behind it; in place where the result goes where the input
/// is. With the statistics of a training pass that gives the same bits as [`forward`] did.
pub(crate) fn normalize(
    context: Context,
    planned: &PlannedCall,
    parameters: &[f32],
    memory: &mut Memory,
    statistics: Statistics,
) {
    let PlannedCall { call, reads, gives } = planned;
    let span = |place: &Place| context.span(call.gives, *place);
    let (gives, x, added) = (span(gives), span(&reads[0]), reads.get(1).map(span));
    let features = features(context.shape(call.gives), memory.count);
    let (y, x, residual) = match added {
        _ if x != gives => {
            let (y, [x, other]) = memory.split(gives, [x, added.unwrap_or(x)]);
            (y, Some(x), added.map(|_| other))
        }
        Some(added) => {
            let (y, [other]) = memory.split(gives, [added]);
            (y, None, Some(other))
        }
        None => (memory.split(gives, []).0, None, None),
    };
    let fused = Fused { residual, relu: call.relu };
    let affine = context.affine(parameters, call.layer);
    context.kernels.batch_norm_inference(&features, x, affine, statistics, fused, y).expect(FITS);
}
