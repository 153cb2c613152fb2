//! What forward and backward have in common: a block of queries and their probabilities.
//!
//! Matrices of a block have rows of [`WIDTH`] values, of which its vectors are used: rows of scores are tokens that are looked at,
//! columns those that look.

use std::ops::Range;

use crate::exponential::exp;
use crate::gemm::{BOTH_APART, COLUMNS_APART, Gemm, Segment};
use crate::parallel::part;
use crate::simd::{Simd, Task};

/// Queries of the widest block: a multiple of all levels' vectors, and five of the longest, which are enough for 65 tokens.
pub(super) const WIDTH: usize = 80;

/// Queries, keys and values of a head of an image, `[width][tokens]` each.
#[derive(Clone, Copy)]
pub(super) struct Head {
    pub width: usize,
    pub tokens: usize,
    pub q: *const f32,
    pub k: *const f32,
    pub v: *const f32,
}

impl Head {
    /// Factor of scores.
    pub fn scale(self) -> f32 {
        1.0 / (self.width as f32).sqrt()
    }

    /// The tokens in whole vectors of any level.
    pub fn padded(self) -> usize {
        self.tokens.next_multiple_of(16)
    }

    /// Blocks of nearly as many vectors each.
    #[inline(always)]
    pub fn blocks<S: Simd>(self) -> impl Iterator<Item = Block> {
        let vectors = self.tokens.div_ceil(S::LANES);
        let blocks = vectors.div_ceil(WIDTH / S::LANES);
        (0..blocks).map(move |i| {
            let Range { start, end } = part(vectors, i, blocks);
            Block { head: self, first: start * S::LANES, vectors: end - start }
        })
    }

    /// Writes rows `[width][padded tokens]`, times a factor, to those of a head.
    ///
    /// # Safety
    ///
    /// Both are there.
    #[inline(always)]
    pub unsafe fn write<S: Simd>(self, from: *const f32, factor: f32, to: *mut f32) {
        // SAFETY: granted by the caller.
        unsafe {
            let factor = S::splat(factor);
            for c in 0..self.width {
                for i in (0..self.tokens).step_by(S::LANES) {
                    let v = S::mul(S::load(from.add(c * self.padded() + i)), factor);
                    S::store_up_to(to.add(c * self.tokens + i), v, self.tokens - i);
                }
            }
        }
    }
}

/// Queries of a head: from the token `first` on, as many vectors.
#[derive(Clone, Copy)]
pub(super) struct Block {
    pub head: Head,
    pub first: usize,
    pub vectors: usize,
}

impl Block {
    /// Queries that there are, without those behind the last token.
    pub fn queries<S: Simd>(self) -> usize {
        (self.vectors * S::LANES).min(self.head.tokens - self.first)
    }

    /// The block's tokens of rows `[width][tokens]`, times a factor; zeros behind the last token.
    ///
    /// # Safety
    ///
    /// Both are there, `to` in rows of a block.
    #[inline(always)]
    pub unsafe fn read<S: Simd>(self, from: *const f32, factor: f32, to: *mut f32) {
        let Head { width, tokens, .. } = self.head;
        // SAFETY: granted by the caller.
        unsafe {
            let factor = S::splat(factor);
            for c in 0..width {
                let from = from.add(c * tokens + self.first);
                for i in (0..self.vectors * S::LANES).step_by(S::LANES) {
                    let v = S::load_up_to(from.add(i), tokens - self.first - i);
                    S::store(to.add(c * WIDTH + i), S::mul(v, factor));
                }
            }
        }
    }

    /// `c[token][query] = sum over channels of a[channel][token] b[channel][query]`, with a of the head and b of the block.
    ///
    /// # Safety
    ///
    /// They are there.
    #[inline(always)]
    pub unsafe fn by_channels<S: Simd>(self, a: *const f32, b: *const f32, c: *mut f32) {
        let Head { width, tokens, .. } = self.head;
        let product =
            Product { rows: tokens, depth: width, a, a_apart: tokens, b, b_apart: WIDTH, c, accumulate: false };
        // SAFETY: granted by the caller.
        unsafe { product.run::<S, COLUMNS_APART>(self.vectors) }
    }

