//! Feature maps, and the tiles they are cut into.

use super::tiles::{Squares, TileRow, Tiles};
use super::{POSITIONS, SKEW, Tiling};
use crate::parallel::Shared;
use crate::planes::Planes;
use crate::simd::Simd;

/// Feature maps of a batch, `[batch, channels, height, width]`.
#[derive(Clone, Copy)]
pub(super) struct Maps<'a> {
    pub values: &'a [f32],
    pub channels: usize,
    pub tiling: Tiling,
}

/// Transformed tiles of some blocks of channels: `[position][block][tile][channel of the block]`.
#[derive(Clone, Copy)]
pub(super) struct TileBlocks<'a> {
    values: Shared<'a>,
    /// The first of the blocks.
    first: usize,
    position_step: usize,
    block_step: usize,
    tile_step: usize,
}

impl<'a> TileBlocks<'a> {
    /// Values that so many blocks of `block` channels take.
    pub fn len(blocks: usize, tiles: usize, block: usize) -> usize {
        POSITIONS * (blocks * tiles * block + SKEW)
    }

    /// In memory of that length; `first` is the first of the blocks.
    pub fn new(memory: &'a mut [f32], first: usize, tiles: usize, block: usize) -> Self {
        let position_step = memory.len() / POSITIONS;
        Self { values: Shared::new(memory), first, position_step, block_step: tiles * block, tile_step: block }
    }

    /// Where the channels of a block of a tile lie.
    ///
    /// # Safety
    ///
    /// They are there; the rest as for [`Shared::at`].
    pub unsafe fn at(&self, position: usize, block: usize, tile: usize) -> *mut f32 {
        let index = position * self.position_step + (block - self.first) * self.block_step + tile * self.tile_step;
        // SAFETY: granted by the caller.
        unsafe { self.values.at(index) }
    }
}

impl Maps<'_> {
    /// Transforms the squares of SIDE pixels ([`Squares`]) of a row of tiles, of a block of NV vectors of channels; `tile` is
    /// where the row starts in `to`.
    ///
    /// # Safety
    ///
    /// `to` has room, no other thread uses it there, and the scratch is as long as needed.
    pub unsafe fn transform<S: Simd, const NV: usize, const SIDE: usize>(
        &self,
        row: usize,
        block: usize,
        to: TileBlocks,
        tile: usize,
        scratch: *mut f32,
    ) {
        let Self { values, channels, tiling } = *self;
        let (image, row) = tiling.locate(row);
        let pixels = tiling.pixels();
        for half in 0..NV {
            let channel = (block * NV + half) * S::LANES;
            let start = values.as_ptr().wrapping_add((image * channels + channel) * pixels);
            let lanes = channels.saturating_sub(channel).min(S::LANES);
            let planes = Planes { start, stride: pixels, channels: lanes, width: tiling.width };
            // SAFETY: the planes are within `values`; the rest is granted by the caller.
            unsafe {
                let start = to.at(0, block, tile).add(half * S::LANES);
                S::vectorize(Squares::<SIDE> {
                    from: TileRow { planes, tiling, row, scratch },
                    to: Tiles { start, position_step: to.position_step, tile_step: to.tile_step },
                });
            }
        }
    }
}
