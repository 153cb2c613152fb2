//! The exponential function and what is made of it, in vectors.

use crate::simd::Simd;

/// `c[0] + c[1] x + c[2] x^2 + ...`
#[inline(always)]
unsafe fn polynomial<S: Simd, const N: usize>(x: S::V, c: [f32; N]) -> S::V {
    // SAFETY: needs only the level's instructions, as the caller grants.
    unsafe {
        let mut sum = S::splat(c[N - 1]);
        for i in (0..N - 1).rev() {
            sum = S::fma(sum, x, S::splat(c[i]));
        }
        sum
    }
}

/// e^x of x that is not above 88: within 1e-7 of it, relative to it; 0 below 2^-126.5, where there are only subnormal numbers. NaN
/// stays.
///
/// As in Cephes: `x = n ln 2 + rest`, and a polynomial for the rest.
#[inline(always)]
pub(crate) unsafe fn exp<S: Simd>(x: S::V) -> S::V {
    /// Adding it rounds to whole numbers, since its last place is worth 1.
    const ONES_LAST: f32 = 3.0 * (1u32 << 22) as f32;
    /// ln 2 in two parts, of which the first has so few digits that its products with n are exact.
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    const REST: [f32; 6] = [0.5, 0.166_666_65, 4.166_579_6e-2, 8.333_452e-3, 1.398_199_9e-3, 1.987_569_1e-4];
    // SAFETY: needs only the level's instructions, as the caller grants.
    unsafe {
        // Whose power is 2^-127: this maximum lets NaN pass.
        let x = S::max(S::splat(-88.0), x);
        let n = S::sub(S::fma(x, S::splat(std::f32::consts::LOG2_E), S::splat(ONES_LAST)), S::splat(ONES_LAST));
        let rest = S::fma(n, S::splat(-LN_2[1]), S::fma(n, S::splat(-LN_2[0]), x));
        let above = S::fma(polynomial::<S, 6>(rest, REST), S::mul(rest, rest), rest);
        S::mul(S::add(above, S::splat(1.0)), S::power_of_two(n))
    }
}

/// The chance that a standard normal number is above |x|, `erfc(|x| / sqrt 2) / 2`: within 5e-8 of it.
///
/// Near 0, a polynomial for erf; beyond, e to the power of one for ln erfc (N. Juffa's erff, whose error is below one last
/// place).
#[inline(always)]
unsafe fn tail<S: Simd>(x: S::V) -> S::V {
    const NEAR: [f32; 6] = [0.128_379_17, -0.376_125_34, 0.112_819_925, -2.676_813_5e-2, 4.991_192_3e-3, -5.967_617e-4];
    /// Factors of the powers 1 to 7 of t in ln erfc; the first plus 1, which would cost it its last digits.
    const FAR: [f32; 7] =
        [-0.128_717_51, -0.634_846_7, -0.106_777_88, 2.425_462_2e-2, -3.883_964_4e-3, 3.831_972_6e-4, -1.728_534_7e-5];
    // SAFETY: needs only the level's instructions, as the caller grants.
    unsafe {
        let negative = S::sub(S::zero(), x);
        let t = S::mul(S::max(x, negative), S::splat(std::f32::consts::FRAC_1_SQRT_2));
        let square = S::mul(t, t);
        let erf = S::fma(polynomial::<S, 6>(square, NEAR), t, t);
        // The highest powers by pairs, which wait less for each other.
        let high = S::fma(S::splat(FAR[6]), t, S::splat(FAR[5]));
        let middle = S::fma(S::splat(FAR[4]), t, S::splat(FAR[3]));
        let mut logarithm = S::fma(high, square, middle);
        for factor in [FAR[2], FAR[1], FAR[0]] {
            logarithm = S::fma(logarithm, t, S::splat(factor));
        }
        let logarithm = S::fma(logarithm, t, S::sub(S::zero(), t));
        let half = S::splat(0.5);
        let near = S::fma(S::splat(-0.5), erf, half);
        S::where_less(t, S::splat(0.927_734_4), near, S::mul(half, exp::<S>(logarithm)))
    }
}

/// The chance that a standard normal number is below x.
#[inline(always)]
unsafe fn below<S: Simd>(x: S::V) -> S::V {
    // SAFETY: needs only the level's instructions, as the caller grants.
    unsafe {
        let tail = tail::<S>(x);
        S::where_less(x, S::zero(), tail, S::sub(S::splat(1.0), tail))
    }
}

/// `x (1 + erf(x / sqrt 2)) / 2` (Hendrycks & Gimpel 2016): within 1e-7 |x| of it. NaN of -infinity, as by the formula.
#[inline(always)]
pub(crate) unsafe fn gelu<S: Simd>(x: S::V) -> S::V {
    // SAFETY: needs only the level's instructions, as the caller grants.
    unsafe { S::mul(x, below::<S>(x)) }
}

/// The derivative of [`gelu`] at x: the chance that a standard normal number is below x, plus x times its density there.
#[inline(always)]
pub(crate) unsafe fn gelu_slope<S: Simd>(x: S::V) -> S::V {
    /// `1 / sqrt(2 pi)`
    const HIGHEST: f32 = 0.398_942_3;
    // SAFETY: needs only the level's instructions, as the caller grants.
    unsafe {
        let density = exp::<S>(S::mul(S::mul(x, S::splat(-0.5)), x));
        S::fma(S::mul(x, S::splat(HIGHEST)), density, below::<S>(x))
    }
}
