//! The objective of a search: a graph's ensemble accuracy after training it.

use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use indicatif::MultiProgress;
use ktg_base::FileError;
use ktg_graph::Graph;
use ktg_search::{Ended, Objective, Task};
use ktg_train::measures::PairMeasures;
use ktg_train::{EpochReport, Error, Experiment, Observer, Outcome, RunResult, StepReport, run};
use serde_json::{Value as Json, json};

use crate::progress::Progress;

/// Trains graphs on the data and with the settings of one experiment.
pub struct Trials {
    /// The experiment, with any graph of the search space.
    pub template: Experiment,
    /// Where progress bars go.
    pub bars: MultiProgress,
    /// Hears what goes wrong.
    pub notice: Arc<dyn Fn(&str) + Send + Sync>,
    /// How long a full disk, or a run that a sleeping worker still has, is waited for.
    pub patience: Duration,
}

/// Between two attempts on a full disk.
const PAUSE: Duration = Duration::from_secs(2);

impl Objective for Trials {
    fn steps(&self) -> u32 {
        u32::try_from(self.template.settings.train.epochs).expect("settings are checked: at most a million")
    }

    /// Not a graph whose attention edges do not fit its networks, nor one with a node that learns nothing and knows
    /// nothing.
    fn accepts(&self, graph: &Graph) -> bool {
        (0..graph.len()).all(|m| graph.is_useful(m)) && self.template.fits(graph)
    }

    fn run(&mut self, task: &Task, report: &mut dyn FnMut(i64, f64) -> ControlFlow<()>) -> Result<Ended, String> {
        // When the trouble at hand began; progress ends it.
        let mut trouble: Option<Instant> = None;
        let mut furthest = task.reported;
        loop {
            let mut progress = false;
            let mut counted = |step, value| {
                progress |= step > furthest;
                furthest = furthest.max(step);
                report(step, value)
            };
            let error = match self.train(task, &mut counted) {
                Ok(ended) => return Ok(ended),
                Err(error) => error,
            };
            let since = if progress { Instant::now() } else { trouble.unwrap_or_else(Instant::now) };
            let passing = match &error {
                // This graph, or what is left of its run, is unusable; others are not.
                Error::Diverged { .. }
                | Error::NotFinite { .. }
                | Error::Graph(_)
                | Error::Weights(_)
                | Error::Run { .. } => return Ok(Ended::Failed(error.to_string())),
                Error::File(file) => {
                    matches!(file.source.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
                }
                // The worker that lost this trial has not noticed yet. Should it never, the next worker would wait, too.
                Error::Busy(_) if since.elapsed() > self.patience => return Ok(Ended::Failed(error.to_string())),
                Error::Busy(_) => true,
                _ => false,
            };
            if !passing || since.elapsed() > self.patience {
                return Err(error.to_string());
            }
            if task.stop.load(Ordering::Relaxed) {
                return Ok(Ended::Stopped);
            }
            if trouble.is_none() || progress {
                (self.notice)(&format!(
                    "trial {}: {error}; waiting, the trial goes on from its checkpoint",
                    task.number
                ));
            }
            trouble = Some(since);
            std::thread::sleep(PAUSE);
        }
    }

    fn paused(&mut self, directory: &Path) {
        self.delete_checkpoints(directory, 1);
    }

    fn over(&mut self, directory: &Path) {
        self.delete_checkpoints(directory, 0);
    }
}

impl Trials {
    fn train(&self, task: &Task, report: &mut dyn FnMut(i64, f64) -> ControlFlow<()>) -> Result<Ended, Error> {
        let mut experiment = self.template.with_graph(task.graph.clone())?;
        experiment.settings.seed = task.seed.unwrap_or(experiment.settings.seed);
        // What was computed before a worker died, but not reported.
        for epoch in run::epochs(&experiment, task.directory)? {
            let step = epoch.train.epoch as i64;
            if let Some(value) = value(&epoch).filter(|_| step > task.reported)
                && report(step, value).is_break()
            {
                return Ok(Ended::Stopped);
            }
        }
        if let Some(parent) = task.directory.parent() {
            std::fs::create_dir_all(parent).map_err(FileError::of("create", parent))?;
        }
        let progress = Progress::among(&self.bars, format!("trial {}", task.number)).quiet();
        let mut watch = Watch { progress, report };
        match run::start_or_resume(experiment, task.directory, task.stop, &mut watch)? {
            Outcome::Finished(result) => {
                Ok(Ended::Finished(result.measures.ensemble.accuracy.top1, attributes(&result)))
            }
            Outcome::Interrupted { .. } => Ok(Ended::Stopped),
        }
    }

    fn delete_checkpoints(&self, directory: &Path, keep: usize) {
        if directory.is_dir()
            && let Err(e) = run::delete_checkpoints(directory, keep)
        {
            (self.notice)(&format!("checkpoints that are not needed any more stay: {e}"));
        }
    }
}

/// What the search maximises.
fn value(epoch: &EpochReport) -> Option<f64> {
    epoch.evaluation.as_ref().map(|measures| measures.ensemble.accuracy.top1)
}

/// What else a study keeps of a finished trial.
fn attributes(result: &RunResult) -> Vec<(String, Json)> {
    let measures = &result.measures;
    let mut attributes = vec![
        ("node average".to_owned(), json!(measures.node_average.top1)),
        ("ensemble NLL".to_owned(), json!(measures.ensemble.nll)),
        ("seconds".to_owned(), json!(result.seconds)),
    ];
    let mean = |value: fn(&PairMeasures) -> Option<f64>| {
        let values: Option<Vec<f64>> = measures.pairs.iter().map(value).collect();
        values.filter(|values| !values.is_empty()).map(|values| values.iter().sum::<f64>() / values.len() as f64)
    };
    let diversity = [
        ("disagreement", mean(|pair| Some(pair.disagreement))),
        ("probability cosine", mean(|pair| Some(pair.probability_cosine))),
        ("attention cosine", mean(|pair| pair.attention_cosine)),
    ];
    attributes.extend(diversity.into_iter().filter_map(|(name, value)| Some((name.to_owned(), json!(value?)))));
    for (m, node) in measures.nodes.iter().enumerate() {
        attributes.push((format!("node {}", m + 1), json!(node.top1)));
    }
    attributes
}

/// Shows a run and passes its epochs on.
struct Watch<'a> {
    progress: Progress,
    report: &'a mut dyn FnMut(i64, f64) -> ControlFlow<()>,
}

impl Observer for Watch<'_> {
    fn started(&mut self, epochs: usize, steps: usize, from: u64) {
        self.progress.started(epochs, steps, from);
    }

    fn step(&mut self, report: &StepReport, images: usize) {
        self.progress.step(report, images);
    }

    fn epoch(&mut self, report: &EpochReport) -> ControlFlow<()> {
        let _ = self.progress.epoch(report);
        match value(report) {
            Some(value) => (self.report)(report.train.epoch as i64, value),
            None => ControlFlow::Continue(()),
        }
    }

    fn evaluating(&mut self, done: usize, all: usize) {
        self.progress.evaluating(done, all);
    }

    fn warning(&mut self, message: &str) {
        self.progress.warning(message);
    }
}
