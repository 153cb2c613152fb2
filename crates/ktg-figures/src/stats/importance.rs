//! How much the choice of a parameter goes with the score.

use super::ranks::{centered_ranks, scaled};
use super::shuffle::{Extremes, orders};
use super::{ROUNDING, finite};

/// The importance of one parameter with several choices.
#[derive(Clone, Debug, PartialEq)]
pub struct Importance {
    /// Epsilon squared, H / (n - 1) with Kruskal's and Wallis' H, corrected for ties: the share of the variance of the
    /// ranks that the choices explain, 0 to 1.
    pub effect: f64,
    /// What the effect would be on average if the choice did not matter: (choices - 1) / (n - 1).
    pub chance: f64,
    /// From shuffled choices, right for rare choices too.
    pub p: f64,
    /// The choices that occur, in ascending order.
    pub groups: Vec<CategoryRank>,
}

/// The graphs with one choice.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CategoryRank {
    /// The choice.
    pub category: usize,
    /// Graphs that made it.
    pub n: usize,
    /// The mean of their ranks among all graphs, from 0 (the worst) to 1 (the best); 0.5 is average.
    pub mean_rank: f64,
}

/// The importance of a parameter: `groups[g]` is the choice of graph g, such as the design of one edge, and `scores[g]`
/// its score (higher is better; stopped trials get one from [`super::ordering`]).
///
/// With the ranks r of the scores, H = (n - 1) sum_c n_c (mean_c(r) - mean(r))^2 / sum_g (r_g - mean(r))^2, which is
/// Kruskal's and Wallis' test with the usual correction for ties. The effect grows with the number of choices and
/// shrinks with n even where nothing matters: compare it with `chance`. A permutation p-value comes from `rounds`
/// shuffles drawn from `seed` (exact if there are fewer), which takes the time of rounds x n additions.
///
/// Assumes that graphs were chosen independently of each other's scores, as in random search. It looks at one parameter
/// alone: a choice that is good only together with another may show nothing. Leave out graphs for which the parameter
/// has no meaning, such as the design of a cut edge. Whoever asks for many parameters adjusts the p-values.
///
/// `None` for lists of different lengths, fewer than two choices, or if all scores are equal.
///
/// Sources: Kruskal and Wallis, "Use of ranks in one-criterion variance analysis", Journal of the American Statistical
/// Association 1952; the effect: Tomczak and Tomczak, "The need to report effect size estimates revisited", Trends in
/// Sport Sciences 2014.
///
/// ```
/// let found = ktg_figures::stats::importance(&[0.1, 0.2, 0.3, 0.4], &[3, 3, 8, 8], 1000, 0).unwrap();
/// assert_eq!((found.effect, found.chance), (0.8, 1.0 / 3.0));
/// assert_eq!((found.groups[1].category, found.groups[1].n), (8, 2));
/// ```
pub fn importance(scores: &[f64], groups: &[usize], rounds: usize, seed: u64) -> Option<Importance> {
    let n = scores.len();
    if groups.len() != n || !finite(scores) {
        return None;
    }
    let mut categories = groups.to_vec();
    categories.sort_unstable();
    categories.dedup();
    let centered = centered_ranks(scores);
    let total: f64 = centered.iter().map(|rank| rank * rank).sum();
    if categories.len() < 2 || total == 0.0 {
        return None;
    }
    let labels: Vec<usize> = groups.iter().map(|group| categories.partition_point(|other| other < group)).collect();
    let mut counts = vec![0; categories.len()];
    labels.iter().for_each(|label| counts[*label] += 1);

    let sums = rank_sums(&centered, &labels, categories.len());
    let explained = between(&sums, &counts);
    let limit = explained - ROUNDING * total;
    let mut extremes = Extremes::default();
    let all = orders(&labels, rounds, seed, |labels| {
        let sums = rank_sums(&centered, labels, counts.len());
        extremes.note(between(&sums, &counts) >= limit);
    });

    let average = (n + 1) as f64 / 2.0;
    let groups = categories.iter().zip(counts.iter().zip(&sums)).map(|(category, (count, sum))| {
        let mean_rank = scaled(average + sum / *count as f64, n);
        CategoryRank { category: *category, n: *count, mean_rank }
    });
    Some(Importance {
        effect: (explained / total).clamp(0.0, 1.0),
        chance: (categories.len() - 1) as f64 / (n - 1) as f64,
        p: extremes.p(all),
        groups: groups.collect(),
    })
}

/// The sum of the centered ranks of each choice.
fn rank_sums(centered: &[f64], labels: &[usize], choices: usize) -> Vec<f64> {
    let mut sums = vec![0.0; choices];
    for (rank, label) in centered.iter().zip(labels) {
        sums[*label] += rank;
    }
    sums
}

/// The squares that the choices explain: sum over them of (sum of their centered ranks)^2 / number.
fn between(sums: &[f64], counts: &[usize]) -> f64 {
    sums.iter().zip(counts).map(|(sum, count)| sum * sum / *count as f64).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_there_is_none() {
        assert_eq!(importance(&[], &[], 10, 0), None);
        assert_eq!(importance(&[1.0], &[0], 10, 0), None);
        assert_eq!(importance(&[1.0, 2.0], &[4, 4], 10, 0), None);
        assert_eq!(importance(&[1.0, 1.0], &[0, 1], 10, 0), None);
        assert_eq!(importance(&[1.0, 2.0], &[0], 10, 0), None);
        assert_eq!(importance(&[1.0, f64::NAN], &[0, 1], 10, 0), None);
    }

    #[test]
    fn two_graphs_explain_everything_and_tell_nothing() {
        let found = importance(&[1.0, 2.0], &[9, 2], 10, 0).unwrap();
        assert_eq!((found.effect, found.chance, found.p), (1.0, 1.0, 1.0));
        let group = |category, mean_rank| CategoryRank { category, n: 1, mean_rank };
        assert_eq!(found.groups, [group(2, 1.0), group(9, 0.0)]);
    }

    #[test]
    fn chance_is_the_mean_effect_of_shuffles() {
        let scores = [0.3, 0.1, 0.1, 0.8, 0.5, 0.9, 0.1];
        let labels = [0, 0, 1, 1, 2, 2, 2];
        let (mut sum, mut count) = (0.0, 0.0);
        orders(&labels, 1000, 0, |labels| {
            sum += importance(&scores, labels, 0, 0).unwrap().effect;
            count += 1.0;
        });
        assert_eq!(count, 210.0);
        assert!((sum / count - importance(&scores, &labels, 0, 0).unwrap().chance).abs() < 1e-12);
    }
}
