//! Batch norm on the device. Images are rows of channels, contiguous: element `row * channels + channel`.
//!
//! A channel's sums are made in two steps, so that all of the device works on them: each cube adds up its part of the
//! rows for 32 channels, then one unit a channel adds up the parts, in order. There are no atomics: equal inputs give
//! equal bits. Sums of squares are taken around the channel's first value, which costs nothing and keeps a mean that is
//! large beside the deviation from eating the digits.

use cubecl::ir::ElemType;
use cubecl::prelude::*;
use cubecl::std::tensor::layout::linear::{LinearView, LinearViewMut};

/// Channels a cube sums at once: a row of them is read with one access.
pub const LANES: u32 = 32;
/// Rows a cube reads at once.
pub const LINES: u32 = 8;

/// Adds up what the lines of a cube have, and stores it for its part. `partial` is `[2, parts, channels]`.
#[cube]
fn store_sums(first: f32, second: f32, partial: &mut Tensor<f32>, channel: usize, channels: usize) {
    let mut firsts = Shared::<[f32]>::new_slice((LANES * LINES) as usize);
    let mut seconds = Shared::<[f32]>::new_slice((LANES * LINES) as usize);
    firsts[UNIT_POS as usize] = first;
    seconds[UNIT_POS as usize] = second;
    sync_cube();
    if UNIT_POS_Y == 0 && channel < channels {
        let mut first = 0.0f32;
        let mut second = 0.0f32;
        for line in 0..LINES {
            first += firsts[(line * LANES + UNIT_POS_X) as usize];
            second += seconds[(line * LANES + UNIT_POS_X) as usize];
        }
        let parts = CUBE_COUNT_Y as usize;
        let part = CUBE_POS_Y as usize;
        partial[part * channels + channel] = first;
        partial[(parts + part) * channels + channel] = second;
    }
}

/// Per part and channel: the sum of `x - x0`, and of its square, where `x0` is the channel's first value.
#[cube(launch_unchecked)]
pub fn statistics_sums<F: Float>(
    x: &Tensor<F>,
    partial: &mut Tensor<f32>,
    rows: usize,
    channels: usize,
    #[define(F)] _element: ElemType,
) {
    let channel = (CUBE_POS_X * LANES + UNIT_POS_X) as usize;
    let mut first = 0.0f32;
    let mut second = 0.0f32;
    if channel < channels {
        let shift = f32::cast_from(x[channel]);
        let mut row = (CUBE_POS_Y * LINES + UNIT_POS_Y) as usize;
        while row < rows {
            let value = f32::cast_from(x[row * channels + channel]) - shift;
            first += value;
            second += value * value;
            row += (CUBE_COUNT_Y * LINES) as usize;
        }
    }
    store_sums(first, second, partial, channel, channels);
}

/// A channel's two sums, over all parts.
#[cube]
fn total(partial: &Tensor<f32>, parts: usize, channels: usize, channel: usize) -> (f32, f32) {
    let mut first = 0.0f32;
    let mut second = 0.0f32;
    for part in 0..parts {
        first += partial[part * channels + channel];
        second += partial[(parts + part) * channels + channel];
    }
    (first, second)
}

/// Mean and biased variance of every channel.
#[cube(launch_unchecked)]
pub fn statistics<F: Float>(
    x: &Tensor<F>,
    partial: &Tensor<f32>,
    mean: &mut Tensor<f32>,
    variance: &mut Tensor<f32>,
    rows: usize,
    channels: usize,
    parts: usize,
    #[define(F)] _element: ElemType,
) {
    let channel = ABSOLUTE_POS;
    if channel < channels {
        let (first, second) = total(partial, parts, channels, channel);
        let count = f32::cast_from(rows as u32);
        let offset = first / count;
        mean[channel] = f32::cast_from(x[channel]) + offset;
        let spread = second / count - offset * offset;
        // Not the maximum with 0, which would make a 0 of NaN.
        variance[channel] = select(spread < 0.0f32, 0.0f32, spread);
    }
}

/// `(x - mean) / sqrt(variance + epsilon) * weight + bias`, then plus the residual, then a ReLU, where asked for.
#[cube(launch_unchecked)]
pub fn normalise<F: Float, N: Size>(
    x: LinearView<'_, Vector<F, N>>,
    residual: LinearView<'_, Vector<F, N>>,
    weight: LinearView<'_, Vector<f32, N>>,
    bias: LinearView<'_, Vector<f32, N>>,
    mean: LinearView<'_, Vector<f32, N>>,
    variance: LinearView<'_, Vector<f32, N>>,
    mut y: LinearViewMut<'_, Vector<F, N>>,
    epsilon: f32,
    channels: usize,
    #[comptime] has_residual: bool,
    #[comptime] relu: bool,
    #[define(F)] _element: ElemType,
) {
    if !y.is_in_bounds(ABSOLUTE_POS) {
        terminate!();
    }
    let channel = ABSOLUTE_POS % channels;
    let deviation = Vector::sqrt(variance.read(channel) + Vector::new(epsilon));
    let scale = weight.read(channel) / deviation;
    let mut value =
        (Vector::<f32, N>::cast_from(x.read(ABSOLUTE_POS)) - mean.read(channel)) * scale + bias.read(channel);
    if has_residual {
        value += Vector::<f32, N>::cast_from(residual.read(ABSOLUTE_POS));
    }
    if relu {
        // Not the maximum with 0, which would make a 0 of NaN and hide that training diverged.
        let zero = Vector::<f32, N>::new(0.0f32);
        value = select_many(value.less_than(&zero), zero, value);
    }
    y.write(ABSOLUTE_POS, Vector::cast_from(value));
}

