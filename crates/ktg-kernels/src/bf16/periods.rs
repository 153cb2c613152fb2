//! Passes over `[pixel][channel]` with something for each channel. What is for channels is repeated until it is as long as some
//! vectors, a *period*: any number of channels then fills vectors.
//!
//! All slices of numbers that a task has are equally long, those of values are a period long, and sums as many periods as there are
//! sums.

use crate::number::Bf16;
use crate::simd::{Simd, Task};
use crate::workspace::{Buffer, buffer};

/// Values that a pass has in vectors at a time: enough sums for a processor to add to in turn.
const AT_A_TIME: usize = 64;

/// Numbers of a piece of the pixels, which is summed up by itself: by the shape alone, whatever the threads.
const PIECE: usize = 32 << 10;

/// Numbers of a piece: whole periods.
pub(super) fn piece_len(channels: usize) -> usize {
    (PIECE / period(channels)).max(1) * period(channels)
}

/// Numbers of a period: the least that are whole pixels and whole groups of vectors.
pub(super) fn period(channels: usize) -> usize {
    let (mut a, mut b) = (channels, AT_A_TIME);
    while b > 0 {
        (a, b) = (b, a % b);
    }
    channels / a * AT_A_TIME
}

/// Something for each channel, for each place of a period.
pub(super) fn repeated(values: &[f32], period: usize) -> Buffer {
    let mut result = buffer(period);
    result.chunks_exact_mut(values.len()).for_each(|to| to.copy_from_slice(values));
    result
}

/// Sums of each place of a period, one or several, as so many of each channel, in order.
pub(super) fn folded(by_place: &[f32], period: usize, sums: &mut [f32]) {
    let channels = sums.len() * period / by_place.len();
    for (sums, by_place) in sums.chunks_exact_mut(channels).zip(by_place.chunks_exact(period)) {
        sums.fill(0.0);
        for places in by_place.chunks_exact(channels) {
            sums.iter_mut().zip(places).for_each(|(sum, place)| *sum += place);
        }
    }
}

/// Calls `$code` for the places of vectors one after the other: `$at` among the numbers, `$place` in the period, with `$n` numbers,
/// which are less than a vector's in the end only.
macro_rules! for_vectors {
    ($len:expr, $period:expr, |$at:ident, $place:ident, $n:ident| $code:block) => {
        for start in (0..$len).step_by($period) {
            let inside = $period.min($len - start);
            for $place in (0..inside).step_by(S::LANES) {
                let ($at, $n) = (start + $place, S::LANES.min(inside - $place));
                $code
            }
        }
    };
}
pub(super) use for_vectors;

/// The first `n` numbers of a vector, then zeros.
///
/// # Safety
///
/// As for [`Simd::load_first_bf16`].
#[inline(always)]
pub(super) unsafe fn numbers<S: Simd>(from: &[Bf16], at: usize, n: usize) -> S::V {
    // SAFETY: granted by the caller.
    unsafe { S::load_first_bf16(from.as_ptr().wrapping_add(at), n) }
}

/// The first `n` values of a vector, then zeros.
///
/// # Safety
///
/// As for [`Simd::load_first`].
#[inline(always)]
pub(super) unsafe fn values<S: Simd>(from: &[f32], place: usize, n: usize) -> S::V {
    let from = from.as_ptr().wrapping_add(place);
    // SAFETY: granted by the caller.
    unsafe { if n == S::LANES { S::load(from) } else { S::load_first(from, n) } }
}

/// Stores the first `n` values of a vector.
///
/// # Safety
///
/// As for [`Simd::store_first_bf16`].
#[inline(always)]
pub(super) unsafe fn put<S: Simd>(to: &mut [Bf16], at: usize, v: S::V, n: usize) {
    // SAFETY: granted by the caller.
    unsafe { S::store_first_bf16(to.as_mut_ptr().wrapping_add(at), v, n) }
}

/// Adds `a` to the first sums at `place`, and `a b` to the second. (Lanes behind the numbers' end are zero.)
///
/// # Safety
///
/// The sums are two periods of whole vectors.
#[inline(always)]
unsafe fn add<S: Simd>(sums: &mut [f32], place: usize, a: S::V, b: S::V) {
    let (first, second) =
        (sums.as_mut_ptr().wrapping_add(place), sums.as_mut_ptr().wrapping_add(sums.len() / 2 + place));
    // SAFETY: granted by the caller.
    unsafe {
        S::store(first, S::add(S::load(first), a));
        S::store(second, S::fma(a, b, S::load(second)));
    }
}

