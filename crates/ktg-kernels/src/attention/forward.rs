//! Forward.

use super::block::{Head, WIDTH};
use crate::simd::{Simd, Task};

/// The result of a head.
pub(super) struct Forward<'a> {
    pub head: Head,
    /// `[width][tokens]`
    pub y: *mut f32,
    /// As [`Self::scratch`] says.
    pub scratch: &'a mut [f32],
}

impl Forward<'_> {
    /// Values of scratch memory.
    pub fn scratch(head: Head) -> usize {
        (2 * head.width + head.tokens) * WIDTH
    }
}

impl Task for Forward<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { head, y, scratch } = self;
        let (queries, rest) = scratch.split_at_mut(head.width * WIDTH);
        let (result, scores) = rest.split_at_mut(head.width * WIDTH);
        let [queries, result, scores] = [queries, result, scores].map(<[f32]>::as_mut_ptr);
        for block in head.blocks::<S>() {
            // SAFETY: the caller grants head and result; the scratch memory has room for a block's matrices.
            unsafe {
                block.read::<S>(head.q, head.scale(), queries);
                block.by_channels::<S>(head.k, queries, scores);
                let mut inverses = [S::zero(); WIDTH / 4];
                for (v, inverse) in inverses.iter_mut().enumerate().take(block.vectors) {
                    *inverse = block.exponentials::<S>(scores.add(v * S::LANES));
                }
                block.by_tokens::<S>(head.v, scores, result);
                let n = block.queries::<S>();
                for (c, v) in (0..head.width).flat_map(|c| (0..block.vectors).map(move |v| (c, v))) {
                    let i = v * S::LANES;
                    let sum = S::mul(S::load(result.add(c * WIDTH + i)), inverses[v]);
                    S::store_up_to(y.add(c * head.tokens + block.first + i), sum, n - i);
                }
            }
        }
    }
}
