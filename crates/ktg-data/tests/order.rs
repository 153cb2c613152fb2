//! Orders and splits.

use ktg_base::random::below;
use ktg_data::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// fixtures/make.py computes the same orders with a ChaCha8 and a Fisher-Yates of its own.
#[test]
fn shuffling_is_pinned() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/cases.json");
    let cases: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    for case in cases["orders"].as_array().unwrap() {
        let expected: Vec<usize> = serde_json::from_value(case["order"].clone()).unwrap();
        let [seed, epoch] = ["seed", "epoch"].map(|key| case[key].as_u64().unwrap());
        assert_eq!(epoch_order(expected.len(), seed, epoch, true), expected);
    }
    assert_eq!(epoch_order(10, 0, 0, true), [6, 4, 5, 0, 9, 1, 2, 8, 3, 7]);
}

#[test]
fn odd_classes_are_split_evenly_overall() {
    // 20 classes of 3: half of 60, not 20 times a rounded 1.5.
    let labels: Vec<u32> = (0..60).map(|i| i % 20).collect();
    let (first, second) = stratified_split(&labels, 0.5, 3);
    assert_eq!((first.len(), second.len()), (30, 30));
}

#[test]
fn extreme_shares_are_safe() {
    let labels = [0, 0, 1];
    assert_eq!(stratified_split(&labels, 0.0, 0).0, [0; 0]);
    assert_eq!(stratified_split(&labels, 1.0, 0).0, [0, 1, 2]);
    assert_eq!(stratified_split(&labels, f64::NAN, 0).1, [0, 1, 2]);
    assert_eq!(stratified_split(&labels, f64::INFINITY, 0).0, [0, 1, 2]);
    assert_eq!(stratified_split(&[], 0.5, 0), (vec![], vec![]));
    // Class 1 has one sample: it is in the first part.
    assert_eq!(stratified_split(&labels, 1e-9, 0).0.len(), 2);
}

#[test]
fn streams_differ_in_every_argument() {
    let first = |seed, purpose, a, b| below(&mut rng(seed, purpose, a, b), u64::MAX);
    let all = [
        first(0, Purpose::Init, 0, 0),
        first(1, Purpose::Init, 0, 0),
        first(0, Purpose::Subset, 0, 0),
        first(0, Purpose::Init, 1, 0),
        first(0, Purpose::Init, 0, 1),
    ];
    assert_eq!(std::collections::BTreeSet::from(all).len(), all.len());
}

#[test]
fn balanced_epochs_differ_and_leave_nobody_out() {
    // One class of 6, one of 3, one of 1; class 2 has no samples.
    let labels = [0, 0, 0, 0, 0, 0, 1, 1, 1, 3];
    let epochs: Vec<_> = (0..60).map(|epoch| balanced_order(&labels, 1, epoch)).collect();
    assert_eq!(epochs, (0..60).map(|epoch| balanced_order(&labels, 1, epoch)).collect::<Vec<_>>());
    assert_ne!(epochs[0], epochs[1]);
    assert_ne!(epochs[0], balanced_order(&labels, 2, 0));
    let draws = |sample: usize| epochs.iter().flatten().filter(|drawn| **drawn == sample).count();
    // A class has 3 draws in two of three epochs, and 4 in the others.
    let expected = [60.0 * 10.0 / 18.0; 6].into_iter().chain([60.0 * 10.0 / 9.0; 3]).chain([200.0]);
    for (sample, expected) in expected.enumerate() {
        assert!((draws(sample) as f64 - expected).abs() < 20.0, "{} of {expected} of {sample}", draws(sample));
    }
    let first_class = |order: &Vec<usize>| labels[order[0]];
    assert!([0, 1, 3].iter().all(|class| epochs.iter().any(|order| first_class(order) == *class)), "it is shuffled");
    assert_eq!(balanced_order(&[], 0, 0), [0; 0]);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn epoch_order_is_a_permutation(len in 0usize..300, seed: u64, epoch: u64) {
        let mut order = epoch_order(len, seed, epoch, true);
        order.sort_unstable();
        prop_assert_eq!(order, epoch_order(len, seed, epoch, false));
    }

    #[test]
    fn balanced_orders_are_balanced(labels in prop::collection::vec(0u32..6, 0..200), seed: u64, epoch: u64) {
        let order = balanced_order(&labels, seed, epoch);
        prop_assert_eq!(order.len(), labels.len());
        let mut draws = BTreeMap::<u32, BTreeMap<usize, usize>>::new();
        for (i, &label) in labels.iter().enumerate() {
            draws.entry(label).or_default().insert(i, 0);
        }
        for sample in order {
            *draws.get_mut(&labels[sample]).unwrap().get_mut(&sample).unwrap() += 1;
        }
        let even = |counts: Vec<usize>| counts.iter().max().unwrap_or(&0) - counts.iter().min().unwrap_or(&0) <= 1;
        prop_assert!(even(draws.values().map(|class| class.values().sum()).collect()), "{:?}", draws);
        prop_assert!(draws.values().all(|class| even(class.values().copied().collect())), "{:?}", draws);
    }

    #[test]
    fn splits_are_stratified(labels in prop::collection::vec(0u32..6, 0..200), share in 0.0f64..=1.0, seed: u64) {
        let (first, second) = stratified_split(&labels, share, seed);
        prop_assert_eq!(stratified_split(&labels, share, seed), (first.clone(), second.clone()));
        prop_assert!(first.is_sorted() && second.is_sorted());
        let mut all = [first.clone(), second.clone()].concat();
        all.sort_unstable();
        prop_assert_eq!(all, (0..labels.len()).collect::<Vec<_>>());

        let mut sizes = BTreeMap::<u32, (usize, usize)>::new();
        first.iter().for_each(|&i| sizes.entry(labels[i]).or_default().0 += 1);
        second.iter().for_each(|&i| sizes.entry(labels[i]).or_default().1 += 1);
        let classes = sizes.len() as f64;
        for (a, b) in sizes.into_values() {
            let exact = (a + b) as f64 * share;
            prop_assert!((a as f64 - exact).abs() < 1.0 + 1e-9);
            if share > 0.0 && share < 1.0 {
                prop_assert!(a >= 1 && (b >= 1 || a == 1));
            }
        }
        prop_assert!((first.len() as f64 - labels.len() as f64 * share).abs() <= 0.5 + classes);
    }

    #[test]
    fn shares_of_a_dataset_keep_every_class(n in 1usize..40, share in 0.01f64..=1.0, seed: u64) {
        let pixel = || Image::new(1, 1, 1, vec![0]).unwrap();
        let labels: Vec<u32> = (0..3 * n as u32).map(|i| i % 3).collect();
        let names = ["a", "b", "c"].map(String::from).to_vec();
        let images = labels.iter().map(|_| pixel()).collect();
        let dataset = Dataset::from_images("train", names, images, labels).unwrap();
        let part = dataset.fraction(share, seed).unwrap();
        for class in 0..3 {
            let kept = part.labels().iter().filter(|&&label| label == class).count();
            prop_assert!(kept >= 1 && (kept as f64 - n as f64 * share).abs() < 1.0 + 1e-9);
        }
    }
}
