//! Forward through a plan.

use ktg_kernels::{Affine, Conv2d, Each, Features, Fused, Kernels, Moving, Pool, Statistics, Window};
use ktg_net::{Network, Op, Shape};

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
    pub kernels: Kernels,
}

impl<'a> Context<'a> {
    pub fn op(&self, call: &PlannedCall) -> &'a Op {
        &self.network.layers[call.call.layer].op
    }

    /// Tensors of a layer, among all parameters and running statistics: weight, bias, and so on.
    pub fn tensors<'p, const N: usize>(&self, parameters: &'p [f32], layer: usize) -> [&'p [f32]; N] {
        self.layout.of_layer(layer).map(|range| &parameters[range])
    }

    pub fn affine<'p>(&self, parameters: &'p [f32], layer: usize) -> Affine<'p> {
        let [weight, bias] = self.tensors(parameters, layer);
        Affine { weight, bias, epsilon: Op::NORM_EPSILON as f32 }
    }
}

/// The convolution of an operation on values of shape `x`.
pub(crate) fn convolution(op: &Op, x: Shape, count: usize) -> Conv2d {
    let (input, output, window) = match *op {
        Op::Conv2d { input, output, kernel, stride, padding } => (input, output, Window { kernel, stride, padding }),
        // A fully connected layer is a convolution of images of one pixel.
        Op::Linear { input, output } => (input, output, Window { kernel: 1, stride: 1, padding: 0 }),
        _ => unreachable!("{op:?} is no convolution"),
    };
    Conv2d::new(count, input, output, [x.height, x.width], window).expect(FITS)
}

/// The pooling of an operation on values of shape `x`.
pub(crate) fn pooling(op: &Op, x: Shape, count: usize) -> Pool {
    let Op::MaxPool { kernel, stride, padding } = *op else { unreachable!("{op:?} is no max-pool") };
    Pool::new(count * x.channels, [x.height, x.width], Window { kernel, stride, padding }).expect(FITS)
}

pub(crate) fn features(x: Shape, count: usize) -> Features {
    Features::new(count, x.channels, x.pixels()).expect(FITS)
}

/// Computes all calls of `plan`. `moments`, by layer, is where batch norms put the batch's statistics, by which they
/// normalize then; without, they take the running ones.
pub(crate) fn forward(
    context: Context,
    plan: &Plan,
    parameters: &[f32],
    memory: &mut Memory,
    mut moments: Option<&mut [Option<Moments>]>,
) {
    for call in &plan.calls {
        let moments = moments.as_deref_mut().and_then(|all| all[call.call.layer].as_mut());
        compute(context, plan, call, parameters, memory, moments);
    }
}

