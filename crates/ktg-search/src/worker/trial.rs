//! The work on one trial: report each step, and go on unless the pruner says otherwise.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use ktg_graph::Graph;
use serde_json::{Value as Json, json};

use super::{Event, Origin, Outcome, Worker};
use crate::attributes::{REASON, RUN, SAME_GRAPH, SEED};
use crate::objective::{Objective, Report, Task};
use crate::pruner::{Pruner, Reported, Verdict};
use crate::pulse::Pulse;
use crate::storage::{Claimed, State, Study, Trial};
use crate::{Error, Occupant};

/// Trials of more steps are reported at every so-many-th step, and where the pruner decides: dashboards and Optuna read
/// all reports of all trials.
const REPORTS: i64 = 20;

/// A trial at work, as Optuna's `trial`: it takes reports and says whether to go on.
struct RunningTrial<'a> {
    study: &'a mut Study,
    pruner: &'a dyn Pruner,
    pulse: &'a Pulse,
    stop: &'a AtomicBool,
    /// With what it reports.
    trial: Trial,
    /// Rungs that it has completed.
    rungs: u32,
    /// The last step that was reported before this work began.
    reported: i64,
    /// Steps of a whole trial.
    steps: i64,
}

impl RunningTrial<'_> {
    /// Pulls the work's steps and reports each, until it is done or the pruner stops it. Returns how the trial is to end,
    /// and what is to become its attributes.
    fn pull(&mut self, objective: &mut dyn Objective, task: Task) -> Result<(Outcome, Vec<(String, Json)>), Error> {
        if let Some(rung) = unjudged(self.pruner, &self.trial) {
            self.rungs = rung;
            if let Some(outcome) = self.should_prune()? {
                return Ok((outcome, vec![]));
            }
        }
        let mut work = objective.start(task);
        loop {
            self.study.hang_up();
            let ending = match work.next() {
                Ok(Report::Step(step, value)) => self.report(step, value)?,
                Ok(Report::Finished(value, _)) if value.is_nan() => {
                    Some(Outcome::Failed("its value is not a number".to_owned()))
                }
                Ok(Report::Finished(value, attributes)) => return Ok((Outcome::Complete(value), attributes)),
                Ok(Report::Failed(reason)) => Some(Outcome::Failed(reason)),
                Ok(Report::Stopped) => Some(Outcome::GivenBack),
                Err(reason) => {
                    self.study.give_back(self.trial.id)?;
                    return Err(Error::Objective(reason));
                }
            };
            if let Some(outcome) = ending {
                return Ok((outcome, vec![]));
            }
        }
    }

    /// Reports a step's value; `Some`: the trial ends here.
    fn report(&mut self, step: i64, value: f64) -> Result<Option<Outcome>, Error> {
        if self.pulse.lost() {
            return Ok(Some(Outcome::Lost));
        }
        // One that was reported before is computed once more, where no checkpoint could be reached.
        if step > self.reported && self.is_reported(step) {
            if !self.study.report(self.trial.id, step, value)? {
                return Ok(Some(Outcome::Lost));
            }
            self.trial.reports.insert(step, value);
            let outcome = self.should_prune()?;
            // After the last step there is nothing to save any more.
            if outcome.is_some() && step < self.steps {
                return Ok(outcome);
            }
        }
        let is_asked = self.stop.load(Ordering::Relaxed) && step < self.steps;
        Ok(is_asked.then_some(Outcome::GivenBack))
    }

    /// Whether a step is one of those that the study gets to know.
    fn is_reported(&self, step: i64) -> bool {
        let every = (self.steps + REPORTS - 1) / REPORTS;
        self.pruner.decides_at(step) || step % every == 0 || step >= self.steps
    }

    /// Asks the pruner about the newest report.
    fn should_prune(&mut self) -> Result<Option<Outcome>, Error> {
        let Trial { id, reports, .. } = &self.trial;
        let mut reported = Reported { id: *id, number: self.trial.first_number(), rungs: self.rungs, reports };
        let verdict = self.pruner.judge(self.study, &mut reported)?;
        self.rungs = reported.rungs;
        Ok(match verdict {
            Verdict::Continue => None,
            Verdict::Stop => Some(Outcome::Pruned),
            Verdict::Pause(rung) => Some(Outcome::Paused(rung)),
        })
    }
}

