//! Backward.

use std::ops::Range;

use ktg_kernels::{Affine, BackwardPass, Each, EachBf16, NormGradients, halves, halves_mut};
use ktg_net::Op;

use super::super::account::{Clock, Part};
use super::super::context::{Context, FITS, Moments, attention, depthwise, features, pooling};
use super::super::format::Format;
use super::super::learner::Learner;
use super::super::memory::Memory;
use super::super::plan::Back;
use super::super::tokens;
use super::{len, narrow, put, scale_images, widen};

/// The way back through a convolution, depthwise or not, or a fully connected layer.
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
        let g = halves(g, y_len);
        match op {
            Op::Depthwise { .. } => kernels.depthwise_backward_data_bf16(&depthwise(op, shape, count), g, weights, dx),
            _ => kernels.conv2d_backward_data_bf16(&context.convolution(op, shape, count), g, weights, dx),
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
    let (x, g) = (narrow(context, call.reads[0], x, count), halves(g, y_len));
    match op {
        Op::Depthwise { .. } => {
            kernels.depthwise_backward_weights_bf16(&depthwise(op, shape, count), &x, g, of_weights)
        }
        _ => kernels.conv2d_backward_weights_bf16(&context.convolution(op, shape, count), &x, g, of_weights),
    }
    .expect(FITS);
    if op.has_bias() {
        let [_, bias] = learner.ranges(context.layout, layer);
        let of_bias = &mut learner.gradients[bias];
        kernels.channel_sums_bf16(&features(context.shape(call.gives), count), g, of_bias).expect(FITS);
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
            let dx = dx.map(|dx| halves_mut(dx, x_len));
            let statistics = context.statistics(learner.parameters, layer, moments[layer].as_ref());
            let (from_batch, relu_output) = (moments[layer].is_some(), result.map(|_| halves(y, y_len)));
            let x = halves(x, x_len);
            let pass = BackwardPass { x, weight, epsilon, statistics, from_batch, relu_output };
            let result = halves_mut(g, y_len);
            let gradients = NormGradients { result, x: dx, weight: of_weight, bias: of_bias };
            kernels.batch_norm_backward_bf16(&features(shape, count), &pass, gradients).expect(FITS);
        }
        Op::LayerNorm { .. } => {
            let ranges: [Range<usize>; 2] = learner.ranges(context.layout, layer);
            let [weight, bias] = learner.gradients.get_disjoint_mut(ranges).expect(FITS);
            let affine = context.affine(learner.parameters, layer);
            let (g, [x]) = memory.split(gradient, [read(0)]);
            let gradients = NormGradients { result: halves_mut(g, y_len), x: None, weight, bias };
            kernels.layer_norm_backward_bf16(&features(shape, count), halves(x, x_len), affine, gradients).expect(FITS);
        }
        Op::LayerScale { .. } => {
            let [range] = learner.ranges(context.layout, layer);
            let part = part(0).expect("the kernel always gives it");
            let (dx, [x, g]) = memory.split(part, [read(0), gradient]);
            let [scale] = context.tensors(learner.parameters, layer);
            let (x, g, dx) = (halves(x, x_len), halves(g, y_len), halves_mut(dx, x_len));
            let of_scale = &mut learner.gradients[range];
            kernels.scale_channels_backward_bf16(&features(shape, count), x, scale, g, dx, of_scale).expect(FITS);
        }
        Op::DropPath { .. } => {
            let (g, []) = memory.split(gradient, []);
            if let Some(factors) = context.path_factors(call, count) {
                scale_images(&factors, halves_mut(g, y_len));
            }
        }
        Op::Gelu => {
            let (g, [x]) = memory.split(gradient, [read(0)]);
            kernels.each_bf16(EachBf16::GeluBackward, halves_mut(g, y_len), halves(x, x_len)).expect(FITS);
        }
        Op::ClassToken { .. } => {
            let [range] = learner.ranges(context.layout, layer);
            let g = widen(context, call.gives, memory.get(gradient), count).into_owned();
            tokens::class_sums(&g, shape, &mut learner.gradients[range]);
            let Some(target) = back.targets[0] else { return };
            let mut dx = vec![0.0; x_len];
            tokens::without_class(&g, shape, &mut dx);
            put(context, call.reads[0], &dx, target.part, memory);
        }
        Op::Positions { .. } => {
            let [range] = learner.ranges(context.layout, layer);
            let g = widen(context, call.gives, memory.get(gradient), count);
            tokens::position_sums(&g, shape, &mut learner.gradients[range]);
        }
        Op::Attention { heads } => {
            let Some(target) = back.targets[0] else { return };
            let qkv = widen(context, call.reads[0], memory.get(read(0)), count);
            let g = widen(context, call.gives, memory.get(gradient), count);
            let mut dx = vec![0.0; x_len];
            kernels.attention_backward(&attention(*heads, shape, count), &qkv, &g, &mut dx).expect(FITS);
            put(context, call.reads[0], &dx, target.part, memory);
        }
        Op::ClassAttention { heads, .. } => {
            let Some(target) = back.targets[0] else { return };
            let qkv = widen(context, call.reads[0], memory.get(read(0)), count);
            let mut dx = vec![0.0; x_len];
            let attention = attention(*heads, shape, count);
            kernels.class_attention_backward(&attention, &qkv, memory.get(gradient), &mut dx).expect(FITS);
            put(context, call.reads[0], &dx, target.part, memory);
        }
        Op::FirstToken => {
            let Some(target) = back.targets[0] else { return };
            let mut dx = vec![0.0; x_len];
            tokens::first_backward(memory.get(gradient), shape, &mut dx);
            put(context, call.reads[0], &dx, target.part, memory);
        }
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
