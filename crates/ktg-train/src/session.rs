//! The loop of a run: steps, epochs, judging, checkpoints, what is written when.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use ktg_base::{sync_parent, write_atomically};
use ktg_data::{Loader, LoaderConfig, epoch_order};
use serde::{Deserialize, Serialize};

use crate::checkpoint::{self, Newest, State};
use crate::evaluate::evaluate;
use crate::experiment::PRETRAINED;
use crate::metrics::{EpochReport, MetricsFile, StepReport};
use crate::record::Recorder;
use crate::run::{Outcome, RunResult};
use crate::saved::{DATA, DataFile, GRAPH, RESULT, SETTINGS, SKIPPED, SPLIT};
use crate::schedule::{self, Position};
use crate::tensorboard::{EventFile, epoch_scalars, step_scalars};
use crate::trainer::{Moment, Trainer};
use crate::{Error, Experiment, GraphSettings, Measures, Observer, Settings};

/// The file that says how long everything took.
const TIMING: &str = "timing.jsonl";

/// A run at work.
pub(crate) struct Run {
    experiment: Experiment,
    /// What the run remembers of its data.
    pub data: DataFile,
    directory: PathBuf,
    trainer: Trainer,
    state: State,
    checkpoint_written: Instant,
}

impl Run {
    pub fn new(experiment: Experiment, directory: &Path) -> Result<Self, Error> {
        let settings = &experiment.settings;
        let trainer = Trainer::new(
            &experiment.graph,
            experiment.networks.clone(),
            [settings.side, settings.side],
            &experiment.pretrained,
            settings.seed,
            &(&settings.loss).into(),
        )?;
        let data = DataFile::of(&experiment.train, &experiment.evaluation);
        let decisive = [
            run_settings(settings).decisive().to_toml()?,
            experiment.graph.to_toml(),
            data.train_fingerprint.clone(),
            experiment.steps().to_string(),
        ];
        let fingerprint = checkpoint::checksum(decisive.join("\n").as_bytes());
        let state = State::new(fingerprint);
        let directory = directory.to_owned();
        Ok(Self { experiment, data, directory, trainer, state, checkpoint_written: Instant::now() })
    }

    /// Writes what the run is: data, graph, pretrained weights and, last, the settings. A directory without settings
    /// holds no run yet.
    pub fn write_description(&self) -> Result<(), Error> {
        let directory = &self.directory;
        let json = serde_json::to_vec_pretty(&self.data).map_err(|e| Error::run(directory, e.to_string()))?;
        write_atomically(&directory.join(DATA), &json)?;
        let Experiment { skipped, split, .. } = &self.experiment;
        if !skipped.is_empty() {
            write_atomically(&directory.join(SKIPPED), (skipped.join("\n") + "\n").as_bytes())?;
        }
        if let Some(split) = split {
            write_atomically(&directory.join(SPLIT), split.to_json()?.as_bytes())?;
        }
        for (node, path) in self.experiment.graph.nodes().iter().zip(&self.experiment.pretrained) {
            if let (Some(name), Some(path)) = (&node.pretrained, path) {
                let folder = directory.join(PRETRAINED);
                fs::create_dir_all(&folder).map_err(Error::file("create", &folder))?;
                let bytes = fs::read(path).map_err(Error::file("read", path))?;
                write_atomically(&directory.join(name), &bytes)?;
            }
        }
        write_atomically(&directory.join(GRAPH), self.experiment.graph.to_toml().as_bytes())?;
        let settings = run_settings(&self.experiment.settings).to_toml()?;
        Ok(write_atomically(&directory.join(SETTINGS), settings.as_bytes())?)
    }

