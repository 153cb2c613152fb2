//! A worker of a study whose trials are trainings: what `ktg search`, its confirmations, `ktg analyse --edges` and the demo start.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use anyhow::Result;
use indicatif::MultiProgress;
use ktg_report::StudyRecord;
use ktg_search::attributes::{IMAGES, PRUNER, SETTINGS};
use ktg_search::storage::{Patience, StorageUrl, Study};
use ktg_search::{
    Agreement, Event, Objective, Occupant, Origin, Outcome, SearchSettings, Space, StudyMark, Worker, WorkerPlan,
    WorkerSettings, pruner, sampler,
};
use ktg_train::{Experiment, PrecisionSetting};
use serde_json::json;

use crate::progress::{say, seconds};
use crate::seats::Seat;
use crate::trials::Trials;

/// A worker and its study.
pub struct Search {
    /// Where the study is.
    pub url: StorageUrl,
    /// Its name.
    pub study: String,
    /// What is searched, and how.
    pub settings: SearchSettings,
    /// How the worker works.
    pub worker: WorkerSettings,
    /// How long a storage that is away or a disk that is full is waited for.
    pub patience: Duration,
    /// The number of trials, where all are enqueued and the worker adds none.
    pub enqueued: Option<i64>,
}

impl Search {
    /// Works until the study is done (`true`) or `stop` is set.
    pub fn run(&self, mut template: Experiment, stop: &Arc<AtomicBool>, bars: &MultiProgress) -> Result<bool> {
        let space = Space::new(template.written_graph(), &self.settings)?;
        let seat = Seat::take();
        template.first_device = seat.first_device(template.graph.len());
        let study = self.open(stop, bars)?;
        self.agree_on_precision(&mut template)?;
        let (patience, stop) = (self.patience, Arc::clone(stop));
        let values = self.settings.objective;
        let mut objective = Trials { template, values, bars: bars.clone(), patience, stop: Arc::clone(&stop) };
        let plan = WorkerPlan {
            space,
            values,
            agreements: agreements(&objective.template, &self.settings)?,
            sampler: sampler::by_kind(self.settings.sampler),
            pruner: pruner::by_settings(&self.settings, &self.study, objective.steps()),
            settings: self.worker.clone(),
        };
        let mut log = Log { search: self, started: Instant::now(), best: None, bars };
        let mut tell = |event: Event| log.event(&event);
        let mut worker = Worker::new(study, plan, &mut objective, &stop, &mut tell)?;
        match worker.run() {
            // Asked to stop while the storage was away: the trial at hand, if any, will be found by others.
            Err(ktg_search::Error::Stopped) => Ok(false),
            other => Ok(other?),
        }
    }

    /// What `auto` is was decided by the study's first worker; it is that for all networks that a trial may have.
    fn agree_on_precision(&self, template: &mut Experiment) -> Result<()> {
        if !template.auto_precision {
            return Ok(());
        }
        template.settings.train.precision = match StudyRecord::read(&self.url, &self.study)?.settings()? {
            Some(settings) => settings.train.precision,
            None => {
                let written = template.written_graph().nodes().iter().map(|node| &node.architecture);
                let architectures = written.chain(&self.settings.architectures).map(String::as_str);
                PrecisionSetting::decide(architectures, template.settings.side).into()
            }
        };
        // Another machine's may be none of ours.
        Ok(template.settings.check_precision()?)
    }

    /// The study, made if there is none.
    pub fn open(&self, stop: &Arc<AtomicBool>, bars: &MultiProgress) -> Result<Study> {
        let bars = bars.clone();
        let notice = Arc::new(move |text: &str| say(&bars, text));
        let patience = Patience { limit: self.patience, stop: Arc::clone(stop), notice };
        Ok(Study::open(&self.url, &self.study, true, patience)?)
    }
}

