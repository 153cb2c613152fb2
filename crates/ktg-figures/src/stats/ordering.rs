//! One ordering of trials of which most were stopped.

use std::cmp::Ordering;

use super::ranks::{ranks_by, scaled};

/// One ordering of all trials of a search that stops the worse ones early, from 0 (the worst) to 1 (the best).
///
/// A trial is given as the steps that it reached (epochs or rungs of successive halving) and its value at the last of
/// them; higher is better. More steps are better, then the value; equal trials share the mean of their places. A NaN is
/// worse than any number at the same step. One trial alone is 0.5.
///
/// What it means: a rung lets pass the better part of the trials that it has seen, so a trial that went further was
/// judged better than one that was stopped. That judgement is comparable for all trials, their values are not: values
/// rise with the steps.
///
/// Its limits:
/// - Trials that run or wait have not been judged, and failed ones were not judged by their value: leave them out.
/// - Asynchronous halving judges a trial by those that came before. Early trials meet few rivals, and some pass that
///   would be stopped later.
/// - Values at an early rung are noisy and favour graphs that learn fast at first. A graph that is best at the end but
///   slow at first counts as bad.
/// - Places, not values: the gap between the best two may be anything.
/// - All trials must have the same steps to reach; with several brackets (Hyperband) order each by itself.
///
/// Source: the order in which successive halving (Jamieson and Talwalkar, AISTATS 2016) and its asynchronous form (Li
/// et al., "A system for massively parallel hyperparameter tuning", MLSys 2020) throw trials out.
///
/// ```
/// assert_eq!(ktg_figures::stats::ordering(&[(1, 0.9), (4, 0.7), (4, 0.8)]), [0.0, 0.5, 1.0]);
/// ```
pub fn ordering(trials: &[(u64, f64)]) -> Vec<f64> {
    let compare = |i: usize, j: usize| -> Ordering {
        let ((steps_i, value_i), (steps_j, value_j)) = (trials[i], trials[j]);
        // `false` sorts before `true`: a NaN first. Adding 0 turns -0 into 0.
        let values = (!value_i.is_nan()).cmp(&!value_j.is_nan());
        let values = values.then((value_i + 0.0).partial_cmp(&(value_j + 0.0)).unwrap_or(Ordering::Equal));
        steps_i.cmp(&steps_j).then(values)
    };
    ranks_by(trials.len(), compare).into_iter().map(|rank| scaled(rank, trials.len())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_first_then_values() {
        assert_eq!(ordering(&[]), [0.0; 0]);
        assert_eq!(ordering(&[(3, f64::NAN)]), [0.5]);
        assert_eq!(
            ordering(&[(2, 0.1), (1, f64::INFINITY), (2, f64::NAN), (2, f64::NEG_INFINITY)]),
            [1.0, 0.0, 1.0 / 3.0, 2.0 / 3.0]
        );
    }

    #[test]
    fn equal_trials_share_their_places() {
        assert_eq!(
            ordering(&[(1, 0.5), (1, 0.5), (1, f64::NAN), (1, -f64::NAN), (2, 0.0), (2, -0.0)]),
            [0.5, 0.5, 0.1, 0.1, 0.9, 0.9]
        );
    }
}
