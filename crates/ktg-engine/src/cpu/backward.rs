//! Backward through a plan.

use std::ops::Range;

use ktg_kernels::{BackwardPass, Each, NormGradients, SgdStep, Statistics};
use ktg_net::Op;

use super::forward::{Context, FITS, Moments, again, convolution, features, pooling};
use super::memory::{Memory, Span};
use super::plan::{Back, Plan, Step};
use crate::parameters::Layout;

/// What becomes of the parameters' gradients.
pub(crate) struct Learner<'a> {
    pub parameters: &'a mut [f32],
    /// Where gradients go: with `step`, those of one layer at a time, else all, in the parameters' layout.
    pub gradients: &'a mut [f32],
    /// An optimizer's step that is done as soon as a layer's gradients are known and nobody needs its weights any more,
    /// with its velocities in the parameters' layout (empty without momentum).
    pub step: Option<(SgdStep, &'a mut [f32])>,
}

impl Learner<'_> {
    /// Where the gradients of a layer's tensors go.
    fn ranges<const N: usize>(&self, layout: &Layout, layer: usize) -> [Range<usize>; N] {
        let ranges = layout.of_layer::<N>(layer);
        let first = if self.step.is_some() { ranges[0].start } else { 0 };
        ranges.map(|range| range.start - first..range.end - first)
    }

    /// The layer's gradients are known.
    fn finish(&mut self, context: Context, layer: usize) {
        let Some((step, velocities)) = &mut self.step else { return };
        let ranges = context.layout.learned_of_layer(layer);
        let first = ranges.clone().next().map_or(0, |range| range.start);
        for range in ranges {
            let gradient = &self.gradients[range.start - first..range.end - first];
            let velocity = if velocities.is_empty() { &mut [] } else { &mut velocities[range.clone()] };
            context.kernels.sgd(*step, &mut self.parameters[range], gradient, velocity).expect(FITS);
        }
    }
}

/// Goes back through all calls of `plan` that have a gradient. The gradients of the outputs lie where the plan has them.
pub(crate) fn backward(
    context: Context,
    plan: &Plan,
    memory: &mut Memory,
    moments: &[Option<Moments>],
    mut learner: Learner,
) {
    for step in &plan.backward {
        match step {
            Step::Again { call, reads, gives } => {
                let call = &plan.calls[*call];
                let moments = moments[call.call.layer].as_ref().expect("a training pass has statistics");
                again(context, plan, call, learner.parameters, memory, moments, (reads, *gives));
            }
            Step::Back(back) => {
                go_back(context, plan, back, memory, moments, &mut learner);
                add_up(context, plan, back, memory);
                learner.finish(context, plan.calls[back.call].call.layer);
            }
        }
    }
}

