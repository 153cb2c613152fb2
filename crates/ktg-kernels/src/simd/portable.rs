//! Arrays, which compilers turn into the vectors of the processor they compile for.

use std::array::from_fn;

use super::vector::{Simd, Task};

/// Vectors of N values, GEMM tiles of R rows. Other sizes than [`Portable`]'s serve tests: they run the code of wider
/// levels on any machine.
#[derive(Clone, Copy)]
pub(crate) struct Array<const N: usize, const R: usize>;

/// Four values: the baseline vectors of x86-64 (SSE2) and ARM (NEON).
pub(crate) type Portable = Array<4, 4>;

/// One rounding where the processor has the instruction; elsewhere `f32::mul_add` would be a slow library call.
#[inline(always)]
fn multiply_add(a: f32, b: f32, c: f32) -> f32 {
    if cfg!(any(target_arch = "aarch64", target_feature = "fma")) { a.mul_add(b, c) } else { a * b + c }
}

/// 2^n: the lowest bits of the sum with a number whose last place is worth 1 become the exponent's. (A conversion to integers
/// would have to look for NaN.)
#[inline(always)]
fn two_to_the(n: f32) -> f32 {
    const ONES_LAST: f32 = 3.0 * (1u32 << 22) as f32;
    f32::from_bits((n + (ONES_LAST + 127.0)).to_bits() << 23)
}

impl<const N: usize, const R: usize> Simd for Array<N, R> {
    type V = [f32; N];
    const LANES: usize = N;
    const ROWS: usize = R;

    #[inline(always)]
    unsafe fn vectorize<T: Task>(task: T) -> T::Output {
        // SAFETY: no instructions beyond the target's baseline; the caller vouches for the task's pointers.
        unsafe { task.run::<Self>() }
    }

    operations! {
        splat(x: f32) -> [f32; N] = [x; N];
        // An array of f32 has the alignment of f32.
        load(from: *const f32) -> [f32; N] = from.cast::<[f32; N]>().read();
        store(to: *mut f32, v: [f32; N]) = to.cast::<[f32; N]>().write(v);
        fma(a: [f32; N], b: [f32; N], c: [f32; N]) -> [f32; N] = from_fn(|i| multiply_add(a[i], b[i], c[i]));
        add(a: [f32; N], b: [f32; N]) -> [f32; N] = from_fn(|i| a[i] + b[i]);
        sub(a: [f32; N], b: [f32; N]) -> [f32; N] = from_fn(|i| a[i] - b[i]);
        mul(a: [f32; N], b: [f32; N]) -> [f32; N] = from_fn(|i| a[i] * b[i]);
        relu(x: [f32; N]) -> [f32; N] = from_fn(|i| if x[i] < 0.0 { 0.0 } else { x[i] });
        where_passed(y: [f32; N], v: [f32; N]) -> [f32; N] = from_fn(|i| if y[i] <= 0.0 { 0.0 } else { v[i] });
        max(a: [f32; N], b: [f32; N]) -> [f32; N] = from_fn(|i| if a[i] > b[i] { a[i] } else { b[i] });
        where_less(a: [f32; N], b: [f32; N], x: [f32; N], y: [f32; N]) -> [f32; N] =
            from_fn(|i| if a[i] < b[i] { x[i] } else { y[i] });
        power_of_two(n: [f32; N]) -> [f32; N] = from_fn(|i| two_to_the(n[i]));
        sum(v: [f32; N]) -> f32 = v.iter().sum();
    }

    #[inline(always)]
    unsafe fn transpose(rows: &mut [[f32; N]]) {
        let r: [[f32; N]; N] = from_fn(|i| rows[i]);
        for (i, row) in rows.iter_mut().enumerate().take(N) {
            *row = from_fn(|j| r[j][i]);
        }
    }
}
