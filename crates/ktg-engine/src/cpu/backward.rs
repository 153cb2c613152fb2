//! Backward through a plan.

use std::ops::Range;

use ktg_kernels::{Affine, BackwardPass, Each, EachBf16, NormGradients, halves, halves_mut};
use ktg_net::Op;

use super::account::{Clock, Part};
use super::bf16;
use super::context::{Context, FITS, Moments, depthwise, features, pooling};
use super::format::Format;
use super::forward::normalize;
use super::learner::Learner;
use super::memory::Memory;
use super::plan::{Back, Step};

/// Goes back through all calls of the plan that have a gradient. The gradients of the outputs lie where the plan has them.
pub(crate) fn backward(context: Context, memory: &mut Memory, moments: &[Option<Moments>], mut learner: Learner) {
    for step in &context.plan.backward {
        match step {
            Step::Again(planned) => {
                let layer = planned.call.layer;
                let statistics = context.statistics(learner.parameters, layer, moments[layer].as_ref());
                let clock = Clock::start();
                match bf16::is_for(context, &planned.call) {
                    true => bf16::normalize(context, planned, learner.parameters, memory, statistics),
                    false => normalize(context, planned, learner.parameters, memory, statistics),
                }
                clock.stop(context, Part::Again, &planned.call, memory.count);
            }
            Step::Back(back) => {
                match bf16::is_for(context, &back.call) {
                    true => bf16::go_back(context, back, memory, moments, &mut learner),
                    false => go_back(context, back, memory, moments, &mut learner),
                }
                add_up(context, back, memory);
                learner.finish(context, back);
            }
        }
    }
}

/// The way back through a convolution, depthwise or not, or a fully connected layer.
fn convolve_back(context: Context, back: &Back, memory: &mut Memory, learner: &mut Learner) {
    let (count, kernels, call) = (memory.count, context.kernels, &back.call);
    let (op, layer, shape) = (context.op(call), call.layer, context.shape(call.reads[0]));
    let gradient = context.span(call.gives, back.gradient);
    if let Some(target) = back.targets[0] {
        let clock = Clock::start();
        let (dx, [g]) = memory.split(context.span(call.reads[0], target.part), [gradient]);
        let [weights] = context.tensors(learner.parameters, layer);
        match op {
            Op::Depthwise { .. } => kernels.depthwise_backward_data(&depthwise(op, shape, count), g, weights, dx),
            _ => kernels.conv2d_backward_data(&context.convolution(op, shape, count), g, weights, dx),
        }
        .expect(FITS);
        clock.stop(context, Part::ToImages, call, count);
    }
    if context.is_frozen(layer) {
        return;
    }
    let clock = Clock::start();
    let [weights] = learner.ranges::<1>(context.layout, layer);
    let images = back.reads[0].expect("the plan knows what is needed");
    let (x, g) = (memory.get(context.span(call.reads[0], images)), memory.get(gradient));
    let of_weights = &mut learner.gradients[weights];
    match op {
        Op::Depthwise { .. } => kernels.depthwise_backward_weights(&depthwise(op, shape, count), x, g, of_weights),
        _ => kernels.conv2d_backward_weights(&context.convolution(op, shape, count), x, g, of_weights),
    }
    .expect(FITS);
    if let Op::Linear { output, .. } = *op {
        let [_, bias] = learner.ranges(context.layout, layer);
        let sum = &mut learner.gradients[bias];
        sum.fill(0.0);
        for g in g.chunks_exact(output) {
            sum.iter_mut().zip(g).for_each(|(sum, g)| *sum += g);
        }
    }
    clock.stop(context, Part::ToWeights, call, count);
}

