//! Asynchronous successive halving.

use super::{Pruner, Reported, Rungs, Verdict};
use crate::Error;
use crate::storage::RungValue;

/// Asynchronous successive halving (Li et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys 2020) in
/// the form of Optuna's `SuccessiveHalvingPruner`, decision for decision: at each rung a trial goes on if it is among the
/// best 1/eta of those that have reached the rung so far, or the best of them, and is stopped for good if not.
///
/// Rung k is at step `min_resource * reduction_factor ^ (min_early_stopping_rate + k)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asha {
    /// The step of rung 0, if no rung is left out.
    pub min_resource: i64,
    /// eta.
    pub reduction_factor: i64,
    /// Rungs that are left out.
    pub min_early_stopping_rate: u32,
}

impl Asha {
    /// The step of a rung.
    pub fn step(&self, rung: u32) -> i64 {
        self.checked_step(rung).unwrap_or(i64::MAX)
    }

    /// The same, if it can be counted to.
    pub(super) fn checked_step(&self, rung: u32) -> Option<i64> {
        let power = self.min_early_stopping_rate.checked_add(rung)?;
        self.reduction_factor.checked_pow(power)?.checked_mul(self.min_resource)
    }

    /// The share of so many epochs that trials train on average where exactly one in eta goes on at each rung.
    pub(super) fn expected_share(&self, epochs: i64) -> f64 {
        let (mut trained, mut share_of_trials, mut before) = (0.0, 1.0, 0);
        for rung in 0.. {
            let step = self.step(rung).min(epochs);
            trained += share_of_trials * (step - before) as f64;
            if step == epochs {
                break;
            }
            before = step;
            share_of_trials /= self.reduction_factor as f64;
        }
        trained / epochs as f64
    }

    /// Whether a value is among those of a rung's values, of which it is one, that go on.
    pub(super) fn is_top(&self, value: f64, mut values: Vec<f64>) -> bool {
        let places = (values.len() / self.reduction_factor as usize).max(1);
        values.sort_by(|a, b| b.total_cmp(a));
        values.get(places - 1).is_none_or(|last| value >= *last)
    }

    /// The verdict; trials for which `counts` is false do not compete.
    pub(super) fn judge_among(
        &self,
        study: &mut dyn Rungs,
        trial: &mut Reported,
        counts: &dyn Fn(&RungValue) -> bool,
    ) -> Result<Verdict, Error> {
        let Some((&step, &value)) = trial.reports.last_key_value() else { return Ok(Verdict::Continue) };
        while step >= self.step(trial.rungs) {
            if value.is_nan() {
                return Ok(Verdict::Stop);
            }
            let rung = trial.rungs;
            study.complete(trial.id, rung, value)?;
            trial.rungs += 1;
            let others = study.at(rung)?;
            let others = others.iter().filter(|other| other.id != trial.id && counts(other));
            let mut values: Vec<f64> = others.map(|other| other.value).collect();
            values.push(value);
            if !self.is_top(value, values) {
                return Ok(Verdict::Stop);
            }
        }
        Ok(Verdict::Continue)
    }
}

impl Pruner for Asha {
    fn judge(&self, study: &mut dyn Rungs, trial: &mut Reported) -> Result<Verdict, Error> {
        self.judge_among(study, trial, &|_| true)
    }

    fn rung_step(&self, _: i64, rung: u32) -> Option<i64> {
        Some(self.step(rung))
    }

    fn decides_at(&self, step: i64) -> bool {
        (0..).map(|rung| self.step(rung)).find(|at| *at >= step) == Some(step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rungs_are_at_powers_of_the_reduction_factor() {
        let asha = Asha { min_resource: 3, reduction_factor: 4, min_early_stopping_rate: 1 };
        assert_eq!([0, 1, 2].map(|rung| asha.step(rung)), [12, 48, 192]);
        assert_eq!(asha.step(100), i64::MAX);
        let deciding: Vec<i64> = (0..200).filter(|step| asha.decides_at(*step)).collect();
        assert_eq!(deciding, [12, 48, 192]);
    }
}
