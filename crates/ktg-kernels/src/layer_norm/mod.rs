//! Layer normalization (Ba, Kiros & Hinton 2016) over the channels of each pixel, or token.
//!
//! Mean and deviation of a pixel are computed again in the backward pass rather than kept: x must be read there anyway, and what is
//! read for them comes from a near cache then.

mod backward;
mod columns;
mod few_pixels;

use crate::Kernels;
use crate::channels::add_parts;
use crate::norm::{Affine, NormGradients};
use crate::parallel::{Shared, for_each_piece, parallel};
use crate::shape::{Features, Result, check_if_given, check_length};
use crate::simd::{Simd, at_level};
use crate::workspace::buffer;
use backward::Backward;
use columns::{Columns, Forward};
pub(crate) use columns::{ROWS, for_rows};

impl Kernels {
    /// Normalizes the values of each pixel over its channels by their mean and biased variance: `(x - mean) / sqrt(variance +
    /// epsilon) * weight + bias`, where weight and bias are `[channels]`, and all else is `[batch, channels, pixels]`.
    pub fn layer_norm(&self, shape: &Features, x: &[f32], affine: Affine, result: &mut [f32]) -> Result {
        check(shape, x, affine, result)?;
        at_level!(self.level(), S => forward::<S>(shape, x, affine, result));
        Ok(())
    }

    /// Gradients of [`layer_norm`](Self::layer_norm) with the same `x` and `affine`. The result's gradient becomes that of x, or, where
    /// that has a place of its own, stays as it is.
    pub fn layer_norm_backward(&self, shape: &Features, x: &[f32], affine: Affine, gradients: NormGradients) -> Result {
        check_backward(shape, x, affine, &gradients)?;
        at_level!(self.level(), S => backward::<S>(shape, x, affine, gradients));
        Ok(())
    }
}

/// Checks lengths, of numbers of any kind.
pub(crate) fn check<T>(shape: &Features, x: &[T], affine: Affine, result: &[T]) -> Result {
    check_length("the input", shape.len(), x.len())?;
    check_affine(shape, affine)?;
    check_length("the result", shape.len(), result.len())
}

/// Checks lengths on the way back.
pub(crate) fn check_backward<T>(shape: &Features, x: &[T], affine: Affine, gradients: &NormGradients<T>) -> Result {
    check_length("the input", shape.len(), x.len())?;
    check_affine(shape, affine)?;
    check_length("the gradient", shape.len(), gradients.result.len())?;
    check_if_given("the gradient of the input", shape.len(), gradients.x.as_deref())?;
    check_length("the gradient of the weight", shape.channels, gradients.weight.len())?;
    check_length("the gradient of the bias", shape.channels, gradients.bias.len())
}

fn check_affine(shape: &Features, affine: Affine) -> Result {
    check_length("the layer norm's weight", shape.channels, affine.weight.len())?;
    check_length("the layer norm's bias", shape.channels, affine.bias.len())
}

/// Normalizes the pixels of all images.
pub(crate) fn forward<S: Simd>(shape: &Features, x: &[f32], affine: Affine, result: &mut [f32]) {
    if few_pixels::are_few::<S>(shape.pixels) {
        return few_pixels::forward::<S>(shape.pixels, x, affine, result);
    }
    let (parts, result) = (Parts::new(shape), Shared::new(result));
    parallel(parts.count, |task| {
        let (columns, start) = parts.part(task);
        let mut scratch = buffer(columns.scratch(3));
        // SAFETY: the pixels from `start` on are this task's alone, and the scratch memory is as large as it wants.
        unsafe {
            let (x, y) = (x.as_ptr().add(start), result.at(start));
            S::vectorize(Forward { columns, x, affine, y, scratch: &mut scratch });
        }
    });
}

/// All gradients.
pub(crate) fn backward<S: Simd>(shape: &Features, x: &[f32], affine: Affine, gradients: NormGradients) {
    let NormGradients { result: gradient, x: separate, weight: of_weight, bias: of_bias } = gradients;
    let gradient = Shared::new(gradient);
    let dx = separate.map_or(gradient, Shared::new);
    let (channels, parts) = (shape.channels, Parts::new(shape));
    let are_few = few_pixels::are_few::<S>(shape.pixels);
    let tasks = if are_few { few_pixels::tasks(shape.batch) } else { parts.count };
    let mut sums = buffer(tasks * 2 * channels);
    if are_few {
        few_pixels::backward::<S>(shape.pixels, x, affine, [gradient, dx], &mut sums);
    } else {
        for_each_piece(&mut sums, 2 * channels, |task, sums| {
            let (columns, start) = parts.part(task);
            let mut scratch = buffer(columns.scratch(4));
            // SAFETY: the pixels from `start` on are this task's alone, and the scratch memory is as large as it wants.
            unsafe {
                let (x, g, dx) = (x.as_ptr().add(start), gradient.at(start), dx.at(start));
                S::vectorize(Backward { columns, x, affine, g, dx, sums, scratch: &mut scratch });
            }
        });
    }
    let mut totals = vec![0.0; 2 * channels];
    add_parts(&sums, &mut totals);
    of_weight.copy_from_slice(&totals[..channels]);
    of_bias.copy_from_slice(&totals[channels..]);
}

/// Values of a task: they are read several times, the first time from memory, and stay in the core's own cache.
const TASK_VALUES: usize = 48 << 10;

/// How images are cut into tasks: by the shape alone.
#[derive(Clone, Copy)]
struct Parts {
    channels: usize,
    /// Of an image.
    pixels: usize,
    /// Pixels of a part, but for the last of an image.
    of_part: usize,
    /// Parts of an image.
    of_image: usize,
    /// Parts of all images.
    count: usize,
}

impl Parts {
    fn new(shape: &Features) -> Self {
        let &Features { batch, channels, pixels } = shape;
        // Not below a few cache lines of a row. Whole vectors of any level, but for the last.
        let most = (TASK_VALUES / channels).max(64);
        let of_part = pixels.div_ceil(pixels.div_ceil(most)).next_multiple_of(16);
        let of_image = pixels.div_ceil(of_part);
        Self { channels, pixels, of_part, of_image, count: batch * of_image }
    }

    /// A part, and where its first value lies.
    fn part(self, task: usize) -> (Columns, usize) {
        let (image, first) = (task / self.of_image, task % self.of_image * self.of_part);
        let pixels = self.of_part.min(self.pixels - first);
        let columns = Columns { channels: self.channels, apart: self.pixels, pixels };
        (columns, image * self.channels * self.pixels + first)
    }
}
