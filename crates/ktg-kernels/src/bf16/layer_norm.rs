//! Layer norm of maps `[image][pixel][channel]`, where the channels of a pixel follow each other. Some pixels at a time share what
//! there is of each channel, and are enough sums for a processor to add to in turn.

use super::instructions::with_tiles;
use super::periods::{numbers, put, values};
use crate::Kernels;
use crate::channels::add_parts;
use crate::layer_norm::{ROWS, check_affine, for_rows};
use crate::norm::{Affine, NormGradients};
use crate::number::Bf16;
use crate::parallel::{Shared, for_each_piece};
use crate::shape::{Features, Result, check_length};
use crate::simd::{Simd, Task};
use crate::workspace::buffer;

/// Maps are `[image, pixel, channel]` here; moments, sums, parameters and their gradients are f32.
impl Kernels {
    /// As [`layer_norm`](Self::layer_norm).
    pub fn layer_norm_bf16(&self, shape: &Features, x: &[Bf16], affine: Affine, result: &mut [Bf16]) -> Result {
        check_length("the input", shape.len(), x.len())?;
        check_affine(shape, affine)?;
        check_length("the result", shape.len(), result.len())?;
        with_tiles!(self, S, _tiles => forward::<S>(x, affine, result));
        Ok(())
    }

    /// As [`layer_norm_backward`](Self::layer_norm_backward): the result's gradient becomes that of x, or, where that has a place of
    /// its own, stays as it is.
    pub fn layer_norm_backward_bf16(
        &self,
        shape: &Features,
        x: &[Bf16],
        affine: Affine,
        gradients: NormGradients<Bf16>,
    ) -> Result {
        let of_x = gradients.x.as_deref().map_or(shape.len(), <[Bf16]>::len);
        check_length("the input", shape.len(), x.len())?;
        check_affine(shape, affine)?;
        check_length("the gradient", shape.len(), gradients.result.len())?;
        check_length("the gradient of the input", shape.len(), of_x)?;
        check_length("the gradient of the weight", shape.channels, gradients.weight.len())?;
        check_length("the gradient of the bias", shape.channels, gradients.bias.len())?;
        with_tiles!(self, S, _tiles => backward::<S>(x, affine, gradients));
        Ok(())
    }
}

/// Numbers of a task, nearly: by the shape alone, whatever the threads, as each task has its own sums.
const TASK: usize = 32 << 10;

/// Numbers of a task: whole pixels.
fn task_len(channels: usize) -> usize {
    (TASK / channels).next_multiple_of(ROWS).max(ROWS) * channels
}

/// Normalizes all pixels.
pub(super) fn forward<S: Simd>(x: &[Bf16], affine: Affine, result: &mut [Bf16]) {
    let some = task_len(affine.weight.len());
    for_each_piece(result, some, |task, y| {
        let x = &x[task * some..][..y.len()];
        // SAFETY: x and y are equally long.
        unsafe { S::vectorize(Forward { x, affine, y }) }
    });
}

/// All gradients.
pub(super) fn backward<S: Simd>(x: &[Bf16], affine: Affine, gradients: NormGradients<Bf16>) {
    let NormGradients { result, x: separate, weight: of_weight, bias: of_bias } = gradients;
    let channels = affine.weight.len();
    let some = task_len(channels);
    let mut sums = buffer(x.len().div_ceil(some) * 2 * channels);
    let (gradient, separate) = (Shared::new(result), separate.map(Shared::new));
    for_each_piece(&mut sums, 2 * channels, |task, sums| {
        // SAFETY: each task has its own pixels, and the task's slices are as long as it says.
        unsafe {
            let g = gradient.piece(task, some);
            let x = &x[task * some..][..g.len()];
            let to = separate.map(|separate| separate.piece(task, some));
            S::vectorize(Backward { x, affine, g, to, sums });
        }
    });
    let mut totals = vec![0.0; 2 * channels];
    add_parts(&sums, &mut totals);
    of_weight.copy_from_slice(&totals[..channels]);
    of_bias.copy_from_slice(&totals[channels..]);
}

/// What a pixel is normalized with.
#[derive(Clone, Copy)]
struct Moments {
    mean: f32,
    /// `1 / sqrt(variance + epsilon)`
    inverse: f32,
}

/// The vectors of a pixel: where they start, and how many numbers they have.
#[inline(always)]
fn vectors<S: Simd>(channels: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..channels).step_by(S::LANES).map(move |c| (c, S::LANES.min(channels - c)))
}

/// The first `n` numbers of a vector less their pixel's mean, then zeros.
///
/// # Safety
///
/// As for [`numbers`].
#[inline(always)]
unsafe fn centered<S: Simd>(x: &[Bf16], at: usize, mean: f32, n: usize) -> S::V {
    // SAFETY: granted by the caller; 16 values are a vector at least.
    unsafe {
        let mean = if n == S::LANES { S::splat(mean) } else { S::load_first([mean; 16].as_ptr(), n) };
        S::sub(numbers::<S>(x, at, n), mean)
    }
}

