//! Arrays of four, which compilers turn into the baseline vectors of every processor (SSE2, NEON).

use super::{Simd, Task};

#[derive(Clone, Copy)]
pub(crate) struct Portable;

type V = [f32; 4];

#[inline(always)]
fn each(f: impl Fn(usize) -> f32) -> V {
    [f(0), f(1), f(2), f(3)]
}

/// One rounding where the processor has the instruction; elsewhere `f32::mul_add` would be a slow library call.
#[inline(always)]
fn multiply_add(a: f32, b: f32, c: f32) -> f32 {
    if cfg!(any(target_arch = "aarch64", target_feature = "fma")) { a.mul_add(b, c) } else { a * b + c }
}

impl Simd for Portable {
    type V = V;
    const LANES: usize = 4;
    const ROWS: usize = 4;

    #[inline(always)]
    unsafe fn vectorize<T: Task>(task: T) -> T::Output {
        // SAFETY: no instructions beyond the target's baseline; the caller vouches for the task's pointers.
        unsafe { task.run::<Self>() }
    }

    #[inline(always)]
    unsafe fn splat(x: f32) -> V {
        [x; 4]
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> V {
        // SAFETY: the caller grants four values; an array of f32 has the alignment of f32.
        unsafe { from.cast::<V>().read() }
    }

    #[inline(always)]
    unsafe fn store(to: *mut f32, v: V) {
        // SAFETY: as `load`.
        unsafe { to.cast::<V>().write(v) }
    }

    #[inline(always)]
    unsafe fn fma(a: V, b: V, c: V) -> V {
        each(|i| multiply_add(a[i], b[i], c[i]))
    }

    #[inline(always)]
    unsafe fn add(a: V, b: V) -> V {
        each(|i| a[i] + b[i])
    }

    #[inline(always)]
    unsafe fn sub(a: V, b: V) -> V {
        each(|i| a[i] - b[i])
    }

    #[inline(always)]
    unsafe fn mul(a: V, b: V) -> V {
        each(|i| a[i] * b[i])
    }

    #[inline(always)]
    unsafe fn relu(x: V) -> V {
        each(|i| if x[i] < 0.0 { 0.0 } else { x[i] })
    }

    #[inline(always)]
    unsafe fn where_passed(y: V, v: V) -> V {
        each(|i| if y[i] <= 0.0 { 0.0 } else { v[i] })
    }

    #[inline(always)]
    unsafe fn transpose(rows: &mut [V]) {
        let r: [V; 4] = [rows[0], rows[1], rows[2], rows[3]];
        for (i, row) in rows.iter_mut().enumerate().take(4) {
            *row = each(|j| r[j][i]);
        }
    }

    #[inline(always)]
    unsafe fn sum(v: V) -> f32 {
        (v[0] + v[1]) + (v[2] + v[3])
    }
}