    /// `c[channel][query] = sum over tokens of a[channel][token] b[token][query]`, with a of the head and b of the block.
    ///
    /// # Safety
    ///
    /// They are there.
    #[inline(always)]
    pub unsafe fn by_tokens<S: Simd>(self, a: *const f32, b: *const f32, c: *mut f32) {
        let Head { width, tokens, .. } = self.head;
        let product =
            Product { rows: width, depth: tokens, a, a_apart: tokens, b, b_apart: WIDTH, c, accumulate: false };
        // SAFETY: granted by the caller.
        unsafe { product.run::<S, BOTH_APART>(self.vectors) }
    }

    /// Makes of the scores of a vector of queries, which is a column of vectors, `e^(score - largest score)`; one over the sum of these.
    ///
    /// # Safety
    ///
    /// The scores of all tokens are there.
    #[inline(always)]
    pub unsafe fn exponentials<S: Simd>(self, scores: *mut f32) -> S::V {
        let tokens = self.head.tokens;
        // SAFETY: granted by the caller.
        unsafe {
            // Two, since each has to wait for the one before.
            let mut most = [S::load(scores); 2];
            for token in 1..tokens {
                most[token % 2] = S::max(S::load(scores.add(token * WIDTH)), most[token % 2]);
            }
            let most = S::max(most[0], most[1]);
            let mut sums = [S::zero(); 2];
            for token in 0..tokens {
                let score = scores.add(token * WIDTH);
                let v = exp::<S>(S::sub(S::load(score), most));
                S::store(score, v);
                sums[token % 2] = S::add(sums[token % 2], v);
            }
            inverse::<S>(S::add(sums[0], sums[1]))
        }
    }
}

/// One over each value.
#[inline(always)]
unsafe fn inverse<S: Simd>(v: S::V) -> S::V {
    let mut values = [0.0; 16];
    // SAFETY: no vector has more than 16 values.
    unsafe {
        S::store(values.as_mut_ptr(), v);
        values.iter_mut().for_each(|value| *value = 1.0 / *value);
        S::load(values.as_ptr())
    }
}

/// `C = A B` or `C += A B`, where the rows of C are as far apart as those of B.
#[derive(Clone, Copy)]
pub(super) struct Product {
    pub rows: usize,
    pub depth: usize,
    pub a: *const f32,
    pub a_apart: usize,
    pub b: *const f32,
    pub b_apart: usize,
    pub c: *mut f32,
    pub accumulate: bool,
}

impl Product {
    /// Of so many vectors a row; A is how the rows of A lie.
    ///
    /// # Safety
    ///
    /// All is there.
    #[inline(always)]
    pub unsafe fn run<S: Simd, const A: u8>(self, vectors: usize) {
        let pairs = vectors / 2;
        // SAFETY: granted by the caller.
        unsafe {
            for pair in 0..pairs {
                self.columns::<S, 2, A>(2 * pair);
            }
            if vectors % 2 == 1 {
                self.columns::<S, 1, A>(2 * pairs);
            }
        }
    }

    /// NV vectors of each row. A function of its own, however often it is used.
    #[inline(always)]
    unsafe fn columns<S: Simd, const NV: usize, const A: u8>(self, vector: usize) {
        let Self { rows, depth, a, a_apart, b, b_apart, c, accumulate } = self;
        // SAFETY: granted by the caller.
        unsafe {
            let (b, c) = (b.add(vector * S::LANES), c.add(vector * S::LANES));
            let segments = &[Segment { a, b, depth }];
            S::vectorize(Gemm::<NV, A> { rows, segments, a_apart, b_apart, c, c_row: b_apart, accumulate });
        }
    }
}

/// Transposes `[tokens][queries]` of a block to `[queries][tokens]`, whose rows are `padded` values long and zero behind the last token.
pub(super) struct Transpose {
    pub block: Block,
    pub from: *const f32,
    pub to: *mut f32,
}

impl Task for Transpose {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { block: Block { head, vectors, .. }, from, to } = self;
        for (token, vector) in
            (0..head.tokens).step_by(S::LANES).flat_map(|token| (0..vectors).map(move |v| (token, v)))
        {
            // SAFETY: the caller grants all tokens, and room for the queries of all vectors.
            unsafe {
                let mut square = [S::zero(); 16];
                for (i, row) in square.iter_mut().enumerate().take(S::LANES) {
                    if token + i < head.tokens {
                        *row = S::load(from.add((token + i) * WIDTH + vector * S::LANES));
                    }
                }
                S::transpose(&mut square[..S::LANES]);
                for (i, row) in square.iter().enumerate().take(S::LANES) {
                    S::store(to.add((vector * S::LANES + i) * head.padded() + token), *row);
                }
            }
        }
    }
}