    /// Trains from the newest checkpoint, or from the start, to the end.
    pub fn train(mut self, stop: &AtomicBool, observer: &mut dyn Observer) -> Result<Outcome, Error> {
        for warning in &self.experiment.warnings {
            observer.warning(warning);
        }
        self.restore(observer)?;
        let metrics_path = self.directory.join("metrics.jsonl");
        let mut metrics = MetricsFile::open(&metrics_path, self.state.metrics_bytes)?;
        sync_parent(&metrics_path)?;
        let mut events = EventFile::create(&self.directory, self.state.step + 1)?;
        let train = self.experiment.settings.train.clone();
        let steps = self.experiment.steps();
        let all_steps = (train.epochs * steps) as u64;
        let mut recorder = match train.record_steps {
            0 => None,
            record if self.state.step == 0 => Some(Recorder::start(&self.directory, &self.trainer, record, all_steps)?),
            record => {
                if self.state.step < record {
                    observer.warning("the run goes on after a step that was to be recorded: no more are recorded");
                }
                None
            }
        };
        observer.started(train.epochs, steps, self.state.step);
        while self.state.epoch < train.epochs {
            let started = Instant::now();
            let first_batch = self.state.batch;
            let mut batches = self.loader()?;
            let mut waited = 0.0;
            loop {
                let asked = Instant::now();
                let Some(batch) = batches.next() else { break };
                waited += asked.elapsed().as_secs_f64();
                let batch = batch?;
                let at = self.moment(steps, all_steps);
                if let Some(recorder) = &mut recorder {
                    recorder.batch(at.step, &batch)?;
                }
                let report = self.trainer.step(&batch, at)?;
                self.account(&report, &mut metrics, &mut events, observer)?;
                self.state.step += 1;
                self.state.batch += 1;
                let stopping = stop.load(Ordering::Relaxed);
                let due = self.checkpoint_written.elapsed().as_secs_f64() > 60.0 * train.checkpoint_minutes;
                let saving = (stopping || due) && self.state.batch < steps;
                if saving {
                    self.checkpoint(&mut metrics, observer)?;
                    if stopping {
                        self.time(started, (started.elapsed().as_secs_f64(), waited), self.state.batch - first_batch)?;
                        return Ok(Outcome::Interrupted { step: self.state.step, steps: all_steps });
                    }
                }
            }
            let seconds = started.elapsed().as_secs_f64();
            let Some(report) = self.finish_epoch(stop, observer)? else {
                // Stopped while judging: the epoch's steps are done, and judging starts anew when the run goes on.
                self.checkpoint(&mut metrics, observer)?;
                self.time(started, (seconds, waited), steps - first_batch)?;
                return Ok(Outcome::Interrupted { step: self.state.step, steps: all_steps });
            };
            self.time(started, (seconds, waited), steps - first_batch)?;
            events.scalars(report.train.step, &epoch_scalars(&report))?;
            metrics.epoch(&report)?;
            self.checkpoint(&mut metrics, observer)?;
            let ended = observer.epoch(&report).is_break() || stop.load(Ordering::Relaxed);
            if self.state.epoch == train.epochs {
                return self.finish(report).map(Outcome::Finished);
            }
            if ended {
                return Ok(Outcome::Interrupted { step: self.state.step, steps: all_steps });
            }
        }
        // Killed between the last checkpoint and the result: judge once more, which gives the same measures.
        let Some(measures) = self.judge(stop, observer)? else {
            return Ok(Outcome::Interrupted { step: self.state.step, steps: all_steps });
        };
        let train = StepReport { step: self.state.step, epoch: train.epochs, ..StepReport::default() };
        self.finish(EpochReport { train, evaluation: Some(measures) }).map(Outcome::Finished)
    }

    /// Takes a report into what the run remembers and shows.
    fn account(
        &mut self,
        report: &StepReport,
        metrics: &mut MetricsFile,
        events: &mut EventFile,
        observer: &mut dyn Observer,
    ) -> Result<(), Error> {
        let train = &self.experiment.settings.train;
        self.state.sums.add(report);
        if train.log_every > 0 && report.step.is_multiple_of(train.log_every) {
            metrics.step(report)?;
            events.scalars(report.step, &step_scalars(report))?;
        }
        observer.step(report, train.batch_size);
        Ok(())
    }

    fn restore(&mut self, observer: &mut dyn Observer) -> Result<(), Error> {
        let directory = self.directory.join("checkpoints");
        let Some(Newest { path, state, damaged, warnings }) = checkpoint::newest(&directory)? else { return Ok(()) };
        for warning in &warnings {
            observer.warning(warning);
        }
        if state.fingerprint != self.state.fingerprint {
            let reason = "it belongs to other settings, another graph or other data; undo the change, or train anew";
            return Err(Error::run(&path, reason));
        }
        checkpoint::restore(&path, &mut self.trainer)?;
        for path in &damaged {
            checkpoint::set_aside(path)?;
        }
        let (then, now) = (state.device_name(), self.state.device_name());
        if then != now {
            observer.warning(&format!(
                "the run was computed on {then} and goes on on {now}; the last bits will differ (see --device)"
            ));
        }
        if state.kernels != self.state.kernels && !state.kernels.is_empty() {
            let (then, now) = (&state.kernels, &self.state.kernels);
            observer.warning(&format!(
                "the run was computed by the `{then}` kernels and goes on with `{now}`, which round otherwise (see --kernels)"
            ));
        }
        let State { kernels, device, .. } = std::mem::replace(&mut self.state, state);
        (self.state.kernels, self.state.device) = (kernels, device);
        let metrics = self.directory.join("metrics.jsonl");
        let length = fs::metadata(&metrics).map(|m| m.len()).unwrap_or(0);
        if length < self.state.metrics_bytes {
            observer.warning("metrics.jsonl is shorter than when the checkpoint was written: its lost lines stay lost");
            self.state.metrics_bytes = length;
        }
        Ok(())
    }

    fn loader(&self) -> Result<Loader, Error> {
        let Settings { seed, train, .. } = &self.experiment.settings;
        let epoch = self.state.epoch as u64;
        let config = LoaderConfig {
            batch_size: train.batch_size,
            threads: train.loader_threads,
            drop_last: true,
            seed: *seed,
            epoch,
            mixup: self.experiment.transform.mixup,
            start_batch: self.state.batch,
            ..LoaderConfig::new(self.experiment.transform.train.clone())
        };
        let data = &self.experiment.train;
        Ok(Loader::new(data, config, epoch_order(data.len(), *seed, epoch, train.shuffle))?)
    }

