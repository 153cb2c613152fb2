//! Forward.

use ktg_kernels::{Each, EachBf16, Fused, Moving, Statistics, halves, halves_mut};
use ktg_net::{Op, Value};

use super::super::context::{Context, FITS, Moments, attention, depthwise, features, moments_of, pooling};
use super::super::memory::Memory;
use super::super::places::Place;
use super::super::plan::PlannedCall;
use super::super::tokens;
use super::{len, narrow, scale_images, widen};

/// As [`forward`](super::super::forward::forward) does it, for one call.
pub(crate) fn compute(
    context: Context,
    planned: &PlannedCall,
    parameters: &[f32],
    memory: &mut Memory,
    moments: &mut [Option<Moments>],
) {
    let PlannedCall { call, reads, gives } = planned;
    let (count, kernels, op, shape) = (memory.count, context.kernels, context.op(call), context.shape(call.reads[0]));
    let measured_before = context.plan.measured[call.reads[0].index()];
    let own = moments_of(moments, call.layer);
    if matches!(op, Op::BatchNorm { .. }) && (own.is_none() || measured_before == Some(call.layer)) {
        let statistics = context.statistics(parameters, call.layer, own.as_deref());
        return normalize(context, planned, parameters, memory, statistics);
    }
    let read = |i: usize| context.span(call.reads[i], reads[i]);
    // Where only one value is read, the second is the first again.
    let second = usize::from(reads.len() > 1);
    let (y, [x, other]) = memory.split(context.span(call.gives, *gives), [read(0), read(second)]);
    let (value, other_value) = (call.reads[0], call.reads[second]);
    let [x_len, y_len] = [value, call.gives].map(|value| len(context, value, count));
    let result = match op {
        Op::Conv2d { .. } | Op::Linear { .. } => {
            let [weights] = context.tensors(parameters, call.layer);
            let x = narrow(context, value, x, count);
            let (convolution, y) = (context.convolution(op, shape, count), halves_mut(y, y_len));
            let behind = context.plan.measured[call.gives.index()];
            match behind.and_then(|norm| moments_of(moments, norm)) {
                Some(Moments { mean, variance }) => {
                    kernels.conv2d_statistics_bf16(&convolution, &x, weights, y, Moving { mean, variance })
                }
                None => kernels.conv2d_bf16(&convolution, &x, weights, y),
            }
        }
        Op::Depthwise { .. } => {
            let [weights] = context.tensors(parameters, call.layer);
            kernels.depthwise_bf16(&depthwise(op, shape, count), halves(x, x_len), weights, halves_mut(y, y_len))
        }
        Op::BatchNorm { .. } => {
            let Moments { mean, variance } = own.expect("without, it is done already");
            let residual = call.adds.then(|| halves(other, y_len));
            let fused = Fused { residual, relu: call.relu };
            let affine = context.affine(parameters, call.layer);
            let (features, y) = (features(shape, count), halves_mut(y, y_len));
            kernels.batch_norm_train_bf16(&features, halves(x, x_len), affine, fused, Moving { mean, variance }, y)
        }
        Op::LayerNorm { .. } => {
            let (affine, y) = (context.affine(parameters, call.layer), halves_mut(y, y_len));
            kernels.layer_norm_bf16(&features(shape, count), halves(x, x_len), affine, y)
        }
        Op::LayerScale { .. } => {
            let [scale] = context.tensors(parameters, call.layer);
            let residual = call.adds.then(|| halves(other, y_len));
            let (x, y) = (halves(x, x_len), halves_mut(y, y_len));
            kernels.scale_channels_bf16(&features(shape, count), x, scale, residual, y)
        }
        Op::DropPath { .. } => {
            let y = halves_mut(y, y_len);
            y.copy_from_slice(halves(x, x_len));
            if let Some(factors) = context.path_factors(call, count) {
                scale_images(&factors, y);
            }
            Ok(())
        }
        Op::Gelu => kernels.each_bf16(EachBf16::Gelu, halves_mut(y, y_len), halves(x, x_len)),
        Op::ClassToken { .. } => {
            let [token] = context.tensors(parameters, call.layer);
            let mut all = vec![0.0; y_len];
            tokens::with_class(&widen(context, value, x, count), token, shape, &mut all);
            kernels.to_bf16(&features(context.shape(call.gives), count), &all, halves_mut(y, y_len))
        }
        Op::Positions { .. } => {
            let [positions] = context.tensors(parameters, call.layer);
            let mut sums = vec![0.0; y_len];
            tokens::add_positions(&widen(context, value, x, count), positions, shape, &mut sums);
            kernels.to_bf16(&features(shape, count), &sums, halves_mut(y, y_len))
        }
        Op::Attention { heads } => {
            // There is a kernel in f32 only.
            let mut seen = vec![0.0; y_len];
            kernels
                .attention(&attention(*heads, shape, count), &widen(context, value, x, count), &mut seen)
                .expect(FITS);
            kernels.to_bf16(&features(context.shape(call.gives), count), &seen, halves_mut(y, y_len))
        }
        Op::ClassAttention { heads, .. } => {
            kernels.class_attention(&attention(*heads, shape, count), &widen(context, value, x, count), y)
        }
        Op::FirstToken => {
            tokens::first(&widen(context, value, x, count), shape, y);
            Ok(())
        }
        Op::MaxPool { .. } => {
            let pool = pooling(op, shape, count);
            kernels.max_pool_bf16(&pool, shape.channels, halves(x, x_len), halves_mut(y, y_len))
        }
        Op::GlobalAveragePool => kernels.global_average_pool_bf16(&features(shape, count), halves(x, x_len), y),
        Op::MeanSquare => kernels.mean_square_bf16(&features(shape, count), halves(x, x_len), y),
        Op::Attend => {
            let map = widen(context, other_value, other, count);
            let (features, x) = (features(shape, count), halves(x, x_len));
            kernels.attend_bf16(&features, x, &map, call.adds, halves_mut(y, y_len))
        }
        Op::Add => {
            let y = halves_mut(y, y_len);
            y.copy_from_slice(halves(x, x_len));
            kernels.each_bf16(EachBf16::Add, y, halves(other, y_len))
        }
        Op::Relu => kernels.each_bf16(EachBf16::Relu, halves_mut(y, y_len), halves(x, x_len)),
        Op::Relu6 => kernels.each_bf16(EachBf16::Relu6, halves_mut(y, y_len), halves(x, x_len)),
        Op::Sigmoid => kernels.each(Each::Sigmoid, y, &widen(context, value, x, count)),
    };
    result.expect(FITS);
    if let Some(bias) = context.bias(parameters, call.layer) {
        let (shape, y) = (features(context.shape(call.gives), count), halves_mut(y, y_len));
        kernels.add_channel_bias_bf16(&shape, bias, y).expect(FITS);
    }
}

/// As in f32.
pub(crate) fn normalize(
    context: Context,
    planned: &PlannedCall,
    parameters: &[f32],
    memory: &mut Memory,
    statistics: Statistics,
) {
    let PlannedCall { call, reads, gives } = planned;
    let span = |value: Value, place: &Place| context.span(value, *place);
    let (gives, x) = (span(call.gives, gives), span(call.reads[0], &reads[0]));
    let added = reads.get(1).map(|place| span(call.reads[1], place));
    let len = len(context, call.gives, memory.count);
    let features = features(context.shape(call.gives), memory.count);
    let (y, x, residual) = memory.split_in_place(gives, x, added);
    let fused = Fused { residual: residual.map(|other| halves(other, len)), relu: call.relu };
    let affine = context.affine(parameters, call.layer);
    let (x, y) = (x.map(|x| halves(x, len)), halves_mut(y, len));
    context.kernels.batch_norm_inference_bf16(&features, x, affine, statistics, fused, y).expect(FITS);
}