fn go_back(
    context: Context,
    plan: &Plan,
    back: &Back,
    memory: &mut Memory,
    moments: &[Option<Moments>],
    learner: &mut Learner,
) {
    let (count, kernels) = (memory.count, context.kernels);
    let call = &plan.calls[back.call];
    let (op, layer) = (context.op(call), call.call.layer);
    let shape = |i: usize| plan.shapes[call.call.reads[i].index()];
    let gradient: Span = (back.gradient, plan.shapes[call.call.gives.index()].len());
    let read = |i: usize| -> Span { (back.reads[i].expect("the plan knows what is needed"), shape(i).len()) };
    let part = |i: usize| -> Option<Span> { back.targets[i].map(|target| (target.part, shape(i).len())) };
    match op {
        Op::Conv2d { .. } | Op::Linear { .. } => {
            let convolution = convolution(op, shape(0), count);
            if let Some(part) = part(0) {
                let (dx, [g]) = memory.split(part, [gradient]);
                let [weights] = context.tensors(learner.parameters, layer);
                kernels.conv2d_backward_data(&convolution, g, weights, dx).expect(FITS);
            }
            let [weights] = learner.ranges::<1>(context.layout, layer);
            let (x, g) = (memory.get(read(0)), memory.get(gradient));
            kernels.conv2d_backward_weights(&convolution, x, g, &mut learner.gradients[weights]).expect(FITS);
            if let Op::Linear { output, .. } = *op {
                let [_, bias] = learner.ranges(context.layout, layer);
                let sum = &mut learner.gradients[bias];
                sum.fill(0.0);
                for g in g.chunks_exact(output) {
                    sum.iter_mut().zip(g).for_each(|(sum, g)| *sum += g);
                }
            }
        }
        Op::BatchNorm { .. } => {
            let ranges: [Range<usize>; 2] = learner.ranges(context.layout, layer);
            let [of_weight, of_bias] = learner.gradients.get_disjoint_mut(ranges).expect(FITS);
            let moments = moments[layer].as_ref().expect("a training pass has statistics");
            let affine = context.affine(learner.parameters, layer);
            let result = back.gives.map(|place| (place, gradient.1));
            let apart = part(0).filter(|(place, _)| *place != back.gradient);
            let reads = [read(0), result.unwrap_or(read(0))];
            let (writes, [x, y]) = match apart {
                Some(apart) => {
                    let ([g, dx], reads) = memory.split_all([gradient, apart], reads);
                    ((g, Some(dx)), reads)
                }
                None => {
                    let (g, reads) = memory.split(gradient, reads);
                    ((g, None), reads)
                }
            };
            let pass = BackwardPass {
                x,
                weight: affine.weight,
                epsilon: affine.epsilon,
                statistics: Statistics { mean: &moments.mean, variance: &moments.variance },
                from_batch: true,
                relu_output: result.map(|_| y),
            };
            let gradients = NormGradients { result: writes.0, x: writes.1, weight: of_weight, bias: of_bias };
            kernels.batch_norm_backward(&features(shape(0), count), &pass, gradients).expect(FITS);
        }
        Op::MaxPool { .. } => {
            if let Some(part) = part(0) {
                let (dx, [x, g]) = memory.split(part, [read(0), gradient]);
                kernels.max_pool_backward(&pooling(op, shape(0), count), x, g, dx).expect(FITS);
            }
        }
        Op::GlobalAveragePool => {
            if let Some(part) = part(0) {
                let (dx, [g]) = memory.split(part, [gradient]);
                kernels.global_average_pool_backward(&features(shape(0), count), g, dx).expect(FITS);
            }
        }
        Op::MeanSquare => {
            if let Some(part) = part(0) {
                let (dx, [x, g]) = memory.split(part, [read(0), gradient]);
                kernels.mean_square_backward(&features(shape(0), count), x, g, dx).expect(FITS);
            }
        }
        Op::Attend => {
            let of_map = part(1).expect("the kernel always gives it");
            let ([g, of_map], [x, map]) = memory.split_all([gradient, of_map], [read(0), read(1)]);
            kernels.attend_backward(&features(shape(0), count), x, map, call.call.adds, g, of_map).expect(FITS);
        }
        Op::Add => {
            if let Some(part) = part(0) {
                let (da, [g]) = memory.split(part, [gradient]);
                da.copy_from_slice(g);
            }
        }
        Op::Relu | Op::Sigmoid => {
            let y = (back.gives.expect("the plan knows what is needed"), gradient.1);
            let (g, [y]) = memory.split(gradient, [y]);
            let each = if *op == Op::Relu { Each::ReluBackward } else { Each::SigmoidBackward };
            kernels.each(each, g, y).expect(FITS);
        }
    }
}

/// Adds the parts of values that have other readers to their sums.
fn add_up(context: Context, plan: &Plan, back: &Back, memory: &mut Memory) {
    let call = &plan.calls[back.call].call;
    for (value, target) in call.reads.iter().zip(&back.targets) {
        if let Some((part, sum)) = target.and_then(|target| Some((target.part, target.sum?))) {
            let len = plan.shapes[value.index()].len();
            let (sum, [part]) = memory.split((sum, len), [(part, len)]);
            context.kernels.each(Each::Add, sum, part).expect(FITS);
        }
    }
}
