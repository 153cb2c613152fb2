//! Blocks of pixels, which are read several times, from the first-level cache. What is summed up of all of them is so before anything is
//! made of it: one pixel's sum, which is waited for, does not hold up the next pixel's. A few pixels at a time share what there is of
//! each channel.

use super::super::periods::{numbers, put, values};
use crate::layer_norm::{ROWS, for_rows};
use crate::norm::Affine;
use crate::number::Bf16;
use crate::simd::{Simd, Task};

/// Numbers of the pixels that are read several times, from the first-level cache.
const BLOCK: usize = 8 << 10;
/// Pixels, at most, of these: enough for a processor not to wait for one's moments.
pub(super) const MOST: usize = 64;

/// Numbers of a block: whole pixels.
pub(super) fn block_len(channels: usize) -> usize {
    (BLOCK / channels).next_multiple_of(ROWS).clamp(ROWS, MOST) * channels
}

/// Something of each pixel of a block.
pub(super) type OfPixels = [f32; MOST];

/// Calls `$code` for the vectors of a pixel, `$c` being the first channel of each, with `$n` channels: less than a vector's in the
/// last one only, for which there is code of its own.
macro_rules! for_channels {
    ($channels:expr, |$c:ident, $n:ident| $code:block) => {
        let whole = $channels / S::LANES * S::LANES;
        for $c in (0..whole).step_by(S::LANES) {
            let $n = S::LANES;
            $code
        }
        if whole < $channels {
            let ($c, $n) = (whole, $channels - whole);
            $code
        }
    };
}
pub(super) use for_channels;

/// A block of pixels.
#[derive(Clone, Copy)]
pub(super) struct Pixels<'a> {
    pub x: &'a [Bf16],
    pub channels: usize,
}

impl Pixels<'_> {
    pub fn len(self) -> usize {
        self.x.len() / self.channels
    }

    /// The first `n` numbers of a vector less their pixel's mean, then zeros.
    ///
    /// # Safety
    ///
    /// As for [`numbers`].
    #[inline(always)]
    pub unsafe fn centered<S: Simd>(self, at: usize, mean: f32, n: usize) -> S::V {
        // SAFETY: granted by the caller; 16 values are a vector at least.
        unsafe {
            let mean = if n == S::LANES { S::splat(mean) } else { S::load_first([mean; 16].as_ptr(), n) };
            S::sub(numbers::<S>(self.x, at, n), mean)
        }
    }

    /// Mean and `1 / sqrt(variance + epsilon)` of every pixel.
    ///
    /// # Safety
    ///
    /// The processor has S's instructions; so for all functions here.
    #[inline(always)]
    pub unsafe fn moments<S: Simd>(self, epsilon: f32) -> [OfPixels; 2] {
        let [mut means, mut squares, mut differences] = [[0.0; MOST]; 3];
        // As in f32, no sum of large numbers is ever subtracted from another, and differences tell that the mean is rounded.
        // SAFETY: granted by the caller.
        unsafe {
            for_rows!(self.len(), average(first, &mut means) of self);
            for_rows!(self.len(), spread(first, &means, &mut differences, &mut squares) of self);
        }
        let share = 1.0 / self.channels as f32;
        for ((mean, inverse), difference) in means.iter_mut().zip(&mut squares).zip(differences) {
            let correction = difference * share;
            let variance = *inverse * share - correction * correction;
            // Not `max`, which would turn NaN into 0.
            let variance = if variance < 0.0 { 0.0 } else { variance };
            *mean += correction;
            *inverse = 1.0 / (variance + epsilon).sqrt();
        }
        [means, squares]
    }

    /// The means of N pixels, rounded.
    #[inline(always)]
    unsafe fn average<S: Simd, const N: usize>(self, first: usize, means: &mut OfPixels) {
        // SAFETY: vectors, or parts of them, stay within the pixels.
        unsafe {
            let mut sums = [S::zero(); N];
            for_channels!(self.channels, |c, n| {
                for (k, sum) in sums.iter_mut().enumerate() {
                    *sum = S::add(*sum, numbers::<S>(self.x, (first + k) * self.channels + c, n));
                }
            });
            means[first..].iter_mut().zip(sums).for_each(|(mean, sum)| *mean = S::sum(sum) / self.channels as f32);
        }
    }

    /// Sums of N pixels' differences from these, and of their squares.
    #[inline(always)]
    unsafe fn spread<S: Simd, const N: usize>(
        self,
        first: usize,
        means: &OfPixels,
        differences: &mut OfPixels,
        squares: &mut OfPixels,
    ) {
        // SAFETY: vectors, or parts of them, stay within the pixels.
        unsafe {
            let [mut sums, mut of_squares] = [[S::zero(); N]; 2];
            for_channels!(self.channels, |c, n| {
                for k in 0..N {
                    let difference = self.centered::<S>((first + k) * self.channels + c, means[first + k], n);
                    sums[k] = S::add(sums[k], difference);
                    of_squares[k] = S::fma(difference, difference, of_squares[k]);
                }
            });
            for k in 0..N {
                (differences[first + k], squares[first + k]) = (S::sum(sums[k]), S::sum(of_squares[k]));
            }
        }
    }
}

/// Some pixels are normalized: x and y are equally long.
pub(super) struct Forward<'a> {
    pub x: &'a [Bf16],
    pub affine: Affine<'a>,
    pub y: &'a mut [Bf16],
}

impl Task for Forward<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { x, affine, y } = self;
        let channels = affine.weight.len();
        for (x, y) in x.chunks(block_len(channels)).zip(y.chunks_mut(block_len(channels))) {
            let pixels = Pixels { x, channels };
            // SAFETY: granted by the caller.
            unsafe {
                let moments = pixels.moments::<S>(affine.epsilon);
                for_rows!(pixels.len(), normalize(first, &moments, affine, y) of pixels);
            }
        }
    }
}

impl Pixels<'_> {
    /// Normalizes N pixels.
    #[inline(always)]
    unsafe fn normalize<S: Simd, const N: usize>(
        self,
        first: usize,
        [means, inverses]: &[OfPixels; 2],
        affine: Affine,
        y: &mut [Bf16],
    ) {
        // SAFETY: vectors, or parts of them, stay within the pixels.
        unsafe {
            for_channels!(self.channels, |c, n| {
                let [weight, bias] = [affine.weight, affine.bias].map(|of| values::<S>(of, c, n));
                for k in first..first + N {
                    let at = k * self.channels + c;
                    let normalized = S::mul(self.centered::<S>(at, means[k], n), S::splat(inverses[k]));
                    put::<S>(y, at, S::fma(normalized, weight, bias), n);
                }
            });
        }
    }
}