/// The moments of N pixels, of which number `at` is the first number.
///
/// # Safety
///
/// The pixels are there, and the processor has S's instructions.
#[inline(always)]
unsafe fn moments<S: Simd, const N: usize>(x: &[Bf16], at: usize, channels: usize, epsilon: f32) -> [Moments; N] {
    let share = 1.0 / channels as f32;
    // SAFETY: granted by the caller.
    unsafe {
        let mut sums = [S::zero(); N];
        for (c, n) in vectors::<S>(channels) {
            for (k, sum) in sums.iter_mut().enumerate() {
                *sum = S::add(*sum, numbers::<S>(x, at + k * channels + c, n));
            }
        }
        let means = sums.map(|sum| share * S::sum(sum));
        // As in f32, no sum of large numbers is ever subtracted from another, and differences tell that the mean is rounded.
        let [mut differences, mut squares] = [[S::zero(); N]; 2];
        for (c, n) in vectors::<S>(channels) {
            for k in 0..N {
                let difference = centered::<S>(x, at + k * channels + c, means[k], n);
                differences[k] = S::add(differences[k], difference);
                squares[k] = S::fma(difference, difference, squares[k]);
            }
        }
        std::array::from_fn(|k| {
            let correction = share * S::sum(differences[k]);
            let variance = share * S::sum(squares[k]) - correction * correction;
            // Not `max`, which would turn NaN into 0.
            let variance = if variance < 0.0 { 0.0 } else { variance };
            Moments { mean: means[k] + correction, inverse: 1.0 / (variance + epsilon).sqrt() }
        })
    }
}

/// Some pixels are normalized: x and y are equally long.
struct Forward<'a> {
    x: &'a [Bf16],
    affine: Affine<'a>,
    y: &'a mut [Bf16],
}

impl Task for Forward<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(mut self) {
        let pixels = self.x.len() / self.affine.weight.len();
        // SAFETY: granted by the caller.
        unsafe {
            for_rows!(pixels, normalize(first) of self);
        }
    }
}

impl Forward<'_> {
    /// Normalizes N pixels.
    #[inline(always)]
    unsafe fn normalize<S: Simd, const N: usize>(&mut self, first: usize) {
        let Self { x, affine, ref mut y } = *self;
        let channels = affine.weight.len();
        // SAFETY: vectors, or parts of them, stay within the pixels.
        unsafe {
            let moments: [Moments; N] = moments::<S, N>(x, first * channels, channels, affine.epsilon);
            for (c, n) in vectors::<S>(channels) {
                let [weight, bias] = [affine.weight, affine.bias].map(|of| values::<S>(of, c, n));
                for (k, Moments { mean, inverse }) in moments.into_iter().enumerate() {
                    let at = (first + k) * channels + c;
                    let normalized = S::mul(centered::<S>(x, at, mean, n), S::splat(inverse));
                    put::<S>(y, at, S::fma(normalized, weight, bias), n);
                }
            }
        }
    }
}

/// The gradients of some pixels: `dx = inverse (g w - mean(g w) - normalized x * mean(g w normalized x))`, means over the channels.
struct Backward<'a> {
    x: &'a [Bf16],
    affine: Affine<'a>,
    /// As long as x, as is the place of its gradient, where that does not go to the place of g.
    g: &'a mut [Bf16],
    to: Option<&'a mut [Bf16]>,
    /// These pixels' parts of the gradients of weight and bias, `[2][channels]`.
    sums: &'a mut [f32],
}

impl Task for Backward<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(mut self) {
        self.sums.fill(0.0);
        let pixels = self.x.len() / self.affine.weight.len();
        // SAFETY: granted by the caller.
        unsafe {
            for_rows!(pixels, add(first) of self);
        }
    }
}

impl Backward<'_> {
    /// Adds what N pixels have of the sums, and makes their gradients.
    #[inline(always)]
    unsafe fn add<S: Simd, const N: usize>(&mut self, first: usize) {
        let Self { x, affine, ref mut g, ref mut to, ref mut sums } = *self;
        let channels = affine.weight.len();
        let share = 1.0 / channels as f32;
        // SAFETY: vectors, or parts of them, stay within the pixels, or within the sums of weights or biases.
        unsafe {
            let moments: [Moments; N] = moments::<S, N>(x, first * channels, channels, affine.epsilon);
            // Of each pixel, the sums of `g w` and of its products with normalized x.
            let [mut of_g, mut of_products] = [[S::zero(); N]; 2];
            for (c, n) in vectors::<S>(channels) {
                let weight = values::<S>(affine.weight, c, n);
                let [mut of_weight, mut of_bias] = [c, channels + c].map(|place| values::<S>(sums, place, n));
                for (k, Moments { mean, inverse }) in moments.into_iter().enumerate() {
                    let at = (first + k) * channels + c;
                    let normalized = S::mul(centered::<S>(x, at, mean, n), S::splat(inverse));
                    let g = numbers::<S>(g, at, n);
                    of_weight = S::fma(g, normalized, of_weight);
                    of_bias = S::add(of_bias, g);
                    let weighted = S::mul(g, weight);
                    of_g[k] = S::add(of_g[k], weighted);
                    of_products[k] = S::fma(weighted, normalized, of_products[k]);
                }
                S::store_up_to(sums[c..].as_mut_ptr(), of_weight, n);
                S::store_up_to(sums[channels + c..].as_mut_ptr(), of_bias, n);
            }
            let [constants, slopes] = [of_g, of_products].map(|sums| sums.map(|sum| share * S::sum(sum)));
            for (c, n) in vectors::<S>(channels) {
                let weight = values::<S>(affine.weight, c, n);
                for (k, Moments { mean, inverse }) in moments.into_iter().enumerate() {
                    let at = (first + k) * channels + c;
                    let slope = S::splat(slopes[k] * inverse * inverse);
                    let from_moments = S::fma(centered::<S>(x, at, mean, n), slope, S::splat(constants[k] * inverse));
                    let weighted = S::mul(numbers::<S>(g, at, n), weight);
                    let dx = S::sub(S::mul(weighted, S::splat(inverse)), from_moments);
                    put::<S>(to.as_deref_mut().unwrap_or(g), at, dx, n);
                }
            }
        }
    }
}
