//! 3x3 convolutions of stride 1 by Winograd's F(4x4, 3x3): 36 multiplications a channel pair for 16 results instead of
//! 144.

mod correlate;
mod maps;
mod tiles;
mod transform;
mod weights;

pub(crate) use correlate::{backward_data, forward};
pub(crate) use weights::backward_weights;

use crate::shape::Conv2d;

/// Positions of a tile in the Winograd domain.
const POSITIONS: usize = 36;

/// Values between matrices whose size is a power of two, so that the same element of all 36 does not fall into the same
/// set of the cache.
const SKEW: usize = 16;

/// How the images of a convolution are cut into tiles.
#[derive(Clone, Copy)]
struct Tiling {
    height: usize,
    width: usize,
    /// Rows of tiles of one image.
    rows: usize,
    /// Tiles in a row.
    columns: usize,
    /// Rows of tiles of the whole batch.
    all_rows: usize,
}

impl Tiling {
    fn new(shape: &Conv2d) -> Self {
        let Conv2d { batch, height, width, .. } = *shape;
        let rows = height.div_ceil(4);
        Self { height, width, rows, columns: width.div_ceil(4), all_rows: batch * rows }
    }

    /// Image and row in it of a row of tiles of the batch.
    fn locate(&self, row: usize) -> (usize, usize) {
        (row / self.rows, row % self.rows)
    }

    /// Pixels of a plane.
    fn pixels(&self) -> usize {
        self.height * self.width
    }

    /// Rows of tiles that make up at least `tiles` tiles (or all).
    fn rows_of(&self, tiles: usize) -> usize {
        tiles.div_ceil(self.columns).clamp(1, self.all_rows)
    }
}

/// Blocks of the result's channels that one task computes where the other operand does not fit its cache: they share
/// what is near, but there are enough tasks for all threads.
fn blocks_at_a_time(blocks: usize) -> usize {
    4.min(blocks / (2 * rayon::current_num_threads())).max(1)
}
