//! What each channel has one number for, in maps `[image][pixel][channel]`: a scale, a bias, a sum.

use super::instructions::with_tiles;
use super::periods::{folded, for_vectors, numbers, period, piece_len, put, repeated, values};
use crate::Kernels;
use crate::channels::{add_parts, check_scaled, check_scaled_backward};
use crate::number::Bf16;
use crate::parallel::{Shared, for_each_piece};
use crate::shape::{Features, Result, check_length};
use crate::simd::{Simd, Task};
use crate::workspace::buffer;

/// Maps are `[image, pixel, channel]` here; what channels have is f32, `[channels]`.
impl Kernels {
    /// `x * scale + residual`, or without a residual `x * scale`, as [`scale_channels`](Self::scale_channels).
    pub fn scale_channels_bf16(
        &self,
        shape: &Features,
        x: &[Bf16],
        scale: &[f32],
        residual: Option<&[Bf16]>,
        result: &mut [Bf16],
    ) -> Result {
        check_scaled(shape, x, scale, residual, result)?;
        with_tiles!(self, S, _tiles => scale_all::<S>(x, scale, residual, result));
        Ok(())
    }

    /// Gradients of [`scale_channels_bf16`](Self::scale_channels_bf16), from the result's `gradient` (which is the residual's): that of
    /// `x` goes to `result`, that of the scale, in f32, to `of_scale`.
    pub fn scale_channels_backward_bf16(
        &self,
        shape: &Features,
        x: &[Bf16],
        scale: &[f32],
        gradient: &[Bf16],
        result: &mut [Bf16],
        of_scale: &mut [f32],
    ) -> Result {
        check_scaled_backward(shape, [x, gradient, result], scale, of_scale)?;
        with_tiles!(self, S, _tiles => scale_backward::<S>(x, scale, gradient, result, of_scale));
        Ok(())
    }

    /// Adds to all values of a channel its bias, as [`add_channel_bias`](Self::add_channel_bias).
    pub fn add_channel_bias_bf16(&self, shape: &Features, bias: &[f32], values: &mut [Bf16]) -> Result {
        check_length("the bias", shape.channels, bias.len())?;
        check_length("the values", shape.len(), values.len())?;
        with_tiles!(self, S, _tiles => add_bias::<S>(bias, values));
        Ok(())
    }

    /// Sum of the values of each channel, in f32: of a gradient, the gradient of the bias.
    pub fn channel_sums_bf16(&self, shape: &Features, gradient: &[Bf16], result: &mut [f32]) -> Result {
        check_length("the gradient", shape.len(), gradient.len())?;
        check_length("the gradient of the bias", shape.channels, result.len())?;
        with_tiles!(self, S, _tiles => sums::<S>(gradient, None, result));
        Ok(())
    }
}

/// `x * scale + residual` of all pixels.
pub(super) fn scale_all<S: Simd>(x: &[Bf16], scale: &[f32], residual: Option<&[Bf16]>, result: &mut [Bf16]) {
    let scales = &repeated(scale, period(scale.len()));
    let piece = piece_len(scale.len());
    for_each_piece(result, piece, |number, y| {
        let own = number * piece..number * piece + y.len();
        let residual = residual.map(|residual| &residual[own.clone()]);
        // SAFETY: the task's slices are as long as it says.
        unsafe { S::vectorize(Scale { x: &x[own], scales, residual, y }) }
    });
}

/// Adds the bias to all pixels.
pub(super) fn add_bias<S: Simd>(bias: &[f32], y: &mut [Bf16]) {
    let biases = &repeated(bias, period(bias.len()));
    for_each_piece(y, piece_len(bias.len()), |_, y| {
        // SAFETY: the task's slices are as long as it says.
        unsafe { S::vectorize(AddBias { biases, y }) }
    });
}

/// Gradients of [`scale_all`].
pub(super) fn scale_backward<S: Simd>(x: &[Bf16], scale: &[f32], g: &[Bf16], dx: &mut [Bf16], of_scale: &mut [f32]) {
    let scales = &repeated(scale, period(scale.len()));
    sums::<S>(g, Some(Scaled { x, scales, dx }), of_scale);
}

/// By channel, the sums of the gradient, or, of what was scaled, of its products with x; then x has its gradient, too.
fn sums<S: Simd>(gradient: &[Bf16], scaled: Option<Scaled>, result: &mut [f32]) {
    let channels = result.len();
    let (piece, period) = (piece_len(channels), period(channels));
    let scaled = scaled.map(|Scaled { x, scales, dx }| (x, scales, Shared::new(dx)));
    let mut sums = buffer(gradient.len().div_ceil(piece) * channels);
    for_each_piece(&mut sums, channels, |number, sums| {
        let own = number * piece..gradient.len().min((number + 1) * piece);
        let g = &gradient[own.clone()];
        let mut by_place = buffer(period);
        // SAFETY: each task has its own piece, and the task's slices are as long as it says.
        unsafe {
            let scaled = scaled.map(|(x, scales, dx)| Scaled { x: &x[own], scales, dx: dx.piece(number, piece) });
            S::vectorize(AddTerms { g, scaled, sums: &mut by_place });
        }
        folded(&by_place, period, sums);
    });
    add_parts(&sums, result);
}

/// `y = x * scale + residual`
struct Scale<'a> {
    x: &'a [Bf16],
    scales: &'a [f32],
    residual: Option<&'a [Bf16]>,
    y: &'a mut [Bf16],
}

impl Task for Scale<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { x, scales, residual, y } = self;
        for_vectors!(y.len(), scales.len(), |at, place, n| {
            // SAFETY: granted by the caller.
            unsafe {
                let (x, scale) = (numbers::<S>(x, at, n), values::<S>(scales, place, n));
                let v = match residual {
                    Some(residual) => S::fma(x, scale, numbers::<S>(residual, at, n)),
                    None => S::mul(x, scale),
                };
                put::<S>(y, at, v, n);
            }
        });
    }
}

/// `y += bias`
struct AddBias<'a> {
    biases: &'a [f32],
    y: &'a mut [Bf16],
}

impl Task for AddBias<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { biases, y } = self;
        for_vectors!(y.len(), biases.len(), |at, place, n| {
            // SAFETY: granted by the caller.
            unsafe { put::<S>(y, at, S::add(numbers::<S>(y, at, n), values::<S>(biases, place, n)), n) }
        });
    }
}

/// Sums of g by place, or, with what was scaled, of `g x`.
struct AddTerms<'a> {
    g: &'a [Bf16],
    scaled: Option<Scaled<'a>>,
    sums: &'a mut [f32],
}

/// What was scaled, and where `g * scale`, its gradient, goes.
struct Scaled<'a> {
    x: &'a [Bf16],
    scales: &'a [f32],
    dx: &'a mut [Bf16],
}

impl Task for AddTerms<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { g, mut scaled, sums } = self;
        sums.fill(0.0);
        for_vectors!(g.len(), sums.len(), |at, place, n| {
            // SAFETY: granted by the caller; there are sums for a whole vector, to which zeros are added behind the numbers' end.
            unsafe {
                let g = numbers::<S>(g, at, n);
                let to = sums.as_mut_ptr().wrapping_add(place);
                let sum = match &mut scaled {
                    None => S::add(g, S::load(to)),
                    Some(Scaled { x, scales, dx }) => {
                        put::<S>(dx, at, S::mul(g, values::<S>(scales, place, n)), n);
                        S::fma(g, numbers::<S>(x, at, n), S::load(to))
                    }
                };
                S::store(to, sum);
            }
        });
    }
}
