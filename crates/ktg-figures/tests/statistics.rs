//! Statistics against SciPy, statsmodels and Optuna (`fixtures/statistics`), and what holds for any numbers.

use std::path::Path;

use ktg_figures::stats::*;
use proptest::prelude::*;
use serde_json::Value;

// ---- reading fixtures ----

fn cases(part: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/data/statistics.json");
    let fixture: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let cases = fixture[part].as_array().unwrap().clone();
    assert!(!cases.is_empty());
    cases
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(number).collect()
}

fn rows(value: &Value) -> Vec<Vec<f64>> {
    value.as_array().unwrap().iter().map(numbers).collect()
}

fn wholes(value: &Value) -> Vec<usize> {
    value.as_array().unwrap().iter().map(|value| value.as_u64().unwrap() as usize).collect()
}

/// Agreement to `tolerance` of the larger of the number and `scale`.
#[track_caller]
fn close(what: &str, ours: f64, theirs: &Value, scale: f64, tolerance: f64) {
    let theirs = number(theirs);
    let gap = (ours - theirs).abs() / theirs.abs().max(scale).max(f64::MIN_POSITIVE);
    assert!(gap <= tolerance, "{what}: {ours}, expected {theirs}, gap {gap:.1e}");
}

/// A sampled p-value of `rounds`, within 5 of its standard deviations.
#[track_caller]
fn near(what: &str, sampled: f64, theirs: &Value, rounds: usize, further: f64) {
    let theirs = number(theirs);
    let limit = 5.0 * (theirs * (1.0 - theirs) / rounds as f64).sqrt() + 2.0 / rounds as f64 + further;
    assert!((sampled - theirs).abs() <= limit, "{what}: {sampled}, expected {theirs} +- {limit}");
}

#[track_caller]
fn close_interval(ours: Interval, theirs: &Value, scale: f64) {
    close("low", ours.low, &theirs[0], scale, 1e-9);
    close("high", ours.high, &theirs[1], scale, 1e-9);
}

// ---- fixtures ----

#[test]
fn means_and_deviations() {
    for case in cases("means") {
        let values = numbers(&case["values"]);
        let found = summary(&values).unwrap();
        let deviation = found.deviation.unwrap();
        close("mean", found.mean, &case["mean"], deviation, 1e-11);
        close("deviation", deviation, &case["deviation"], 0.0, 1e-11);
    }
}

#[test]
fn paired_differences() {
    for case in cases("pairs") {
        let (a, b) = (numbers(&case["a"]), numbers(&case["b"]));
        for (level, interval) in numbers(&case["levels"]).iter().zip(case["intervals"].as_array().unwrap()) {
            let found = paired(&a, &b, *level).unwrap();
            close("mean", found.mean, &case["mean"], 0.1, 1e-10);
            close("deviation", found.deviation, &case["deviation"], 0.0, 1e-10);
            close("p", found.p.unwrap(), &case["p"], 1e-30, 1e-8);
            close_interval(found.interval, interval, 0.1);
        }
    }
}

#[test]
fn adjusted_p_values() {
    for case in cases("adjustments") {
        let p = numbers(&case["p"]);
        for (ours, theirs) in [(holm(&p), &case["holm"]), (benjamini_hochberg(&p), &case["bh"])] {
            for (ours, theirs) in ours.unwrap().iter().zip(theirs.as_array().unwrap()) {
                close("adjusted", *ours, theirs, 0.0, 1e-11);
            }
        }
    }
}

#[test]
fn enrichment_by_enumeration() {
    for case in cases("enrichments") {
        let (scores, features) = (numbers(&case["scores"]), rows(&case["features"]));
        let (k, ways) = (case["k"].as_u64().unwrap() as usize, case["ways"].as_u64().unwrap() as usize);
        let exact = enrichment(&scores, &features, k, ways, 0).unwrap();
        let expected = case["expected"].as_array().unwrap();
        assert_eq!(exact.len(), expected.len());
        for (ours, theirs) in exact.iter().zip(expected) {
            close("top", ours.top, &theirs["top"], 1.0, 1e-11);
            close("all", ours.all, &theirs["all"], 1.0, 1e-11);
            assert!((ours.difference - (ours.top - ours.all)).abs() < 1e-12);
            close("p", ours.p, &theirs["p"], 0.0, 1e-11);
            close("adjusted", ours.adjusted, &theirs["adjusted"], 0.0, 1e-11);
        }
        // With one round less the ways are drawn: never 0, and not the exact number.
        let drawn = enrichment(&scores, &features, k, ways - 1, 0).unwrap();
        assert!(drawn.iter().all(|row| row.p > 0.0 && row.p <= 1.0));
        assert!(ways == 1 || drawn != exact);
    }
}

