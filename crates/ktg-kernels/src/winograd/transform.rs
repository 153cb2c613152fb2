//! The transforms of Winograd's F(4x4, 3x3) (Lavin & Gray, CVPR 2016), on vectors of channels.
//!
//! With the points 0, +-1, +-2 and infinity: `Y = A^T [(G g G^T) . (B^T d B)] A` for an input tile d of 6x6, a filter
//! g of 3x3 and an output tile Y of 4x4. Each function is one side of such a product, for one row or column.

use crate::simd::Simd;

/// `B^T d`
#[inline(always)]
pub(super) unsafe fn input<S: Simd>(d: [S::V; 6]) -> [S::V; 6] {
    // SAFETY: arithmetic only, within the level's instructions.
    unsafe {
        let (two, four) = (S::splat(2.0), S::splat(4.0));
        let (minus_four, minus_five) = (S::splat(-4.0), S::splat(-5.0));
        let a = S::fma(minus_four, d[2], d[4]);
        let b = S::fma(minus_four, d[1], d[3]);
        let c = S::sub(d[4], d[2]);
        let e = S::sub(d[3], d[1]);
        [
            S::fma(four, d[0], S::fma(minus_five, d[2], d[4])),
            S::add(a, b),
            S::sub(a, b),
            S::fma(two, e, c),
            S::fma(S::splat(-2.0), e, c),
            S::fma(four, d[1], S::fma(minus_five, d[3], d[5])),
        ]
    }
}

/// `A^T m`
#[inline(always)]
pub(super) unsafe fn output<S: Simd>(m: [S::V; 6]) -> [S::V; 4] {
    // SAFETY: arithmetic only, within the level's instructions.
    unsafe {
        let p = S::add(m[1], m[2]);
        let q = S::sub(m[1], m[2]);
        let r = S::add(m[3], m[4]);
        let t = S::sub(m[3], m[4]);
        [
            S::add(m[0], S::add(p, r)),
            S::fma(S::splat(2.0), t, q),
            S::fma(S::splat(4.0), r, p),
            S::add(S::fma(S::splat(8.0), t, q), m[5]),
        ]
    }
}

/// `A y`: the transpose of [`output`], which the gradient of the output goes through.
#[inline(always)]
pub(super) unsafe fn gradient<S: Simd>(y: [S::V; 4]) -> [S::V; 6] {
    // SAFETY: arithmetic only, within the level's instructions.
    unsafe {
        let p = S::add(y[0], y[2]);
        let q = S::add(y[1], y[3]);
        let r = S::fma(S::splat(4.0), y[2], y[0]);
        let t = S::fma(S::splat(8.0), y[3], S::add(y[1], y[1]));
        [y[0], S::add(p, q), S::sub(p, q), S::add(r, t), S::sub(r, t), y[3]]
    }
}

/// `G g`
#[inline(always)]
pub(super) unsafe fn filter<S: Simd>(g: [S::V; 3]) -> [S::V; 6] {
    // SAFETY: arithmetic only, within the level's instructions.
    unsafe {
        let sixth = S::splat(1.0 / 6.0);
        let p = S::mul(S::splat(-1.0 / 6.0), S::add(g[0], g[2]));
        let q = S::mul(sixth, g[1]);
        let r = S::fma(sixth, g[2], S::mul(S::splat(1.0 / 24.0), g[0]));
        let t = S::mul(S::splat(1.0 / 12.0), g[1]);
        [S::mul(S::splat(0.25), g[0]), S::sub(p, q), S::add(p, q), S::add(r, t), S::sub(r, t), g[2]]
    }
}

/// `G^T u`: the transpose of [`filter`], which the gradient of the filter goes through.
#[inline(always)]
pub(super) unsafe fn filter_gradient<S: Simd>(u: [S::V; 6]) -> [S::V; 3] {
    // SAFETY: arithmetic only, within the level's instructions.
    unsafe {
        let (sixth, minus_sixth) = (S::splat(1.0 / 6.0), S::splat(-1.0 / 6.0));
        let p = S::add(u[1], u[2]);
        let q = S::sub(u[2], u[1]);
        let r = S::add(u[3], u[4]);
        let t = S::sub(u[3], u[4]);
        [
            S::fma(S::splat(1.0 / 24.0), r, S::fma(minus_sixth, p, S::mul(S::splat(0.25), u[0]))),
            S::fma(S::splat(1.0 / 12.0), t, S::mul(sixth, q)),
            S::add(S::fma(sixth, r, S::mul(minus_sixth, p)), u[5]),
        ]
    }
}
