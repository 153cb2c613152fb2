//! Depthwise convolutions: each channel with a filter of its own.
//!
//! The channels of a pixel lie side by side in vectors, as many as a vector has lanes. So vectors are full, and aligned, whatever the
//! width of the maps, the window and its stride, and nothing is ever moved from lane to lane between the products. Maps in f32 come and
//! go as planes: rows of them are transposed on the way in and out, which costs less than reading them from memory. Those in bf16 have
//! their channels side by side, and are only made longer and rounded there (`bf16/depthwise.rs`).

mod blocks;
mod maps;
mod shape;
mod weights;

pub(crate) use blocks::{Block, MapNumber};
pub(crate) use maps::{backward_data, forward};
pub use shape::Depthwise;
pub(crate) use weights::backward_weights;

use crate::Kernels;
use crate::shape::Result;
use crate::simd::at_level;

impl Kernels {
    /// Convolution of each channel of `images` with its filter; shapes see [`Depthwise`].
    ///
    /// An image's result does not depend on the others of the batch.
    pub fn depthwise(&self, shape: &Depthwise, images: &[f32], weights: &[f32], result: &mut [f32]) -> Result {
        shape.lengths().check(images.len(), weights.len(), result.len())?;
        at_level!(self.level(), S => forward::<S, f32>(shape, images, weights, result));
        Ok(())
    }

    /// Gradient of the images, from the result's `gradient`.
    pub fn depthwise_backward_data(
        &self,
        shape: &Depthwise,
        gradient: &[f32],
        weights: &[f32],
        result: &mut [f32],
    ) -> Result {
        shape.lengths().check_backward_data(gradient.len(), weights.len(), result.len())?;
        at_level!(self.level(), S => backward_data::<S, f32>(shape, gradient, weights, result));
        Ok(())
    }

    /// Gradient of the weights, from the result's `gradient`.
    pub fn depthwise_backward_weights(
        &self,
        shape: &Depthwise,
        images: &[f32],
        gradient: &[f32],
        result: &mut [f32],
    ) -> Result {
        shape.lengths().check_backward_weights(images.len(), gradient.len(), result.len())?;
        at_level!(self.level(), S => backward_weights::<S, f32>(shape, images, gradient, result));
        Ok(())
    }
}
