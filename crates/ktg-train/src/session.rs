//! The training of a run, pulled event by event: steps, evaluation, checkpoints, what is written when.

use std::collections::VecDeque;
use std::fs;
use std::time::Instant;

use ktg_base::sync_parent;
use ktg_data::{Batch, Loader, LoaderConfig, balanced_order, epoch_order};
use ktg_engine::loss::GraphLoss;

use crate::checkpoint::{self, Best, Kept, Newest, State};
use crate::directory::{RunDirectory, RunResult, Timing, settings_of_run};
use crate::evaluate::Evaluation;
use crate::event::Event;
use crate::metrics::{EpochReport, Line, MetricsFile, StepReport};
use crate::recorder::Recorder;
use crate::schedule::Position;
use crate::tensorboard::{EventFile, epoch_scalars, step_scalars};
use crate::trainer::Trainer;
use crate::{Error, Experiment, Keep, Measures, Sampling};

/// A training at work.
pub(crate) struct Session {
    pub experiment: Experiment,
    directory: RunDirectory,
    trainer: Trainer,
    /// Where it stands.
    pub state: State,
    phase: Phase,
    /// What has happened and was not pulled yet.
    events: VecDeque<Event>,
    metrics: MetricsFile,
    curves: EventFile,
    recorder: Option<Recorder>,
    checkpoint_written: Instant,
    /// The result, once all is done.
    pub result: Option<RunResult>,
}

/// What the training is about.
#[derive(Default)]
enum Phase {
    /// Between two epochs, or where it was interrupted.
    #[default]
    Between,
    /// In an epoch.
    Training(Part, Loader),
    /// After an epoch's steps. Without a part: after all epochs, where a run was killed before it had its result.
    Evaluating(Option<Part>, Box<Evaluation>),
}

/// An epoch, or what is left of it after an interruption.
struct Part {
    started: Instant,
    /// Steps done.
    steps: usize,
    /// Seconds of waiting for images.
    waited: f64,
    /// Seconds of all its steps, once they are done.
    trained: Option<f64>,
}

/// The networks of an experiment, before the first step.
///
/// # Errors
/// If they cannot be made, or pretrained weights cannot be read.
pub(crate) fn first_trainer(experiment: &Experiment) -> Result<Trainer, Error> {
    let settings = &experiment.settings;
    let image = [settings.side, settings.side];
    let Experiment { graph, networks, starts, train, .. } = experiment;
    let loss = GraphLoss::new(graph, &settings.loss, &train.class_counts());
    let mut trainer =
        Trainer::new(graph, networks.clone(), image, starts, settings.seed, loss, experiment.computing())?;
    if !settings.train.decay_norms_and_biases {
        trainer.spare_norms_and_biases();
    }
    Ok(trainer)
}

impl Session {
    /// Goes on from the newest checkpoint in `directory`, or begins with the networks of `trainer`. The run was to have
    /// `before` epochs.
    ///
    /// # Errors
    /// If the checkpoints cannot be used, or a file cannot be opened.
    pub fn open(
        experiment: Experiment,
        mut trainer: Trainer,
        directory: &RunDirectory,
        before: usize,
    ) -> Result<Self, Error> {
        let mut warnings = experiment.warnings.clone();
        let state = restore(&experiment, &mut trainer, directory, before, &mut warnings)?;
        let path = directory.metrics_path();
        let metrics = MetricsFile::open(&path, state.metrics_bytes)?;
        sync_parent(&path)?;
        let step = state.position.step;
        let curves = EventFile::create(directory.path(), step + 1)?;
        let record = experiment.settings.train.record_steps;
        let mut recorder = None;
        if record > 0 && step == 0 {
            let steps = experiment.length().steps();
            recorder = Some(Recorder::start(directory.path(), &trainer, record, steps)?);
        } else if step < record {
            warnings.push("the run goes on after a step that was to be recorded: no more are recorded".to_owned());
        }
        Ok(Self {
            experiment,
            directory: directory.clone(),
            trainer,
            state,
            phase: Phase::Between,
            events: warnings.into_iter().map(Event::Warning).collect(),
            metrics,
            curves,
            recorder,
            checkpoint_written: Instant::now(),
            result: None,
        })
    }

