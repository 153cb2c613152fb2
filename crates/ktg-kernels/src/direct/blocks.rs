//! The weights as products with the result's channels in vectors read them.

use std::ops::Range;

use crate::parallel::for_each_piece;
use crate::rows::{Gather, Rows, gather_weights};
use crate::shape::{Conv2d, Window};
use crate::simd::Simd;
use crate::workspace::{Buffer, buffer};

/// Forward: `[block of outputs][tap][input][output of the block]`; backward: `[block of inputs][tap][output][input of the block]`.
/// Blocks are NV vectors.
pub(super) fn weights_by_blocks<S: Simd, const NV: usize>(shape: &Conv2d, weights: &[f32], backward: bool) -> Buffer {
    let Conv2d { input, output, window: Window { kernel, .. }, .. } = *shape;
    let (from, to) = if backward { (output, input) } else { (input, output) };
    let block = NV * S::LANES;
    let len = kernel * kernel * from * block;
    let mut gathered = buffer(to.div_ceil(block) * len);
    for_each_piece(&mut gathered, len, |number, values| {
        let own = number * block..((number + 1) * block).min(to);
        match (backward, kernel) {
            (false, _) => gather_weights::<S, NV>(shape, weights, own, values),
            // The same, faster: of each output channel, the block's weights lie side by side.
            (true, 1) => {
                for (to, from) in values.chunks_exact_mut(block).zip(weights.chunks_exact(input)) {
                    to[..own.len()].copy_from_slice(&from[own.clone()]);
                    to[own.len()..].fill(0.0);
                }
            }
            (true, _) => gather_transposed::<S, NV>(shape, weights, own, values),
        }
    });
    gathered
}

/// The weights of a block of input channels, `[tap][output][input of the block]`.
fn gather_transposed<S: Simd, const NV: usize>(shape: &Conv2d, weights: &[f32], own: Range<usize>, to: &mut [f32]) {
    let Conv2d { input, output, window: Window { kernel, .. }, .. } = *shape;
    let (block, taps) = (NV * S::LANES, kernel * kernel);
    assert_eq!(to.len(), taps * output * block, "room for a block's weights");
    for channel in 0..output {
        for half in 0..NV {
            let first = own.start + half * S::LANES;
            // SAFETY: the weights of these input channels are there, and there is room for them.
            unsafe {
                S::vectorize(Gather(Rows {
                    rows: weights.as_ptr().wrapping_add((channel * input + first) * taps),
                    stride: taps,
                    count: own.end.saturating_sub(first).min(S::LANES),
                    len: taps,
                    group: taps,
                    vectors: to.as_mut_ptr().add(channel * block + half * S::LANES),
                    group_step: output * block,
                    vector_step: 0,
                }));
            }
        }
    }
}
