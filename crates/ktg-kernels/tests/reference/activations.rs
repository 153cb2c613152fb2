//! GELU, by the error function.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

/// `2 / sqrt(pi)` times the integral of `e^(-t^2)` from x on.
pub fn erfc(x: f64) -> f64 {
    if x < 0.0 {
        return 2.0 - erfc(-x);
    }
    if x < 2.5 {
        // All terms are positive.
        let (mut term, mut sum) = (x, x);
        for n in 1..100 {
            term *= 2.0 * x * x / f64::from(2 * n + 1);
            sum += term;
        }
        return 1.0 - 2.0 / PI.sqrt() * (-x * x).exp() * sum;
    }
    // The continued fraction, from its far end.
    let fraction = (1..100).rev().fold(x, |fraction, n| x + f64::from(n) / 2.0 / fraction);
    (-x * x).exp() / PI.sqrt() / fraction
}

/// The chance that a standard normal number is below x.
fn below(x: f64) -> f64 {
    erfc(-x * FRAC_1_SQRT_2) / 2.0
}

pub fn gelu(x: f64) -> f64 {
    x * below(x)
}

/// The derivative.
pub fn gelu_slope(x: f64) -> f64 {
    below(x) + x * (-x * x / 2.0).exp() / (2.0 * PI).sqrt()
}