    /// Works until something has happened, and says what; `None` after the end.
    ///
    /// # Errors
    /// If the training diverges, an image cannot be read, or a file cannot be written.
    pub fn next(&mut self) -> Result<Option<Event>, Error> {
        while self.events.is_empty() {
            if self.result.is_some() {
                return Ok(None);
            }
            match std::mem::take(&mut self.phase) {
                Phase::Between => self.begin()?,
                Phase::Training(part, batches) => self.train(part, batches)?,
                Phase::Evaluating(part, evaluation) => self.evaluate(part, evaluation)?,
            }
        }
        Ok(self.events.pop_front())
    }

    /// Writes a checkpoint of where the training is, from which it goes on.
    ///
    /// # Errors
    /// If the disk does not take it.
    pub fn save(&mut self) -> Result<(), Error> {
        match std::mem::take(&mut self.phase) {
            // There is one, or nothing is done yet.
            Phase::Between | Phase::Evaluating(None, _) => Ok(()),
            Phase::Training(part, _) | Phase::Evaluating(Some(part), _) => {
                self.checkpoint()?;
                self.write_timing(&part)
            }
        }
    }

    /// Begins the next epoch or what is left of it; after the last, evaluates once more, which gives the same measures.
    fn begin(&mut self) -> Result<(), Error> {
        self.phase = if self.is_over() {
            Phase::Evaluating(None, Box::new(self.evaluation()?))
        } else {
            let part = Part { started: Instant::now(), steps: 0, waited: 0.0, trained: None };
            Phase::Training(part, loader(&self.experiment, self.state.position)?)
        };
        Ok(())
    }

    /// Does the next step; after the last of the epoch, begins to evaluate or ends the epoch.
    fn train(&mut self, mut part: Part, mut batches: Loader) -> Result<(), Error> {
        if part.steps > 0 && self.checkpoint_is_due() {
            self.checkpoint()?;
        }
        let (position, length) = (self.state.position, self.experiment.length());
        if position.batch == length.batches {
            part.trained = Some(part.started.elapsed().as_secs_f64());
            if self.evaluation_is_due() {
                self.phase = Phase::Evaluating(Some(part), Box::new(self.evaluation()?));
                return Ok(());
            }
            return self.end_epoch(&part, None);
        }
        let settings = &self.experiment.settings.train;
        let asked = Instant::now();
        let of_step = batches.by_ref().take(settings.accumulate).collect::<Result<Vec<Batch>, _>>()?;
        part.waited += asked.elapsed().as_secs_f64();
        if let (Some(recorder), Some(batch)) = (&mut self.recorder, of_step.first()) {
            recorder.batch(position.step + 1, batch)?;
        }
        let report = self.trainer.step(&of_step, position, length, settings.rule(position, length))?;
        self.log(&report)?;
        self.state.position.step += 1;
        self.state.position.batch += 1;
        part.steps += 1;
        self.events.push_back(Event::Step(report));
        self.phase = Phase::Training(part, batches);
        Ok(())
    }

    /// Whether one is due within the epoch; at its end there is one anyway.
    fn checkpoint_is_due(&self) -> bool {
        let minutes = self.checkpoint_written.elapsed().as_secs_f64() / 60.0;
        let is_within = self.state.position.batch < self.experiment.length().batches;
        is_within && minutes > self.experiment.settings.train.checkpoint_minutes
    }

    /// Takes a step into the sums of the epoch, and writes it down if it is one of those that are.
    fn log(&mut self, report: &StepReport) -> Result<(), Error> {
        let every = self.experiment.settings.train.log_every;
        self.state.sums.add(report);
        if every > 0 && report.step.is_multiple_of(every) {
            self.metrics.write(&Line::Step(report))?;
            self.curves.scalars(report.step, &step_scalars(report))?;
        }
        Ok(())
    }

    fn evaluation_is_due(&self) -> bool {
        let settings = &self.experiment.settings.train;
        let epoch = self.state.position.epoch + 1;
        let every = settings.evaluate_every;
        epoch == settings.epochs || (every > 0 && epoch.is_multiple_of(every))
    }

    fn evaluation(&self) -> Result<Evaluation, Error> {
        let Experiment { evaluation, transform, settings, .. } = &self.experiment;
        let evaluation = Evaluation::new(self.trainer.node_count(), evaluation, transform, &settings.train)?;
        Ok(evaluation.calibrating_unless_on_test(settings.split.evaluate_on))
    }

