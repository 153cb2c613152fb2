//! What the best graphs of a study have more of than all its graphs.

use super::shuffle::{Extremes, draw, few_orders, generator, orders};
use super::{ROUNDING, benjamini_hochberg, finite, magnitude};

/// One feature in the best graphs and in all.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Enrichment {
    /// Its mean over the best graphs, in the unit of the feature.
    pub top: f64,
    /// Its mean over all graphs, the best ones included.
    pub all: f64,
    /// `top - all`.
    pub difference: f64,
    /// How often as many graphs, drawn at random, differ from all by at least as much, on either side.
    pub p: f64,
    /// `p`, adjusted for the number of features ([`benjamini_hochberg`]).
    pub adjusted: f64,
}

/// Compares the `k` best graphs with all graphs, feature by feature.
///
/// `scores[g]` is the score of graph g (higher is better; stopped trials get one from [`super::ordering`]), and
/// `features[g]` its features: counts, such as its edges of some design, or shares of its edges. The unit is the graph.
/// The edges of one graph got their score together, and counting them one by one would make p far too small.
///
/// The p-value is that of a permutation test: if a feature has nothing to do with the score, the best graphs are like
/// any k graphs, drawn without putting back. If several graphs share the k-th place, each counts with the same part of
/// the places left, in the data as in the draws.
///
/// Assumes that graphs were chosen independently of each other's scores, as in random search. Samplers that learn
/// choose graphs like the best ones: their graphs are not interchangeable, and p is too small. Features that must add
/// up, like the counts of all designs, cannot differ one by one: if one is up, another is down.
///
/// `None` without features or with unequal numbers of them, for k = 0 or more than there are graphs. For k = all graphs
/// every p is 1. The time is that of rounds x k x features additions.
///
/// ```
/// let graphs = [vec![0.0], vec![0.0], vec![1.0], vec![3.0]];
/// let found = ktg_figures::stats::enrichment(&[0.1, 0.2, 0.3, 0.4], &graphs, 1, 1000, 0).unwrap();
/// assert_eq!((found[0].top, found[0].all, found[0].p), (3.0, 1.0, 0.25));
/// ```
pub fn enrichment(
    scores: &[f64],
    features: &[Vec<f64>],
    k: usize,
    rounds: usize,
    seed: u64,
) -> Option<Vec<Enrichment>> {
    let n = scores.len();
    let count = features.first()?.len();
    let fits = features.len() == n && features.iter().all(|row| row.len() == count && finite(row));
    if !fits || !finite(scores) || count == 0 || k == 0 || k > n {
        return None;
    }
    let mut best: Vec<usize> = (0..n).collect();
    best.sort_by(|&i, &j| scores[j].total_cmp(&scores[i]));
    let top = Top::of(scores, scores[best[k - 1]], k);

    let column_means: Vec<f64> =
        (0..count).map(|f| features.iter().map(|row| row[f]).sum::<f64>() / n as f64).collect();
    // The sum of k graphs is compared with k times the mean, up to rounding.
    let slack: Vec<f64> =
        (0..count).map(|f| ROUNDING * k as f64 * magnitude(features.iter().map(|row| &row[f]))).collect();
    let expected: Vec<f64> = column_means.iter().map(|mean| mean * k as f64).collect();
    let mut sums = vec![0.0; count];
    top.sums(&best, features, &mut sums);
    let found = sums.clone();
    let mut extremes = vec![Extremes::default(); count];
    let all = top.each_draw(n, rounds, seed, |graphs| {
        top.sums(graphs, features, &mut sums);
        for f in 0..count {
            let limit = (found[f] - expected[f]).abs() - slack[f];
            extremes[f].note((sums[f] - expected[f]).abs() >= limit);
        }
    });
    let p: Vec<f64> = extremes.iter().map(|extremes| extremes.p(all)).collect();
    let adjusted = benjamini_hochberg(&p)?;
    let result = (0..count).map(|f| {
        let (top, all) = (found[f] / k as f64, column_means[f]);
        Enrichment { top, all, difference: top - all, p: p[f], adjusted: adjusted[f] }
    });
    let result: Vec<Enrichment> = result.collect();
    result.iter().all(|row| row.difference.is_finite()).then_some(result)
}

/// How the k best places are filled.
struct Top {
    /// Graphs that are better than the k-th.
    sure: usize,
    /// Graphs as good as the k-th.
    tied: usize,
    /// The part of a place that each of the tied graphs gets.
    share: f64,
}

impl Top {
    /// `k` is in 1..=n, and `last` is the k-th best of the scores.
    fn of(scores: &[f64], last: f64, k: usize) -> Self {
        let sure = scores.iter().filter(|&&score| score > last).count();
        let tied = scores.iter().filter(|&&score| score == last).count();
        if sure + tied == k {
            // All of them have a place: there are fewer ways to fill the places than with two kinds.
            return Self { sure: k, tied: 0, share: 0.0 };
        }
        Self { sure, tied, share: (k - sure) as f64 / tied as f64 }
    }

