//! Images of one pixel, as behind a global pool: their channels follow each other and lie in vectors.

use crate::norm::{Affine, sums};
use crate::parallel::{Shared, for_each_piece};
use crate::simd::{Simd, Task};

/// Images that a task handles.
const IMAGES: usize = 8;

/// Tasks of so many images.
pub(super) fn tasks(images: usize) -> usize {
    images.div_ceil(IMAGES)
}

/// Normalizes images of so many values.
pub(super) fn forward<S: Simd>(channels: usize, x: &[f32], affine: Affine, result: &mut [f32]) {
    let some = IMAGES * channels;
    for_each_piece(result, some, |task, y| {
        let x = &x[task * some..][..y.len()];
        // SAFETY: x and y are equally long.
        unsafe { S::vectorize(Forward { channels, x, affine, y }) }
    });
}

/// The gradients of the images of a task; their parts of those of weight and bias go to `sums`, `[2][channels]`.
///
/// # Safety
///
/// No other thread uses these images.
pub(super) unsafe fn backward<S: Simd>(
    task: usize,
    x: &[f32],
    affine: Affine,
    gradient: Shared,
    dx: Shared,
    sums: &mut [f32],
) {
    let some = IMAGES * affine.weight.len();
    let x = &x[task * some..][..some.min(x.len() - task * some)];
    // SAFETY: granted by the caller; the gradients are as long as x.
    unsafe {
        let (g, dx) = (gradient.at(task * some), dx.at(task * some));
        S::vectorize(Backward { x, affine, g, dx, sums });
    }
}

/// Mean and `1 / sqrt(variance + epsilon)` of values.
#[inline(always)]
unsafe fn moments<S: Simd>(x: &[f32], epsilon: f32) -> (f32, f32) {
    let share = 1.0 / x.len() as f32;
    // SAFETY: needs only the level's instructions, as the caller grants.
    unsafe {
        let mean = sums::<S>(x, 0.0).0 * share;
        let (difference, square) = sums::<S>(x, mean);
        let correction = difference * share;
        let variance = square * share - correction * correction;
        // Not `max`, which would turn NaN into 0.
        let variance = if variance < 0.0 { 0.0 } else { variance };
        (mean + correction, 1.0 / (variance + epsilon).sqrt())
    }
}

struct Forward<'a> {
    channels: usize,
    x: &'a [f32],
    affine: Affine<'a>,
    y: &'a mut [f32],
}

impl Task for Forward<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { channels, x, affine: Affine { weight, bias, epsilon }, y } = self;
        for (x, y) in x.chunks_exact(channels).zip(y.chunks_exact_mut(channels)) {
            // SAFETY: within the level's instructions.
            let (mean, inverse) = unsafe { moments::<S>(x, epsilon) };
            for (((y, x), weight), bias) in y.iter_mut().zip(x).zip(weight).zip(bias) {
                *y = (x - mean) * inverse * weight + bias;
            }
        }
    }
}

struct Backward<'a> {
    x: &'a [f32],
    affine: Affine<'a>,
    /// As long as x. May be the same as dx: every value is read before it is written.
    g: *const f32,
    dx: *mut f32,
    sums: &'a mut [f32],
}

impl Task for Backward<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { x, affine: Affine { weight, epsilon, .. }, g, dx, sums } = self;
        let channels = weight.len();
        sums.fill(0.0);
        let sums = sums.as_mut_ptr();
        for (image, x) in x.chunks_exact(channels).enumerate() {
            // SAFETY: the caller grants `channels` values of every image, and twice as many sums.
            unsafe {
                let (mean, inverse) = moments::<S>(x, epsilon);
                let (x, w) = (x.as_ptr(), weight.as_ptr());
                let (g, dx) = (g.add(image * channels), dx.add(image * channels));
                let (means, inverses) = (S::splat(mean), S::splat(inverse));
                let [mut sum, mut product] = [S::zero(); 2];
                for i in (0..channels).step_by(S::LANES) {
                    let n = channels - i;
                    let g = S::load_up_to(g.add(i), n);
                    // Behind the last channel, g is 0.
                    let normalized = S::mul(S::sub(S::load_up_to(x.add(i), n), means), inverses);
                    let (of_weight, of_bias) = (sums.add(i), sums.add(channels + i));
                    S::store_up_to(of_weight, S::fma(g, normalized, S::load_up_to(of_weight, n)), n);
                    S::store_up_to(of_bias, S::add(g, S::load_up_to(of_bias, n)), n);
                    let weighted = S::mul(g, S::load_up_to(w.add(i), n));
                    sum = S::add(sum, weighted);
                    product = S::fma(weighted, normalized, product);
                }
                let share = inverse / channels as f32;
                let (sum, product) = (S::splat(S::sum(sum) * share), S::splat(S::sum(product) * share * inverse));
                for i in (0..channels).step_by(S::LANES) {
                    let n = channels - i;
                    let difference = S::sub(S::load_up_to(x.add(i), n), means);
                    let weighted = S::mul(S::load_up_to(g.add(i), n), S::load_up_to(w.add(i), n));
                    let v = S::sub(S::mul(weighted, inverses), S::fma(difference, product, sum));
                    S::store_up_to(dx.add(i), v, n);
                }
            }
        }
    }
}
