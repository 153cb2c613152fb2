//! What samplers learn from: the trials of a study, read as they come.

use std::collections::HashMap;

use crate::Error;
use crate::sampler::Observation;
use crate::space::Space;
use crate::storage::{State, Study, Trial};

/// The judged trials of a study.
#[derive(Default)]
pub(crate) struct History {
    /// In the order of the trials' numbers.
    pub observations: Vec<Observation>,
    /// The largest key of a trial that was seen.
    last: i64,
    /// The trials that had not finished, and at which rung they paused.
    unfinished: HashMap<i64, Option<u32>>,
}

impl History {
    /// Reads the trials that finished or paused since the last time.
    pub fn update(&mut self, study: &mut Study, space: &Space) -> Result<(), Error> {
        let unfinished: Vec<i64> = self.unfinished.keys().copied().collect();
        let (last, mut news) = (self.last, Vec::new());
        for (id, state, paused) in study.progress(last, &unfinished)? {
            self.last = self.last.max(id);
            let before = self.unfinished.remove(&id);
            if id <= last && before.is_none() {
                // It had finished.
                continue;
            }
            if !state.is_finished() {
                self.unfinished.insert(id, paused);
            }
            if state.is_finished() || (paused.is_some() && before != Some(paused)) {
                news.push(id);
            }
        }
        for trial in study.trials_of(&news)? {
            let Some(observation) = observation(&trial, space) else {
                // It may have been paused before it failed.
                self.observations.retain(|known| known.number != trial.number);
                continue;
            };
            match self.observations.binary_search_by_key(&trial.number, |known| known.number) {
                Ok(i) => self.observations[i] = observation,
                Err(i) => self.observations.insert(i, observation),
            }
        }
        Ok(())
    }
}

/// What a trial says about its graph, if anything.
fn observation(trial: &Trial, space: &Space) -> Option<Observation> {
    if trial.state == State::Fail {
        return None;
    }
    let genes = space.genes(&trial.parameters).ok()?.into_iter().collect::<Option<_>>()?;
    // Enqueued and told by others, perhaps without reports.
    let (step, value) = trial.last_report().or(trial.value.map(|value| (0, value)))?;
    (!value.is_nan()).then(|| Observation {
        reports: trial.reports.clone(),
        ..Observation::new(space, trial.number, genes, step, value)
    })
}