/// Per part and channel: the sum of the gradient behind the ReLU, and of it times `x - mean`.
#[cube(launch_unchecked)]
pub fn gradient_sums<F: Float>(
    gradient: &Tensor<F>,
    x: &Tensor<F>,
    y: &Tensor<F>,
    mean: &Tensor<f32>,
    partial: &mut Tensor<f32>,
    rows: usize,
    channels: usize,
    #[comptime] relu: bool,
    #[define(F)] _element: ElemType,
) {
    let channel = (CUBE_POS_X * LANES + UNIT_POS_X) as usize;
    let mut first = 0.0f32;
    let mut second = 0.0f32;
    if channel < channels {
        let centre = mean[channel];
        let mut row = (CUBE_POS_Y * LINES + UNIT_POS_Y) as usize;
        while row < rows {
            let at = row * channels + channel;
            let mut value = f32::cast_from(gradient[at]);
            if relu {
                value = select(f32::cast_from(y[at]) > 0.0f32, value, 0.0f32);
            }
            first += value;
            second += value * (f32::cast_from(x[at]) - centre);
            row += (CUBE_COUNT_Y * LINES) as usize;
        }
    }
    store_sums(first, second, partial, channel, channels);
}

/// Gradients of weight and bias.
#[cube(launch_unchecked)]
pub fn affine_gradients(
    partial: &Tensor<f32>,
    variance: &Tensor<f32>,
    weight_gradient: &mut Tensor<f32>,
    bias_gradient: &mut Tensor<f32>,
    epsilon: f32,
    channels: usize,
    parts: usize,
) {
    let channel = ABSOLUTE_POS;
    if channel < channels {
        let (first, second) = total(partial, parts, channels, channel);
        weight_gradient[channel] = second / f32::sqrt(variance[channel] + epsilon);
        bias_gradient[channel] = first;
    }
}

/// Gradients of input and residual. With statistics of the batch they depend on the input too:
/// `weight / deviation * (gradient - mean of the gradient - normalised x * mean of (gradient * normalised x))`.
#[cube(launch_unchecked)]
pub fn input_gradient<F: Float, N: Size>(
    gradient: LinearView<'_, Vector<F, N>>,
    x: LinearView<'_, Vector<F, N>>,
    y: LinearView<'_, Vector<F, N>>,
    weight: LinearView<'_, Vector<f32, N>>,
    mean: LinearView<'_, Vector<f32, N>>,
    variance: LinearView<'_, Vector<f32, N>>,
    weight_gradient: LinearView<'_, Vector<f32, N>>,
    bias_gradient: LinearView<'_, Vector<f32, N>>,
    mut x_gradient: LinearViewMut<'_, Vector<F, N>>,
    mut residual_gradient: LinearViewMut<'_, Vector<F, N>>,
    epsilon: f32,
    rows: usize,
    channels: usize,
    #[comptime] relu: bool,
    #[comptime] from_batch: bool,
    #[comptime] has_residual: bool,
    #[define(F)] _element: ElemType,
) {
    if !x_gradient.is_in_bounds(ABSOLUTE_POS) {
        terminate!();
    }
    let channel = ABSOLUTE_POS % channels;
    let mut value = Vector::<f32, N>::cast_from(gradient.read(ABSOLUTE_POS));
    if relu {
        let zero = Vector::<f32, N>::new(0.0f32);
        let output = Vector::<f32, N>::cast_from(y.read(ABSOLUTE_POS));
        value = select_many(output.greater_than(&zero), value, zero);
    }
    if has_residual {
        residual_gradient.write(ABSOLUTE_POS, Vector::cast_from(value));
    }
    let deviation = Vector::sqrt(variance.read(channel) + Vector::new(epsilon));
    if from_batch {
        let count = Vector::<f32, N>::new(f32::cast_from(rows as u32));
        let normalised = (Vector::<f32, N>::cast_from(x.read(ABSOLUTE_POS)) - mean.read(channel)) / deviation;
        value -= (bias_gradient.read(channel) + normalised * weight_gradient.read(channel)) / count;
    }
    x_gradient.write(ABSOLUTE_POS, Vector::cast_from(value * weight.read(channel) / deviation));
}
