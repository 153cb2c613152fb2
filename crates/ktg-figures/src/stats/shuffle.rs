//! Shuffled data, all or some of them, and p-values from them.

use ktg_base::random::{ChaCha8Rng, below, keyed};

/// The generator of a seed.
pub(super) fn generator(seed: u64) -> ChaCha8Rng {
    keyed([seed, 0, 0, 0])
}

/// Draws `count` of the items, without putting them back, to the front (Fisher and Yates).
pub(super) fn draw<T>(items: &mut [T], count: usize, rng: &mut ChaCha8Rng) {
    for i in 0..count.min(items.len()) {
        items.swap(i, i + below(rng, (items.len() - i) as u64) as usize);
    }
}

/// How many shuffles were looked at, and how many of them were at least as extreme as the data.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Extremes {
    extreme: u64,
    all: u64,
}

impl Extremes {
    pub(super) fn note(&mut self, extreme: bool) {
        self.extreme += u64::from(extreme);
        self.all += 1;
    }

    /// The p-value: exact if these were all shuffles there are, the data's own order among them; if they were drawn, the
    /// data count as one more.
    pub(super) fn p(self, all: bool) -> f64 {
        let data = u64::from(!all);
        (self.extreme + data) as f64 / (self.all + data).max(1) as f64
    }
}

/// Shows `look` the labels in every order that can be told apart, if there are at most `rounds`, and else in `rounds`
/// random orders. Returns whether it was all of them.
pub(super) fn orders(labels: &[usize], rounds: usize, seed: u64, mut look: impl FnMut(&[usize])) -> bool {
    let mut labels = labels.to_vec();
    labels.sort_unstable();
    if few_orders(&labels, rounds) {
        loop {
            look(&labels);
            if !next_order(&mut labels) {
                return true;
            }
        }
    }
    let mut rng = generator(seed);
    for _ in 0..rounds {
        let all = labels.len();
        draw(&mut labels, all, &mut rng);
        look(&labels);
    }
    false
}

/// Whether sorted labels have at most `rounds` orders: n! / (n1! n2! ...), n1, n2, ... being how often each occurs.
pub(super) fn few_orders(labels: &[usize], rounds: usize) -> bool {
    let (mut orders, mut placed) = (1.0, 0.0);
    for same in labels.chunk_by(|a, b| a == b) {
        // Binomial coefficients, one factor at a time; all are whole numbers.
        for i in 1..=same.len() {
            placed += 1.0;
            orders = orders * placed / i as f64;
            if orders > rounds as f64 {
                return false;
            }
        }
    }
    true
}

/// The next order in the dictionary; `false` after the last.
fn next_order(labels: &mut [usize]) -> bool {
    let Some(i) = (1..labels.len()).rev().find(|&i| labels[i - 1] < labels[i]) else { return false };
    let larger = (i..labels.len()).rev().find(|&j| labels[j] > labels[i - 1]).unwrap_or(i);
    labels.swap(i - 1, larger);
    labels[i..].reverse();
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn seen(labels: &[usize], rounds: usize) -> (bool, BTreeMap<Vec<usize>, usize>) {
        let mut seen = BTreeMap::new();
        let all = orders(labels, rounds, 5, |labels| *seen.entry(labels.to_vec()).or_default() += 1);
        (all, seen)
    }

    #[test]
    fn all_orders_once() {
        let (all, orders) = seen(&[2, 0, 1, 0], 12);
        assert!(all && orders.len() == 12 && orders.values().all(|&count| count == 1), "{orders:?}");
        assert_eq!(seen(&[], 1), (true, BTreeMap::from([(vec![], 1)])));
        assert_eq!(seen(&[7, 7], 1).1.len(), 1);
    }

    #[test]
    fn random_orders_evenly() {
        // 60 orders of 59 allowed: drawn.
        assert!(!seen(&[0, 0, 1, 1, 1, 2], 59).0);
        assert!(seen(&[0, 0, 1, 1, 1, 2], 60).0);
        let (all, orders) = seen(&[0, 1, 2, 3, 4, 5, 6, 7], 40_319);
        assert!(!all);
        // Each of 8 places holds each label an eighth of the time; 5 standard deviations.
        for place in 0..8 {
            for label in 0..8 {
                let count: usize = orders.iter().filter(|(o, _)| o[place] == label).map(|(_, count)| count).sum();
                let expected = 40_319.0 / 8.0;
                assert!(
                    (count as f64 - expected).abs() < 5.0 * (expected * 7.0 / 8.0).sqrt(),
                    "{place} {label} {count}"
                );
            }
        }
    }

    #[test]
    fn pairs_are_drawn_evenly() {
        let mut rng = generator(2);
        let mut counts = BTreeMap::<[u8; 2], usize>::new();
        for _ in 0..12_000 {
            let mut items = [0, 1, 2, 3];
            draw(&mut items, 2, &mut rng);
            *counts.entry([items[0], items[1]]).or_default() += 1;
        }
        // 1,000 of each of the 12 pairs; 5 standard deviations.
        assert!(counts.len() == 12 && counts.values().all(|count| count.abs_diff(1000) < 150), "{counts:?}");
    }

    #[test]
    fn numbers_of_orders() {
        assert!(few_orders(&[0; 100_000], 1));
        let halves: Vec<usize> = (0..20).map(|i| i / 10).collect();
        assert!(few_orders(&halves, 184_756) && !few_orders(&halves, 184_755));
        assert!(!few_orders(&(0..100_000).collect::<Vec<_>>(), usize::MAX));
    }
}
