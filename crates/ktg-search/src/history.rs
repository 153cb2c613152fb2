//! What samplers learn from: the trials of a study, read as they come.

use std::collections::{BTreeMap, HashMap};

use crate::Error;
use crate::sampler::Observation;
use crate::space::Space;
use crate::storage::{State, Study, Trial};

/// The judged trials of a study.
#[derive(Default)]
pub(crate) struct History {
    observations: BTreeMap<i64, Observation>,
    /// What was known of each trial when it was read.
    read: HashMap<i64, (State, Option<u32>)>,
}

impl History {
    /// Reads the trials that finished or paused since the last time.
    pub fn update(&mut self, study: &mut Study, space: &Space) -> Result<(), Error> {
        let mut news = Vec::new();
        for (id, state, paused) in study.progress()? {
            let judged = state.is_finished() || paused.is_some();
            if judged && self.read.insert(id, (state, paused)) != Some((state, paused)) {
                news.push(id);
            }
        }
        for trial in study.trials_of(&news)? {
            if let Some(observation) = observation(&trial, space) {
                self.observations.insert(trial.number, observation);
            }
        }
        Ok(())
    }

    /// In the order of the trials' numbers.
    pub fn observations(&self) -> Vec<Observation> {
        self.observations.values().cloned().collect()
    }
}

/// What a trial says about its graph, if anything.
fn observation(trial: &Trial, space: &Space) -> Option<Observation> {
    if trial.state == State::Fail {
        return None;
    }
    let genes = space.genes(&trial.parameters).ok()?.into_iter().collect::<Option<_>>()?;
    let (step, value) = match (trial.last_report(), trial.value) {
        (Some(last), _) => last,
        // Enqueued and told by others, perhaps without reports.
        (None, Some(value)) => (0, value),
        (None, None) => return None,
    };
    (!value.is_nan()).then_some(Observation { number: trial.number, genes, step, value })
}
