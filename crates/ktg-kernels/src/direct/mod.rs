//! Convolutions of any window by implicit GEMM: the matrix of all windows ("im2col") never exists as a whole.
//!
//! With many channels, products read it from maps whose channels lie side by side (`lines`). With few, or few results, some of its
//! rows and columns at a time are copied into panels that fit into the first-level cache.

mod blocks;
mod data;
mod fold;
mod forward;
mod lines;
mod matrix;
mod pack;
mod source;
mod weights;
mod weights_by_pixels;

pub(crate) use data::backward_data;
pub(crate) use forward::forward;
pub(crate) use source::scatter;
pub(crate) use weights::backward_weights;

use crate::simd::Simd;

/// Columns of a panel: the two vectors of a GEMM tile.
const fn panel<S: Simd>() -> usize {
    2 * S::LANES
}