fn go_back(context: Context, back: &Back, memory: &mut Memory, moments: &[Option<Moments>], learner: &mut Learner) {
    let (count, kernels, call) = (memory.count, context.kernels, &back.call);
    let (op, layer, shape) = (context.op(call), call.layer, context.shape(call.reads[0]));
    let gradient = context.span(call.gives, back.gradient);
    let read = |i: usize| context.span(call.reads[i], back.reads[i].expect("the plan knows what is needed"));
    let part = |i: usize| back.targets[i].map(|target| context.span(call.reads[i], target.part));
    let clock = Clock::start();
    match op {
        Op::Conv2d { .. } | Op::Depthwise { .. } | Op::Linear { .. } => {
            return convolve_back(context, back, memory, learner);
        }
        Op::BatchNorm { .. } => {
            let ranges: [Range<usize>; 2] = learner.ranges(context.layout, layer);
            let [of_weight, of_bias] = learner.gradients.get_disjoint_mut(ranges).expect(FITS);
            let Affine { weight, epsilon, .. } = context.affine(learner.parameters, layer);
            let result = back.gives.map(|place| context.span(call.gives, place));
            let reads = [read(0), result.unwrap_or(read(0))];
            let (g, dx, [x, y]) = memory.split_apart(gradient, part(0), reads);
            let statistics = context.statistics(learner.parameters, layer, moments[layer].as_ref());
            let (from_batch, relu_output) = (moments[layer].is_some(), result.map(|_| y));
            let pass = BackwardPass { x, weight, epsilon, statistics, from_batch, relu_output };
            let gradients = NormGradients { result: g, x: dx, weight: of_weight, bias: of_bias };
            kernels.batch_norm_backward(&features(shape, count), &pass, gradients).expect(FITS);
        }
        Op::MaxPool { .. } => {
            let Some(part) = part(0) else { return };
            let (dx, [x, g]) = memory.split(part, [read(0), gradient]);
            kernels.max_pool_backward(&pooling(op, shape, count), x, g, dx).expect(FITS);
        }
        Op::GlobalAveragePool => {
            let Some(part) = part(0) else { return };
            let (dx, [g]) = memory.split(part, [gradient]);
            kernels.global_average_pool_backward(&features(shape, count), g, dx).expect(FITS);
        }
        Op::MeanSquare => {
            let Some(part) = part(0) else { return };
            let (dx, [x, g]) = memory.split(part, [read(0), gradient]);
            kernels.mean_square_backward(&features(shape, count), x, g, dx).expect(FITS);
        }
        Op::Attend => {
            let of_map = part(1).expect("the kernel always gives it");
            let ([g, of_map], [x, map]) = memory.split_all([gradient, of_map], [read(0), read(1)]);
            kernels.attend_backward(&features(shape, count), x, map, call.adds, g, of_map).expect(FITS);
        }
        Op::Add => {
            let Some(part) = part(0) else { return };
            let (da, [g]) = memory.split(part, [gradient]);
            da.copy_from_slice(g);
        }
        Op::Relu | Op::Relu6 | Op::Sigmoid => {
            let y = context.span(call.gives, back.gives.expect("the plan knows what is needed"));
            let (g, [y]) = memory.split(gradient, [y]);
            let each = match op {
                Op::Relu => Each::ReluBackward,
                Op::Relu6 => Each::Relu6Backward,
                _ => Each::SigmoidBackward,
            };
            kernels.each(each, g, y).expect(FITS);
        }
    }
    clock.stop(context, Part::Backward, call, count);
}

/// Adds the parts of values that have other readers to their sums.
fn add_up(context: Context, back: &Back, memory: &mut Memory) {
    for (value, target) in back.call.reads.iter().zip(&back.targets) {
        if let Some((part, sum)) = target.and_then(|target| Some((target.part, target.sum?))) {
            let (clock, memory_count) = (Clock::start(), memory.count);
            let (sum, [part]) = memory.split(context.span(*value, sum), [context.span(*value, part)]);
            match context.format(*value) {
                Format::F32 => context.kernels.each(Each::Add, sum, part),
                Format::Bf16 => {
                    let len = context.shape(*value).len() * memory_count;
                    context.kernels.each_bf16(EachBf16::Add, halves_mut(sum, len), halves(part, len))
                }
            }
            .expect(FITS);
            clock.stop(context, Part::Sum, &back.call, memory.count);
        }
    }
}