/// Sums of the differences from `shifts`, and of their squares, by place.
pub(super) struct AddMoments<'a> {
    pub x: &'a [Bf16],
    pub shifts: &'a [f32],
    pub sums: &'a mut [f32],
}

impl Task for AddMoments<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { x, shifts, sums } = self;
        sums.fill(0.0);
        for_vectors!(x.len(), shifts.len(), |at, place, n| {
            // SAFETY: granted by the caller.
            unsafe {
                let difference = S::sub(numbers::<S>(x, at, n), values::<S>(shifts, place, n));
                add::<S>(sums, place, difference, difference);
            }
        });
    }
}

/// `(x - mean) * scale + bias`, plus the residual, through the ReLU; of what is in `y` where there is no `x`.
pub(super) struct Normalize<'a> {
    pub x: Option<&'a [Bf16]>,
    pub means: &'a [f32],
    pub scales: &'a [f32],
    pub biases: &'a [f32],
    pub residual: Option<&'a [Bf16]>,
    pub relu: bool,
    pub y: &'a mut [Bf16],
}

impl Task for Normalize<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { x, means, scales, biases, residual, relu, y } = self;
        for_vectors!(y.len(), means.len(), |at, place, n| {
            // SAFETY: granted by the caller.
            unsafe {
                let x = numbers::<S>(x.unwrap_or(y), at, n);
                let [mean, scale, bias] = [means, scales, biases].map(|of| values::<S>(of, place, n));
                let mut sum = S::fma(S::sub(x, mean), scale, bias);
                if let Some(residual) = residual {
                    sum = S::add(sum, numbers::<S>(residual, at, n));
                }
                put::<S>(y, at, if relu { S::relu(sum) } else { sum }, n);
            }
        });
    }
}

/// Zeros of the gradient where the ReLU did not let pass; sums of the gradient and of its products with `x - mean`, by place.
pub(super) struct AddProducts<'a> {
    pub gradient: &'a mut [Bf16],
    pub relu_output: Option<&'a [Bf16]>,
    pub x: &'a [Bf16],
    pub means: &'a [f32],
    pub sums: &'a mut [f32],
}

impl Task for AddProducts<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { gradient, relu_output, x, means, sums } = self;
        sums.fill(0.0);
        for_vectors!(x.len(), means.len(), |at, place, n| {
            // SAFETY: granted by the caller.
            unsafe {
                let mut g = numbers::<S>(gradient, at, n);
                if let Some(y) = relu_output {
                    g = S::where_passed(numbers::<S>(y, at, n), g);
                    put::<S>(gradient, at, g, n);
                }
                add::<S>(sums, place, g, S::sub(numbers::<S>(x, at, n), values::<S>(means, place, n)));
            }
        });
    }
}

/// `g * scale + (x - mean) * slope + constant`: the gradient of the input, in the place of g where it has none of its own.
pub(super) struct InputGradient<'a> {
    pub g: &'a mut [Bf16],
    pub x: &'a [Bf16],
    pub means: &'a [f32],
    pub scales: &'a [f32],
    pub slopes: &'a [f32],
    pub constants: &'a [f32],
    pub to: Option<&'a mut [Bf16]>,
}

impl Task for InputGradient<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { g, x, means, scales, slopes, constants, mut to } = self;
        for_vectors!(x.len(), means.len(), |at, place, n| {
            // SAFETY: granted by the caller.
            unsafe {
                let [mean, scale, slope, constant] =
                    [means, scales, slopes, constants].map(|of| values::<S>(of, place, n));
                let centered = S::sub(numbers::<S>(x, at, n), mean);
                let dx = S::fma(numbers::<S>(g, at, n), scale, S::fma(centered, slope, constant));
                put::<S>(to.as_deref_mut().unwrap_or(g), at, dx, n);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_is_whole_pixels_and_whole_groups_of_vectors() {
        for (channels, expected) in [(1, 64), (16, 64), (64, 64), (120, 960), (37, 37 * 64), (512, 512), (96, 192)] {
            assert_eq!(period(channels), expected);
        }
        let values = [1.0, 2.0, 3.0];
        let places = repeated(&values, period(3));
        assert_eq!((places.len(), &places[..7], places[191]), (192, &[1.0, 2.0, 3.0, 1.0, 2.0, 3.0, 1.0][..], 3.0));
        let mut sums = [0.0; 6];
        let by_place: Vec<f32> = (0..24).map(|i| i as f32).collect();
        folded(&by_place, 12, &mut sums);
        assert_eq!(sums, [18.0, 22.0, 26.0, 66.0, 70.0, 74.0]);
    }
}