    /// The sum of each feature, if `graphs` begins with the sure ones and the tied ones come next.
    fn sums(&self, graphs: &[usize], features: &[Vec<f64>], sums: &mut [f64]) {
        sums.fill(0.0);
        let (sure, others) = graphs.split_at(self.sure);
        for &graph in &others[..self.tied] {
            sums.iter_mut().zip(&features[graph]).for_each(|(sum, value)| *sum += value);
        }
        sums.iter_mut().for_each(|sum| *sum *= self.share);
        for &graph in sure {
            sums.iter_mut().zip(&features[graph]).for_each(|(sum, value)| *sum += value);
        }
    }

    /// Shows `look` all ways of filling the places, or `rounds` random ones; returns whether it was all.
    fn each_draw(&self, n: usize, rounds: usize, seed: u64, mut look: impl FnMut(&[usize])) -> bool {
        let filled = self.sure + self.tied;
        // 0: sure, 1: tied, 2: out.
        let labels: Vec<usize> = (0..n).map(|i| usize::from(i >= self.sure) + usize::from(i >= filled)).collect();
        let mut graphs: Vec<usize> = (0..n).collect();
        if few_orders(&labels, rounds) {
            return orders(&labels, rounds, seed, |labels| {
                graphs.clear();
                for wanted in 0..2 {
                    graphs.extend((0..n).filter(|&graph| labels[graph] == wanted));
                }
                look(&graphs);
            });
        }
        let mut rng = generator(seed);
        for _ in 0..rounds {
            draw(&mut graphs, filled, &mut rng);
            look(&graphs);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(values: &[f64]) -> Vec<Vec<f64>> {
        values.iter().map(|&value| vec![value]).collect()
    }

    #[test]
    fn input_that_does_not_fit() {
        let features = column(&[1.0, 2.0]);
        assert_eq!(enrichment(&[], &[], 1, 10, 0), None);
        assert_eq!(enrichment(&[1.0, 2.0], &features, 0, 10, 0), None);
        assert_eq!(enrichment(&[1.0, 2.0], &features, 3, 10, 0), None);
        assert_eq!(enrichment(&[1.0], &features, 1, 10, 0), None);
        assert_eq!(enrichment(&[1.0, f64::NAN], &features, 1, 10, 0), None);
        assert_eq!(enrichment(&[1.0, 2.0], &column(&[1.0, f64::INFINITY]), 1, 10, 0), None);
        assert_eq!(enrichment(&[1.0, 2.0], &[vec![1.0], vec![1.0, 2.0]], 1, 10, 0), None);
        assert_eq!(enrichment(&[1.0, 2.0], &[vec![], vec![]], 1, 10, 0), None);
    }

    #[test]
    fn one_graph_and_all_graphs() {
        let none = Enrichment { top: 2.0, all: 2.0, difference: 0.0, p: 1.0, adjusted: 1.0 };
        assert_eq!(enrichment(&[1.0], &column(&[2.0]), 1, 10, 0), Some(vec![none]));
        assert_eq!(enrichment(&[1.0, 2.0, 3.0], &column(&[1.0, 2.0, 3.0]), 3, 10, 0), Some(vec![none]));
        // No rounds: nothing is known.
        assert_eq!(enrichment(&[1.0, 2.0], &column(&[1.0, 2.0]), 1, 0, 0).unwrap()[0].p, 1.0);
    }

    #[test]
    fn tied_graphs_count_in_part() {
        // The best graph counts 1, the two next best a half each.
        let found = enrichment(&[9.0, 5.0, 5.0, 1.0], &column(&[4.0, 2.0, 0.0, 0.0]), 2, 100, 0).unwrap();
        assert_eq!((found[0].top, found[0].all), (2.5, 1.5));
        // Sums of the 12 ways: 4 5 5, 2 4 4, and 1 2 3 twice. As far from 3 as 5 are 5 5 1 1.
        assert_eq!(found[0].p, 4.0 / 12.0);
        let equal = enrichment(&[7.0; 5], &column(&[0.0, 1.0, 2.0, 3.0, 4.0]), 2, 100, 0).unwrap();
        assert_eq!((equal[0].top, equal[0].all, equal[0].p), (2.0, 2.0, 1.0));
    }

    #[test]
    fn few_places_are_drawn_too() {
        // One of 5,000 graphs, a tenth of which have the feature: p is 0.1.
        let scores: Vec<f64> = (0..5000).map(f64::from).collect();
        let values: Vec<f64> = (0..5000).map(|i| f64::from(u8::from(i % 10 == 9))).collect();
        let p = enrichment(&scores, &column(&values), 1, 4000, 1).unwrap()[0].p;
        assert!((p - 0.1).abs() < 5.0 * (0.09f64 / 4000.0).sqrt(), "{p}");
    }

    #[test]
    fn constant_features_never_stand_out() {
        let scores: Vec<f64> = (0..50).map(f64::from).collect();
        let found = enrichment(&scores, &column(&[0.1; 50]), 7, 200, 1).unwrap();
        assert_eq!(found[0].p, 1.0);
    }
}