/// What must be the same for all workers of a study.
fn agreements(template: &Experiment, search: &SearchSettings) -> Result<Vec<Agreement>> {
    let mut settings = template.settings.decisive();
    // The nodes are in the search space.
    settings.graph = ktg_train::GraphSettings::default();
    let pruner = search.pruner_settings();
    Ok(vec![
        Agreement { key: SETTINGS, value: json!(settings), before: Some(json!(settings.to_toml()?)) },
        Agreement::new(IMAGES, json!(template.data_fingerprint())),
        Agreement { key: PRUNER, value: json!(pruner), before: Some(json!(pruner.to_string())) },
    ])
}

/// Tells a person what a worker does, a line for every trial.
struct Log<'a> {
    search: &'a Search,
    started: Instant,
    best: Option<(f64, i64)>,
    bars: &'a MultiProgress,
}

impl Log<'_> {
    fn event(&mut self, event: &Event) {
        let text = match event {
            Event::Started { number, origin: Origin::Promoted, .. } => {
                format!("trial {number} is among the best of its rung by now and goes on")
            }
            // Where all trials wait to be taken, that one did is not worth a line.
            Event::Started { number, origin: Origin::Waiting, .. } if self.search.enqueued.is_none() => {
                format!("trial {number} was waiting")
            }
            Event::Started { .. } => return,
            Event::ForeignRun { number, found, occupant, instead } => {
                let whose = whose(occupant);
                let (found, instead) = (found.display(), instead.display());
                format!("{found} is {whose}; it is left alone, and trial {number} has {instead} (others likewise)")
            }
            Event::Ended { number, outcome, last } => self.ended(*number, outcome, *last),
            Event::Reaped { number, retry: Some(retry) } => {
                format!("the worker of trial {number} fell silent; trial {retry} repeats it")
            }
            Event::Reaped { number, retry: None } => {
                format!("the worker of trial {number} fell silent, not for the first time; it is not tried again")
            }
            Event::Waiting(busy) => {
                format!("nothing to do but to wait for {busy} trials of other workers (Ctrl-C leaves them to it)")
            }
            Event::Exhausted => "the study holds every graph of the search space".to_owned(),
            Event::PrunedPaused(count) => format!("the study is complete; {count} paused trials are pruned"),
        };
        say(self.bars, &text);
    }

    fn ended(&mut self, number: i64, outcome: &Outcome, last: Option<(i64, f64)>) -> String {
        let words = |value: f64| self.search.settings.objective.in_words(value);
        let at = match last {
            Some((epoch, value)) => format!(" at epoch {epoch} with {}", words(value)),
            None => String::new(),
        };
        let what = match outcome {
            Outcome::Complete(value) => {
                let first = self.best.is_none_or(|(best, _)| *value > best);
                if first {
                    self.best = Some((*value, number));
                }
                let star = if first { ", this worker's best" } else { "" };
                format!("complete: ensemble {}{star}", words(*value))
            }
            Outcome::Pruned => format!("pruned{at}"),
            Outcome::Paused(_) => format!("paused{at}"),
            Outcome::Failed(reason) => format!("failed: {reason}"),
            Outcome::SameGraph(first) => return format!("trial {number} is the graph of trial {first}"),
            Outcome::GivenBack => format!("given back{at}"),
            Outcome::Lost => {
                "lost: another worker thought this one dead, or somebody ended or deleted the trial".to_owned()
            }
        };
        let best =
            self.best.map_or(String::new(), |(value, trial)| format!(" · best {} (trial {trial})", words(value)));
        let trials = self.search.enqueued.unwrap_or(self.search.worker.trials);
        let elapsed = seconds(self.started.elapsed());
        format!("trial {number} of {trials}: {what}{best} · {elapsed}")
    }
}

/// Whose run a foreign one is.
fn whose(occupant: &Occupant) -> String {
    match occupant {
        Occupant::Trial(StudyMark { study, storage, .. }) => format!(
            "a run of another study, \"{study}\" in {storage}, which was deleted, copied, moved or has the same name"
        ),
        Occupant::Nobody | Occupant::Unmarked | Occupant::Unknown => "a run that is not of this study".to_owned(),
    }
}