#[test]
fn enrichment_by_drawing() {
    for case in cases("hypergeometric") {
        let (scores, features) = (numbers(&case["scores"]), rows(&case["features"]));
        let k = case["k"].as_u64().unwrap() as usize;
        let found = enrichment(&scores, &features, k, 20_000, 7).unwrap();
        for (ours, theirs) in found.iter().zip(case["p"].as_array().unwrap()) {
            near("p", ours.p, theirs, 20_000, 0.0);
        }
    }
}

#[test]
fn importance_of_choices() {
    for case in cases("choices") {
        let (scores, groups) = (numbers(&case["scores"]), wholes(&case["groups"]));
        let found = importance(&scores, &groups, 5_000, 3).unwrap();
        close("effect", found.effect, &case["effect"], 0.0, 1e-10);
        assert_eq!(found.groups.len(), case["mean_ranks"].as_array().unwrap().len());
        for (group, mean) in found.groups.iter().zip(case["mean_ranks"].as_array().unwrap()) {
            close("mean rank", group.mean_rank, mean, 1.0, 1e-11);
            assert_eq!(group.n, groups.iter().filter(|choice| **choice == group.category).count());
        }
        match case.get("p") {
            Some(exact) => {
                close("exact p", found.p, exact, 0.0, 1e-11);
                // Fewer rounds than the 1,260 orders of one case.
                near("sampled p", importance(&scores, &groups, 1_000, 3).unwrap().p, exact, 1_000, 0.0);
            }
            // One of the choices is too rare for chi-square to be exact.
            None => near("p", found.p, &case["p_chi_square"], 5_000, 0.02),
        }
    }
}

#[test]
fn ped_anova_as_optuna() {
    for case in cases("parzen") {
        let scores = numbers(&case["scores"]);
        let quantiles = numbers(&case["quantiles"]);
        for (parameter, choices) in wholes(&case["choices"]).into_iter().enumerate() {
            let values: Vec<Option<usize>> = case["values"]
                .as_array()
                .unwrap()
                .iter()
                .map(|row| row[parameter].as_u64().map(|value| value as usize))
                .collect();
            for (quantile, importances) in quantiles.iter().zip(case["importances"].as_array().unwrap()) {
                let ours = ped_anova(&scores, &values, choices, *quantile).unwrap();
                close("importance", ours, &importances[parameter], 1e-9, 1e-8);
            }
        }
    }
}

#[test]
fn orderings_of_stopped_trials() {
    for case in cases("orderings") {
        let trials: Vec<(u64, f64)> = rows(&case["trials"]).iter().map(|row| (row[0] as u64, row[1])).collect();
        for (ours, theirs) in ordering(&trials).iter().zip(case["expected"].as_array().unwrap()) {
            close("place", *ours, theirs, 1.0, 1e-11);
        }
    }
}

#[test]
fn reliability_diagrams() {
    for case in cases("diagrams") {
        let correct: Vec<bool> = case["correct"].as_array().unwrap().iter().map(|v| v.as_bool().unwrap()).collect();
        let bins = case["bins"].as_u64().unwrap() as usize;
        let found = reliability(&numbers(&case["confidence"]), &correct, bins).unwrap();
        close("ECE", found.ece, &case["ece"], 0.0, 1e-10);
        assert_eq!(found.bins.iter().map(|bin| bin.n).collect::<Vec<_>>(), wholes(&case["counts"]));
        for (i, bin) in found.bins.iter().enumerate() {
            for (ours, theirs) in [(bin.accuracy, &case["accuracies"][i]), (bin.confidence, &case["confidences"][i])] {
                assert_eq!(ours.is_none(), theirs.is_null());
                if let Some(ours) = ours {
                    close("bin", ours, theirs, 1.0, 1e-11);
                }
            }
        }
    }
}

// ---- what holds for any numbers ----

/// Numbers with ties, as accuracies have them.
fn values(most: usize) -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec((-20..20i32).prop_map(|value| f64::from(value) / 10.0), 0..most)
}

