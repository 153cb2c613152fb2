//! Forward. Planes are read for the statistics and again to be normalized, both times in the order in which they lie in
//! memory.

use super::{Affine, Fused, Moving, Statistics, planes_at_a_time};
use crate::parallel::{Shared, for_each_pair, for_each_piece, parallel};
use crate::shape::Features;
use crate::simd::{Simd, Task};
use crate::workspace::buffer;

/// Training: the statistics are those of the batch.
pub(crate) fn train<S: Simd>(
    shape: &Features,
    x: &[f32],
    affine: Affine,
    fused: Fused,
    statistics: Moving,
    result: &mut [f32],
) {
    let Moving { mean, variance } = statistics;
    let mut sums = buffer(shape.planes() * PlaneSums::LEN);
    let some = planes_at_a_time(shape);
    for_each_piece(&mut sums, some * PlaneSums::LEN, |task, sums| {
        // SAFETY: within the level's instructions.
        unsafe { S::vectorize(Sums { x: &x[task * some * shape.pixels..], pixels: shape.pixels, sums }) }
    });
    for_each_pair(mean, CHANNELS, variance, CHANNELS, |task, mean, variance| {
        for (i, (mean, variance)) in mean.iter_mut().zip(variance).enumerate() {
            let planes = (0..shape.batch).map(|image| image * shape.channels + task * CHANNELS + i);
            (*mean, *variance) = moments(shape, planes.map(|plane| PlaneSums::read(&sums, plane)));
        }
    });
    inference::<S>(shape, Some(x), affine, Statistics { mean, variance }, fused, result);
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
    let mut scales = buffer(shape.channels);
    for ((scale, weight), variance) in scales.iter_mut().zip(affine.weight).zip(statistics.variance) {
        *scale = weight / (variance + affine.epsilon).sqrt();
    }
    let (scales, mean, bias) = (&scales[..], statistics.mean, affine.bias);
    let y = Shared::new(result);
    let (planes, some) = (shape.planes(), planes_at_a_time(shape));
    parallel(planes.div_ceil(some), |task| {
        let planes = task * some..((task + 1) * some).min(planes);
        // SAFETY: each task reads and writes its own planes.
        unsafe {
            let x = x.map_or(y.at(0).cast_const(), <[f32]>::as_ptr);
            S::vectorize(Normalize { shape, x, planes, mean, scales, bias, fused, y });
        }
    });
}

/// Channels whose statistics one task puts together.
const CHANNELS: usize = 16;

/// What the statistics need of a plane. It is read twice for that, the second time from a near cache: for its mean, then for
/// the sums of the differences from it and of their squares.
#[derive(Clone, Copy)]
struct PlaneSums {
    /// The mean, but for its rounding.
    shift: f32,
    /// Sum of the differences from it, which tells the rounding.
    difference: f32,
    /// Sum of their squares.
    square: f32,
}

impl PlaneSums {
    const LEN: usize = 3;

    /// Of a plane among all.
    fn read(all: &[f32], plane: usize) -> Self {
        let own = &all[plane * Self::LEN..];
        Self { shift: own[0], difference: own[1], square: own[2] }
    }
}

/// The sums of planes that follow each other.
struct Sums<'a> {
    x: &'a [f32],
    pixels: usize,
    sums: &'a mut [f32],
}

impl Task for Sums<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        for (x, to) in self.x.chunks_exact(self.pixels).zip(self.sums.chunks_exact_mut(PlaneSums::LEN)) {
            // SAFETY: within the level's instructions.
            unsafe {
                let (sum, _) = sums::<S>(x, 0.0);
                to[0] = sum / self.pixels as f32;
                (to[1], to[2]) = sums::<S>(x, to[0]);
            }
        }
    }
}

/// Mean and biased variance of a channel, from those of its planes.
///
/// Planes are combined in f64 (Chan, Golub & LeVeque 1979). No sum of large numbers is ever subtracted from another, so data
/// far from zero lose nothing.
fn moments(shape: &Features, planes: impl Iterator<Item = PlaneSums>) -> (f32, f32) {
    let pixels = shape.pixels as f64;
    let mut all = Moment::default();
    let mut count = 0.0;
    for PlaneSums { shift, difference, square } in planes {
        let (shift, difference, square) = (f64::from(shift), f64::from(difference), f64::from(square));
        // The plane's mean is off by its rounding, which the differences tell.
        let correction = difference / pixels;
        let (plane_mean, plane_squares) = (shift + correction, square - correction * difference);
        let delta = plane_mean - all.mean;
        all.mean += delta * (pixels / (count + pixels));
        all.squares += plane_squares + delta * delta * (count * pixels / (count + pixels));
        count += pixels;
    }
    // Not `max`, which would turn NaN into 0.
    let variance = if all.squares < 0.0 { 0.0 } else { (all.squares / count) as f32 };
    (all.mean as f32, variance)
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

/// `relu((x - mean) * scale + bias + residual)` of planes that follow each other.
struct Normalize<'a> {
    shape: &'a Features,
    /// As large as y, and maybe the same: every value is read before it is written.
    x: *const f32,
    planes: std::ops::Range<usize>,
    /// By channel, as the next two.
    mean: &'a [f32],
    scales: &'a [f32],
    bias: &'a [f32],
    fused: Fused<'a>,
    y: Shared<'a>,
}

impl Task for Normalize<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { shape, x, planes, mean, scales, bias, fused, y } = self;
        let mut channel = planes.start % shape.channels;
        for plane in planes {
            let start = plane * shape.pixels;
            // SAFETY: loads and stores stay within the plane, which has `pixels` values in x, residual and y.
            unsafe {
                let means = S::splat(mean[channel]);
                let (scales, biases) = (S::splat(scales[channel]), S::splat(bias[channel]));
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
            channel = if channel + 1 == shape.channels { 0 } else { channel + 1 };
        }
    }
}
