//! Attention, means and sums of maps `[image][pixel][channel]`, and conversions. Attention maps and means are f32.

use super::periods::{numbers, put};
use crate::exponential::{gelu, gelu_slope};
use crate::number::Bf16;
use crate::parallel::{for_each_pair, for_each_piece};
use crate::shape::Features;
use crate::simd::{Simd, Task, plain};

/// Numbers that a task handles.
const SOME: usize = 16 << 10;

/// What becomes of a number `to`, given the number `from` at the same place; as [`Each`](crate::Each).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EachBf16 {
    /// `to + from`
    Add,
    /// `max(from, 0)`; NaN stays.
    Relu,
    /// `to` where `from`, the result of a ReLU, is not `<= 0`, else 0.
    ReluBackward,
    /// `min(max(from, 0), 6)`; NaN stays.
    Relu6,
    /// `to` where `from`, the result of a ReLU6, is neither `<= 0` nor `>= 6`, else 0.
    Relu6Backward,
    /// `from (1 + erf(from / sqrt 2)) / 2`, the exact GELU.
    Gelu,
    /// `to` times the derivative of GELU at `from`, its input.
    GeluBackward,
}

/// Each number by itself.
pub(crate) fn each<S: Simd>(with: EachBf16, to: &mut [Bf16], from: &[Bf16]) {
    for_each_piece(to, SOME, |number, to| {
        let from = &from[number * SOME..][..to.len()];
        // SAFETY: both slices are equally long.
        unsafe {
            match with {
                EachBf16::Gelu => S::vectorize(Gelu { to, from, backward: false }),
                EachBf16::GeluBackward => S::vectorize(Gelu { to, from, backward: true }),
                _ => S::vectorize(combine(with, to, from)),
            }
        }
    });
}

/// `x * map`, and where it keeps x `x * map + x`; the map has a number a pixel.
pub(crate) fn attend<S: Simd>(channels: usize, x: &[Bf16], map: &[f32], keeps: bool, y: &mut [Bf16]) {
    let some = pixels_of_a_task(channels);
    for_each_piece(y, some * channels, |number, y| {
        // SAFETY: it has no pointers.
        unsafe { S::vectorize(weigh(channels, &x[number * some * channels..], &map[number * some..], keeps, y)) }
    });
}

/// The gradient of [`attend`]'s result becomes that of x; the map's is the sum over channels of its products with x.
pub(crate) fn attend_backward<S: Simd>(
    channels: usize,
    x: &[Bf16],
    map: &[f32],
    keeps: bool,
    gradient: &mut [Bf16],
    of_map: &mut [f32],
) {
    let some = pixels_of_a_task(channels);
    for_each_pair(gradient, some * channels, of_map, some, |number, g, of_map| {
        let x = &x[number * some * channels..];
        // SAFETY: it has no pointers.
        unsafe { S::vectorize(WeighBackward { channels, x, map: &map[number * some..], keeps, g, of_map }) }
    });
}

/// Mean over channels of the squares, a number a pixel.
pub(crate) fn mean_square<S: Simd>(channels: usize, x: &[Bf16], y: &mut [f32]) {
    let some = pixels_of_a_task(channels);
    for_each_piece(y, some, |number, y| {
        // SAFETY: it has no pointers.
        unsafe { S::vectorize(Squares { channels, x: &x[number * some * channels..], y }) }
    });
}

/// Gradient of [`mean_square`]'s input.
pub(crate) fn mean_square_backward<S: Simd>(channels: usize, x: &[Bf16], gradient: &[f32], dx: &mut [Bf16]) {
    let some = pixels_of_a_task(channels);
    for_each_piece(dx, some * channels, |number, dx| {
        // SAFETY: it has no pointers.
        unsafe {
            S::vectorize(squares_backward(channels, &x[number * some * channels..], &gradient[number * some..], dx))
        }
    });
}

/// Mean over pixels, `[image, channel]`.
pub(crate) fn global_average_pool<S: Simd>(shape: &Features, x: &[Bf16], y: &mut [f32]) {
    let (channels, image) = (shape.channels, shape.image_len());
    for_each_piece(y, channels, |number, means| {
        // SAFETY: it has no pointers.
        unsafe { S::vectorize(mean(&x[number * image..][..image], means)) }
    });
}

/// Gradient of [`global_average_pool`]'s input.
pub(crate) fn global_average_pool_backward(shape: &Features, gradient: &[f32], dx: &mut [Bf16]) {
    let channels = shape.channels;
    for_each_piece(dx, shape.image_len(), |number, dx| {
        let (first, rest) = dx.split_at_mut(channels);
        for (to, g) in first.iter_mut().zip(&gradient[number * channels..]) {
            *to = Bf16::from_f32(g / shape.pixels as f32);
        }
        rest.chunks_exact_mut(channels).for_each(|pixel| pixel.copy_from_slice(first));
    });
}

/// Maps `[image, channel, pixel]` in f32 as `[image, pixel, channel]`.
pub(crate) fn narrow(shape: &Features, x: &[f32], y: &mut [Bf16]) {
    let (channels, image) = (shape.channels, shape.image_len());
    for_each_piece(y, image, |number, y| {
        for (channel, plane) in x[number * image..][..image].chunks_exact(shape.pixels).enumerate() {
            for (x, y) in plane.iter().zip(y[channel..].iter_mut().step_by(channels)) {
                *y = Bf16::from_f32(*x);
            }
        }
    });
}