    /// Evaluates the next batch; after the last, ends the epoch.
    fn evaluate(&mut self, part: Option<Part>, mut evaluation: Box<Evaluation>) -> Result<(), Error> {
        let (nodes, scratch) = self.trainer.nodes();
        if let Some(done) = evaluation.next(nodes, scratch)? {
            self.events.push_back(Event::Evaluating { done, images: evaluation.images() });
            self.phase = Phase::Evaluating(part, evaluation);
            return Ok(());
        }
        let measures = evaluation.finish();
        match part {
            Some(part) => self.end_epoch(&part, Some(measures)),
            None => self.finish(measures),
        }
    }

    /// Writes down what the epoch gave, and a checkpoint; after the last epoch, the result.
    fn end_epoch(&mut self, part: &Part, evaluation: Option<Measures>) -> Result<(), Error> {
        let position = &mut self.state.position;
        (position.epoch, position.batch) = (position.epoch + 1, 0);
        let train = std::mem::take(&mut self.state.sums).mean().unwrap_or_default();
        let report = EpochReport { train, evaluation };
        self.note_best(report.evaluation.as_ref());
        self.write_timing(part)?;
        self.curves.scalars(report.train.step, &epoch_scalars(&report))?;
        self.metrics.write(&Line::Epoch(&report))?;
        self.checkpoint()?;
        if let (true, Some(measures)) = (self.is_over(), &report.evaluation) {
            self.finish(measures.clone())?;
        }
        self.events.push_back(Event::Epoch(report));
        Ok(())
    }

    /// Remembers the epoch that ends here if it is the best one so far and the settings ask for that.
    fn note_best(&mut self, evaluation: Option<&Measures>) {
        let Some(measures) = evaluation.filter(|_| self.experiment.settings.train.chooses()) else { return };
        if self.state.best.as_ref().is_none_or(|best| best.is_beaten_by(measures)) {
            let Position { epoch, step, .. } = self.state.position;
            self.state.best = Some(Best { epoch, step, measures: measures.clone() });
        }
    }

    fn is_over(&self) -> bool {
        self.state.position.epoch == self.experiment.settings.train.epochs || self.has_lost_patience()
    }

    /// Whether too many epochs in a row were not better than the best.
    fn has_lost_patience(&self) -> bool {
        let train = &self.experiment.settings.train;
        let best = self.state.best.as_ref().map_or(0, |best| best.epoch);
        let is_judged = self.state.position.epoch.is_multiple_of(train.evaluate_every.max(1));
        train.patience.is_some_and(|patience| self.state.position.epoch >= best + patience) && is_judged
    }

    fn finish(&mut self, last: Measures) -> Result<(), Error> {
        let Experiment { settings, graph, train, .. } = &self.experiment;
        let best = self.state.best.clone().filter(|_| settings.train.keep == Keep::Best);
        let epochs = self.state.position.epoch;
        let result = RunResult {
            graph: graph.name.clone(),
            graph_hash: graph.hash().to_string(),
            seed: settings.seed,
            epochs,
            best_epoch: best.as_ref().map(|best| best.epoch),
            stopped_early: epochs < settings.train.epochs,
            train_images: train.len(),
            seconds: self.directory.timing()?.iter().map(|line| line.seconds).sum(),
            measures: best.map_or(last, |best| best.measures),
        };
        self.directory.write_result(&result)?;
        self.result = Some(result);
        Ok(())
    }

    fn checkpoint(&mut self) -> Result<(), Error> {
        self.state.metrics_bytes = self.metrics.sync()?;
        let settings = &self.experiment.settings.train;
        let kept = Kept { newest: settings.keep_checkpoints, best: settings.keep == Keep::Best };
        let warning = checkpoint::write(&self.directory.checkpoints(), self.state.clone(), &self.trainer, kept)?;
        self.events.extend(warning.map(Event::Warning));
        self.events.push_back(Event::Checkpoint);
        self.checkpoint_written = Instant::now();
        Ok(())
    }

    /// Appends a line to `timing.jsonl` about the part of an epoch that ends here.
    fn write_timing(&self, part: &Part) -> Result<(), Error> {
        let settings = &self.experiment.settings.train;
        let seconds = part.started.elapsed().as_secs_f64();
        let training_seconds = part.trained.unwrap_or(seconds);
        let images = part.steps * settings.images_per_step();
        self.directory.append_timing(&Timing {
            step: self.state.position.step,
            training_seconds,
            data_seconds: part.waited,
            seconds,
            images_per_second: images as f64 / training_seconds.max(1e-9),
        })
    }
}

