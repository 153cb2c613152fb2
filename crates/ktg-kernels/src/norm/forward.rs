//! Forward. A task has a few channels: their values are read for the statistics, and again, from the cache, to be
//! normalised.

use std::ops::Range;

use super::{Affine, CHANNELS, Fused, Moving, Statistics, channels_at_a_time, plane};
use crate::parallel::{Shared, for_each_pair, parallel};
use crate::shape::Features;
use crate::simd::{Simd, Task};

/// Training: the statistics are those of the batch.
pub(crate) fn train<S: Simd>(
    shape: &Features,
    x: &[f32],
    affine: Affine,
    fused: Fused,
    statistics: Moving,
    result: &mut [f32],
) {
    let y = Shared::new(result);
    let some = channels_at_a_time(shape);
    for_each_pair(statistics.mean, some, statistics.variance, some, |task, mean, variance| {
        let channels = task * some..task * some + mean.len();
        // SAFETY: each task reads and writes its own channels.
        unsafe {
            S::vectorize(Moments { shape, x, channels: channels.clone(), mean, variance });
            let x = x.as_ptr();
            S::vectorize(Normalise { shape, x, channels, mean, variance, affine, fused, y });
        }
    });
}

/// Inference: the statistics are given. Without `x`, what is in `result` is normalized in place.
pub(crate) fn inference<S: Simd>(
    shape: &Features,
    x: Option<&[f32]>,
    affine: Affine,
    statistics: Statistics,
    fused: Fused,
    result: &mut [f32],
) {
    let y = Shared::new(result);
    let some = channels_at_a_time(shape);
    parallel(shape.channels.div_ceil(some), |task| {
        let channels = task * some..((task + 1) * some).min(shape.channels);
        let (mean, variance) = (&statistics.mean[channels.clone()], &statistics.variance[channels.clone()]);
        // SAFETY: each task reads and writes its own channels.
        unsafe {
            let x = x.map_or(y.at(0).cast_const(), <[f32]>::as_ptr);
            S::vectorize(Normalise { shape, x, channels, mean, variance, affine, fused, y });
        }
    });
}

/// Mean and biased variance of some channels.
///
/// Each plane is read twice, the second time from a near cache: for its mean, then for the sums of the differences from
/// it and of their squares. Planes are combined in f64 (Chan, Golub & LeVeque 1979). No sum of large numbers is ever
/// subtracted from another, so data far from zero lose nothing.
struct Moments<'a> {
    shape: &'a Features,
    x: &'a [f32],
    channels: Range<usize>,
    mean: &'a mut [f32],
    variance: &'a mut [f32],
}

/// Of the values of a channel so far.
#[derive(Clone, Copy, Default)]
struct Moment {
    mean: f64,
    /// Sum of the squared differences from the mean.
    squares: f64,
}

/// Sums of `x - shift` and of its square.
#[inline(always)]
unsafe fn sums<S: Simd>(x: &[f32], shift: f32) -> (f32, f32) {
    // SAFETY: loads stay within `x`.
    unsafe {
        let shifts = S::splat(shift);
        let mut sums = [S::zero(); 4];
        let mut squares = [S::zero(); 4];
        let mut i = 0;
        while i + 4 * S::LANES <= x.len() {
            for v in 0..4 {
                let x = S::sub(S::load(x.as_ptr().add(i + v * S::LANES)), shifts);
                sums[v] = S::add(sums[v], x);
                squares[v] = S::fma(x, x, squares[v]);
            }
            i += 4 * S::LANES;
        }
        while i + S::LANES <= x.len() {
            let x = S::sub(S::load(x.as_ptr().add(i)), shifts);
            sums[0] = S::add(sums[0], x);
            squares[0] = S::fma(x, x, squares[0]);
            i += S::LANES;
        }
        let four = |v: [S::V; 4]| S::sum(S::add(S::add(v[0], v[1]), S::add(v[2], v[3])));
        let (mut sum, mut square) = (four(sums), four(squares));
        for x in &x[i..] {
            sum += x - shift;
            square += (x - shift) * (x - shift);
        }
        (sum, square)
    }
}

impl Task for Moments<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { shape, x, channels, mean, variance } = self;
        let mut moments = [Moment::default(); CHANNELS];
        let pixels = shape.pixels as f64;
        for image in 0..shape.batch {
            let count = image as f64 * pixels;
            for (moment, channel) in moments.iter_mut().zip(channels.clone()) {
                let x = &x[plane(shape, image, channel)..][..shape.pixels];
                // SAFETY: within the level's instructions.
                let (shift, difference, square) = unsafe {
                    let (sum, _) = sums::<S>(x, 0.0);
                    let shift = sum / shape.pixels as f32;
                    let (difference, square) = sums::<S>(x, shift);
                    (f64::from(shift), f64::from(difference), f64::from(square))
                };
                // The plane's mean is off by its rounding, which the differences tell.
                let correction = difference / pixels;
                let (plane_mean, plane_squares) = (shift + correction, square - correction * difference);
                let delta = plane_mean - moment.mean;
                moment.mean += delta * (pixels / (count + pixels));
                moment.squares += plane_squares + delta * delta * (count * pixels / (count + pixels));
            }
        }
        let count = shape.batch as f64 * pixels;
        for ((moment, mean), variance) in moments.iter().zip(mean).zip(variance) {
            *mean = moment.mean as f32;
            // Not `max`, which would turn NaN into 0.
            *variance = if moment.squares < 0.0 { 0.0 } else { (moment.squares / count) as f32 };
        }
    }
}

/// `relu((x - mean) * scale + bias + residual)` of some channels.
struct Normalise<'a> {
    shape: &'a Features,
    /// As large as y, and maybe the same: every value is read before it is written.
    x: *const f32,
    channels: Range<usize>,
    mean: &'a [f32],
    variance: &'a [f32],
    affine: Affine<'a>,
    fused: Fused<'a>,
    y: Shared<'a>,
}

impl Task for Normalise<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { shape, x, channels, mean, variance, affine, fused, y } = self;
        for image in 0..shape.batch {
            for (i, channel) in channels.clone().enumerate() {
                let scale = affine.weight[channel] / (variance[i] + affine.epsilon).sqrt();
                let start = plane(shape, image, channel);
                // SAFETY: loads and stores stay within the plane, which has `pixels` values in x, residual and y.
                unsafe {
                    let (means, scales, biases) = (S::splat(mean[i]), S::splat(scale), S::splat(affine.bias[channel]));
                    let x = x.add(start);
                    let residual = fused.residual.map(|r| r.as_ptr().add(start));
                    let y = y.at(start);
                    let mut i = 0;
                    while i + S::LANES <= shape.pixels {
                        let v = S::fma(S::sub(S::load(x.add(i)), means), scales, biases);
                        let v = if let Some(r) = residual { S::add(v, S::load(r.add(i))) } else { v };
                        S::store(y.add(i), if fused.relu { S::relu(v) } else { v });
                        i += S::LANES;
                    }
                    let rest = shape.pixels - i;
                    if rest > 0 {
                        let v = S::fma(S::sub(S::load_first(x.add(i), rest), means), scales, biases);
                        let v = if let Some(r) = residual { S::add(v, S::load_first(r.add(i), rest)) } else { v };
                        S::store_first(y.add(i), if fused.relu { S::relu(v) } else { v }, rest);
                    }
                }
            }
        }
    }
}