/// The inverse of [`narrow`], but for the rounding.
pub(crate) fn widen(shape: &Features, x: &[Bf16], y: &mut [f32]) {
    let (channels, image) = (shape.channels, shape.image_len());
    for_each_piece(y, image, |number, y| {
        let x = &x[number * image..][..image];
        for (channel, plane) in y.chunks_exact_mut(shape.pixels).enumerate() {
            for (y, x) in plane.iter_mut().zip(x[channel..].iter().step_by(channels)) {
                *y = x.to_f32();
            }
        }
    });
}

/// Pixels that a task handles.
fn pixels_of_a_task(channels: usize) -> usize {
    SOME.div_ceil(channels)
}

plain! {
    fn combine(with: EachBf16, to: &'a mut [Bf16], from: &'a [Bf16]) {
        let values = to.iter_mut().zip(from);
        let zero = Bf16::default();
        match with {
            EachBf16::Add => values.for_each(|(to, from)| *to = Bf16::from_f32(to.to_f32() + from.to_f32())),
            EachBf16::Relu => values.for_each(|(to, from)| *to = if from.to_f32() <= 0.0 { zero } else { *from }),
            EachBf16::Relu6 => {
                let six = Bf16::from_f32(6.0);
                values.for_each(|(to, from)| {
                    let x = from.to_f32();
                    *to = if x <= 0.0 { zero } else if x >= 6.0 { six } else { *from };
                });
            }
            EachBf16::Relu6Backward => values.for_each(|(to, from)| {
                let y = from.to_f32();
                *to = if y <= 0.0 || y >= 6.0 { zero } else { *to };
            }),
            EachBf16::ReluBackward => values.for_each(|(to, from)| *to = if from.to_f32() <= 0.0 { zero } else { *to }),
            EachBf16::Gelu | EachBf16::GeluBackward => unreachable!("a task of its own"),
        }
    }

    fn weigh(channels: usize, x: &'a [Bf16], map: &'a [f32], keeps: bool, y: &'a mut [Bf16]) {
        for ((y, x), map) in y.chunks_exact_mut(channels).zip(x.chunks_exact(channels)).zip(map) {
            for (y, x) in y.iter_mut().zip(x) {
                let x = x.to_f32();
                *y = Bf16::from_f32(if keeps { x * map + x } else { x * map });
            }
        }
    }

    fn squares_backward(channels: usize, x: &'a [Bf16], gradient: &'a [f32], dx: &'a mut [Bf16]) {
        for ((dx, x), g) in dx.chunks_exact_mut(channels).zip(x.chunks_exact(channels)).zip(gradient) {
            let factor = 2.0 / channels as f32 * g;
            dx.iter_mut().zip(x).for_each(|(dx, x)| *dx = Bf16::from_f32(factor * x.to_f32()));
        }
    }

    /// The mean of pixels, by channel.
    fn mean(pixels: &'a [Bf16], means: &'a mut [f32]) {
        means.fill(0.0);
        let count = (pixels.len() / means.len()) as f32;
        for pixel in pixels.chunks_exact(means.len()) {
            means.iter_mut().zip(pixel).for_each(|(sum, x)| *sum += x.to_f32());
        }
        means.iter_mut().for_each(|sum| *sum /= count);
    }
}

/// GELU of numbers, or its gradient. Both slices are equally long.
struct Gelu<'a> {
    to: &'a mut [Bf16],
    from: &'a [Bf16],
    backward: bool,
}

impl Task for Gelu<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { to, from, backward } = self;
        for at in (0..to.len()).step_by(S::LANES) {
            let n = S::LANES.min(to.len() - at);
            // SAFETY: there are n numbers.
            unsafe {
                let x = numbers::<S>(from, at, n);
                let y = if backward { S::mul(numbers::<S>(to, at, n), gelu_slope::<S>(x)) } else { gelu::<S>(x) };
                put::<S>(to, at, y, n);
            }
        }
    }
}

/// The gradient of a product of maps and a map becomes that of the maps; the map's is a sum over channels.
struct WeighBackward<'a> {
    channels: usize,
    x: &'a [Bf16],
    map: &'a [f32],
    keeps: bool,
    g: &'a mut [Bf16],
    of_map: &'a mut [f32],
}

impl Task for WeighBackward<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { channels, x, map, keeps, g, of_map } = self;
        let pixels = g.chunks_exact_mut(channels).zip(x.chunks_exact(channels));
        for ((g, x), (map, of_map)) in pixels.zip(map.iter().zip(of_map)) {
            let factor = if keeps { map + 1.0 } else { *map };
            // SAFETY: vectors, or parts of them, stay within the pixel.
            unsafe {
                let mut sums = S::zero();
                for at in (0..channels).step_by(S::LANES) {
                    let n = S::LANES.min(channels - at);
                    let own = numbers::<S>(g, at, n);
                    sums = S::fma(own, numbers::<S>(x, at, n), sums);
                    put::<S>(g, at, S::mul(own, S::splat(factor)), n);
                }
                *of_map = S::sum(sums);
            }
        }
    }
}

/// Mean of the squares of a pixel's channels.
struct Squares<'a> {
    channels: usize,
    x: &'a [Bf16],
    y: &'a mut [f32],
}

impl Task for Squares<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { channels, x, y } = self;
        for (y, x) in y.iter_mut().zip(x.chunks_exact(channels)) {
            // SAFETY: vectors, or parts of them, stay within the pixel.
            unsafe {
                let mut sums = S::zero();
                for at in (0..channels).step_by(S::LANES) {
                    let v = numbers::<S>(x, at, S::LANES.min(channels - at));
                    sums = S::fma(v, v, sums);
                }
                *y = S::sum(sums) / channels as f32;
            }
        }
    }
}
