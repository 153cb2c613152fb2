//! What a pruner is asked, and what it answers.

use std::collections::BTreeMap;

use crate::Error;
use crate::storage::{PausedTrial, RungValue, Study};

/// What becomes of a trial after a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on.
    Continue,
    /// It is over.
    Stop,
    /// It is paused at this rung; it may go on later.
    Pause(u32),
}

/// A trial that has just reported.
#[derive(Clone, Debug)]
pub struct Reported<'a> {
    /// Key in the storage.
    pub id: i64,
    /// Number in the study; of a retry, that of the trial it repeats.
    pub number: i64,
    /// The number of rungs it has completed; the pruner counts on.
    pub rungs: u32,
    /// All its reports; larger values are better.
    pub reports: &'a BTreeMap<i64, f64>,
}

/// What a pruner may know of a study, and note in it.
pub trait Rungs {
    /// The values of all trials at a rung.
    fn at(&mut self, rung: u32) -> Result<Vec<RungValue>, Error>;

    /// Notes a trial's value at a rung.
    fn complete(&mut self, trial: i64, rung: u32, value: f64) -> Result<(), Error>;

    /// The values that complete trials reported at a step, and the number of complete trials.
    fn complete_trials_at(&mut self, step: i64) -> Result<(Vec<f64>, usize), Error>;
}

impl Rungs for Study {
    fn at(&mut self, rung: u32) -> Result<Vec<RungValue>, Error> {
        self.rungs(Some(rung))
    }

    fn complete(&mut self, trial: i64, rung: u32, value: f64) -> Result<(), Error> {
        self.complete_rung(trial, rung, value)
    }

    fn complete_trials_at(&mut self, step: i64) -> Result<(Vec<f64>, usize), Error> {
        self.complete_at(step)
    }
}

/// Decides which trials go on.
pub trait Pruner: Send {
    /// Decides about a trial after its newest report.
    fn judge(&self, study: &mut dyn Rungs, trial: &mut Reported) -> Result<Verdict, Error>;

    /// Whether a report at this step can decide anything that a later one cannot: it must then be made.
    fn decides_at(&self, step: i64) -> bool;

    /// The step at which a trial of this number meets a rung, if there are rungs.
    fn rung_step(&self, _number: i64, _rung: u32) -> Option<i64> {
        None
    }

    /// Whether it pauses trials, so that they must be able to go on.
    fn pauses(&self) -> bool {
        false
    }

    /// The paused trial that should go on next, given all values at rungs.
    fn promotable(&self, _values: &[RungValue], _paused: &[PausedTrial]) -> Option<PausedTrial> {
        None
    }
}

/// Stops nothing.
#[derive(Clone, Copy, Debug)]
pub struct Never;

impl Pruner for Never {
    fn judge(&self, _: &mut dyn Rungs, _: &mut Reported) -> Result<Verdict, Error> {
        Ok(Verdict::Continue)
    }

    fn decides_at(&self, _: i64) -> bool {
        false
    }
}
