//! AVX2 with FMA, and AVX-512F.
//!
//! Safety of this file: every function needs the processor to have the level's instructions and its pointers to be
//! valid for the values it touches; both are what [`Simd`] asks of its callers. The intrinsics used need no more.
#![allow(clippy::undocumented_unsafe_blocks)]

use std::arch::x86_64::*;

use super::vector::{Simd, Task};
use crate::number::Bf16;

/// A mask that selects the first `n <= 8` lanes.
#[inline(always)]
unsafe fn first_lanes(n: usize) -> __m256i {
    const LANES: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];
    unsafe { _mm256_loadu_si256(LANES.as_ptr().add(8 - n).cast()) }
}

#[derive(Clone, Copy)]
pub(crate) struct Avx2;

impl Simd for Avx2 {
    type V = __m256;
    const LANES: usize = 8;
    const ROWS: usize = 6;

    operations! {
        splat(x: f32) -> __m256 = _mm256_set1_ps(x);
        prefetch(line: *const f32) = _mm_prefetch::<_MM_HINT_T0>(line.cast());
        load(from: *const f32) -> __m256 = _mm256_loadu_ps(from);
        store(to: *mut f32, v: __m256) = _mm256_storeu_ps(to, v);
        load_first(from: *const f32, n: usize) -> __m256 = _mm256_maskload_ps(from, first_lanes(n));
        store_first(to: *mut f32, v: __m256, n: usize) = _mm256_maskstore_ps(to, first_lanes(n), v);
        fma(a: __m256, b: __m256, c: __m256) -> __m256 = _mm256_fmadd_ps(a, b, c);
        add(a: __m256, b: __m256) -> __m256 = _mm256_add_ps(a, b);
        sub(a: __m256, b: __m256) -> __m256 = _mm256_sub_ps(a, b);
        mul(a: __m256, b: __m256) -> __m256 = _mm256_mul_ps(a, b);
        // The instruction returns its second operand when one is NaN.
        relu(x: __m256) -> __m256 = _mm256_max_ps(_mm256_setzero_ps(), x);
        where_passed(y: __m256, v: __m256) -> __m256 = _mm256_and_ps(_mm256_cmp_ps::<_CMP_NLE_UQ>(y, _mm256_setzero_ps()), v);
        max(a: __m256, b: __m256) -> __m256 = _mm256_max_ps(a, b);
        where_less(a: __m256, b: __m256, x: __m256, y: __m256) -> __m256 = _mm256_blendv_ps(y, x, _mm256_cmp_ps::<_CMP_LT_OQ>(a, b));
        // The exponent's bits, which are n + 127.
        power_of_two(n: __m256) -> __m256 =
            _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_cvtps_epi32(_mm256_add_ps(n, _mm256_set1_ps(127.0)))));
    }

    #[inline(always)]
    unsafe fn vectorize<T: Task>(task: T) -> T::Output {
        #[target_feature(enable = "avx2,fma")]
        unsafe fn enter<T: Task>(task: T) -> T::Output {
            unsafe { task.run::<Avx2>() }
        }
        unsafe { enter(task) }
    }

    #[inline(always)]
    unsafe fn load_bf16(from: *const Bf16) -> __m256 {
        unsafe { _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(_mm_loadu_si128(from.cast())))) }
    }

    // As `Bf16::from_f32`, step by step.
    #[inline(always)]
    unsafe fn store_bf16(to: *mut Bf16, v: __m256) {
        unsafe {
            let bits = _mm256_castps_si256(v);
            let magnitude = _mm256_and_si256(bits, _mm256_set1_epi32(0x7fff_ffff));
            let upper = _mm256_srli_epi32::<16>(bits);
            let half = _mm256_add_epi32(_mm256_set1_epi32(0x7fff), _mm256_and_si256(upper, _mm256_set1_epi32(1)));
            let rounded = _mm256_srli_epi32::<16>(_mm256_add_epi32(bits, half));
            let is_subnormal = _mm256_cmpgt_epi32(_mm256_set1_epi32(0x0080_0000), magnitude);
            let sign = _mm256_and_si256(upper, _mm256_set1_epi32(0x8000));
            let finite = _mm256_blendv_epi8(rounded, sign, is_subnormal);
            let is_nan = _mm256_cmpgt_epi32(magnitude, _mm256_set1_epi32(0x7f80_0000));
            let nan = _mm256_or_si256(upper, _mm256_set1_epi32(0x40));
            let result = _mm256_blendv_epi8(finite, nan, is_nan);
            // Both halves of the vector are packed by themselves.
            let packed = _mm256_permute4x64_epi64::<0b1000>(_mm256_packus_epi32(result, result));
            _mm_storeu_si128(to.cast(), _mm256_castsi256_si128(packed));
        }
    }

    #[inline(always)]
    unsafe fn transpose(r: &mut [__m256]) {
        unsafe {
            let mut t = [_mm256_setzero_ps(); 8];
            for i in 0..4 {
                t[2 * i] = _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
                t[2 * i + 1] = _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
            }
            let mut u = [_mm256_setzero_ps(); 8];
            for i in 0..2 {
                u[4 * i] = _mm256_shuffle_ps::<0x44>(t[4 * i], t[4 * i + 2]);
                u[4 * i + 1] = _mm256_shuffle_ps::<0xee>(t[4 * i], t[4 * i + 2]);
                u[4 * i + 2] = _mm256_shuffle_ps::<0x44>(t[4 * i + 1], t[4 * i + 3]);
                u[4 * i + 3] = _mm256_shuffle_ps::<0xee>(t[4 * i + 1], t[4 * i + 3]);
            }
            for i in 0..4 {
                r[i] = _mm256_permute2f128_ps::<0x20>(u[i], u[i + 4]);
                r[i + 4] = _mm256_permute2f128_ps::<0x31>(u[i], u[i + 4]);
            }
        }
    }

    #[inline(always)]
    unsafe fn sum(v: __m256) -> f32 {
        unsafe {
            let v = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
            let v = _mm_add_ps(v, _mm_movehl_ps(v, v));
            _mm_cvtss_f32(_mm_add_ss(v, _mm_shuffle_ps::<1>(v, v)))
        }
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Avx512;

impl Simd for Avx512 {
    type V = __m512;
    const LANES: usize = 16;
    const ROWS: usize = 14;

    operations! {
        splat(x: f32) -> __m512 = _mm512_set1_ps(x);
        prefetch(line: *const f32) = _mm_prefetch::<_MM_HINT_T0>(line.cast());
        load(from: *const f32) -> __m512 = _mm512_loadu_ps(from);
        store(to: *mut f32, v: __m512) = _mm512_storeu_ps(to, v);
        load_first(from: *const f32, n: usize) -> __m512 = _mm512_maskz_loadu_ps(((1u32 << n) - 1) as u16, from);
        store_first(to: *mut f32, v: __m512, n: usize) = _mm512_mask_storeu_ps(to, ((1u32 << n) - 1) as u16, v);
        fma(a: __m512, b: __m512, c: __m512) -> __m512 = _mm512_fmadd_ps(a, b, c);
        add(a: __m512, b: __m512) -> __m512 = _mm512_add_ps(a, b);
        sub(a: __m512, b: __m512) -> __m512 = _mm512_sub_ps(a, b);
        mul(a: __m512, b: __m512) -> __m512 = _mm512_mul_ps(a, b);
        // The instruction returns its second operand when one is NaN.
        relu(x: __m512) -> __m512 = _mm512_max_ps(_mm512_setzero_ps(), x);
        where_passed(y: __m512, v: __m512) -> __m512 = _mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_NLE_UQ>(y, _mm512_setzero_ps()), v);
        max(a: __m512, b: __m512) -> __m512 = _mm512_max_ps(a, b);
        where_less(a: __m512, b: __m512, x: __m512, y: __m512) -> __m512 = _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b), y, x);
        // The exponent's bits, which are n + 127.
        power_of_two(n: __m512) -> __m512 =
            _mm512_castsi512_ps(_mm512_slli_epi32::<23>(_mm512_cvtps_epi32(_mm512_add_ps(n, _mm512_set1_ps(127.0)))));
        sum(v: __m512) -> f32 = _mm512_reduce_add_ps(v);
    }

    #[inline(always)]
    unsafe fn vectorize<T: Task>(task: T) -> T::Output {
        #[target_feature(enable = "avx512f,avx2,fma")]
        unsafe fn enter<T: Task>(task: T) -> T::Output {
            unsafe { task.run::<Avx512>() }
        }
        unsafe { enter(task) }
    }

    #[inline(always)]
    unsafe fn load_bf16(from: *const Bf16) -> __m512 {
        unsafe { _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(_mm256_loadu_si256(from.cast())))) }
    }

    // As `Bf16::from_f32`, step by step.
    #[inline(always)]
    unsafe fn store_bf16(to: *mut Bf16, v: __m512) {
        unsafe {
            let bits = _mm512_castps_si512(v);
            let magnitude = _mm512_and_si512(bits, _mm512_set1_epi32(0x7fff_ffff));
            let upper = _mm512_srli_epi32::<16>(bits);
            let half = _mm512_add_epi32(_mm512_set1_epi32(0x7fff), _mm512_and_si512(upper, _mm512_set1_epi32(1)));
            let rounded = _mm512_srli_epi32::<16>(_mm512_add_epi32(bits, half));
            let is_subnormal = _mm512_cmplt_epi32_mask(magnitude, _mm512_set1_epi32(0x0080_0000));
            let sign = _mm512_and_si512(upper, _mm512_set1_epi32(0x8000));
            let finite = _mm512_mask_mov_epi32(rounded, is_subnormal, sign);
            let is_nan = _mm512_cmpgt_epi32_mask(magnitude, _mm512_set1_epi32(0x7f80_0000));
            let result = _mm512_mask_or_epi32(finite, is_nan, upper, _mm512_set1_epi32(0x40));
            _mm256_storeu_si256(to.cast(), _mm512_cvtepi32_epi16(result));
        }
    }

    #[inline(always)]
    unsafe fn transpose(r: &mut [__m512]) {
        unsafe {
            let mut t = [_mm512_setzero_ps(); 16];
            for i in 0..8 {
                t[2 * i] = _mm512_unpacklo_ps(r[2 * i], r[2 * i + 1]);
                t[2 * i + 1] = _mm512_unpackhi_ps(r[2 * i], r[2 * i + 1]);
            }
            let mut u = [_mm512_setzero_ps(); 16];
            for i in 0..4 {
                u[4 * i] = _mm512_shuffle_ps::<0x44>(t[4 * i], t[4 * i + 2]);
                u[4 * i + 1] = _mm512_shuffle_ps::<0xee>(t[4 * i], t[4 * i + 2]);
                u[4 * i + 2] = _mm512_shuffle_ps::<0x44>(t[4 * i + 1], t[4 * i + 3]);
                u[4 * i + 3] = _mm512_shuffle_ps::<0xee>(t[4 * i + 1], t[4 * i + 3]);
            }
            // Now u[4 i + j] holds, in each quarter q, column 4 q + j of rows 4 i .. 4 i + 4.
            for j in 0..4 {
                let a = _mm512_shuffle_f32x4::<0x88>(u[j], u[j + 4]);
                let b = _mm512_shuffle_f32x4::<0xdd>(u[j], u[j + 4]);
                let c = _mm512_shuffle_f32x4::<0x88>(u[j + 8], u[j + 12]);
                let d = _mm512_shuffle_f32x4::<0xdd>(u[j + 8], u[j + 12]);
                r[j] = _mm512_shuffle_f32x4::<0x88>(a, c);
                r[j + 4] = _mm512_shuffle_f32x4::<0x88>(b, d);
                r[j + 8] = _mm512_shuffle_f32x4::<0xdd>(a, c);
                r[j + 12] = _mm512_shuffle_f32x4::<0xdd>(b, d);
            }
        }
    }
}