fn compute(
    context: Context,
    plan: &Plan,
    call: &PlannedCall,
    parameters: &[f32],
    memory: &mut Memory,
    moments: Option<&mut Moments>,
) {
    let (count, kernels, op) = (memory.count, context.kernels, context.op(call));
    let shape = |i: usize| plan.shapes[call.call.reads[i].index()];
    let read = |i: usize| -> Span { (call.reads[i], shape(i).len()) };
    let gives: Span = (call.gives, plan.shapes[call.call.gives.index()].len());
    match op {
        Op::Conv2d { .. } | Op::Linear { .. } => {
            let (y, [x]) = memory.split(gives, [read(0)]);
            let [weights] = context.tensors(parameters, call.call.layer);
            kernels.conv2d(&convolution(op, shape(0), count), x, weights, y).expect(FITS);
            if let Op::Linear { .. } = op {
                let [_, bias] = context.tensors(parameters, call.call.layer);
                for y in y.chunks_exact_mut(bias.len()) {
                    y.iter_mut().zip(bias).for_each(|(y, bias)| *y += bias);
                }
            }
        }
        Op::BatchNorm { .. } => {
            let norm = Norm { kernels, features: features(shape(0), count), relu: call.call.relu };
            let affine = context.affine(parameters, call.call.layer);
            let spans = (read(0), call.reads.get(1).map(|place| (*place, gives.1)), gives);
            match moments {
                Some(moments) => norm.train(affine, memory, spans, moments),
                None => {
                    let [_, _, mean, variance] = context.tensors(parameters, call.call.layer);
                    norm.inference(affine, memory, spans, Statistics { mean, variance });
                }
            }
        }
        Op::MaxPool { .. } => {
            let (y, [x]) = memory.split(gives, [read(0)]);
            kernels.max_pool(&pooling(op, shape(0), count), x, y).expect(FITS);
        }
        Op::GlobalAveragePool => {
            let (y, [x]) = memory.split(gives, [read(0)]);
            kernels.global_average_pool(&features(shape(0), count), x, y).expect(FITS);
        }
        Op::MeanSquare => {
            let (y, [x]) = memory.split(gives, [read(0)]);
            kernels.mean_square(&features(shape(0), count), x, y).expect(FITS);
        }
        Op::Attend => {
            let (y, [x, map]) = memory.split(gives, [read(0), read(1)]);
            kernels.attend(&features(shape(0), count), x, map, call.call.adds, y).expect(FITS);
        }
        Op::Add => {
            let (y, [a, b]) = memory.split(gives, [read(0), read(1)]);
            y.copy_from_slice(a);
            kernels.each(Each::Add, y, b).expect(FITS);
        }
        Op::Relu | Op::Sigmoid => {
            let (y, [x]) = memory.split(gives, [read(0)]);
            let each = if *op == Op::Relu { Each::Relu } else { Each::Sigmoid };
            kernels.each(each, y, x).expect(FITS);
        }
    }
}

/// A batch norm, with the sum and the ReLU behind it.
struct Norm {
    kernels: Kernels,
    features: Features,
    relu: bool,
}

/// Where a batch norm reads, where what it adds lies, and where its result goes.
type NormSpans = (Span, Option<Span>, Span);

impl Norm {
    fn train(&self, affine: Affine, memory: &mut Memory, (x, added, gives): NormSpans, moments: &mut Moments) {
        let (y, [x, other]) = memory.split(gives, [x, added.unwrap_or(x)]);
        let fused = Fused { residual: added.map(|_| other), relu: self.relu };
        let statistics = Moving { mean: &mut moments.mean, variance: &mut moments.variance };
        self.kernels.batch_norm_train(&self.features, x, affine, fused, statistics, y).expect(FITS);
    }

    /// In place where the result goes where the input is.
    fn inference(&self, affine: Affine, memory: &mut Memory, (x, added, gives): NormSpans, statistics: Statistics) {
        let (y, x, added) = match (x == gives, added) {
            (false, _) => {
                let (y, [x, other]) = memory.split(gives, [x, added.unwrap_or(x)]);
                (y, Some(x), added.map(|_| other))
            }
            (true, Some(added)) => {
                let (y, [other]) = memory.split(gives, [added]);
                (y, None, Some(other))
            }
            (true, None) => (memory.split(gives, []).0, None, None),
        };
        let fused = Fused { residual: added, relu: self.relu };
        self.kernels.batch_norm_inference(&self.features, x, affine, statistics, fused, y).expect(FITS);
    }
}

/// Computes the result of a batch norm of a training pass again, from what it read and the statistics it had, to the same
/// bits.
pub(crate) fn again(
    context: Context,
    plan: &Plan,
    call: &PlannedCall,
    parameters: &[f32],
    memory: &mut Memory,
    moments: &Moments,
    (reads, gives): (&[Place], Place),
) {
    let shape = plan.shapes[call.call.gives.index()];
    let norm = Norm { kernels: context.kernels, features: features(shape, memory.count), relu: call.call.relu };
    let span = |place: &Place| (*place, shape.len());
    let spans = (span(&reads[0]), reads.get(1).map(span), span(&gives));
    let affine = context.affine(parameters, call.call.layer);
    norm.inference(affine, memory, spans, Statistics { mean: &moments.mean, variance: &moments.variance });
}
