//! Backward: `dx = inverse (g w - mean(g w) - normalized x * mean(g w normalized x))`, means over the channels of a pixel.

use super::super::periods::{numbers, put, values};
use super::pixels::{MOST, OfPixels, Pixels, block_len, for_channels};
use crate::layer_norm::{ROWS, for_rows};
use crate::norm::Affine;
use crate::number::Bf16;
use crate::simd::{Simd, Task};

/// The gradients of some pixels.
pub(super) struct Backward<'a> {
    pub x: &'a [Bf16],
    pub affine: Affine<'a>,
    /// As long as x, as is the place of its gradient, where that does not go to the place of g.
    pub g: &'a mut [Bf16],
    pub to: Option<&'a mut [Bf16]>,
    /// These pixels' parts of the gradients of weight and bias, `[2][channels]`.
    pub sums: &'a mut [f32],
}

impl Task for Backward<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { x, affine, g, mut to, sums } = self;
        let channels = affine.weight.len();
        let len = block_len(channels);
        sums.fill(0.0);
        for (number, (x, g)) in x.chunks(len).zip(g.chunks_mut(len)).enumerate() {
            let pixels = Pixels { x, channels };
            let mut to = to.as_deref_mut().map(|to| &mut to[number * len..][..x.len()]);
            // SAFETY: granted by the caller.
            unsafe {
                let [means, inverses] = pixels.moments::<S>(affine.epsilon);
                let [slopes, constants] = [[0.0; MOST]; 2];
                let mut block = Block { pixels, weight: affine.weight, means, inverses, slopes, constants };
                for_rows!(pixels.len(), add(first, g, sums) of block);
                block.average();
                for_rows!(pixels.len(), finish(first, g, &mut to) of block);
            }
        }
    }
}

/// A block of pixels, and what there is of each.
struct Block<'a> {
    pixels: Pixels<'a>,
    weight: &'a [f32],
    means: OfPixels,
    inverses: OfPixels,
    /// Sum of `g w` times normalized x; later what x less its mean is multiplied with.
    slopes: OfPixels,
    /// Sum of `g w`; later what is subtracted.
    constants: OfPixels,
}

impl Block<'_> {
    /// Makes the sums of N pixels, and adds what they have of those of channels.
    ///
    /// # Safety
    ///
    /// The processor has S's instructions; so for all functions here.
    #[inline(always)]
    unsafe fn add<S: Simd, const N: usize>(&mut self, first: usize, g: &[Bf16], sums: &mut [f32]) {
        let Pixels { channels, .. } = self.pixels;
        // SAFETY: vectors, or parts of them, stay within the pixels, or within the sums of weights or biases.
        unsafe {
            let [mut products, mut of_g] = [[S::zero(); N]; 2];
            for_channels!(channels, |c, n| {
                let weight = values::<S>(self.weight, c, n);
                let [mut of_weight, mut of_bias] = [c, channels + c].map(|place| values::<S>(sums, place, n));
                for k in 0..N {
                    let at = (first + k) * channels + c;
                    let centered = self.pixels.centered::<S>(at, self.means[first + k], n);
                    let normalized = S::mul(centered, S::splat(self.inverses[first + k]));
                    let g = numbers::<S>(g, at, n);
                    of_weight = S::fma(g, normalized, of_weight);
                    of_bias = S::add(of_bias, g);
                    let weighted = S::mul(g, weight);
                    products[k] = S::fma(weighted, normalized, products[k]);
                    of_g[k] = S::add(of_g[k], weighted);
                }
                S::store_up_to(sums[c..].as_mut_ptr(), of_weight, n);
                S::store_up_to(sums[channels + c..].as_mut_ptr(), of_bias, n);
            });
            for k in 0..N {
                (self.slopes[first + k], self.constants[first + k]) = (S::sum(products[k]), S::sum(of_g[k]));
            }
        }
    }

    /// Makes of the sums what gradients need.
    #[inline(always)]
    fn average(&mut self) {
        let share = 1.0 / self.pixels.channels as f32;
        for ((slope, constant), inverse) in self.slopes.iter_mut().zip(&mut self.constants).zip(&self.inverses) {
            *slope *= share * *inverse * *inverse;
            *constant *= share * *inverse;
        }
    }

    /// The gradients of N pixels, which have a place of their own or that of g.
    #[inline(always)]
    unsafe fn finish<S: Simd, const N: usize>(&self, first: usize, g: &mut [Bf16], to: &mut Option<&mut [Bf16]>) {
        // SAFETY: vectors, or parts of them, stay within the pixels.
        unsafe {
            for_channels!(self.pixels.channels, |c, n| {
                let weight = values::<S>(self.weight, c, n);
                for k in first..first + N {
                    let at = k * self.pixels.channels + c;
                    let centered = self.pixels.centered::<S>(at, self.means[k], n);
                    let from_moments = S::fma(centered, S::splat(self.slopes[k]), S::splat(self.constants[k]));
                    let weighted = S::mul(numbers::<S>(g, at, n), weight);
                    let dx = S::sub(S::mul(weighted, S::splat(self.inverses[k])), from_moments);
                    put::<S>(to.as_deref_mut().unwrap_or(g), at, dx, n);
                }
            });
        }
    }
}
