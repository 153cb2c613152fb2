//! The work on one trial.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use ktg_graph::Graph;
use serde_json::{Value as Json, json};

use super::{Event, Origin, Outcome, REASON, RUN, SEED, Worker, new_trial};
use crate::Error;
use crate::objective::{Ended, Task};
use crate::pruner::{Pruner, Reported, Verdict};
use crate::sampler::{Random, Sampler};
use crate::space::Genes;
use crate::storage::{Claimed, FIXED_PARAMS, GRAPH, State, Trial};

/// Trials of more steps are reported at every so-many-th step, and where the pruner decides: dashboards and Optuna read
/// all reports of all trials.
const REPORTS: i64 = 20;

/// Why a trial stopped before its end.
enum Stopped {
    Pruned,
    Paused(u32),
    Lost,
    Asked,
    Error(Error),
}

impl Worker<'_> {
    /// Works on a trial of this worker.
    pub(super) fn attend(&mut self, claimed: Claimed, origin: Origin) -> Result<(), Error> {
        let Claimed { id, number } = claimed;
        self.pulse.set(Some(id));
        let result = self.attend_beating(id, number, origin);
        self.pulse.set(None);
        let (outcome, last) = result?;
        (self.tell)(Event::Ended { number, outcome, last });
        Ok(())
    }

    fn attend_beating(&mut self, id: i64, number: i64, origin: Origin) -> Result<(Outcome, Option<(i64, f64)>), Error> {
        let Some(trial) = self.study.trial(id)? else { return Ok((Outcome::Lost, None)) };
        let genes = match self.complete_genes(&trial)? {
            Ok(genes) => genes,
            Err(reason) => return Ok((self.fail(id, reason)?, None)),
        };
        let graph = self.space.graph(&genes);
        let directory = self.directory(&trial, &graph);
        self.study.set_attribute(id, RUN, &json!(directory.to_string_lossy()))?;
        (self.tell)(Event::Started { number, origin, graph: &graph });
        let mut reports = trial.reports.clone();
        let (ended, stopped) = self.judge(&trial, &graph, &directory, &mut reports);
        let last = reports.last_key_value().map(|(step, value)| (*step, *value));
        let ended = match (ended, stopped) {
            (_, Some(Stopped::Error(error))) => return Err(error),
            (Err(reason), _) => {
                self.study.give_back(id)?;
                return Err(Error::Objective(reason));
            }
            (Ok(ended), stopped) => (ended, stopped),
        };
        let outcome = match ended {
            (Ended::Finished(value, _), _) if value.is_nan() => {
                self.fail(id, "its value is not a number".to_owned())?
            }
            (Ended::Finished(value, attributes), _) => {
                match self.study.finish(id, State::Complete, Some(value), &attributes)? {
                    true => Outcome::Complete(value),
                    false => Outcome::Lost,
                }
            }
            (Ended::Failed(reason), _) => self.fail(id, reason)?,
            (Ended::Stopped, Some(Stopped::Pruned)) => {
                match self.study.finish(id, State::Pruned, last.map(|(_, value)| value), &[])? {
                    true => Outcome::Pruned,
                    false => Outcome::Lost,
                }
            }
            (Ended::Stopped, Some(Stopped::Paused(rung))) => {
                // What is not needed goes first: afterwards, another worker may be at it.
                self.objective.paused(&directory);
                match self.study.pause(id, rung)? {
                    true => Outcome::Paused(rung),
                    false => Outcome::Lost,
                }
            }
            (Ended::Stopped, Some(Stopped::Lost)) => Outcome::Lost,
            (Ended::Stopped, _) => {
                self.study.give_back(id)?;
                Outcome::GivenBack
            }
        };
        match outcome {
            Outcome::Complete(_) | Outcome::Pruned | Outcome::Failed(_) => self.objective.over(&directory),
            Outcome::Paused(_) => self.limit_paused()?,
            Outcome::GivenBack | Outcome::Lost => {}
        }
        Ok((outcome, last))
    }

    /// Has the trial judged; `reports` gets what is reported.
    fn judge(
        &mut self,
        trial: &Trial,
        graph: &Graph,
        directory: &Path,
        reports: &mut BTreeMap<i64, f64>,
    ) -> (Result<Ended, String>, Option<Stopped>) {
        let reported = reports.last_key_value().map_or(0, |(step, _)| *step);
        let seed = trial.attributes.get(SEED).and_then(Json::as_u64);
        let task = Task { number: trial.number, graph, seed, directory, reported, stop: self.stop };
        let steps = i64::from(self.objective.steps());
        let (study, pruner, pulse) = (&mut self.study, &*self.pruner, &self.pulse);
        // Pruners know a retry by the trial that it repeats.
        let number = trial.repeats().unwrap_or(trial.number);
        let mut rungs = trial.rung();
        if let Some(rung) = unjudged(pruner, trial, number) {
            let mut reported = Reported { id: trial.id, number, rungs: rung, reports };
            let stopped = match pruner.judge(study, &mut reported) {
                Ok(Verdict::Continue) => None,
                Ok(Verdict::Stop) => Some(Stopped::Pruned),
                Ok(Verdict::Pause(rung)) => Some(Stopped::Paused(rung)),
                Err(error) => Some(Stopped::Error(error)),
            };
            rungs = reported.rungs;
            if stopped.is_some() {
                return (Ok(Ended::Stopped), stopped);
            }
        }
        let mut stopped = None;
        let mut report = |step: i64, value: f64| {
            let mut decide = || -> Result<Option<Stopped>, Error> {
                if pulse.lost() {
                    return Ok(Some(Stopped::Lost));
                }
                // Computed once more, where no checkpoint could be reached.
                if step <= reported {
                    return Ok(task.stop.load(Ordering::Relaxed).then_some(Stopped::Asked));
                }
                let every = (steps + REPORTS - 1) / REPORTS;
                if pruner.decides_at(step) || step % every == 0 || step >= steps {
                    if !study.report(trial.id, step, value)? {
                        return Ok(Some(Stopped::Lost));
                    }
                    reports.insert(step, value);
                    let mut reported = Reported { id: trial.id, number, rungs, reports };
                    let verdict = pruner.judge(study, &mut reported)?;
                    rungs = reported.rungs;
                    match verdict {
                        // After the last step there is nothing to save any more.
                        _ if step >= steps => {}
                        Verdict::Continue => {}
                        Verdict::Stop => return Ok(Some(Stopped::Pruned)),
                        Verdict::Pause(rung) => return Ok(Some(Stopped::Paused(rung))),
                    }
                }
                Ok(task.stop.load(Ordering::Relaxed).then_some(Stopped::Asked))
            };
            stopped = decide().unwrap_or_else(|error| Some(Stopped::Error(error)));
            if stopped.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let ended = self.objective.run(&task, &mut report);
        (ended, stopped)
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