impl Worker<'_> {
    /// Works on a trial of this worker, with a heartbeat.
    pub(super) fn run_trial(&mut self, claimed: Claimed, origin: Origin) -> Result<(), Error> {
        self.pulse.set(Some(claimed.id));
        let result = self.run_beating(claimed.id, origin);
        self.pulse.set(None);
        let (outcome, last) = result?;
        (self.tell)(Event::Ended { number: claimed.number, outcome, last });
        Ok(())
    }

    fn run_beating(&mut self, id: i64, origin: Origin) -> Result<(Outcome, Option<(i64, f64)>), Error> {
        let Some(trial) = self.study.trial(id)? else { return Ok((Outcome::Lost, None)) };
        let genes = match origin {
            Origin::Waiting => self.describe(&trial)?,
            Origin::New | Origin::Promoted => {
                self.genes(&trial, 0).map_err(|reason| Outcome::Failed(reason.to_string()))
            }
        };
        let genes = match genes {
            Ok(genes) => genes,
            Err(outcome) => return Ok((self.end(id, outcome, &[], None)?, None)),
        };
        let graph = self.plan.space.graph(&genes);
        let directory = self.directory(&trial, &graph);
        self.study.set_attribute(id, RUN, &json!(directory.to_string_lossy()))?;
        (self.tell)(Event::Started { number: trial.number, origin, graph: &graph });

        let seed = trial.attributes.get(SEED).and_then(Json::as_u64);
        let reported = trial.last_report().map_or(0, |(step, _)| step);
        let study = self.mark.clone();
        let task = Task { number: trial.number, graph, seed, directory: directory.clone(), study, reported };
        let mut running = RunningTrial {
            study: &mut self.study,
            pruner: &*self.plan.pruner,
            pulse: &self.pulse,
            stop: self.stop,
            rungs: trial.rung(),
            trial,
            reported,
            steps: self.objective.steps().into(),
        };
        let (outcome, attributes) = running.pull(self.objective, task)?;
        let last = running.trial.last_report();

        if let Outcome::Paused(_) = outcome {
            // What is not needed goes first: afterwards, another worker may be at it.
            self.objective.paused(&directory);
        }
        let outcome = self.end(id, outcome, &attributes, last)?;
        match outcome {
            Outcome::Complete(_) | Outcome::Pruned | Outcome::Failed(_) => self.objective.over(&directory),
            Outcome::Paused(_) => self.limit_paused()?,
            Outcome::SameGraph(_) | Outcome::GivenBack | Outcome::Lost => {}
        }
        Ok((outcome, last))
    }

    /// Tells the study how a trial ended. Where the study does not take it, another worker has the trial by now.
    fn end(
        &mut self,
        id: i64,
        outcome: Outcome,
        attributes: &[(String, Json)],
        last: Option<(i64, f64)>,
    ) -> Result<Outcome, Error> {
        let is_told = match &outcome {
            Outcome::Complete(value) => self.study.finish(id, State::Complete, Some(*value), attributes)?,
            Outcome::Pruned => self.study.finish(id, State::Pruned, last.map(|(_, value)| value), &[])?,
            Outcome::Failed(reason) => {
                self.study.finish(id, State::Fail, None, &[(REASON.to_owned(), json!(reason))])?
            }
            Outcome::SameGraph(number) => self.study.finish(id, State::Fail, None, &same_graph(*number))?,
            Outcome::Paused(rung) => self.study.pause(id, *rung)?,
            Outcome::GivenBack => {
                self.study.give_back(id)?;
                true
            }
            Outcome::Lost => false,
        };
        Ok(if is_told { outcome } else { Outcome::Lost })
    }

    /// Where a trial's run is kept: in this worker's folder if a run of the trial is there, else where it was, else in a
    /// place of the folder that is free. What is not this study's is never used, and said once.
    fn directory(&mut self, trial: &Trial, graph: &Graph) -> PathBuf {
        let usual = self.run_path(&format!("trial-{:05}-{}", trial.number, graph.hash().short()));
        let before = trial.attributes.get(RUN).and_then(Json::as_str).map(PathBuf::from);
        let elsewhere = before.clone().filter(|before| *before != usual);
        let mut foreign = None;
        for place in std::iter::once(usual.clone()).chain(elsewhere) {
            let occupant = self.objective.occupant(&place);
            if self.is_own(&occupant, &place, before.as_deref()) {
                return place;
            }
            if occupant != Occupant::Nobody {
                foreign.get_or_insert((place, occupant));
            }
        }
        let is_free = |place: &PathBuf| self.objective.occupant(place) == Occupant::Nobody;
        let chosen = std::iter::once(usual.clone()).chain(self.own_names(&usual)).find(is_free).unwrap_or(usual);
        if let Some((found, occupant)) = foreign.filter(|_| !std::mem::replace(&mut self.said_foreign, true)) {
            let number = trial.number;
            (self.tell)(Event::ForeignRun { number, found: &found, occupant: &occupant, instead: &chosen });
        }
        chosen
    }

    /// Whether the run in a place is the trial's, which was `before` in some place.
    pub(super) fn is_own(&self, occupant: &Occupant, place: &Path, before: Option<&Path>) -> bool {
        match occupant {
            // A copied study has copied runs; where they are not, it leaves those of the original alone.
            Occupant::Trial(mark) => mark.is_of(&self.mark) || (mark.is_of_same(&self.mark) && before != Some(place)),
            // Begun by a version that marked no runs; the study says that it is the trial's.
            Occupant::Unmarked => before == Some(place),
            Occupant::Nobody | Occupant::Unknown => false,
        }
    }

    /// Names for where studies share a folder, because they are of one name, now or one after the other.
    fn own_names(&self, usual: &Path) -> impl Iterator<Item = PathBuf> + use<> {
        let (usual, name) = (usual.to_owned(), usual.file_name().unwrap_or_default().to_string_lossy().into_owned());
        let short = self.mark.short();
        (1..1000).map(move |i| usual.with_file_name(format!("{name}-{short}-{i}")))
    }

    fn run_path(&self, name: &str) -> PathBuf {
        let path = self.plan.settings.runs.join(name);
        std::path::absolute(&path).unwrap_or(path)
    }
}

/// The attributes of a trial whose graph is that of another.
fn same_graph(number: i64) -> [(String, Json); 2] {
    let reason = format!("the graph of trial {number}");
    [(REASON.to_owned(), json!(reason)), (SAME_GRAPH.to_owned(), json!(number))]
}

/// The rung at which a dead worker may have left the verdict on its last report open; it is then judged again.
fn unjudged(pruner: &dyn Pruner, trial: &Trial) -> Option<u32> {
    let number = trial.repeats()?;
    let (last, _) = trial.last_report()?;
    let next = trial.rung();
    if pruner.rung_step(number, next).is_some_and(|step| last >= step) {
        return Some(next);
    }
    let before = next.checked_sub(1)?;
    let step = pruner.rung_step(number, before)?;
    // Had it been told to go on, there would be later reports.
    (trial.reports.range(step..).count() == 1).then_some(before)
}
