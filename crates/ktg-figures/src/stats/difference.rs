//! Differences between two methods, over common seeds or without.

use rand_chacha::rand_core::Rng;
use serde::Serialize;

use super::shuffle::{Extremes, generator};
use super::{Interval, ROUNDING, Summary, finite, magnitude, student, summary};

/// Up to this many pairs all signs are tried.
const EXACT_PAIRS: usize = 16;
/// Beyond that, so many random ones.
const SIGN_ROUNDS: u64 = 1 << 16;

/// Two methods compared seed by seed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Paired {
    /// Pairs.
    pub n: usize,
    /// Mean of the differences a - b, in the unit of the values.
    pub mean: f64,
    /// Their sample standard deviation.
    pub deviation: f64,
    /// Student's interval of the mean difference.
    pub interval: Interval,
    /// Of the paired t-test. `None` if all differences are the same and not 0: the test would divide by 0.
    pub p: Option<f64>,
    /// Of the sign-flip test, which is defined always; at least 2 / 2^n.
    pub sign_flip_p: f64,
}

/// Compares two methods by runs with common seeds: `a[i]` and `b[i]` share whatever the seed decides.
///
/// The t-test takes the differences d = a - b for independent draws from a normal distribution: t = mean(d) sqrt(n) /
/// s(d) with n - 1 degrees of freedom. The sign-flip test (Fisher, "The design of experiments", 1935, section 21) only
/// assumes that without an effect each d were as likely to be -d. It takes all 2^n sign patterns for up to 16 pairs,
/// and 65,536 random ones, drawn from `seed`, for more. With few pairs it cannot be small: 5 pairs give 0.0625 at best.
///
/// Without any difference p is 1. Differences below 1e-12 of the values they come from are rounding, and count as 0.
/// `None` for fewer than two pairs, lists of different lengths, or a level outside 0 to 1.
///
/// ```
/// let found = ktg_figures::stats::paired(&[73.1, 73.4, 73.6], &[72.0, 72.5, 72.1], 0.95, 0).unwrap();
/// assert!((found.mean - 1.1666666).abs() < 1e-6);
/// assert_eq!(found.sign_flip_p, 0.25);
/// ```
pub fn paired(a: &[f64], b: &[f64], level: f64, seed: u64) -> Option<Paired> {
    if a.len() != b.len() || !finite(a) || !finite(b) {
        return None;
    }
    let rounding = ROUNDING * magnitude(a.iter().chain(b));
    let zeroed = |x: f64| if x.abs() <= rounding { 0.0 } else { x };
    let differences: Vec<f64> = a.iter().zip(b).map(|(a, b)| zeroed(a - b)).collect();
    let Summary { n, mean, deviation } = summary(&differences)?;
    let deviation = zeroed(deviation?);
    let error = deviation / (n as f64).sqrt();
    let degrees = (n - 1) as f64;
    let interval = Interval::around(mean, student::half_width(error, degrees, level)?)?;
    let p = t_test(mean, error, degrees);
    Some(Paired { n, mean, deviation, interval, p, sign_flip_p: sign_flips(&differences, rounding, seed) })
}

/// Two methods compared by runs that have nothing in common.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Welch {
    /// Mean of a minus mean of b, in the unit of the values.
    pub difference: f64,
    /// Welch's interval of that difference.
    pub interval: Interval,
    /// The degrees of freedom; `None` if neither list varies.
    pub degrees: Option<f64>,
    /// Of Welch's t-test. `None` if neither list varies and the means differ: the test would divide by 0.
    pub p: Option<f64>,
}

/// Compares two methods by runs without common seeds; their numbers and spreads may differ.
///
/// t = (mean(a) - mean(b)) / sqrt(va + vb) with v = s^2 / n, and (va + vb)^2 / (va^2 / (na - 1) + vb^2 / (nb - 1))
/// degrees of freedom. Assumes independent draws from a normal distribution for each list. Runs with common seeds
/// belong to [`paired`], which sees smaller differences. `None` if a list has fewer than two values, or for a level
/// outside 0 to 1.
///
/// Source: Welch, "The generalization of 'Student's' problem when several different population variances are involved",
/// Biometrika 1947.
pub fn welch(a: &[f64], b: &[f64], level: f64) -> Option<Welch> {
    let (a, b) = (summary(a)?, summary(b)?);
    let part = |s: Summary| Some((s.deviation?.powi(2) / s.n as f64, (s.n - 1) as f64));
    let ((variance_a, degrees_a), (variance_b, degrees_b)) = (part(a)?, part(b)?);
    let difference = a.mean - b.mean;
    let variance = variance_a + variance_b;
    // As shares of the variance: the squares of small variances would vanish.
    let (share_a, share_b) = (variance_a / variance, variance_b / variance);
    let degrees = 1.0 / (share_a.powi(2) / degrees_a + share_b.powi(2) / degrees_b);
    let error = variance.sqrt();
    let interval = Interval::around(difference, student::half_width(error, degrees, level)?)?;
    let p = t_test(difference, error, degrees);
    Some(Welch { difference, interval, degrees: degrees.is_finite().then_some(degrees), p })
}

