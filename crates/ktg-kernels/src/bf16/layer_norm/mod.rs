//! Layer norm of maps `[image][pixel][channel]`, where the channels of a pixel follow each other.

mod backward;
mod pixels;

use super::instructions::with_tiles;
use crate::Kernels;
use crate::channels::add_parts;
use crate::layer_norm::{ROWS, check, check_backward};
use crate::norm::{Affine, NormGradients};
use crate::number::Bf16;
use crate::parallel::{Shared, for_each_piece};
use crate::shape::{Features, Result};
use crate::simd::Simd;
use crate::workspace::buffer;
use backward::Backward;
use pixels::Forward;

/// Maps are `[image, pixel, channel]` here; moments, sums, parameters and their gradients are f32.
impl Kernels {
    /// As [`layer_norm`](Self::layer_norm).
    pub fn layer_norm_bf16(&self, shape: &Features, x: &[Bf16], affine: Affine, result: &mut [Bf16]) -> Result {
        check(shape, x, affine, result)?;
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
        check_backward(shape, x, affine, &gradients)?;
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
