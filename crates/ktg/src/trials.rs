//! The objective of a search: a graph's ensemble accuracy after training it.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indicatif::MultiProgress;
use ktg_base::FileError;
use ktg_graph::Graph;
use ktg_search::attributes::{ENSEMBLE, NODE_AVERAGE};
use ktg_search::{Objective, ObjectiveKind, Occupant, Report, Task, Work};
use ktg_train::{EpochReport, Error, Event, Experiment, Measures, Run, RunDirectory, RunResult};
use serde_json::{Value as Json, json};

use crate::progress::{Progress, say};

/// Trains graphs on the data and with the settings of one experiment.
pub struct Trials {
    /// The experiment, with any graph of the search space.
    pub template: Experiment,
    /// What a trial's value is.
    pub values: ObjectiveKind,
    /// Where progress bars go.
    pub bars: MultiProgress,
    /// How long a full disk, or a run that a sleeping worker still has, is waited for.
    pub patience: Duration,
    /// Set when the search shall stop.
    pub stop: Arc<AtomicBool>,
}

/// Between two attempts on a full disk.
const PAUSE: Duration = Duration::from_secs(2);

impl Objective for Trials {
    fn steps(&self) -> u32 {
        u32::try_from(self.template.settings.train.epochs).expect("settings are checked: at most a million")
    }

    fn accepts(&self, graph: &Graph) -> bool {
        self.template.fits(graph)
    }

    fn occupant(&self, directory: &Path) -> Occupant {
        let directory = RunDirectory::new(directory);
        if !directory.has_run() {
            return Occupant::Nobody;
        }
        match directory.owner() {
            Ok(Some(owner)) => serde_json::from_value(owner).map_or(Occupant::Unknown, Occupant::Trial),
            Ok(None) => Occupant::Unmarked,
            Err(_) => Occupant::Unknown,
        }
    }

    fn start<'a>(&'a mut self, task: Task) -> Box<dyn Work + 'a> {
        let progress = Progress::among(&self.bars, format!("trial {}", task.number)).quiet();
        Box::new(Training {
            trials: self,
            directory: RunDirectory::new(&task.directory),
            furthest: task.reported,
            task,
            stage: Stage::New,
            progress,
            trouble_since: None,
        })
    }

    fn paused(&mut self, directory: &Path) {
        self.delete_checkpoints(directory, 1);
    }

    fn over(&mut self, directory: &Path) {
        self.delete_checkpoints(directory, 0);
    }
}

impl Trials {
    fn delete_checkpoints(&self, directory: &Path, keep: usize) {
        if directory.is_dir()
            && let Err(e) = RunDirectory::new(directory).delete_checkpoints(keep)
        {
            say(&self.bars, &format!("checkpoints that are not needed any more stay: {e}"));
        }
    }

    fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// The training of one trial.
struct Training<'a> {
    trials: &'a Trials,
    task: Task,
    directory: RunDirectory,
    stage: Stage,
    progress: Progress,
    /// The last step that was reported.
    furthest: i64,
    /// When the trouble at hand began; a further step ends it.
    trouble_since: Option<Instant>,
}

/// How far a trial's training is.
enum Stage {
    /// Nothing has been looked at.
    New,
    /// Epochs that were computed before a worker died, but not reported.
    Known(VecDeque<EpochReport>),
    /// At work.
    Running(Box<Run>),
}

impl Work for Training<'_> {
    fn next(&mut self) -> Result<Report, String> {
        loop {
            match self.train() {
                Ok(report) => return Ok(report),
                Err(error) => {
                    // The directory is free for the next attempt, and for others.
                    self.stage = Stage::New;
                    if let Some(report) = self.wait_out(&error)? {
                        return Ok(report);
                    }
                }
            }
        }
    }
}

