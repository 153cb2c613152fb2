//! The matrix product at the heart of all convolutions: a tile of the result stays in registers while any number of
//! pieces of the inner dimension, wherever they lie in memory, are added to it ("batch-reduce GEMM", Georganas et al.,
//! IPDPS 2020).

use crate::simd::{Simd, Task};

/// A piece of the inner dimension: `depth` columns of A and rows of B.
#[derive(Clone, Copy)]
pub(crate) struct Segment {
    pub a: *const f32,
    pub b: *const f32,
    pub depth: usize,
}

/// How the values of A lie: by rows that are `a_apart` values apart.
pub(crate) const ROWS_APART: u8 = 0;
/// By rows that follow each other and are as long as those of B.
pub(crate) const ROWS: u8 = 1;
/// By columns that follow each other and are as long as the rows of B.
pub(crate) const COLUMNS: u8 = 2;
/// By rows that are `a_apart` values apart, and those of B `b_apart`.
pub(crate) const BOTH_APART: u8 = 3;
/// By columns that are `a_apart` values apart, and the rows of B `b_apart`.
pub(crate) const COLUMNS_APART: u8 = 4;

/// `C = sum over segments of A B`, or `C += ...`.
///
/// The `rows` rows of C are NV vectors, and `c_row` values apart; those of B are as long and follow each other. How A lies
/// is known at compile time: addresses then cost no instructions.
#[derive(Clone, Copy)]
pub(crate) struct Gemm<'a, const NV: usize, const A: u8> {
    pub rows: usize,
    pub segments: &'a [Segment],
    /// Counts where the rows or columns of A are apart only.
    pub a_apart: usize,
    /// Counts for [`BOTH_APART`] and [`COLUMNS_APART`] only.
    pub b_apart: usize,
    pub c: *mut f32,
    pub c_row: usize,
    /// Add to C instead of overwriting it.
    pub accumulate: bool,
}

impl<const NV: usize, const A: u8> Gemm<'_, NV, A> {
    #[inline(always)]
    unsafe fn tile<S: Simd, const MR: usize>(&self, row: usize) {
        let b_row = if A == BOTH_APART || A == COLUMNS_APART { self.b_apart } else { NV * S::LANES };
        let (a_row, a_column) = match A {
            ROWS_APART | BOTH_APART => (self.a_apart, 1),
            COLUMNS_APART => (1, self.a_apart),
            ROWS => (b_row, 1),
            _ => (1, b_row),
        };
        // SAFETY: the caller of `run` grants C's rows and all segments.
        unsafe {
            let c = self.c.add(row * self.c_row);
            let mut sum = [[S::zero(); NV]; MR];
            if self.accumulate {
                for (i, sum) in sum.iter_mut().enumerate() {
                    for (v, sum) in sum.iter_mut().enumerate() {
                        *sum = S::load(c.add(i * self.c_row + v * S::LANES));
                    }
                }
            }
            for (i, segment) in self.segments.iter().enumerate() {
                if A == ROWS {
                    // Rows of A lie side by side, its segments far apart, where the processor does not expect them.
                    let next = match self.segments.get(i + 1) {
                        Some(segment) => segment.a.wrapping_add(row * a_row),
                        None => self.segments[0].a.wrapping_add((row + MR) * a_row),
                    };
                    for line in 0..(MR * b_row).div_ceil(16) {
                        S::prefetch(next.wrapping_add(16 * line));
                    }
                }
                let (mut a, mut b) = (segment.a.add(row * a_row), segment.b);
                for _ in 0..segment.depth {
                    let mut columns = [S::zero(); NV];
                    for (v, columns) in columns.iter_mut().enumerate() {
                        *columns = S::load(b.add(v * S::LANES));
                    }
                    for (i, sum) in sum.iter_mut().enumerate() {
                        let a = S::splat(*a.add(i * a_row));
                        for (v, sum) in sum.iter_mut().enumerate() {
                            *sum = S::fma(a, columns[v], *sum);
                        }
                    }
                    a = a.wrapping_add(a_column);
                    b = b.wrapping_add(b_row);
                }
            }
            for (i, sum) in sum.iter().enumerate() {
                for (v, sum) in sum.iter().enumerate() {
                    S::store(c.add(i * self.c_row + v * S::LANES), *sum);
                }
            }
        }
    }
}

impl<const NV: usize, const A: u8> Task for Gemm<'_, NV, A> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // Nearly even groups of rows: 28 rows are 6, 6, 6, 5, 5 instead of 6, 6, 6, 6, 4.
        let groups = self.rows.div_ceil(S::ROWS);
        let mut row = 0;
        for group in 0..groups {
            let rows = (self.rows - row).div_ceil(groups - group);
            // The compiler knows the number of rows of every tile.
            macro_rules! tile_of {
                ($($known:literal)*) => {
                    match rows {
                        $($known if $known <= S::ROWS => self.tile::<S, $known>(row),)*
                        _ => unreachable!("a group has at most as many rows as the level's tile"),
                    }
                };
            }
            // SAFETY: `row + rows` stays within `self.rows`.
            unsafe { tile_of!(1 2 3 4 5 6 7 8 9 10 11 12 13 14) }
            row += rows;
        }
    }
}
