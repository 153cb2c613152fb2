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

/// `C = sum over segments of A B`, or `C += ...`.
///
/// C has `rows` rows of NV vectors. A's value (row, k) is at `a + row * a_row + k * a_step`, row k of B at
/// `b + k * b_step`. The strides A_ROW, A_STEP and B_STEP are fixed at compile time where they are not 0, in units
/// of a vector's lanes or, for the value 1, of one `f32`: addresses then cost no instructions.
#[derive(Clone, Copy)]
pub(crate) struct Gemm<'a, const NV: usize, const A_ROW: isize, const A_STEP: isize, const B_STEP: isize> {
    pub rows: usize,
    pub segments: &'a [Segment],
    pub a_row: usize,
    pub a_step: usize,
    pub b_step: usize,
    pub c: *mut f32,
    pub c_row: usize,
    /// Add to C instead of overwriting it.
    pub accumulate: bool,
}

/// One `f32`, for the stride parameters of [`Gemm`]; positive numbers there are vectors.
pub(crate) const ONE: isize = -1;
/// A stride known at run time only.
pub(crate) const RUNTIME: isize = 0;

#[inline(always)]
fn stride<S: Simd>(fixed: isize, runtime: usize) -> usize {
    match fixed {
        RUNTIME => runtime,
        ONE => 1,
        vectors => vectors as usize * S::LANES,
    }
}

impl<const NV: usize, const A_ROW: isize, const A_STEP: isize, const B_STEP: isize>
    Gemm<'_, NV, A_ROW, A_STEP, B_STEP>
{
    #[inline(always)]
    unsafe fn tile<S: Simd, const MR: usize>(&self, row: usize) {
        let a_row = stride::<S>(A_ROW, self.a_row);
        let a_step = stride::<S>(A_STEP, self.a_step);
        let b_step = stride::<S>(B_STEP, self.b_step);
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
                if A_ROW > 0 {
                    // Rows of A lie side by side, its segments far apart, where the processor does not expect them.
                    let next = match self.segments.get(i + 1) {
                        Some(segment) => segment.a.wrapping_add(row * a_row),
                        None => self.segments[0].a.wrapping_add((row + MR) * a_row),
                    };
                    for line in 0..(MR * A_ROW as usize * S::LANES).div_ceil(16) {
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
                    a = a.wrapping_add(a_step);
                    b = b.wrapping_add(b_step);
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

impl<const NV: usize, const A_ROW: isize, const A_STEP: isize, const B_STEP: isize> Task
    for Gemm<'_, NV, A_ROW, A_STEP, B_STEP>
{
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // Nearly even groups of rows: 28 rows are 6, 6, 6, 5, 5 instead of 6, 6, 6, 6, 4.
        let groups = self.rows.div_ceil(S::ROWS);
        let mut row = 0;
        for group in 0..groups {
            let rows = (self.rows - row).div_ceil(groups - group);
            // SAFETY: `row + rows` stays within `self.rows`.
            unsafe {
                match rows {
                    1 => self.tile::<S, 1>(row),
                    2 => self.tile::<S, 2>(row),
                    3 => self.tile::<S, 3>(row),
                    4 => self.tile::<S, 4>(row),
                    5 if S::ROWS > 4 => self.tile::<S, 5>(row),
                    6 if S::ROWS > 4 => self.tile::<S, 6>(row),
                    7 if S::ROWS > 6 => self.tile::<S, 7>(row),
                    8 if S::ROWS > 6 => self.tile::<S, 8>(row),
                    9 if S::ROWS > 6 => self.tile::<S, 9>(row),
                    10 if S::ROWS > 6 => self.tile::<S, 10>(row),
                    11 if S::ROWS > 6 => self.tile::<S, 11>(row),
                    12 if S::ROWS > 6 => self.tile::<S, 12>(row),
                    13 if S::ROWS > 6 => self.tile::<S, 13>(row),
                    14 if S::ROWS > 6 => self.tile::<S, 14>(row),
                    _ => unreachable!("a group has at most as many rows as the level's tile"),
                }
            }
            row += rows;
        }
    }
}
