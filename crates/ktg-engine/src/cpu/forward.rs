//! Forward through a plan.

use ktg_kernels::{Each, Fused, Moving, Statistics};
use ktg_net::Op;

use super::account::{Clock, Part};
use super::bf16;
use super::context::{Context, FITS, Moments, attention, depthwise, features, moments_of, pooling};
use super::memory::Memory;
use super::places::Place;
use super::plan::PlannedCall;
use super::tokens;

/// Computes all calls of the plan. `moments`, by layer, is where batch norms put the batch's statistics, by which they
/// normalize then; without, as where they are frozen, they take the running ones.
pub(crate) fn forward(context: Context, parameters: &[f32], memory: &mut Memory, moments: &mut [Option<Moments>]) {
    for planned in &context.plan.calls {
        let clock = Clock::start();
        match bf16::is_for(context, &planned.call) {
            true => bf16::compute(context, planned, parameters, memory, moments),
            false => compute(context, planned, parameters, memory, moments_of(moments, planned.call.layer)),
        }
        clock.stop(context, Part::Forward, &planned.call, memory.count);
    }
}

/// Computes a call.
pub(crate) fn compute(
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
        Op::Conv2d { .. } | Op::Linear { .. } => {
            let [weights] = context.tensors(parameters, call.layer);
            kernels.conv2d(&context.convolution(op, shape, count), x, weights, y)
        }
        Op::Depthwise { .. } => {
            let [weights] = context.tensors(parameters, call.layer);
            kernels.depthwise(&depthwise(op, shape, count), x, weights, y)
        }
        Op::BatchNorm { .. } => {
            let Moments { mean, variance } = moments.expect("without, it is done already");
            let fused = Fused { residual: call.adds.then_some(other), relu: call.relu };
            let affine = context.affine(parameters, call.layer);
            kernels.batch_norm_train(&features(shape, count), x, affine, fused, Moving { mean, variance }, y)
        }
        Op::LayerNorm { .. } => {
            kernels.layer_norm(&features(shape, count), x, context.affine(parameters, call.layer), y)
        }
        Op::LayerScale { .. } => {
            let [scale] = context.tensors(parameters, call.layer);
            kernels.scale_channels(&features(shape, count), x, scale, call.adds.then_some(other), y)
        }
        Op::DropPath { .. } => {
            y.copy_from_slice(x);
            if let Some(factors) = context.path_factors(call, count) {
                tokens::scale_images(&factors, y);
            }
            Ok(())
        }
        Op::Gelu => kernels.each(Each::Gelu, y, x),
        Op::ClassToken { .. } => {
            let [token] = context.tensors(parameters, call.layer);
            tokens::with_class(x, token, shape, y);
            Ok(())
        }
        Op::Positions { .. } => {
            let [positions] = context.tensors(parameters, call.layer);
            tokens::add_positions(x, positions, shape, y);
            Ok(())
        }
        Op::Attention { heads } => kernels.attention(&attention(*heads, shape, count), x, y),
        Op::ClassAttention { heads, .. } => kernels.class_attention(&attention(*heads, shape, count), x, y),
        Op::FirstToken => {
            tokens::first(x, shape, y);
            Ok(())
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
        Op::Relu6 => kernels.each(Each::Relu6, y, x),
        Op::Sigmoid => kernels.each(Each::Sigmoid, y, x),
    };
    result.expect(FITS);
    if let Some(bias) = context.bias(parameters, call.layer) {
        kernels.add_channel_bias(&features(context.shape(call.gives), count), bias, y).expect(FITS);
    }
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
    let (y, x, residual) = memory.split_in_place(gives, x, added);
    let fused = Fused { residual, relu: call.relu };
    let affine = context.affine(parameters, call.layer);
    context.kernels.batch_norm_inference(&features, x, affine, statistics, fused, y).expect(FITS);
}
