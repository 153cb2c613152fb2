//! Hyperband.

use std::ops::RangeInclusive;

use super::{Asha, Pruner, Reported, Rungs, Verdict};
use crate::Error;

/// Hyperband (Li et al., JMLR 2018) in the form of Optuna's `HyperbandPruner`: several successive halvings that start at
/// different steps, the brackets, among which trials are shared out by a hash of study and number; a trial competes with
/// those of its bracket only.
#[derive(Clone, Debug)]
pub struct Hyperband {
    study: String,
    /// Each with its share of the trials.
    brackets: Vec<(Asha, u64)>,
}

impl Hyperband {
    /// For the study of this name, whose trials have between so many and so many steps; see [`Asha`] for the others.
    pub fn new(study: &str, resources: RangeInclusive<i64>, reduction_factor: i64) -> Self {
        let (min_resource, max_resource) = resources.into_inner();
        let (ratio, eta) = (max_resource.max(min_resource) as f64 / min_resource as f64, reduction_factor as f64);
        // As Optuna rounds: log(243, 3) is a little below 5 there, too.
        let count = (ratio.ln() / eta.ln()).floor() as u32 + 1;
        let bracket = |min_early_stopping_rate: u32| {
            let s = count - 1 - min_early_stopping_rate;
            let share = (f64::from(count) * eta.powi(s as i32) / f64::from(s + 1)).ceil() as u64;
            (Asha { min_resource, reduction_factor, min_early_stopping_rate }, share)
        };
        Self { study: study.to_owned(), brackets: (0..count).map(bracket).collect() }
    }

    /// The share of so many epochs that trials train on average where exactly one in eta goes on at each rung.
    pub(super) fn expected_share(&self, epochs: i64) -> f64 {
        let weighted = |(halving, share): &(Asha, u64)| *share as f64 * halving.expected_share(epochs);
        let all: u64 = self.brackets.iter().map(|(_, share)| share).sum();
        self.brackets.iter().map(weighted).sum::<f64>() / all as f64
    }

    /// The bracket of a trial.
    pub fn bracket(&self, number: i64) -> usize {
        let hash = crc32fast::hash(format!("{}_{number}", self.study).as_bytes());
        let mut place = u64::from(hash) % self.brackets.iter().map(|(_, share)| share).sum::<u64>();
        let mut bracket = 0;
        while place >= self.brackets[bracket].1 {
            place -= self.brackets[bracket].1;
            bracket += 1;
        }
        bracket
    }
}

impl Pruner for Hyperband {
    fn judge(&self, study: &mut dyn Rungs, trial: &mut Reported) -> Result<Verdict, Error> {
        let own = self.bracket(trial.number);
        let counts = |other: &crate::storage::RungValue| self.bracket(other.number) == own;
        self.brackets[own].0.judge_among(study, trial, &counts)
    }

    fn rung_step(&self, number: i64, rung: u32) -> Option<i64> {
        self.brackets[self.bracket(number)].0.rung_step(number, rung)
    }

    fn decides_at(&self, step: i64) -> bool {
        self.brackets.iter().any(|(halving, _)| halving.decides_at(step))
    }
}
