//! Ranks.

use std::cmp::Ordering;

/// The rank of each value, the smallest being 1; equal values share the mean of their ranks.
pub(super) fn ranks(values: &[f64]) -> Vec<f64> {
    // Adding 0 turns -0 into 0: they are equal.
    ranks_by(values.len(), |i, j| (values[i] + 0.0).total_cmp(&(values[j] + 0.0)))
}

/// The rank of each of n things that are compared by their number.
pub(super) fn ranks_by(n: usize, compare: impl Fn(usize, usize) -> Ordering) -> Vec<f64> {
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&i, &j| compare(i, j));
    let mut ranks = vec![0.0; n];
    let mut before = 0;
    for equal in order.chunk_by(|&i, &j| compare(i, j) == Ordering::Equal) {
        let rank = before as f64 + (equal.len() + 1) as f64 / 2.0;
        equal.iter().for_each(|&i| ranks[i] = rank);
        before += equal.len();
    }
    ranks
}

/// A rank among n as a number from 0 (the worst) to 1 (the best); the only one is 0.5.
pub(super) fn scaled(rank: f64, n: usize) -> f64 {
    if n < 2 { 0.5 } else { (rank - 1.0) / (n - 1) as f64 }
}

/// Ranks minus their mean, (n + 1) / 2. Exact: all are multiples of a half.
pub(super) fn centered_ranks(values: &[f64]) -> Vec<f64> {
    let mean = (values.len() + 1) as f64 / 2.0;
    ranks(values).into_iter().map(|rank| rank - mean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_share_their_ranks() {
        assert_eq!(ranks(&[3.0, 1.0, 3.0, -2.0]), [3.5, 2.0, 3.5, 1.0]);
        assert_eq!(ranks(&[0.0, -0.0]), [1.5, 1.5]);
        assert_eq!(ranks(&[]), [0.0; 0]);
        assert_eq!(centered_ranks(&[5.0, 6.0]), [-0.5, 0.5]);
    }
}
