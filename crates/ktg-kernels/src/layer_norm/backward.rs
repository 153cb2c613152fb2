//! Backward: `dx = inverse (g w - mean(g w) - normalized x * mean(g w normalized x))`, means over the channels of a pixel.

use super::columns::{Columns, ROWS, for_rows};
use crate::norm::Affine;
use crate::simd::{Simd, Task};

/// The gradients of some pixels of an image.
pub(super) struct Backward<'a> {
    pub columns: Columns,
    pub x: *const f32,
    pub affine: Affine<'a>,
    /// Of the result. May be the same as dx: every value is read before it is written.
    pub g: *const f32,
    pub dx: *mut f32,
    /// These pixels' parts of the gradients of weight and bias, `[2][channels]`.
    pub sums: &'a mut [f32],
    /// Four numbers a pixel.
    pub scratch: &'a mut [f32],
}

/// What there is of each pixel.
#[derive(Clone, Copy)]
struct Pixels {
    mean: *const f32,
    inverse: *const f32,
    /// Sum of `g w`; later what is subtracted.
    sum: *mut f32,
    /// Sum of `g w` times normalized x; later what x less its mean is multiplied with.
    product: *mut f32,
}

impl Task for Backward<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(mut self) {
        let columns = self.columns;
        let scratch = std::mem::take(&mut self.scratch);
        let (mean, rest) = scratch.split_at_mut(columns.scratch(1));
        let (inverse, rest) = rest.split_at_mut(mean.len());
        let (sum, product) = rest.split_at_mut(mean.len());
        // SAFETY: granted by the caller.
        unsafe { columns.moments::<S>(self.x, self.affine.epsilon, mean, inverse, sum) }
        sum.fill(0.0);
        product.fill(0.0);
        let pixels = Pixels {
            mean: mean.as_ptr(),
            inverse: inverse.as_ptr(),
            sum: sum.as_mut_ptr(),
            product: product.as_mut_ptr(),
        };
        // SAFETY: granted by the caller.
        unsafe {
            for_rows!(columns.channels, add(c, pixels) of self);
        }
        let share = 1.0 / columns.channels as f32;
        for ((sum, product), inverse) in sum.iter_mut().zip(product).zip(inverse) {
            *sum *= share * *inverse;
            *product *= share * *inverse * *inverse;
        }
        // SAFETY: granted by the caller.
        unsafe {
            for_rows!(columns.channels, finish(c, pixels) of self);
        }
    }
}

impl Backward<'_> {
    /// Adds what N channels have of the sums of pixels, and makes their sums over the pixels.
    #[inline(always)]
    unsafe fn add<S: Simd, const N: usize>(&mut self, channel: usize, pixels: Pixels) {
        let Self { columns, x, affine, g, .. } = *self;
        // SAFETY: granted by the caller.
        unsafe {
            let [mut of_weight, mut of_bias] = [[S::zero(); N]; 2];
            for i in (0..columns.pixels).step_by(S::LANES) {
                let x: [S::V; N] = columns.rows::<S, N>(x, channel, i);
                let g: [S::V; N] = columns.rows::<S, N>(g, channel, i);
                let (mean, inverse) = (S::load(pixels.mean.add(i)), S::load(pixels.inverse.add(i)));
                let (mut sum, mut product) = (S::load(pixels.sum.add(i)), S::load(pixels.product.add(i)));
                for k in 0..N {
                    let normalized = S::mul(S::sub(x[k], mean), inverse);
                    of_bias[k] = S::add(of_bias[k], g[k]);
                    of_weight[k] = S::fma(g[k], normalized, of_weight[k]);
                    let weighted = S::mul(g[k], S::splat(affine.weight[channel + k]));
                    sum = S::add(sum, weighted);
                    product = S::fma(weighted, normalized, product);
                }
                S::store(pixels.sum.add(i), sum);
                S::store(pixels.product.add(i), product);
            }
            for k in 0..N {
                self.sums[channel + k] = S::sum(of_weight[k]);
                self.sums[columns.channels + channel + k] = S::sum(of_bias[k]);
            }
        }
    }

    /// The gradient of N channels of x.
    #[inline(always)]
    unsafe fn finish<S: Simd, const N: usize>(&self, channel: usize, pixels: Pixels) {
        let Self { columns, x, affine, g, dx, .. } = *self;
        for i in (0..columns.pixels).step_by(S::LANES) {
            // SAFETY: granted by the caller.
            unsafe {
                let x: [S::V; N] = columns.rows::<S, N>(x, channel, i);
                let g: [S::V; N] = columns.rows::<S, N>(g, channel, i);
                let (mean, inverse) = (S::load(pixels.mean.add(i)), S::load(pixels.inverse.add(i)));
                let (sum, product) = (S::load(pixels.sum.add(i)), S::load(pixels.product.add(i)));
                for k in 0..N {
                    let from_moments = S::fma(S::sub(x[k], mean), product, sum);
                    let weighted = S::mul(g[k], S::splat(affine.weight[channel + k]));
                    let v = S::sub(S::mul(weighted, inverse), from_moments);
                    S::store_up_to(dx.add((channel + k) * columns.apart + i), v, columns.pixels - i);
                }
            }
        }
    }
}
