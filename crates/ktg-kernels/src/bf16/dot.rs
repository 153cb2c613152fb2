//! Products of tiles by AVX-512-BF16, whose instruction adds the products of two pairs of numbers to a sum.

use std::arch::x86_64::*;

use super::tiles::{LINE, Product, ROWS, SUMS, TILE, Tiles};

/// A processor with AVX-512-BF16; made where there is one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dot(());

impl Dot {
    /// `None` where the processor lacks the instructions.
    pub fn new() -> Option<Self> {
        (is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bf16")).then_some(Self(()))
    }
}

impl Tiles for Dot {
    type Held = ();

    fn hold(self) {}

    unsafe fn multiply<const M: usize, const N: usize>(self, product: &Product<M, N>) {
        for row in (0..M * ROWS).step_by(AT_A_TIME) {
            // SAFETY: the processor has the instructions (`new`); the rest is granted by the caller.
            unsafe { rows::<M, N>(product, row) }
        }
    }
}

/// Rows of the sums that are computed together: with 3 tiles side by side, their 24 vectors fit into the registers.
const AT_A_TIME: usize = 8;

#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn rows<const M: usize, const N: usize>(product: &Product<M, N>, row: usize) {
    // SAFETY: the caller grants all tiles; rows and columns stay within them.
    unsafe {
        let c = product.c.add(row / ROWS * N * SUMS + row % ROWS * ROWS);
        let mut sums = [[_mm512_setzero_ps(); N]; AT_A_TIME];
        if product.accumulate {
            for (i, sums) in sums.iter_mut().enumerate() {
                for (n, sum) in sums.iter_mut().enumerate() {
                    *sum = _mm512_loadu_ps(c.add(n * SUMS + i * ROWS));
                }
            }
        }
        for (i, step) in product.steps.iter().enumerate() {
            let a = product.a.add(*step as usize + row / ROWS * TILE + row % ROWS * LINE).cast::<i32>();
            for k in 0..ROWS {
                let mut b = [_mm512_setzero_si512(); N];
                for (n, b) in b.iter_mut().enumerate() {
                    *b = _mm512_loadu_si512(product.b[n].add(i * product.b_step + k * LINE).cast());
                }
                for (i, sums) in sums.iter_mut().enumerate() {
                    let a = _mm512_set1_epi32(a.add(i * ROWS + k).read_unaligned());
                    for (n, sum) in sums.iter_mut().enumerate() {
                        *sum = _mm512_dpbf16_ps(*sum, bits(a), bits(b[n]));
                    }
                }
            }
        }
        for (i, sums) in sums.iter().enumerate() {
            for (n, sum) in sums.iter().enumerate() {
                _mm512_storeu_ps(c.add(n * SUMS + i * ROWS), *sum);
            }
        }
    }
}

/// 32 bf16 numbers that are pairs in a vector of integers.
#[inline(always)]
fn bits(pairs: __m512i) -> __m512bh {
    // SAFETY: both are 512 bits, of which any are a value.
    unsafe { std::mem::transmute(pairs) }
}
