//! NEON, which every 64-bit ARM processor with floating point has.
//!
//! Safety of this file: as in `x86.rs`. There is no prefetch, whose intrinsic is not stable.
#![allow(clippy::undocumented_unsafe_blocks)]

use std::arch::aarch64::*;

use super::vector::{Simd, Task};

#[derive(Clone, Copy)]
pub(crate) struct Neon;

impl Simd for Neon {
    type V = float32x4_t;
    const LANES: usize = 4;
    // 24 sums, 2 columns and a value of A in 32 registers; the rest lets the loads of the next column begin early.
    const ROWS: usize = 12;

    operations! {
        splat(x: f32) -> float32x4_t = vdupq_n_f32(x);
        load(from: *const f32) -> float32x4_t = vld1q_f32(from);
        store(to: *mut f32, v: float32x4_t) = vst1q_f32(to, v);
        fma(a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t = vfmaq_f32(c, a, b);
        add(a: float32x4_t, b: float32x4_t) -> float32x4_t = vaddq_f32(a, b);
        sub(a: float32x4_t, b: float32x4_t) -> float32x4_t = vsubq_f32(a, b);
        mul(a: float32x4_t, b: float32x4_t) -> float32x4_t = vmulq_f32(a, b);
        // The instruction returns NaN when an operand is NaN; of two zeros the positive one.
        relu(x: float32x4_t) -> float32x4_t = vmaxq_f32(x, vdupq_n_f32(0.0));
        // Clears the bits of v where y <= 0, which NaN is not.
        where_passed(y: float32x4_t, v: float32x4_t) -> float32x4_t =
            vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(v), vclezq_f32(y)));
        // Not the instruction for the maximum, which returns NaN when either is NaN.
        max(a: float32x4_t, b: float32x4_t) -> float32x4_t = vbslq_f32(vcgtq_f32(a, b), a, b);
        where_less(a: float32x4_t, b: float32x4_t, x: float32x4_t, y: float32x4_t) -> float32x4_t =
            vbslq_f32(vcltq_f32(a, b), x, y);
        // The exponent's bits, which are n + 127.
        power_of_two(n: float32x4_t) -> float32x4_t =
            vreinterpretq_f32_s32(vshlq_n_s32::<23>(vcvtnq_s32_f32(vaddq_f32(n, vdupq_n_f32(127.0)))));
        sum(v: float32x4_t) -> f32 = vaddvq_f32(v);
    }

    #[inline(always)]
    unsafe fn vectorize<T: Task>(task: T) -> T::Output {
        #[target_feature(enable = "neon")]
        unsafe fn enter<T: Task>(task: T) -> T::Output {
            unsafe { task.run::<Neon>() }
        }
        unsafe { enter(task) }
    }

    #[inline(always)]
    unsafe fn transpose(r: &mut [float32x4_t]) {
        unsafe {
            // Pairs of values swap places across pairs of rows, then pairs of pairs do.
            let halves = |a, b| {
                let (a, b) = (vreinterpretq_f64_f32(a), vreinterpretq_f64_f32(b));
                [vreinterpretq_f32_f64(vtrn1q_f64(a, b)), vreinterpretq_f32_f64(vtrn2q_f64(a, b))]
            };
            let (even, odd) = (vtrn1q_f32(r[0], r[1]), vtrn2q_f32(r[0], r[1]));
            let (even_below, odd_below) = (vtrn1q_f32(r[2], r[3]), vtrn2q_f32(r[2], r[3]));
            [r[0], r[2]] = halves(even, even_below);
            [r[1], r[3]] = halves(odd, odd_below);
        }
    }
}