/// The batches of an epoch from a position on.
///
/// # Errors
/// If the loader cannot start.
pub(crate) fn loader(experiment: &Experiment, at: Position) -> Result<Loader, Error> {
    let Experiment { settings, train: data, transform, .. } = experiment;
    let epoch = at.epoch as u64;
    let config = LoaderConfig {
        batch_size: settings.train.batch_size,
        threads: settings.train.loader_threads,
        drop_last: true,
        seed: settings.seed,
        epoch,
        mixup: transform.mixup,
        cutmix: transform.cutmix,
        start_batch: at.batch * settings.train.accumulate,
        ..LoaderConfig::new(transform.train.clone())
    };
    let order = match settings.train.sampling {
        Sampling::All => epoch_order(data.len(), settings.seed, epoch, settings.train.shuffle),
        Sampling::Balanced => balanced_order(data.labels(), settings.seed, epoch),
    };
    Ok(Loader::new(data, config, order)?)
}

/// Puts the newest checkpoint, if there is one, into `trainer`; returns where the training stands.
fn restore(
    experiment: &Experiment,
    trainer: &mut Trainer,
    directory: &RunDirectory,
    before: usize,
    warnings: &mut Vec<String>,
) -> Result<State, Error> {
    let epochs = experiment.settings.train.epochs;
    let length = if experiment.depends_on_length().is_some() { epochs } else { 0 };
    let now = State::new(fingerprint(experiment, length)?, experiment.computing().precision);
    let Some(newest) = checkpoint::newest(&directory.checkpoints())? else {
        let metrics = directory.metrics_path();
        if fs::metadata(&metrics).is_ok_and(|metrics| metrics.len() > 0) {
            let (metrics, folder) = (metrics.display(), directory.checkpoints());
            warnings.push(format!(
                "{metrics} tells of steps, but there is no checkpoint in {}: all begins again",
                folder.display()
            ));
        }
        return Ok(now);
    };
    let Newest { path, state: mut then, damaged, warnings: about_damaged } = newest;
    warnings.extend(about_damaged);
    // Versions up to 0.1 had the length in it, even where it decides nothing.
    if then.fingerprint != now.fingerprint && then.fingerprint != fingerprint(experiment, before)? {
        let reason = "it belongs to other settings, another graph or other data; undo the change, or train anew";
        return Err(Error::run(&path, reason));
    }
    let Position { epoch, batch, .. } = then.position;
    if (epoch, batch) > (epochs, 0) {
        let done = if batch > 0 { format!("{epoch} epochs and a part of the next") } else { format!("{epoch} epochs") };
        return Err(directory.error(format!("it has {done} already, more than the {epochs} asked for")));
    }
    checkpoint::restore(&path, trainer)?;
    for path in &damaged {
        checkpoint::set_aside(path)?;
    }
    let (before, after) = (then.device_name(), now.device_name());
    let is_moved = before != after;
    if is_moved {
        warnings.push(format!(
            "the run was computed on {before} and goes on on {after}; the last bits will differ (see --device)"
        ));
    }
    let (before, after) = (&then.kernels, &now.kernels);
    if before != after && !is_moved && !before.is_empty() {
        warnings.push(format!(
            "the run was computed by the `{before}` kernels and goes on with `{after}`, which round otherwise (see --kernels, --tf32)"
        ));
    }
    (then.kernels, then.device, then.fingerprint) = (now.kernels, now.device, now.fingerprint);
    let length = fs::metadata(directory.metrics_path()).map(|m| m.len()).unwrap_or(0);
    if length < then.metrics_bytes {
        let lost = "metrics.jsonl is shorter than when the checkpoint was written: its lost lines stay lost";
        warnings.push(lost.to_owned());
        then.metrics_bytes = length;
    }
    Ok(then)
}

/// A text that is the same for all runs that are bit for bit alike, as far as they go; `epochs` is their length, or 0
/// where it decides nothing.
fn fingerprint(experiment: &Experiment, epochs: usize) -> Result<String, Error> {
    let mut settings = settings_of_run(experiment).decisive();
    settings.train.epochs = epochs;
    let decisive = [
        settings.to_toml()?,
        experiment.graph.to_toml(),
        experiment.data.train_fingerprint.clone(),
        experiment.length().batches.to_string(),
    ];
    Ok(checkpoint::checksum(decisive.join("\n").as_bytes()))
}