fn anything() -> impl Strategy<Value = f64> {
    prop_oneof![any::<f64>(), Just(f64::NAN), Just(f64::INFINITY), Just(0.0), Just(-0.0), Just(f64::MAX), -1.0..1.0]
}

fn share(p: f64) -> bool {
    (0.0..=1.0).contains(&p)
}

fn reversed<T: Clone>(values: &[T]) -> Vec<T> {
    values.iter().rev().cloned().collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn swapping_methods_turns_the_sign(pairs in values(9), others in values(9), level in 0.01..0.99) {
        let n = pairs.len().min(others.len());
        let (a, b) = (&pairs[..n], &others[..n]);
        let (one, two) = (paired(a, b, level), paired(b, a, level));
        prop_assert_eq!(one.is_some(), n >= 2);
        if let (Some(one), Some(two)) = (one, two) {
            prop_assert!((one.mean + two.mean).abs() < 1e-12 && (one.interval.low + two.interval.high).abs() < 1e-9);
            prop_assert_eq!(one.p.is_none(), one.deviation == 0.0 && one.mean != 0.0);
            prop_assert!(one.p.is_none_or(share) && (one.p.unwrap_or(0.0) - two.p.unwrap_or(0.0)).abs() < 1e-9);
            // The test and the interval agree, except where rounding decides.
            if let Some(p) = one.p && (p - (1.0 - level)).abs() > 1e-9 {
                let outside = one.interval.low > 0.0 || one.interval.high < 0.0;
                prop_assert_eq!(outside, p < 1.0 - level);
            }
        }
    }

    #[test]
    fn adjusting_only_raises(p in prop::collection::vec((0..50u32).prop_map(|p| f64::from(p) / 49.0), 0..12)) {
        let (strict, lenient) = (holm(&p).unwrap(), benjamini_hochberg(&p).unwrap());
        for i in 0..p.len() {
            prop_assert!(p[i] <= lenient[i] && lenient[i] <= strict[i] + 1e-12 && strict[i] <= 1.0);
            for j in 0..p.len() {
                prop_assert!(p[i] > p[j] || (strict[i] <= strict[j] && lenient[i] <= lenient[j]));
            }
        }
        prop_assert_eq!(holm(&reversed(&p)).unwrap(), reversed(&strict));
        prop_assert_eq!(benjamini_hochberg(&reversed(&p)).unwrap(), reversed(&lenient));
    }

    #[test]
    fn enrichment_knows_no_order(scores in values(7), k in 1..7usize, columns in values(7)) {
        let n = scores.len().min(columns.len());
        let features: Vec<Vec<f64>> = columns[..n].iter().map(|&x| vec![x, -x, 10.0 * x + 3.0]).collect();
        let found = enrichment(&scores[..n], &features, k, 1000, 2);
        prop_assert_eq!(found.is_some(), n > 0 && k <= n);
        let Some(found) = found else { return Ok(()) };
        let again = enrichment(&reversed(&scores[..n]), &reversed(&features), k, 1000, 9).unwrap();
        for (one, two) in found.iter().zip(&again) {
            prop_assert!((one.top - two.top).abs() < 1e-12 && (one.p - two.p).abs() < 1e-12);
            prop_assert!(share(one.p) && one.p > 0.0 && one.adjusted >= one.p && share(one.adjusted));
        }
        // Neither the sign nor the unit of a feature matters for p.
        prop_assert!(found.iter().all(|row| row.p == found[0].p));
    }

    #[test]
    fn importance_knows_no_order_and_no_scale(scores in values(7), groups in prop::collection::vec(0..3usize, 7)) {
        let groups = &groups[..scores.len()];
        let Some(found) = importance(&scores, groups, 1000, 2) else { return Ok(()) };
        prop_assert!(share(found.effect) && share(found.p) && found.p > 0.0);
        let mean: f64 = found.groups.iter().map(|group| group.n as f64 * group.mean_rank).sum();
        prop_assert!((mean / scores.len() as f64 - 0.5).abs() < 1e-12);
        let cubes: Vec<f64> = scores.iter().rev().map(|score| score.powi(3)).collect();
        let renamed: Vec<usize> = groups.iter().rev().map(|group| 90 - group).collect();
        let other = importance(&cubes, &renamed, 1000, 8).unwrap();
        prop_assert!((found.effect - other.effect).abs() < 1e-12 && (found.p - other.p).abs() < 1e-12);
    }

    #[test]
    fn ped_anova_knows_no_order(
        scores in values(30),
        choices in prop::collection::vec(prop::option::of(0..4usize), 30),
        quantile in 0.01..0.99,
    ) {
        let choices = &choices[..scores.len()];
        let found = ped_anova(&scores, choices, 4, quantile);
        prop_assert_eq!(found.is_some(), scores.len() >= 2);
        if let Some(found) = found {
            let renamed: Vec<Option<usize>> = choices.iter().rev().map(|c| c.map(|c| 3 - c)).collect();
            let other = ped_anova(&reversed(&scores), &renamed, 4, quantile).unwrap();
            prop_assert!(found >= 0.0 && (found - other).abs() < 1e-12);
        }
    }

    #[test]
    fn places_follow_the_trials(trials in prop::collection::vec((0..4u64, anything()), 0..12)) {
        let places = ordering(&trials);
        prop_assert_eq!(places.len(), trials.len());
        let again = reversed(&ordering(&reversed(&trials)));
        prop_assert_eq!(&places, &again);
        for (i, (steps, value)) in trials.iter().enumerate() {
            prop_assert!(share(places[i]));
            for (j, (other_steps, other)) in trials.iter().enumerate() {
                let higher = value > other || other.is_nan() && !value.is_nan();
                let better = steps > other_steps || steps == other_steps && higher;
                prop_assert!(!better || places[i] > places[j]);
            }
        }
    }

    #[test]
    fn diagrams_count_everyone(
        samples in prop::collection::vec((0.0..=1.0, any::<bool>()), 1..60),
        bins in 1..20usize,
    ) {
        let (confidence, correct): (Vec<f64>, Vec<bool>) = samples.into_iter().unzip();
        let found = reliability(&confidence, &correct, bins).unwrap();
        prop_assert_eq!(found.bins.iter().map(|bin| bin.n).sum::<usize>(), confidence.len());
        prop_assert!(share(found.ece));
        for bin in &found.bins {
            prop_assert!(bin.confidence.is_none_or(|mean| mean >= bin.low - 1e-12 && mean <= bin.high + 1e-12));
        }
    }

    #[test]
    fn nothing_panics(
        a in prop::collection::vec(anything(), 0..6),
        b in prop::collection::vec(anything(), 0..6),
        x in anything(),
        k in 0..8usize,
        rounds in 0..30usize,
    ) {
        for found in [summary(&a).map(|s| s.mean), summary(&a).and_then(|s| s.deviation)] {
            prop_assert!(found.is_none_or(f64::is_finite));
        }
        let interval = paired(&a, &b, x).map(|p| p.interval);
        prop_assert!(interval.is_none_or(|i| i.low <= i.high && i.low.is_finite() && i.high.is_finite()));
        let single: Vec<Vec<f64>> = b.iter().map(|&value| vec![value]).collect();
        for row in enrichment(&a, &single, k, rounds, 0).unwrap_or_default() {
            prop_assert!(share(row.p) && share(row.adjusted) && row.difference.is_finite());
        }
        let groups: Vec<usize> = (0..a.len()).map(|i| i % 2).collect();
        prop_assert!(importance(&a, &groups, rounds, 0).is_none_or(|found| share(found.p) && share(found.effect)));
        let choices: Vec<Option<usize>> = (0..a.len()).map(|i| (i % 3 > 0).then_some(i % k.max(1))).collect();
        prop_assert!(ped_anova(&a, &choices, k, x).is_none_or(|found| found >= 0.0));
        prop_assert!(holm(&a).is_none_or(|p| p.into_iter().all(share)));
        prop_assert!(benjamini_hochberg(&a).is_none_or(|p| p.into_iter().all(share)));
        prop_assert!(reliability(&a, &vec![true; a.len()], k).is_none_or(|found| share(found.ece)));
    }
}

#[test]
fn the_seed_decides() {
    let scores: Vec<f64> = (0..60).map(|i| f64::from(i * 37 % 60)).collect();
    let features: Vec<Vec<f64>> = (0..60).map(|i| vec![f64::from(i * i % 7)]).collect();
    let p = |seed| enrichment(&scores, &features, 10, 500, seed).unwrap()[0].p;
    assert_eq!(p(1), p(1));
    assert_ne!((1..5).map(p).collect::<Vec<_>>(), [p(1); 4]);
}
