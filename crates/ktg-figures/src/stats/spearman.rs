//! Rank correlation.

use super::ranks::{centred_ranks, ranks};
use super::shuffle::{Extremes, orders};
use super::{ROUNDING, finite};

/// Spearman's rank correlation, -1 to 1: the correlation of the ranks, equal values sharing the mean of theirs.
///
/// Measures any monotonic relation, not only straight ones. `None` for fewer than two pairs, lists of different
/// lengths, or a list whose values are all equal.
///
/// Source: Spearman, "The proof and measurement of association between two things", American Journal of Psychology
/// 1904.
///
/// ```
/// assert_eq!(ktg_figures::stats::spearman(&[1.0, 2.0, 3.0], &[1.0, 10.0, 100.0]), Some(1.0));
/// ```
pub fn spearman(x: &[f64], y: &[f64]) -> Option<f64> {
    let (x, y) = both_ranks(x, y)?;
    let rho = product(&x, &y) / (product(&x, &x) * product(&y, &y)).sqrt();
    rho.is_finite().then(|| rho.clamp(-1.0, 1.0))
}

/// The permutation p-value of [`spearman`]: how often shuffled pairs have a correlation at least as far from 0.
///
/// Exact where the second list has at most `rounds` different orders (7 different values have 5,040). Assumes
/// independent pairs. `None` where there is no correlation.
pub fn spearman_p(x: &[f64], y: &[f64], rounds: usize, seed: u64) -> Option<f64> {
    spearman(x, y)?;
    let labels: Vec<usize> = ranks(y).iter().map(|rank| (2.0 * rank) as usize).collect();
    let (x, y) = both_ranks(x, y)?;
    let limit = product(&x, &y).abs() - ROUNDING * (product(&x, &x) * product(&y, &y)).sqrt();
    let mean = (y.len() + 1) as f64 / 2.0;
    let mut extremes = Extremes::default();
    let all = orders(&labels, rounds, seed, |labels| {
        let shuffled: f64 = x.iter().zip(labels).map(|(x, &label)| x * (label as f64 / 2.0 - mean)).sum();
        extremes.note(shuffled.abs() >= limit);
    });
    Some(extremes.p(all))
}

fn both_ranks(x: &[f64], y: &[f64]) -> Option<(Vec<f64>, Vec<f64>)> {
    (x.len() == y.len() && finite(x) && finite(y)).then(|| (centred_ranks(x), centred_ranks(y)))
}

fn product(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| x * y).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_there_is_none() {
        for (x, y) in [
            (vec![], vec![]),
            (vec![1.0], vec![1.0]),
            (vec![1.0, 1.0], vec![1.0, 2.0]),
            (vec![1.0, 2.0], vec![1.0]),
            (vec![1.0, f64::NAN], vec![1.0, 2.0]),
        ] {
            assert_eq!(spearman(&x, &y), None);
            assert_eq!(spearman_p(&x, &y, 100, 0), None);
        }
    }

    #[test]
    fn two_pairs_tell_nothing() {
        assert_eq!(spearman(&[1.0, 2.0], &[2.0, 1.0]), Some(-1.0));
        assert_eq!(spearman_p(&[1.0, 2.0], &[2.0, 1.0], 100, 0), Some(1.0));
        assert_eq!(spearman_p(&[1.0, 2.0], &[2.0, 1.0], 0, 0), Some(1.0));
    }
}