impl Training<'_> {
    /// Trains until the next epoch, or to the end.
    fn train(&mut self) -> Result<Report, Error> {
        loop {
            let epoch = match &mut self.stage {
                Stage::New => {
                    if self.is_anothers() {
                        return Ok(Report::Stopped);
                    }
                    match self.directory.epochs_of(&self.experiment()?) {
                        Ok(epochs) => self.stage = Stage::Known(epochs.into()),
                        // Its run is spoiled, and not the search.
                        Err(error) => return Ok(Report::Failed(error.to_string())),
                    }
                    continue;
                }
                Stage::Known(epochs) => match epochs.pop_front() {
                    Some(epoch) if epoch.train.epoch as i64 > self.task.reported => epoch,
                    Some(_) => continue,
                    None => {
                        self.stage = Stage::Running(Box::new(self.open()?));
                        continue;
                    }
                },
                Stage::Running(run) => {
                    let Some(event) = run.next()? else { return finished(run, self.trials.values) };
                    self.progress.show(&event);
                    match event {
                        Event::Epoch(epoch) => epoch,
                        _ if self.trials.is_stopping() => {
                            run.save()?;
                            return Ok(Report::Stopped);
                        }
                        _ => continue,
                    }
                }
            };
            if let Some(measures) = &epoch.evaluation {
                let value = value(measures, self.trials.values);
                return Ok(self.report(epoch.train.epoch as i64, value));
            }
        }
    }

    /// Whether another study began a run in the directory meanwhile.
    fn is_anothers(&self) -> bool {
        match self.trials.occupant(self.directory.path()) {
            Occupant::Trial(mark) => !mark.is_of_same(&self.task.study),
            Occupant::Nobody | Occupant::Unmarked | Occupant::Unknown => false,
        }
    }

    /// The template with the trial's graph and seed.
    fn experiment(&self) -> Result<Experiment, Error> {
        let mut experiment = self.trials.template.with_graph(self.task.graph.clone())?;
        experiment.owner = Some(json!(self.task.study));
        experiment.settings.seed = self.task.seed.unwrap_or(experiment.settings.seed);
        Ok(experiment)
    }

    fn open(&mut self) -> Result<Run, Error> {
        let run = Run::start_or_resume(self.experiment()?, &self.directory)?;
        self.progress.start(&run);
        Ok(run)
    }

    fn report(&mut self, step: i64, value: f64) -> Report {
        if step > self.furthest {
            self.furthest = step;
            self.trouble_since = None;
        }
        Report::Step(step, value)
    }

    /// Decides about an error: `Some` ends the trial; after `None`, which comes after a moment, it is tried again.
    ///
    /// # Errors
    /// What would stop every trial.
    fn wait_out(&mut self, error: &Error) -> Result<Option<Report>, String> {
        if self.is_anothers() {
            return Ok(Some(Report::Stopped));
        }
        let is_new = self.trouble_since.is_none();
        let is_over = self.trouble_since.get_or_insert_with(Instant::now).elapsed() > self.trials.patience;
        let is_passing = match error {
            // This graph, or what is left of its run, is unusable; others are not.
            Error::Graph(_) | Error::Weights(_) | Error::OtherRun(_) | Error::Run { .. } => {
                return Ok(Some(Report::Failed(error.to_string())));
            }
            error if error.is_divergence() => return Ok(Some(Report::Failed(error.to_string()))),
            Error::File(FileError { source, .. }) => {
                matches!(source.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
            }
            // The worker that lost this trial has not noticed yet. Should it never, the next worker would wait, too.
            Error::Busy(_) if is_over => return Ok(Some(Report::Failed(error.to_string()))),
            Error::Busy(_) => true,
            _ => false,
        };
        if !is_passing || is_over {
            return Err(error.to_string());
        }
        if self.trials.is_stopping() {
            return Ok(Some(Report::Stopped));
        }
        if is_new {
            let number = self.task.number;
            let text = format!("trial {number}: {error}; waiting, the trial goes on from its checkpoint");
            say(&self.trials.bars, &text);
        }
        std::thread::sleep(PAUSE);
        Ok(None)
    }
}

/// The end of a run, which has a result then.
fn finished(run: &Run, values: ObjectiveKind) -> Result<Report, Error> {
    Ok(match run.result() {
        Some(result) => Report::Finished(value(&result.measures, values), attributes(result)),
        None => Report::Failed("it ended without a result".to_owned()),
    })
}

/// What a trial's value is to be, of its ensemble. Larger is better.
fn value(measures: &Measures, values: ObjectiveKind) -> f64 {
    let ensemble = &measures.ensemble;
    match values {
        ObjectiveKind::Accuracy => ensemble.accuracy.top1,
        ObjectiveKind::Nll => -ensemble.calibrated.map_or(ensemble.nll, |calibrated| calibrated.nll),
    }
}

/// What else a study keeps of a finished trial.
fn attributes(result: &RunResult) -> Vec<(String, Json)> {
    let measures = &result.measures;
    let calibrated = measures.ensemble.calibrated;
    let values = [
        (ENSEMBLE, Some(measures.ensemble.accuracy.top1)),
        (NODE_AVERAGE, Some(measures.node_average.top1)),
        ("ensemble NLL", Some(measures.ensemble.nll)),
        ("ensemble NLL, calibrated", calibrated.map(|calibrated| calibrated.nll)),
        ("temperature", calibrated.map(|calibrated| calibrated.temperature)),
        ("seconds", Some(result.seconds)),
        ("disagreement", measures.pair_mean(|pair| Some(pair.disagreement))),
        ("probability cosine", measures.pair_mean(|pair| Some(pair.probability_cosine))),
        ("attention cosine", measures.pair_mean(|pair| pair.attention_cosine)),
    ];
    let values = values.into_iter().filter_map(|(name, value)| Some((name.to_owned(), json!(value?))));
    let nodes = measures.nodes.iter().enumerate().map(|(m, node)| (format!("node {}", m + 1), json!(node.top1)));
    values.chain(nodes).collect()
}
