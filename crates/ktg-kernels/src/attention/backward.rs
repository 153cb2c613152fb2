//! Backward, from the scores again. With probabilities p and g the gradient of the result: that of v is `g p^T`; that of p is `v^T g`; that
//! of a score is p times what the gradient of p is above its mean, weighted by p.

use super::block::{Block, Head, Product, Transpose, WIDTH};
use crate::gemm::BOTH_APART;
use crate::simd::{Simd, Task};

/// The gradients of a head's queries, keys and values, all `[width][tokens]`.
pub(super) struct Backward<'a> {
    pub head: Head,
    pub g: *const f32,
    pub dq: *mut f32,
    pub dk: *mut f32,
    pub dv: *mut f32,
    /// As [`Self::scratch`] says.
    pub scratch: &'a mut [f32],
}

impl Backward<'_> {
    /// Values of scratch memory.
    pub fn scratch(head: Head) -> usize {
        let Head { width, tokens, .. } = head;
        (3 * width + 2 * tokens + head.padded()) * WIDTH + 2 * width * head.padded()
    }
}

impl Task for Backward<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { head, g, dq, dk, dv, scratch } = self;
        let Head { width, tokens, .. } = head;
        let mut rest = scratch;
        let mut take = |len: usize| rest.split_off_mut(..len).expect("as much as `scratch` says").as_mut_ptr();
        let [queries, gradient, of_queries] = [(); 3].map(|()| take(width * WIDTH));
        let [p, of_scores] = [(); 2].map(|()| take(tokens * WIDTH));
        let transposed = take(head.padded() * WIDTH);
        let [of_keys, of_values] = [(); 2].map(|()| take(width * head.padded()));
        for block in head.blocks::<S>() {
            // SAFETY: the caller grants the head and its gradients; the scratch memory has room for a block's matrices.
            unsafe {
                block.read::<S>(head.q, head.scale(), queries);
                block.read::<S>(g, 1.0, gradient);
                block.by_channels::<S>(head.k, queries, p);
                block.by_channels::<S>(head.v, gradient, of_scores);
                for v in 0..block.vectors {
                    scores_backward::<S>(block, p.add(v * S::LANES), of_scores.add(v * S::LANES));
                }
                block.by_tokens::<S>(head.k, of_scores, of_queries);
                for (c, v) in (0..width).flat_map(|c| (0..block.vectors).map(move |v| (c, v))) {
                    let i = v * S::LANES;
                    let sum = S::mul(S::load(of_queries.add(c * WIDTH + i)), S::splat(head.scale()));
                    S::store_up_to(dq.add(c * tokens + block.first + i), sum, block.queries::<S>() - i);
                }
                for (from, with, to) in [(p, g, of_values), (of_scores, head.q, of_keys)] {
                    S::vectorize(Transpose { block, from, to: transposed });
                    let product = Product {
                        rows: width,
                        depth: block.queries::<S>(),
                        a: with.add(block.first),
                        a_apart: tokens,
                        b: transposed,
                        b_apart: head.padded(),
                        c: to,
                        accumulate: block.first > 0,
                    };
                    product.run::<S, BOTH_APART>(tokens.div_ceil(S::LANES));
                }
            }
        }
        // SAFETY: as above; there are whole vectors of all tokens.
        unsafe {
            head.write::<S>(of_keys, head.scale(), dk);
            head.write::<S>(of_values, 1.0, dv);
        }
    }
}

/// Of a vector of queries, a column of vectors each: scores become probabilities, gradients of probabilities those of scores.
#[inline(always)]
unsafe fn scores_backward<S: Simd>(block: Block, p: *mut f32, gradient: *mut f32) {
    // SAFETY: the caller grants all tokens of both.
    unsafe {
        let inverse = block.exponentials::<S>(p);
        let mut mean = [S::zero(); 2];
        for token in 0..block.head.tokens {
            let (p, g) = (p.add(token * WIDTH), gradient.add(token * WIDTH));
            mean[token % 2] = S::fma(S::load(p), S::load(g), mean[token % 2]);
        }
        let mean = S::mul(S::add(mean[0], mean[1]), inverse);
        for token in 0..block.head.tokens {
            let (p, g) = (p.add(token * WIDTH), gradient.add(token * WIDTH));
            let probability = S::mul(S::load(p), inverse);
            S::store(p, probability);
            S::store(g, S::mul(probability, S::sub(S::load(g), mean)));
        }
    }
}
