//! P-values of several questions to the same data.

/// Holm's adjusted p-values, in the order of the given ones. Those below 0.05 hold together with probability 0.95 or
/// more: the chance of even one false one among them is at most 0.05, however the questions depend on each other.
///
/// With p(1) <= ... <= p(m): adjusted(i) = max over j <= i of min(1, (m - j + 1) p(j)). `None` if a p-value is not in 0
/// to 1. For a few comparisons with a claim in each.
///
/// Source: Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 1979.
///
/// ```
/// assert_eq!(ktg_figures::stats::holm(&[0.5, 0.125]), Some(vec![0.5, 0.25]));
/// ```
pub fn holm(p: &[f64]) -> Option<Vec<f64>> {
    let order = ascending(p)?;
    let m = p.len();
    let mut adjusted = vec![0.0; m];
    let mut largest: f64 = 0.0;
    for (before, &i) in order.iter().enumerate() {
        largest = largest.max((m - before) as f64 * p[i]).min(1.0);
        adjusted[i] = largest;
    }
    Some(adjusted)
}

/// Benjamini's and Hochberg's adjusted p-values, in the order of the given ones. Among those below 0.05, at most a
/// share of 0.05 is expected to be false.
///
/// With p(1) <= ... <= p(m): adjusted(i) = min over j >= i of min(1, m p(j) / j). Assumes that the questions are
/// independent or depend positively. `None` if a p-value is not in 0 to 1. For a look through many features.
///
/// Source: Benjamini and Hochberg, "Controlling the false discovery rate", Journal of the Royal Statistical Society B
/// 1995.
///
/// ```
/// assert_eq!(ktg_figures::stats::benjamini_hochberg(&[0.5, 0.125]), Some(vec![0.5, 0.25]));
/// ```
pub fn benjamini_hochberg(p: &[f64]) -> Option<Vec<f64>> {
    let order = ascending(p)?;
    let m = p.len();
    let mut adjusted = vec![0.0; m];
    let mut smallest: f64 = 1.0;
    for (before, &i) in order.iter().enumerate().rev() {
        smallest = smallest.min(m as f64 / (before + 1) as f64 * p[i]);
        adjusted[i] = smallest;
    }
    Some(adjusted)
}

/// The places of the p-values from small to large.
fn ascending(p: &[f64]) -> Option<Vec<usize>> {
    if !p.iter().all(|p| (0.0..=1.0).contains(p)) {
        return None;
    }
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&i, &j| p[i].total_cmp(&p[j]));
    Some(order)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn none_and_one() {
        for adjust in [holm, benjamini_hochberg] {
            assert_eq!(adjust(&[]), Some(vec![]));
            assert_eq!(adjust(&[0.3]), Some(vec![0.3]));
            assert_eq!(adjust(&[1.0, 1.0]), Some(vec![1.0, 1.0]));
            for bad in [f64::NAN, -0.1, 1.1] {
                assert_eq!(adjust(&[0.3, bad]), None);
            }
        }
    }
}
