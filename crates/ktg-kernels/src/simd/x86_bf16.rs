//! AVX-512F of processors that round to bf16 in one instruction: for kernels in bf16, beside the levels.
//!
//! Safety of this file: as of `x86.rs`.
#![allow(clippy::undocumented_unsafe_blocks)]

use std::arch::x86_64::*;

use super::vector::{Simd, Task};
use super::x86::Avx512;
use crate::number::Bf16;

#[derive(Clone, Copy)]
pub(crate) struct Avx512Bf16;

impl Simd for Avx512Bf16 {
    type V = __m512;
    const LANES: usize = Avx512::LANES;
    const ROWS: usize = Avx512::ROWS;

    operations! {
        splat(x: f32) -> __m512 = Avx512::splat(x);
        prefetch(line: *const f32) = Avx512::prefetch(line);
        load(from: *const f32) -> __m512 = Avx512::load(from);
        store(to: *mut f32, v: __m512) = Avx512::store(to, v);
        load_first(from: *const f32, n: usize) -> __m512 = Avx512::load_first(from, n);
        store_first(to: *mut f32, v: __m512, n: usize) = Avx512::store_first(to, v, n);
        fma(a: __m512, b: __m512, c: __m512) -> __m512 = Avx512::fma(a, b, c);
        add(a: __m512, b: __m512) -> __m512 = Avx512::add(a, b);
        sub(a: __m512, b: __m512) -> __m512 = Avx512::sub(a, b);
        mul(a: __m512, b: __m512) -> __m512 = Avx512::mul(a, b);
        relu(x: __m512) -> __m512 = Avx512::relu(x);
        where_passed(y: __m512, v: __m512) -> __m512 = Avx512::where_passed(y, v);
        max(a: __m512, b: __m512) -> __m512 = Avx512::max(a, b);
        where_less(a: __m512, b: __m512, x: __m512, y: __m512) -> __m512 = Avx512::where_less(a, b, x, y);
        power_of_two(n: __m512) -> __m512 = Avx512::power_of_two(n);
        transpose(rows: &mut [__m512]) = Avx512::transpose(rows);
        sum(v: __m512) -> f32 = Avx512::sum(v);
        load_bf16(from: *const Bf16) -> __m512 = Avx512::load_bf16(from);
        // It rounds to the nearest number, makes zeros of subnormal ones and quiet NaN of all: as `Bf16::from_f32`.
        store_bf16(to: *mut Bf16, v: __m512) =
            _mm256_storeu_si256(to.cast(), std::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(v)));
    }

    #[inline(always)]
    unsafe fn vectorize<T: Task>(task: T) -> T::Output {
        #[target_feature(enable = "avx512f,avx512bf16,avx2,fma")]
        unsafe fn enter<T: Task>(task: T) -> T::Output {
            unsafe { task.run::<Avx512Bf16>() }
        }
        unsafe { enter(task) }
    }
}
