//! Asynchronous successive halving in which stopping is not for good.

use std::collections::{BTreeSet, HashSet};

use super::{Asha, Pruner, Reported, Rungs, Verdict};
use crate::Error;
use crate::storage::{PausedTrial, RungValue};

/// [`Asha`], but a trial that is stopped only pauses: as more trials reach its rung, more of them belong to the best
/// 1/eta, and one that does by then goes on from its checkpoint, as in Algorithm 2 of the paper. Early trials are so
/// judged by the same measure as late ones, for no epoch more than it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promotion(pub Asha);

impl Pruner for Promotion {
    fn judge(&self, study: &mut dyn Rungs, trial: &mut Reported) -> Result<Verdict, Error> {
        let diverged = trial.reports.last_key_value().is_some_and(|(_, value)| value.is_nan());
        Ok(match self.0.judge(study, trial)? {
            Verdict::Stop if !diverged => Verdict::Pause(trial.rungs - 1),
            verdict => verdict,
        })
    }

    fn rung_step(&self, number: i64, rung: u32) -> Option<i64> {
        self.0.rung_step(number, rung)
    }

    fn decides_at(&self, step: i64) -> bool {
        self.0.decides_at(step)
    }

    fn pauses(&self) -> bool {
        true
    }

    /// The best of the highest rung that has one, as in the paper.
    fn promotable(&self, values: &[RungValue], paused: &[PausedTrial]) -> Option<PausedTrial> {
        let waiting: HashSet<(u32, i64)> = paused.iter().map(|trial| (trial.rung, trial.id)).collect();
        let rungs: BTreeSet<u32> = paused.iter().map(|trial| trial.rung).collect();
        rungs.into_iter().rev().find_map(|rung| {
            let at: Vec<&RungValue> = values.iter().filter(|value| value.rung == rung).collect();
            let waits = |value: &&&RungValue| waiting.contains(&(rung, value.id));
            // Of equal values, the oldest.
            let best =
                at.iter().filter(waits).max_by(|a, b| a.value.total_cmp(&b.value).then(b.number.cmp(&a.number)))?;
            let top = self.0.is_top(best.value, at.iter().map(|value| value.value).collect());
            top.then_some(PausedTrial { id: best.id, rung })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROMOTION: Promotion = Promotion(Asha { min_resource: 1, reduction_factor: 2, min_early_stopping_rate: 0 });

    fn value(id: i64, rung: u32, value: f64) -> RungValue {
        RungValue { id, number: id, rung, value }
    }

    #[test]
    fn the_best_paused_trial_of_the_highest_rung_goes_on_once_it_is_among_the_top() {
        let paused = [PausedTrial { id: 1, rung: 0 }, PausedTrial { id: 2, rung: 0 }];
        let mut values = vec![value(1, 0, 0.4), value(2, 0, 0.5), value(3, 0, 0.6)];
        // One of three goes on: it is trial 3, which did.
        assert_eq!(PROMOTION.promotable(&values, &paused), None);
        values.push(value(4, 0, 0.1));
        assert_eq!(PROMOTION.promotable(&values, &paused), Some(PausedTrial { id: 2, rung: 0 }));
        // A promotable one at a higher rung comes first.
        values.extend([value(3, 1, 0.7), value(5, 1, 0.65), value(5, 0, 0.65), value(6, 1, 0.1), value(7, 1, 0.2)]);
        let higher = [paused[0], paused[1], PausedTrial { id: 5, rung: 1 }];
        assert_eq!(PROMOTION.promotable(&values, &higher), Some(PausedTrial { id: 5, rung: 1 }));
        assert_eq!(PROMOTION.promotable(&values, &[]), None);
    }
}
