//! Depthwise convolutions of maps `[image][row][column][channel]`: the code of those in f32, between which pixels are made longer on
//! the way in and rounded on the way out. Each value is converted once that way, not at every tap.

use std::ops::Range;

use super::instructions::with_tiles;
use crate::Kernels;
use crate::depthwise::{Block, Depthwise, MapNumber, backward_data, backward_weights, forward};
use crate::number::Bf16;
use crate::shape::Result;
use crate::simd::Simd;

/// Images and results are `[image, row, column, channel]` here; weights, and their gradients, are those of the f32 operations. Sums
/// are f32.
impl Kernels {
    /// As [`depthwise`](Self::depthwise); weights are not rounded, unlike those of other convolutions in bf16.
    ///
    /// # Errors
    ///
    /// If a slice has another length than the shape says; so for all operations.
    pub fn depthwise_bf16(&self, shape: &Depthwise, images: &[Bf16], weights: &[f32], result: &mut [Bf16]) -> Result {
        shape.lengths().check(images.len(), weights.len(), result.len())?;
        with_tiles!(self, S, _tiles => forward::<S, Bf16>(shape, images, weights, result));
        Ok(())
    }

    /// Gradient of the images, from the result's `gradient`.
    pub fn depthwise_backward_data_bf16(
        &self,
        shape: &Depthwise,
        gradient: &[Bf16],
        weights: &[f32],
        result: &mut [Bf16],
    ) -> Result {
        shape.lengths().check_backward_data(gradient.len(), weights.len(), result.len())?;
        with_tiles!(self, S, _tiles => backward_data::<S, Bf16>(shape, gradient, weights, result));
        Ok(())
    }

    /// Gradient of the weights, in f32, from the result's `gradient`.
    pub fn depthwise_backward_weights_bf16(
        &self,
        shape: &Depthwise,
        images: &[Bf16],
        gradient: &[Bf16],
        result: &mut [f32],
    ) -> Result {
        shape.lengths().check_backward_weights(images.len(), gradient.len(), result.len())?;
        with_tiles!(self, S, _tiles => backward_weights::<S, Bf16>(shape, images, gradient, result));
        Ok(())
    }
}

/// Number of the first channel of the block in the first pixel of a row.
fn start_of(block: &Block, row: usize) -> usize {
    let [height, width] = block.sides;
    (block.image * height + row) * width * block.channels + block.first
}

impl MapNumber for Bf16 {
    const SIDE_BY_SIDE: usize = 8;

    #[inline(always)]
    unsafe fn read<S: Simd>(maps: *const Self, block: Block, rows: Range<usize>, to: *mut f32, columns: usize) {
        for (i, row) in rows.enumerate() {
            for column in 0..block.sides[1] {
                // SAFETY: the caller grants that the maps have the pixel's channels and that there is room for a vector.
                unsafe {
                    let pixel = maps.add(start_of(&block, row) + column * block.channels);
                    S::store(to.add((i * columns + column) * S::LANES), S::load_first_bf16(pixel, block.count));
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn write<S: Simd>(maps: *mut Self, block: Block, rows: Range<usize>, from: *const f32) {
        // Rows follow each other in both.
        for pixel in 0..rows.len() * block.sides[1] {
            // SAFETY: granted by the caller.
            unsafe {
                let to = maps.add(start_of(&block, rows.start) + pixel * block.channels);
                S::store_first_bf16(to, S::load(from.add(pixel * S::LANES)), block.count);
            }
        }
    }
}
