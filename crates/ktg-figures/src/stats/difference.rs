//! Differences between two methods over common seeds.

use statrs::distribution::{Continuous, ContinuousCDF, StudentsT};

use super::{Interval, ROUNDING, Summary, finite, magnitude, summary};

/// Two methods compared seed by seed.
#[derive(Clone, Copy, Debug, PartialEq)]
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
}

/// Compares two methods by runs with common seeds: `a[i]` and `b[i]` share whatever the seed decides.
///
/// The t-test takes the differences d = a - b for independent draws from a normal distribution: t = mean(d) sqrt(n) /
/// s(d) with n - 1 degrees of freedom.
///
/// Without any difference p is 1. Differences below 1e-12 of the values they come from are rounding, and count as 0.
/// `None` for fewer than two pairs, lists of different lengths, or a level outside 0 to 1.
///
/// ```
/// let found = ktg_figures::stats::paired(&[73.1, 73.4, 73.6], &[72.0, 72.5, 72.1], 0.95).unwrap();
/// assert!((found.mean - 1.1666666).abs() < 1e-6);
/// ```
pub fn paired(a: &[f64], b: &[f64], level: f64) -> Option<Paired> {
    let within = level > 0.0 && level < 1.0;
    if a.len() != b.len() || !finite(a) || !finite(b) || !within {
        return None;
    }
    let rounding = ROUNDING * magnitude(a.iter().chain(b));
    let zeroed = |x: f64| if x.abs() <= rounding { 0.0 } else { x };
    let differences: Vec<f64> = a.iter().zip(b).map(|(a, b)| zeroed(a - b)).collect();
    let Summary { n, mean, deviation } = summary(&differences)?;
    let deviation = zeroed(deviation?);
    let error = deviation / (n as f64).sqrt();
    let student = StudentsT::new(0.0, 1.0, (n - 1) as f64).ok()?;
    let half = if error == 0.0 { 0.0 } else { quantile(&student, 0.5 + level / 2.0) * error };
    let p = match (mean == 0.0, error == 0.0) {
        (true, _) => Some(1.0),
        (false, true) => None,
        (false, false) => Some(2.0 * student.sf((mean / error).abs())),
    };
    let p = p.filter(|p| !p.is_nan()).map(|p| p.clamp(0.0, 1.0));
    let interval = Interval { low: mean - half, high: mean + half };
    finite(&[interval.low, interval.high]).then_some(Paired { n, mean, deviation, interval, p })
}

/// More pairs are no advice.
const MOST_PAIRS: usize = 100_000;

impl Paired {
    /// How many pairs it takes until a paired t-test finds a difference like this one at the level `alpha` with the
    /// probability `power`, if it is there: the smallest n with `|mean| sqrt(n) / s >= t(1 - alpha / 2) + t(power)`, both
    /// quantiles with n - 1 degrees of freedom, which is at most one more than the test's exact power says. `None` without a
    /// difference, or if it takes more than 100,000.
    ///
    /// What was seen in few pairs is only roughly so: with a mean that happens to be too large, the number is too small.
    pub fn pairs_needed(&self, alpha: f64, power: f64) -> Option<usize> {
        let effect = self.mean.abs() / self.deviation;
        if self.mean == 0.0 || effect.is_nan() {
            return None;
        }
        let is_enough = |n: usize| {
            let Ok(student) = StudentsT::new(0.0, 1.0, (n - 1) as f64) else { return false };
            effect * (n as f64).sqrt() >= quantile(&student, 1.0 - alpha / 2.0) + quantile(&student, power)
        };
        // More pairs are enough if fewer are: halve the range.
        let (mut low, mut high) = (2, MOST_PAIRS);
        while low < high {
            let middle = low.midpoint(high);
            (low, high) = if is_enough(middle) { (low, middle) } else { (middle + 1, high) };
        }
        is_enough(low).then_some(low)
    }
}

/// The value below which a share of the distribution lies.
fn quantile(student: &StudentsT, share: f64) -> f64 {
    let mut t = student.inverse_cdf(share);
    // The library stops a few digits early; Newton's steps give them.
    for _ in 0..3 {
        let next = t + (student.sf(t) - (1.0 - share)) / student.pdf(t);
        if next.is_finite() {
            t = next;
        }
    }
    t
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_few_pairs() {
        assert_eq!(paired(&[], &[], 0.95), None);
        assert_eq!(paired(&[1.0], &[2.0], 0.95), None);
        assert_eq!(paired(&[1.0, 2.0], &[2.0], 0.95), None);
        assert_eq!(paired(&[1.0, f64::NAN], &[2.0, 1.0], 0.95), None);
        assert_eq!(paired(&[1.0, 2.0], &[2.0, 1.0], 1.0), None);
    }

    #[test]
    fn no_difference_at_all() {
        let same = paired(&[1.0, 2.0, 3.0], &[1.0, 2.0, 3.0], 0.95).unwrap();
        assert_eq!((same.mean, same.deviation, same.interval), (0.0, 0.0, Interval { low: 0.0, high: 0.0 }));
        assert_eq!(same.p, Some(1.0));
    }

    #[test]
    fn pairs_that_a_difference_needs_are_those_of_power_tables() {
        let paired = |effect: f64| Paired {
            n: 3,
            mean: -effect,
            deviation: 1.0,
            interval: Interval { low: 0.0, high: 0.0 },
            p: None,
        };
        // G*Power 3.1, difference between two dependent means, two-sided, alpha 0.05.
        for (effect, power, pairs) in [(0.2, 0.8, 199), (0.5, 0.8, 34), (1.0, 0.8, 10), (2.0, 0.8, 5)] {
            assert_eq!(paired(effect).pairs_needed(0.05, power), Some(pairs), "{effect}");
        }
        assert_eq!(paired(0.0).pairs_needed(0.05, 0.8), None);
        assert_eq!(paired(1e-4).pairs_needed(0.05, 0.8), None);
    }

    #[test]
    fn the_same_difference_always() {
        // In floating point the three differences are not the same.
        let (a, b) = ([0.4, 0.7, 70.1], [0.3, 0.6, 70.0]);
        assert_ne!(a[0] - b[0], a[1] - b[1]);
        let shifted = paired(&a, &b, 0.95).unwrap();
        assert_eq!((shifted.deviation, shifted.p), (0.0, None));
        assert_eq!(shifted.interval.low, shifted.interval.high);
    }
}
