//! The work on one trial: report each step, and go on unless the pruner says otherwise.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use ktg_graph::Graph;
use serde_json::{Value as Json, json};

use super::{Event, Origin, Outcome, Worker, new_trial};
use crate::Error;
use crate::attributes::{FIXED_PARAMS, GRAPH, REASON, RUN, SEED};
use crate::objective::{Report, Task};
use crate::pruner::{Pruner, Reported, Verdict};
use crate::pulse::Pulse;
use crate::sampler::{Random, Sampler};
use crate::space::Genes;
use crate::storage::{Claimed, State, Study, Trial};

/// Trials of more steps are reported at every so-many-th step, and where the pruner decides: dashboards and Optuna read
/// all reports of all trials.
const REPORTS: i64 = 20;

/// Why the work on a trial ended.
enum Ending {
    Finished(f64, Vec<(String, Json)>),
    Failed(String),
    Pruned,
    Paused(u32),
    Lost,
    /// The worker was asked to stop.
    Asked,
}

/// A trial at work, as Optuna's `trial`: it takes reports and says whether to go on.
struct RunningTrial<'a> {
    study: &'a mut Study,
    pruner: &'a dyn Pruner,
    pulse: &'a Pulse,
    stop: &'a AtomicBool,
    id: i64,
    /// Pruners know a retry by the trial that it repeats.
    number: i64,
    /// Rungs that it has completed.
    rungs: u32,
    reports: BTreeMap<i64, f64>,
    /// The last step that was reported before this work began.
    reported: i64,
    /// Steps of a whole trial.
    steps: i64,
}

impl RunningTrial<'_> {
    /// Reports a step's value; `Some`: the trial ends here.
    fn report(&mut self, step: i64, value: f64) -> Result<Option<Ending>, Error> {
        if self.pulse.lost() {
            return Ok(Some(Ending::Lost));
        }
        // One that was reported before is computed once more, where no checkpoint could be reached.
        if step > self.reported && self.is_reported(step) {
            if !self.study.report(self.id, step, value)? {
                return Ok(Some(Ending::Lost));
            }
            self.reports.insert(step, value);
            let ending = self.should_prune()?;
            // After the last step there is nothing to save any more.
            if ending.is_some() && step < self.steps {
                return Ok(ending);
            }
        }
        let is_asked = self.stop.load(Ordering::Relaxed) && step < self.steps;
        Ok(is_asked.then_some(Ending::Asked))
    }

    /// Whether a step is one of those that the study gets to know.
    fn is_reported(&self, step: i64) -> bool {
        let every = (self.steps + REPORTS - 1) / REPORTS;
        self.pruner.decides_at(step) || step % every == 0 || step >= self.steps
    }

    /// Asks the pruner about the newest report.
    fn should_prune(&mut self) -> Result<Option<Ending>, Error> {
        let mut reported = Reported { id: self.id, number: self.number, rungs: self.rungs, reports: &self.reports };
        let verdict = self.pruner.judge(self.study, &mut reported)?;
        self.rungs = reported.rungs;
        Ok(match verdict {
            Verdict::Continue => None,
            Verdict::Stop => Some(Ending::Pruned),
            Verdict::Pause(rung) => Some(Ending::Paused(rung)),
        })
    }
}

