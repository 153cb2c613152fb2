//! Backward through a plan.

use std::ops::Range;

use ktg_kernels::{Affine, BackwardPass, Each, EachBf16, NormGradients, halves, halves_mut};
use ktg_net::Op;

use super::account::{Clock, Part};
use super::bf16;
use super::context::{Context, FITS, Moments, attention, depthwise, features, pooling};
use super::format::Format;
use super::forward::{compute, normalize};
use super::learner::Learner;
use super::memory::Memory;
use super::plan::{Back, PlannedCall, Step};
use super::tokens;

/// Goes back through all calls of the plan that have a gradient. The gradients of the outputs lie where the plan has them.
pub(crate) fn backward(context: Context, memory: &mut Memory, moments: &[Option<Moments>], mut learner: Learner) {
    for step in &context.plan.backward {
        match step {
            Step::Again(planned) => {
                let clock = Clock::start();
                repeat(context, planned, learner.parameters, memory, moments);
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

/// Computes a norm or a GELU as the forward pass did.
fn repeat(
    context: Context,
    planned: &PlannedCall,
    parameters: &[f32],
    memory: &mut Memory,
    moments: &[Option<Moments>],
) {
    let (layer, in_bf16) = (planned.call.layer, bf16::is_for(context, &planned.call));
    if let Op::BatchNorm { .. } = context.op(&planned.call) {
        let statistics = context.statistics(parameters, layer, moments[layer].as_ref());
        match in_bf16 {
            true => bf16::normalize(context, planned, parameters, memory, statistics),
            false => normalize(context, planned, parameters, memory, statistics),
        }
    } else {
        match in_bf16 {
            true => bf16::compute(context, planned, parameters, memory, &mut []),
            false => compute(context, planned, parameters, memory, None),
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
    if op.has_bias() {
        let [_, bias] = learner.ranges(context.layout, layer);
        let of_bias = &mut learner.gradients[bias];
        kernels.channel_sums(&features(context.shape(call.gives), count), g, of_bias).expect(FITS);
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
        Op::LayerNorm { .. } => {
            let ranges: [Range<usize>; 2] = learner.ranges(context.layout, layer);
            let [weight, bias] = learner.gradients.get_disjoint_mut(ranges).expect(FITS);
            let affine = context.affine(learner.parameters, layer);
            let (result, [x]) = memory.split(gradient, [read(0)]);
            let gradients = NormGradients { result, x: None, weight, bias };
            kernels.layer_norm_backward(&features(shape, count), x, affine, gradients).expect(FITS);
        }
        Op::LayerScale { .. } => {
            let [range] = learner.ranges(context.layout, layer);
            let part = part(0).expect("the kernel always gives it");
            let (dx, [x, g]) = memory.split(part, [read(0), gradient]);
            let [scale] = context.tensors(learner.parameters, layer);
            let of_scale = &mut learner.gradients[range];
            kernels.scale_channels_backward(&features(shape, count), x, scale, g, dx, of_scale).expect(FITS);
        }
        Op::DropPath { .. } => {
            let (g, []) = memory.split(gradient, []);
            if let Some(factors) = context.path_factors(call, count) {
                tokens::scale_images(&factors, g);
            }
        }
        Op::Gelu => {
            let (g, [x]) = memory.split(gradient, [read(0)]);
            kernels.each(Each::GeluBackward, g, x).expect(FITS);
        }
        Op::ClassToken { .. } => {
            let [range] = learner.ranges(context.layout, layer);
            tokens::class_sums(memory.get(gradient), shape, &mut learner.gradients[range]);
            if let Some(part) = part(0) {
                let (dx, [g]) = memory.split(part, [gradient]);
                tokens::without_class(g, shape, dx);
            }
        }
        Op::Positions { .. } => {
            let [range] = learner.ranges(context.layout, layer);
            tokens::position_sums(memory.get(gradient), shape, &mut learner.gradients[range]);
        }
        Op::Attention { heads } => {
            let Some(part) = part(0) else { return };
            let (dx, [x, g]) = memory.split(part, [read(0), gradient]);
            kernels.attention_backward(&attention(*heads, shape, count), x, g, dx).expect(FITS);
        }
        Op::ClassAttention { heads, .. } => {
            let Some(part) = part(0) else { return };
            let (dx, [x, g]) = memory.split(part, [read(0), gradient]);
            // The kernel adds to what is there.
            dx.fill(0.0);
            kernels.class_attention_backward(&attention(*heads, shape, count), x, g, dx).expect(FITS);
        }
        Op::FirstToken => {
            let Some(part) = part(0) else { return };
            let (dx, [g]) = memory.split(part, [gradient]);
            tokens::first_backward(g, shape, dx);
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
