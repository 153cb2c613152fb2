//! Products of tiles, which is what a processor with AMX has instructions for.
//!
//! A *tile* is 16 rows of 64 bytes. The product of a tile A (16 rows of 32 numbers) and a tile B (16 rows of 16 *pairs* of numbers)
//! is added to a tile C of 16 x 16 sums in f32: `C[m][n] += sum over k and l of A[m][2 k + l] B[k][n][l]`. A *line* is 64 bytes.

use crate::number::Bf16;
use crate::simd::{Simd, Task};

/// Rows of a tile.
pub(crate) const ROWS: usize = 16;
/// Numbers of a line.
pub(crate) const LINE: usize = 32;
/// Numbers of a tile A or B.
pub(crate) const TILE: usize = ROWS * LINE;
/// Sums of a tile C.
pub(crate) const SUMS: usize = ROWS * ROWS;

/// `M x N` tiles C, one after the other at `c`, to which `steps.len()` products are added: tiles A at `a + steps[i]`, `M` of them
/// one after the other, times tiles B at `b[n] + i * b_step`. Steps are in numbers.
pub(crate) struct Product<'a, const M: usize, const N: usize> {
    pub a: *const Bf16,
    pub steps: &'a [u32],
    pub b: [*const Bf16; N],
    pub b_step: usize,
    pub c: *mut f32,
    /// Add to what is at `c`, instead of starting with zeros.
    pub accumulate: bool,
}

/// Who multiplies tiles.
pub(crate) trait Tiles: Copy + Send + Sync {
    /// What a thread holds while it multiplies.
    type Held;

    /// To be held by a thread while it calls [`Self::multiply`].
    fn hold(self) -> Self::Held;

    /// M and N are 2 and 2, 4 and 1, 2 and 3 or 1 and 3.
    ///
    /// # Safety
    ///
    /// This thread holds the tiles; all tiles are there, nobody else uses `c`, and tiles of scratch memory are aligned to lines.
    unsafe fn multiply<const M: usize, const N: usize>(self, product: &Product<M, N>);
}

/// Vectors of f32, on any processor. It adds in the order of the instruction TDPBF16PS (even and odd places apart, then both to the
/// sum), but takes subnormal numbers as they are.
#[derive(Clone, Copy)]
pub(crate) struct Plain<S>(pub std::marker::PhantomData<S>);

impl<S: Simd> Tiles for Plain<S> {
    type Held = ();

    fn hold(self) {}

    unsafe fn multiply<const M: usize, const N: usize>(self, product: &Product<M, N>) {
        // SAFETY: granted by the caller.
        unsafe {
            if !product.accumulate {
                product.c.write_bytes(0, M * N * SUMS);
            }
            for (i, step) in product.steps.iter().enumerate() {
                for n in 0..N {
                    let b = product.b[n].add(i * product.b_step);
                    S::vectorize(Columns::<M, N> { a: product.a.add(*step as usize), b, c: product.c.add(n * SUMS) });
                }
            }
        }
    }
}

/// The products of M tiles A and one tile B; tiles C are N apart.
struct Columns<const M: usize, const N: usize> {
    a: *const Bf16,
    b: *const Bf16,
    c: *mut f32,
}

impl<const M: usize, const N: usize> Task for Columns<M, N> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // The numbers of B at even and at odd places, in rows of columns.
        let mut b = [[0.0f32; SUMS]; 2];
        // SAFETY: the caller grants the tiles; indices stay within them.
        unsafe {
            for (l, b) in b.iter_mut().enumerate() {
                b.iter_mut().enumerate().for_each(|(i, b)| *b = (*self.b.add(2 * i + l)).to_f32());
            }
            for row in 0..M * ROWS {
                let a = self.a.add(row * LINE);
                let c = self.c.add(row / ROWS * N * SUMS + row % ROWS * ROWS);
                for column in (0..ROWS).step_by(S::LANES) {
                    let mut sums = [S::zero(); 2];
                    for k in 0..ROWS {
                        for l in 0..2 {
                            let a = S::splat((*a.add(2 * k + l)).to_f32());
                            sums[l] = S::fma(a, S::load(b[l].as_ptr().add(k * ROWS + column)), sums[l]);
                        }
                    }
                    let sum = S::add(S::load(c.add(column)), S::add(sums[0], sums[1]));
                    S::store(c.add(column), sum);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::marker::PhantomData;

    use super::*;
    use crate::simd::portable::{Array, Portable};

    /// Numbers without any order, so that nothing can stand in for anything else.
    fn numbers(seed: u32, len: usize) -> Vec<Bf16> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            Bf16::from_f32((state >> 8) as f32 / (1 << 23) as f32 - 1.0)
        };
        (0..len).map(|_| next()).collect()
    }

    fn check<T: Tiles, const M: usize, const N: usize>(tiles: T, accumulate: bool) {
        let steps = [3 * TILE as u32, 0, TILE as u32];
        let a = numbers(1, (3 + M) * TILE);
        let b: Vec<Vec<Bf16>> = (0..N).map(|n| numbers(2 + n as u32, steps.len() * 2 * TILE)).collect();
        let before = if accumulate { 0.5 } else { 0.0 };
        let mut c = vec![if accumulate { 0.5 } else { f32::NAN }; M * N * SUMS];
        let product = Product::<M, N> {
            a: a.as_ptr(),
            steps: &steps,
            b: std::array::from_fn(|n| b[n].as_ptr()),
            b_step: 2 * TILE,
            c: c.as_mut_ptr(),
            accumulate,
        };
        let _held = tiles.hold();
        // SAFETY: all tiles are there, and this thread holds the registers.
        unsafe { tiles.multiply(&product) };
        for m in 0..M * ROWS {
            for n in 0..N * ROWS {
                let (mut sum, mut size) = (before, before);
                for (i, step) in steps.iter().enumerate() {
                    for k in 0..LINE {
                        let a = f64::from(a[*step as usize + m * LINE + k].to_f32());
                        let b = f64::from(b[n / ROWS][i * 2 * TILE + k / 2 * LINE + n % ROWS * 2 + k % 2].to_f32());
                        (sum, size) = (sum + a * b, size + (a * b).abs());
                    }
                }
                let found = f64::from(c[(m / ROWS * N + n / ROWS) * SUMS + m % ROWS * ROWS + n % ROWS]);
                assert!((found - sum).abs() <= 1e-6 * size, "{M} x {N}, {m}, {n}: {found} is not {sum}");
            }
        }
    }

    fn check_all<T: Tiles>(tiles: T) {
        for accumulate in [false, true] {
            check::<T, 2, 2>(tiles, accumulate);
            check::<T, 4, 1>(tiles, accumulate);
            check::<T, 2, 3>(tiles, accumulate);
            check::<T, 1, 3>(tiles, accumulate);
        }
    }

    #[test]
    fn products_of_tiles_are_those_of_the_definition() {
        check_all(Plain::<Portable>(PhantomData));
        check_all(Plain::<Array<8, 6>>(PhantomData));
        check_all(Plain::<Array<16, 14>>(PhantomData));
        #[cfg(target_arch = "x86_64")]
        {
            if let Some(dot) = crate::bf16::dot::Dot::new() {
                check_all(dot)
            };
            if let Some(amx) = crate::bf16::amx::Amx::new() {
                check_all(amx)
            };
        }
    }
}
