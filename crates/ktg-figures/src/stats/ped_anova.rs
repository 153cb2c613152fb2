//! PED-ANOVA: which parameters the best graphs choose differently.

use super::finite;

/// The PED-ANOVA importance of a parameter with several choices, for reaching the best part of the graphs; 0 or more.
///
/// `scores[g]` is the score of graph g (higher is better) and `values[g]` its choice in `0..choices`, or `None` where
/// the parameter has no meaning, such as the design of a cut edge. `quantile` is the part that counts as the best, such
/// as 0.1, ties at its end included.
///
/// With the densities p of the choice among the best and q among all graphs, both smoothed by Parzen estimators with a
/// uniform prior, it is gamma^2 sum_c q_c (p_c / q_c - 1)^2, gamma being the part that the best are: the variance,
/// between the choices, of the chance of being among the best. Where the parameter has a meaning only in the share b of
/// all graphs and a of the best, the sum counts a^2 / b times (conditional PED-ANOVA). The number has no unit; divide
/// by the sum over all parameters to get shares. It agrees with Optuna's
/// `PedAnovaImportanceEvaluator(target_quantile=quantile)` on the same graphs before normalisation, to 8 digits.
///
/// It has no p-value and does not tell which choice is good: see [`super::importance`]. With fewer than about five
/// graphs among the best it is mostly noise, and rare choices seem unimportant. It looks at one parameter alone. Graphs
/// must be as exchangeable as there.
///
/// `None` for fewer than two graphs, lists of different lengths, a quantile outside 0 to 1, or a value that is no
/// choice.
///
/// Sources: Watanabe, Bansal and Hutter, "PED-ANOVA: Efficiently quantifying hyperparameter importance in arbitrary
/// subspaces", IJCAI 2023; for parameters without a meaning, "Conditional PED-ANOVA", arXiv 2601.20800.
///
/// ```
/// use ktg_figures::stats::ped_anova;
/// let scores = [0.1, 0.2, 0.3, 0.4];
/// let clear = ped_anova(&scores, &[Some(0), Some(0), Some(1), Some(1)], 2, 0.5).unwrap();
/// let unclear = ped_anova(&scores, &[Some(0), Some(1), Some(0), Some(1)], 2, 0.5).unwrap();
/// assert!(clear > 0.01 && unclear == 0.0);
/// ```
pub fn ped_anova(scores: &[f64], values: &[Option<usize>], choices: usize, quantile: f64) -> Option<f64> {
    let n = scores.len();
    let fits = values.len() == n && values.iter().flatten().all(|value| *value < choices) && finite(scores);
    let part = quantile > 0.0 && quantile < 1.0;
    if n < 2 || !fits || !part {
        return None;
    }
    let mut descending = scores.to_vec();
    descending.sort_by(|a, b| b.total_cmp(a));
    let last = descending[((quantile * n as f64).ceil() as usize).clamp(1, n) - 1];
    let best = scores.iter().filter(|score| **score >= last).count();

    let (mut among_all, mut among_best) = (vec![0; choices], vec![0; choices]);
    for (score, &value) in scores.iter().zip(values) {
        if let Some(value) = value {
            among_all[value] += 1;
            among_best[value] += usize::from(*score >= last);
        }
    }
    let (all_with, best_with): (usize, usize) = (among_all.iter().sum(), among_best.iter().sum());
    if choices < 2 || best_with == 0 {
        return Some(0.0);
    }
    let (p, q) = (density(&among_best), density(&among_all));
    let divergence: f64 = p.iter().zip(&q).map(|(p, q)| q * (p / q - 1.0).powi(2)).sum();
    let gamma = best as f64 / n as f64;
    let (a, b) = (best_with as f64 / best as f64, all_with as f64 / n as f64);
    Some(gamma * gamma * (a * a / b) * divergence)
}

/// The Parzen estimate from counts that are not all 0. Each choice that occurs has a kernel, weighted by its count:
/// 1 for itself and `1 / kernels` for every choice, normalised. The uniform prior is one more kernel, of weight 1.
fn density(counts: &[usize]) -> Vec<f64> {
    let choices = counts.len() as f64;
    let kernels = 1.0 + counts.iter().filter(|count| **count > 0).count() as f64;
    let n: f64 = counts.iter().map(|count| *count as f64).sum();
    let height = 1.0 + choices / kernels;
    let at = |count: &usize| ((*count as f64 + n / kernels) / height + 1.0 / choices) / (n + 1.0);
    counts.iter().map(at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_that_does_not_fit() {
        let values = [Some(0), Some(1)];
        assert_eq!(ped_anova(&[], &[], 2, 0.1), None);
        assert_eq!(ped_anova(&[1.0], &[Some(0)], 2, 0.1), None);
        assert_eq!(ped_anova(&[1.0, 2.0], &values, 1, 0.1), None);
        assert_eq!(ped_anova(&[1.0, f64::NAN], &values, 2, 0.1), None);
        for quantile in [0.0, 1.0, f64::NAN] {
            assert_eq!(ped_anova(&[1.0, 2.0], &values, 2, quantile), None);
        }
    }

    #[test]
    fn nothing_to_tell() {
        assert_eq!(ped_anova(&[1.0, 2.0], &[Some(0), Some(0)], 1, 0.5), Some(0.0));
        assert_eq!(ped_anova(&[1.0, 2.0], &[None, None], 2, 0.5), Some(0.0));
        assert_eq!(ped_anova(&[1.0, 2.0], &[None, None], 0, 0.5), Some(0.0));
        // One graph is too little to compare.
        assert_eq!(ped_anova(&[1.0, 2.0, 3.0], &[None, None, Some(1)], 2, 0.3), Some(0.0));
        // All are among the best.
        assert_eq!(ped_anova(&[1.0; 3], &[Some(0), Some(1), Some(0)], 2, 0.3), Some(0.0));
    }

    #[test]
    fn densities_add_up() {
        for counts in [vec![5, 0, 3], vec![1, 0, 0, 0], vec![2, 2]] {
            assert!((density(&counts).iter().sum::<f64>() - 1.0).abs() < 1e-12);
        }
    }
}