fn t_test(mean: f64, error: f64, degrees: f64) -> Option<f64> {
    match (mean == 0.0, error == 0.0) {
        (true, _) => Some(1.0),
        (false, true) => None,
        (false, false) => student::two_sided(mean / error, degrees),
    }
}

/// How often the sum with other signs is at least as far from 0; `rounding` is that of one difference.
fn sign_flips(differences: &[f64], rounding: f64, seed: u64) -> f64 {
    let limit = differences.iter().sum::<f64>().abs();
    let slack = rounding * differences.len() as f64;
    let flipped = |pattern: &[u64]| -> f64 {
        let sign = |i: usize| if pattern[i / 64] >> (i % 64) & 1 == 1 { -1.0 } else { 1.0 };
        differences.iter().enumerate().map(|(i, d)| sign(i) * d).sum()
    };
    let mut extremes = Extremes::default();
    if differences.len() <= EXACT_PAIRS {
        for pattern in 0..1u64 << differences.len() {
            extremes.note(flipped(&[pattern]).abs() >= limit - slack);
        }
        return extremes.exact();
    }
    let mut rng = generator(seed);
    let mut pattern = vec![0; differences.len().div_ceil(64)];
    for _ in 0..SIGN_ROUNDS {
        pattern.iter_mut().for_each(|word| *word = rng.next_u64());
        extremes.note(flipped(&pattern).abs() >= limit - slack);
    }
    extremes.sampled()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_few_pairs() {
        assert_eq!(paired(&[], &[], 0.95, 0), None);
        assert_eq!(paired(&[1.0], &[2.0], 0.95, 0), None);
        assert_eq!(paired(&[1.0, 2.0], &[2.0], 0.95, 0), None);
        assert_eq!(paired(&[1.0, f64::NAN], &[2.0, 1.0], 0.95, 0), None);
        assert_eq!(paired(&[1.0, 2.0], &[2.0, 1.0], 1.0, 0), None);
        assert_eq!(welch(&[1.0], &[1.0, 2.0], 0.95), None);
        assert_eq!(welch(&[1.0, 2.0], &[1.0, f64::INFINITY], 0.95), None);
    }

    #[test]
    fn no_difference_at_all() {
        let same = paired(&[1.0, 2.0, 3.0], &[1.0, 2.0, 3.0], 0.95, 0).unwrap();
        assert_eq!((same.mean, same.deviation, same.interval), (0.0, 0.0, Interval { low: 0.0, high: 0.0 }));
        assert_eq!((same.p, same.sign_flip_p), (Some(1.0), 1.0));
        let same = welch(&[2.0, 2.0], &[2.0, 2.0, 2.0], 0.95).unwrap();
        assert_eq!((same.difference, same.p, same.degrees), (0.0, Some(1.0), None));
    }

    #[test]
    fn the_same_difference_always() {
        // In floating point the three differences are not the same.
        let (a, b) = ([0.4, 0.7, 70.1], [0.3, 0.6, 70.0]);
        assert_ne!(a[0] - b[0], a[1] - b[1]);
        let shifted = paired(&a, &b, 0.95, 0).unwrap();
        assert_eq!((shifted.deviation, shifted.p, shifted.sign_flip_p), (0.0, None, 0.25));
        assert_eq!(shifted.interval.low, shifted.interval.high);
        let shifted = welch(&[1.0, 1.0], &[2.0, 2.0], 0.95).unwrap();
        assert_eq!((shifted.interval, shifted.p), (Interval { low: -1.0, high: -1.0 }, None));
    }

    #[test]
    fn many_pairs_are_sampled() {
        let a: Vec<f64> = (0..70).map(|i| f64::from(i % 7)).collect();
        let none = paired(&a, &a.iter().rev().copied().collect::<Vec<_>>(), 0.95, 3).unwrap();
        assert_eq!(none.sign_flip_p, 1.0);
        let clear = paired(&a, &[-1.0; 70], 0.95, 3).unwrap();
        assert_eq!(clear.sign_flip_p, 1.0 / 65_537.0);
    }
}
