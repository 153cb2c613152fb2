//! Backward.

use std::ops::Range;

use ktg_kernels::{Affine, BackwardPass, Each, EachBf16, NormGradients, halves, halves_mut};
use ktg_net::Op;

use super::super::account::{Clock, Part};
use super::super::context::{Context, FITS, Moments, depthwise, features, pooling};
use super::super::format::Format;
use super::super::learner::Learner;
use super::super::memory::Memory;
use super::super::plan::Back;
use super::{len, narrow, widen};

/// The way back through a convolution; for depthwise ones there are kernels in f32 only.
fn convolve_back(context: Context, back: &Back, memory: &mut Memory, learner: &mut Learner) {
    let (count, kernels, call) = (memory.count, context.kernels, &back.call);
    let (op, layer, shape) = (context.op(call), call.layer, context.shape(call.reads[0]));
    let gradient = context.span(call.gives, back.gradient);
    let [x_len, y_len] = [call.reads[0], call.gives].map(|value| len(context, value, count));
    if let Some(target) = back.targets[0] {
        let clock = Clock::start();
        let (dx, [g]) = memory.split(context.span(call.reads[0], target.part), [gradient]);
        let [weights] = context.tensors(learner.parameters, layer);
        let dx = halves_mut(dx, x_len);
        if let Op::Depthwise { .. } = op {
            let (g, mut sums) = (widen(context, call.gives, g, count), vec![0.0; x_len]);
            kernels.depthwise_backward_data(&depthwise(op, shape, count), &g, weights, &mut sums).expect(FITS);
            kernels.to_bf16(&features(shape, count), &sums, dx).expect(FITS);
        } else {
            let convolution = context.convolution(op, shape, count);
            kernels.conv2d_backward_data_bf16(&convolution, halves(g, y_len), weights, dx).expect(FITS);
        }
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
    if let Op::Depthwise { .. } = op {
        let (x, g) = (widen(context, call.reads[0], x, count), widen(context, call.gives, g, count));
        kernels.depthwise_backward_weights(&depthwise(op, shape, count), &x, &g, of_weights).expect(FITS);
    } else {
        let (convolution, x) = (context.convolution(op, shape, count), narrow(context, call.reads[0], x, count));
        kernels.conv2d_backward_weights_bf16(&convolution, &x, halves(g, y_len), of_weights).expect(FITS);
    }
    clock.stop(context, Part::ToWeights, call, count);
}

/// As in f32, for one call.
pub(crate) fn go_back(
    context: Context,
    back: &Back,
    memory: &mut Memory,
    moments: &[Option<Moments>],
    learner: &mut Learner,
) {
    let (count, kernels, call) = (memory.count, context.kernels, &back.call);
    let (op, layer, shape) = (context.op(call), call.layer, context.shape(call.reads[0]));
    let gradient = context.span(call.gives, back.gradient);
    let read = |i: usize| context.span(call.reads[i], back.reads[i].expect("the plan knows what is needed"));
    let part = |i: usize| back.targets[i].map(|target| context.span(call.reads[i], target.part));
    let [x_len, y_len] = [call.reads[0], call.gives].map(|value| len(context, value, count));
    let clock = Clock::start();
    match op {
        Op::Conv2d { .. } | Op::Depthwise { .. } => return convolve_back(context, back, memory, learner),
        Op::Linear { .. } => unreachable!("what a fully connected layer reads is f32"),
        Op::BatchNorm { .. } => {
            let ranges: [Range<usize>; 2] = learner.ranges(context.layout, layer);
            let [of_weight, of_bias] = learner.gradients.get_disjoint_mut(ranges).expect(FITS);
            let Affine { weight, epsilon, .. } = context.affine(learner.parameters, layer);
            let result = back.gives.map(|place| context.span(call.gives, place));
            let reads = [read(0), result.unwrap_or(read(0))];
            let (g, dx, [x, y]) = memory.split_apart(gradient, part(0), reads);
            let dx = dx.map(|dx| halves_mut(dx, x_len));
            let statistics = context.statistics(learner.parameters, layer, moments[layer].as_ref());
            let (from_batch, relu_output) = (moments[layer].is_some(), result.map(|_| halves(y, y_len)));
            let x = halves(x, x_len);
            let pass = BackwardPass { x, weight, epsilon, statistics, from_batch, relu_output };
            let result = halves_mut(g, y_len);
            let gradients = NormGradients { result, x: dx, weight: of_weight, bias: of_bias };
            kernels.batch_norm_backward_bf16(&features(shape, count), &pass, gradients).expect(FITS);
        }
        Op::LayerNorm { .. }
        | Op::LayerScale { .. }
        | Op::DropPath { .. }
        | Op::Gelu
        | Op::ClassToken { .. }
        | Op::Positions { .. }
        | Op::Attention { .. }
        | Op::ClassAttention { .. }
        | Op::FirstToken => unreachable!("TODO"),
        Op::MaxPool { .. } => {
            let Some(part) = part(0) else { return };
            let (dx, [x, g]) = memory.split(part, [read(0), gradient]);
            let (x, g, dx) = (halves(x, x_len), halves(g, y_len), halves_mut(dx, x_len));
            kernels.max_pool_backward_bf16(&pooling(op, shape, count), shape.channels, x, g, dx).expect(FITS);
        }
        Op::GlobalAveragePool => {
            let Some(part) = part(0) else { return };
            let (dx, [g]) = memory.split(part, [gradient]);
            let dx = halves_mut(dx, x_len);
            kernels.global_average_pool_backward_bf16(&features(shape, count), g, dx).expect(FITS);
        }
        Op::MeanSquare => {
            let Some(part) = part(0) else { return };
            let (dx, [x, g]) = memory.split(part, [read(0), gradient]);
            let (x, dx) = (halves(x, x_len), halves_mut(dx, x_len));
            kernels.mean_square_backward_bf16(&features(shape, count), x, g, dx).expect(FITS);
        }
        Op::Attend => {
            let of_map = part(1).expect("the kernel always gives it");
            let ([g, of_map], [x, map]) = memory.split_all([gradient, of_map], [read(0), read(1)]);
            let (g, x) = (halves_mut(g, y_len), halves(x, x_len));
            let map_len = len(context, call.reads[1], count);
            if context.format(call.reads[1]) == Format::F32 {
                let (map, of_map) = (&map[..map_len], &mut of_map[..map_len]);
                kernels.attend_backward_bf16(&features(shape, count), x, map, call.adds, g, of_map).expect(FITS);
            } else {
                let (map, mut sums) = (widen(context, call.reads[1], map, count), vec![0.0; map_len]);
                kernels.attend_backward_bf16(&features(shape, count), x, &map, call.adds, g, &mut sums).expect(FITS);
                let map = features(context.shape(call.reads[1]), count);
                kernels.to_bf16(&map, &sums, halves_mut(of_map, map_len)).expect(FITS);
            }
        }
        Op::Add => {
            let Some(part) = part(0) else { return };
            let (da, [g]) = memory.split(part, [gradient]);
            halves_mut(da, x_len).copy_from_slice(halves(g, y_len));
        }
        Op::Relu => {
            let y = context.span(call.gives, back.gives.expect("the plan knows what is needed"));
            let (g, [y]) = memory.split(gradient, [y]);
            kernels.each_bf16(EachBf16::ReluBackward, halves_mut(g, y_len), halves(y, y_len)).expect(FITS);
        }
        Op::Relu6 => {
            let y = context.span(call.gives, back.gives.expect("the plan knows what is needed"));
            let (g, [y]) = memory.split(gradient, [y]);
            kernels.each_bf16(EachBf16::Relu6Backward, halves_mut(g, y_len), halves(y, y_len)).expect(FITS);
        }
        Op::Sigmoid => {
            // Its result is f32, and so its gradient has a place of its own.
            let Some(part) = part(0) else { return };
            let y = context.span(call.gives, back.gives.expect("the plan knows what is needed"));
            let (dx, [g, y]) = memory.split(part, [gradient, y]);
            let mut sums = g.to_vec();
            kernels.each(Each::SigmoidBackward, &mut sums, y).expect(FITS);
            kernels.to_bf16(&features(shape, count), &sums, halves_mut(dx, x_len)).expect(FITS);
        }
    }
    clock.stop(context, Part::Backward, call, count);
}
