//! The median rule.

use super::{Pruner, Reported, Rungs, Verdict};
use crate::Error;

/// Stops a trial whose best value so far is worse than the median of the complete trials' values at the same step, as
/// Optuna's `MedianPruner` does (and Golovin et al., "Google Vizier", KDD 2017).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Median {
    /// It stops nothing before so many trials are complete. Default: 5.
    pub startup_trials: usize,
    /// It stops nothing before this step. Default: 0.
    pub warmup_steps: i64,
    /// It judges every so many steps, or at the next report after. Default: 1.
    pub interval_steps: i64,
    /// It judges by no fewer trials than this. Default: 1.
    pub min_trials: usize,
}

impl Default for Median {
    fn default() -> Self {
        Self { startup_trials: 5, warmup_steps: 0, interval_steps: 1, min_trials: 1 }
    }
}

impl Pruner for Median {
    fn judge(&self, study: &mut dyn Rungs, trial: &mut Reported) -> Result<Verdict, Error> {
        let Some((&step, _)) = trial.reports.last_key_value() else { return Ok(Verdict::Continue) };
        let (others, complete) = study.complete_trials_at(step)?;
        if complete == 0 || complete < self.startup_trials || step < self.warmup_steps {
            return Ok(Verdict::Continue);
        }
        let interval = self.interval_steps.max(1);
        let due = (step - self.warmup_steps).div_euclid(interval) * interval + self.warmup_steps;
        let before = trial.reports.keys().rev().nth(1).copied().unwrap_or(-1).max(-1);
        if before >= due {
            return Ok(Verdict::Continue);
        }
        // NaN reports do not count, unless there is nothing else.
        let Some(best) = trial.reports.values().copied().filter(|v| !v.is_nan()).max_by(f64::total_cmp) else {
            return Ok(Verdict::Stop);
        };
        if others.len() < self.min_trials {
            return Ok(Verdict::Continue);
        }
        let is_worse = median(others).is_some_and(|median| best < median);
        Ok(if is_worse { Verdict::Stop } else { Verdict::Continue })
    }

    fn decides_at(&self, step: i64) -> bool {
        step >= self.warmup_steps && (step - self.warmup_steps) % self.interval_steps.max(1) == 0
    }
}

/// The median of what is not NaN, with NumPy's rounding (and its NaN where infinities are subtracted).
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.retain(|v| !v.is_nan());
    values.sort_by(f64::total_cmp);
    let position = values.len().checked_sub(1)? as f64 / 2.0;
    let (below, fraction) = (position.floor() as usize, position.fract());
    let (a, b) = (values[below], values[(below + 1).min(values.len() - 1)]);
    Some(if fraction >= 0.5 { b - (b - a) * (1.0 - fraction) } else { a + (b - a) * fraction })
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn medians_are_numpys() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![f64::NAN]), None);
        assert_eq!(median(vec![3.0, 1.0, f64::NAN, 2.0]), Some(2.0));
        assert_eq!(median(vec![0.1, 0.4]), Some(0.4 - (0.4 - 0.1) * 0.5));
        assert!(median(vec![0.1, 0.5, f64::INFINITY]).is_some_and(f64::is_nan));
        assert_eq!(median(vec![0.1, 0.2, 0.3, f64::INFINITY]), Some(0.3 - (0.3 - 0.2) * 0.5));
    }
}