impl Worker<'_> {
    /// Works on a trial of this worker, with a heartbeat.
    pub(super) fn run_trial(&mut self, claimed: Claimed, origin: Origin) -> Result<(), Error> {
        let Claimed { id, number } = claimed;
        self.pulse.set(Some(id));
        let result = self.run_beating(id, origin);
        self.pulse.set(None);
        let (outcome, last) = result?;
        (self.tell)(Event::Ended { number, outcome, last });
        Ok(())
    }

    fn run_beating(&mut self, id: i64, origin: Origin) -> Result<(Outcome, Option<(i64, f64)>), Error> {
        let Some(trial) = self.study.trial(id)? else { return Ok((Outcome::Lost, None)) };
        let genes = match self.complete_genes(&trial)? {
            Ok(genes) => genes,
            Err(reason) => return Ok((self.fail(id, reason)?, None)),
        };
        let graph = self.space.graph(&genes);
        let directory = self.directory(&trial, &graph);
        self.study.set_attribute(id, RUN, &json!(directory.to_string_lossy()))?;
        (self.tell)(Event::Started { number: trial.number, origin, graph: &graph });
        let (ending, last) = self.pull(&trial, graph, &directory)?;
        let outcome = self.end(id, ending, last, &directory)?;
        Ok((outcome, last))
    }

    /// Pulls a trial's steps, reports each, and stops where the pruner says so; returns also the last report.
    fn pull(&mut self, trial: &Trial, graph: Graph, directory: &Path) -> Result<(Ending, Option<(i64, f64)>), Error> {
        let seed = trial.attributes.get(SEED).and_then(Json::as_u64);
        let reported = trial.last_report().map_or(0, |(step, _)| step);
        let task = Task { number: trial.number, graph, seed, directory: directory.to_owned(), reported };
        let mut running = RunningTrial {
            study: &mut self.study,
            pruner: &*self.pruner,
            pulse: &self.pulse,
            stop: self.stop,
            id: trial.id,
            number: trial.repeats().unwrap_or(trial.number),
            rungs: trial.rung(),
            reports: trial.reports.clone(),
            reported,
            steps: self.objective.steps().into(),
        };
        let mut ending = None;
        if let Some(rung) = unjudged(running.pruner, trial, running.number) {
            running.rungs = rung;
            ending = running.should_prune()?;
        }
        if ending.is_none() {
            let mut work = self.objective.start(task);
            while ending.is_none() {
                ending = match work.next() {
                    Ok(Report::Step(step, value)) => running.report(step, value)?,
                    Ok(Report::Finished(value, attributes)) => Some(Ending::Finished(value, attributes)),
                    Ok(Report::Failed(reason)) => Some(Ending::Failed(reason)),
                    Ok(Report::Stopped) => Some(Ending::Asked),
                    Err(reason) => {
                        running.study.give_back(trial.id)?;
                        return Err(Error::Objective(reason));
                    }
                };
            }
        }
        let last = running.reports.last_key_value().map(|(step, value)| (*step, *value));
        Ok((ending.unwrap_or(Ending::Asked), last))
    }

    /// Tells the study how a trial ended, and the objective what it may forget.
    fn end(&mut self, id: i64, ending: Ending, last: Option<(i64, f64)>, directory: &Path) -> Result<Outcome, Error> {
        let (told, outcome) = match ending {
            Ending::Finished(value, _) if value.is_nan() => {
                (true, self.fail(id, "its value is not a number".to_owned())?)
            }
            Ending::Finished(value, attributes) => {
                (self.study.finish(id, State::Complete, Some(value), &attributes)?, Outcome::Complete(value))
            }
            Ending::Failed(reason) => (true, self.fail(id, reason)?),
            Ending::Pruned => {
                let value = last.map(|(_, value)| value);
                (self.study.finish(id, State::Pruned, value, &[])?, Outcome::Pruned)
            }
            Ending::Paused(rung) => {
                // What is not needed goes first: afterwards, another worker may be at it.
                self.objective.paused(directory);
                (self.study.pause(id, rung)?, Outcome::Paused(rung))
            }
            Ending::Lost => (false, Outcome::Lost),
            Ending::Asked => {
                self.study.give_back(id)?;
                (true, Outcome::GivenBack)
            }
        };
        // Where the study was not told, another worker has the trial by now.
        let outcome = if told { outcome } else { Outcome::Lost };
        match outcome {
            Outcome::Complete(_) | Outcome::Pruned | Outcome::Failed(_) => self.objective.over(directory),
            Outcome::Paused(_) => self.limit_paused()?,
            Outcome::GivenBack | Outcome::Lost => {}
        }
        Ok(outcome)
    }

    /// All genes of a trial: those it has, those it was enqueued with, and for the rest, and for a graph that is not
    /// noted yet, new ones, which it then has. `Err`: what is wrong with it.
    fn complete_genes(&mut self, trial: &Trial) -> Result<Result<Genes, String>, Error> {
        let fixed = match trial.system.get(FIXED_PARAMS) {
            Some(Json::Object(fixed)) => fixed.clone(),
            _ => serde_json::Map::new(),
        };
        let given = match (self.space.genes(&trial.parameters), self.space.genes(&fixed)) {
            (Ok(own), Ok(fixed)) => own.into_iter().zip(fixed).map(|(own, fixed)| own.or(fixed)).collect::<Vec<_>>(),
            (Err(e), _) | (_, Err(e)) => return Ok(Err(e.to_string())),
        };
        if let Some(genes) = given.iter().copied().collect::<Option<Genes>>()
            && trial.attributes.contains_key(GRAPH)
            && trial.parameters.len() == genes.len()
        {
            return Ok(Ok(genes));
        }
        let mut rng = self.rng(trial.number as u64, u64::MAX);
        let mut draw = || {
            let random = Random.propose(&self.space, &[], &mut rng).swap_remove(0);
            given.iter().zip(random).map(|(given, random)| given.unwrap_or(random)).collect::<Genes>()
        };
        let accepted = (0..1000).map(|_| draw()).find(|genes| self.objective.accepts(&self.space.graph(genes)));
        let Some(genes) = accepted else {
            return Ok(Err("no graph with these parameters can be trained".to_owned()));
        };
        let hash = self.space.graph(&genes).hash().to_string();
        self.study.describe(trial.id, &new_trial(&self.space, &genes, hash))?;
        Ok(Ok(genes))
    }

    /// Where a trial's run is kept: where it was, if that can be reached.
    pub(super) fn directory(&self, trial: &Trial, graph: &Graph) -> PathBuf {
        let before = trial.attributes.get(RUN).and_then(Json::as_str).map(PathBuf::from);
        before.filter(|path| path.is_dir()).unwrap_or_else(|| {
            // Runs of another study that share the directory are of other graphs.
            let graph = graph.hash().short();
            let path = self.settings.runs.join(format!("trial-{:05}-{graph}", trial.number));
            std::path::absolute(&path).unwrap_or(path)
        })
    }

    fn fail(&mut self, id: i64, reason: String) -> Result<Outcome, Error> {
        let attributes = [(REASON.to_owned(), json!(reason))];
        Ok(match self.study.finish(id, State::Fail, None, &attributes)? {
            true => Outcome::Failed(reason),
            false => Outcome::Lost,
        })
    }
}

/// The rung at which a dead worker may have left the verdict on its last report open; it is then judged again.
fn unjudged(pruner: &dyn Pruner, trial: &Trial, number: i64) -> Option<u32> {
    trial.repeats()?;
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
