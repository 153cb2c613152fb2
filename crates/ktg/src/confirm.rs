//! The last part of `ktg search --confirm`: trains the best graphs again with new seeds, so that the one that is answered is
//! good, and not lucky.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Result, bail};
use indicatif::MultiProgress;
use ktg_report::StudyRecord;
use ktg_search::confirmation::{self, Confirmation};
use ktg_search::storage::{State, Trial};
use ktg_search::{PrunerKind, SearchSettings, WorkerSettings};
use ktg_train::Experiment;

use crate::progress::say;
use crate::study_worker::Search;

/// Trainings a candidate, where nothing else is said.
const TRAININGS: usize = 3;

/// How the best graphs of a search are confirmed.
#[derive(Clone, Copy, Debug)]
pub struct Confirm {
    /// So many of the best are candidates.
    candidates: usize,
    /// All are trained so many times together.
    trainings: usize,
}

impl Confirm {
    /// The confirmation of so many graphs with so many trainings.
    ///
    /// # Errors
    /// Unless there is a training for each.
    pub fn new(candidates: usize, trainings: Option<usize>) -> Result<Self> {
        let trainings = trainings.unwrap_or(TRAININGS.saturating_mul(candidates));
        if trainings < candidates {
            bail!(
                "`--confirm-trainings {trainings}` is fewer than one for each of the {candidates} graphs of `--confirm`"
            );
        }
        Ok(Self { candidates, trainings })
    }

    /// Trainings in all.
    pub fn trainings(self) -> usize {
        self.trainings
    }

    /// Works on the confirmation of a search that is over, round by round, until it is over, too (`true`), or only what
    /// other workers are at is left and they are not waited for, or `stop` is set (`false`).
    ///
    /// # Errors
    /// If the storage fails, or the trainings of all graphs would.
    pub fn run(
        self,
        search: &Search,
        template: &Experiment,
        stop: &Arc<AtomicBool>,
        bars: &MultiProgress,
    ) -> Result<bool> {
        let found = StudyRecord::read(&search.url, &search.study)?;
        let is_busy = |trial: &Trial| trial.state == State::Waiting || trial.state == State::Running;
        if found.trials.iter().any(is_busy) {
            say(bars, "the search is not over: other workers are at it, and the last one confirms what it found");
            return Ok(true);
        }
        let best: Vec<i64> = found.ranked().iter().take(self.candidates).map(|trial| trial.number).collect();
        if best.is_empty() {
            say(bars, "no graph of the search is complete: there is nothing to confirm");
            return Ok(true);
        }
        let mut template = template.clone();
        if let Some(theirs) = found.settings()? {
            // What `auto` was for the search.
            template.settings.train.precision = theirs.train.precision;
        }
        let confirmation = Confirmation {
            search: search.study.clone(),
            identity: found.metadata.identity.clone(),
            candidates: best,
            trainings: self.trainings,
            search_seed: template.settings.seed,
        };
        let mut again = Search {
            url: search.url.clone(),
            study: confirmation::study_name(&search.study),
            settings: SearchSettings { pruner: PrunerKind::None, ..search.settings.clone() },
            worker: WorkerSettings { trials: 0, runs: search.worker.runs.join("confirmed"), ..search.worker.clone() },
            patience: search.patience,
            enqueued: None,
        };
        let mut study = again.open(stop, bars)?;
        let mut before = None;
        loop {
            let progress = confirmation::enqueue(&mut study, &confirmation, &found.trials)?;
            // Nothing came of the last round: others have what is left of it, and are not waited for.
            if progress.missing.is_empty() || before.as_ref() == Some(&progress.missing) {
                return Ok(true);
            }
            let mut graphs: Vec<i64> = progress.missing.iter().map(|(trial, _)| *trial).collect();
            graphs.sort_unstable();
            graphs.dedup();
            let (graphs, trainings) = (graphs.len(), progress.missing.len());
            say(bars, &format!("confirming: {graphs} graphs, {trainings} trainings with new seeds"));
            again.enqueued = Some(study.count()?);
            if !again.run(template.clone(), stop, bars)? {
                return Ok(false);
            }
            before = Some(progress.missing);
        }
    }
}