    fn moment(&self, steps: usize, all_steps: u64) -> Moment {
        let train = &self.experiment.settings.train;
        let State { epoch, batch: step, .. } = self.state;
        let factor = schedule::factor(
            &train.schedule,
            train.warmup_epochs,
            Position { epoch, epochs: train.epochs, step, steps },
        );
        Moment { step: self.state.step + 1, steps: all_steps, epoch: epoch + 1, rule: train.sgd(factor) }
    }

    fn checkpoint(&mut self, metrics: &mut MetricsFile, observer: &mut dyn Observer) -> Result<(), Error> {
        self.state.metrics_bytes = metrics.sync()?;
        let keep = self.experiment.settings.train.keep_checkpoints;
        let directory = self.directory.join("checkpoints");
        if let Some(warning) = checkpoint::write(&directory, self.state.clone(), &self.trainer, keep)? {
            observer.warning(&warning);
        }
        self.checkpoint_written = Instant::now();
        Ok(())
    }

    /// Ends the epoch: means of the losses, and measures if they are due. `None` if it was stopped while judging.
    fn finish_epoch(&mut self, stop: &AtomicBool, observer: &mut dyn Observer) -> Result<Option<EpochReport>, Error> {
        let settings = &self.experiment.settings.train;
        let epoch = self.state.epoch + 1;
        let due =
            epoch == settings.epochs || (settings.evaluate_every > 0 && epoch.is_multiple_of(settings.evaluate_every));
        let evaluation = match due {
            false => None,
            true => match self.judge(stop, observer)? {
                None => return Ok(None),
                judged => judged,
            },
        };
        (self.state.epoch, self.state.batch) = (epoch, 0);
        let train = std::mem::take(&mut self.state.sums).mean().unwrap_or_default();
        Ok(Some(EpochReport { train, evaluation }))
    }

    fn judge(&mut self, stop: &AtomicBool, observer: &mut dyn Observer) -> Result<Option<Measures>, Error> {
        let Experiment { settings, evaluation, transform, .. } = &self.experiment;
        evaluate(
            self.trainer.nodes(),
            evaluation,
            &transform.eval,
            settings.train.evaluate_batch_size,
            settings.train.loader_threads,
            |done, all| {
                observer.evaluating(done, all);
                match stop.load(Ordering::Relaxed) && done < all {
                    true => ControlFlow::Break(()),
                    false => ControlFlow::Continue(()),
                }
            },
        )
    }

    /// Appends a line to `timing.jsonl`: `batches` steps took `training` seconds, of which `waited` for images, and
    /// everything since `started` more.
    fn time(&self, started: Instant, (training, waited): (f64, f64), batches: usize) -> Result<(), Error> {
        let path = self.directory.join(TIMING);
        let images = batches * self.experiment.settings.train.batch_size;
        let line = Timing {
            step: self.state.step,
            training_seconds: training,
            data_seconds: waited,
            seconds: started.elapsed().as_secs_f64(),
            images_per_second: images as f64 / training.max(1e-9),
        };
        let text = serde_json::to_string(&line).map_err(|e| Error::run(&path, e.to_string()))? + "\n";
        let file = OpenOptions::new().create(true).append(true).open(&path);
        file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(Error::file("write", &path))
    }

    fn finish(&self, report: EpochReport) -> Result<RunResult, Error> {
        let path = self.directory.join(RESULT);
        let measures = report.evaluation.ok_or_else(|| Error::run(&path, "the last epoch was not judged"))?;
        let Experiment { settings, graph, train, .. } = &self.experiment;
        let result = RunResult {
            graph: graph.name.clone(),
            graph_hash: graph.hash().to_string(),
            seed: settings.seed,
            epochs: settings.train.epochs,
            train_images: train.len(),
            seconds: Timing::read(&self.directory)?.iter().map(|line| line.seconds).sum(),
            measures,
        };
        let json = serde_json::to_vec_pretty(&result).map_err(|e| Error::run(&path, e.to_string()))?;
        write_atomically(&path, &json)?;
        Ok(result)
    }
}

/// A line of `timing.jsonl`.
#[derive(Serialize, Deserialize)]
pub(crate) struct Timing {
    step: u64,
    training_seconds: f64,
    /// Of these, spent waiting for images.
    #[serde(default)]
    data_seconds: f64,
    /// Of training, judging and saving.
    pub seconds: f64,
    pub images_per_second: f64,
}

impl Timing {
    /// The lines of a run's `timing.jsonl`, but for those that are cut off; none if there is no such file.
    pub fn read(directory: &Path) -> Result<Vec<Self>, Error> {
        let path = directory.join(TIMING);
        let text = match fs::read_to_string(&path) {
            Err(e) if e.kind() == ErrorKind::NotFound => String::new(),
            text => text.map_err(Error::file("read", &path))?,
        };
        Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
    }
}

/// The settings as the run directory has them: the graph is in a file of its own.
pub(crate) fn run_settings(settings: &Settings) -> Settings {
    let graph = GraphSettings { file: Some(PathBuf::from(GRAPH)), ..GraphSettings::default() };
    Settings { graph, ..settings.clone() }
}
