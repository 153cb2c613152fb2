//! How long a training will take, and how much memory and disk it will need, from a few of its steps.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use ktg_data::Batch;
use ktg_net::weights;
use serde::Serialize;

use crate::evaluate::Evaluation;
use crate::metrics::{Line, StepReport};
use crate::schedule::Position;
use crate::session::{first_trainer, loader};
use crate::trainer::Trainer;
use crate::{Error, Experiment, Keep, TrainSettings, checkpoint};

/// Steps that are measured: at least so many, and at most.
const STEPS: [usize; 2] = [3, 50];
/// Batches of the evaluation that are measured, likewise.
const BATCHES: [usize; 2] = [1, 50];
/// So long is measured where more steps or batches could be.
const TIME: Duration = Duration::from_secs(4);

/// What a training will take, as far as a few of its steps tell. Its times are those of this machine as busy as it is now.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// Epochs of the training.
    pub epochs: usize,
    /// Steps of the training, all epochs together.
    pub steps: u64,
    /// Seconds of a step, waiting for its images included: those measured.
    pub step: Spread,
    /// How often the networks are judged.
    pub evaluations: usize,
    /// Images that they are judged on.
    pub evaluation_images: usize,
    /// Seconds of judging them once.
    pub evaluation_seconds: f64,
    /// Seconds of making a checkpoint ready to be written; there is one an epoch.
    pub checkpoint_seconds: f64,
    /// Seconds of the whole training.
    pub seconds: Range,
    /// Bytes on the disk at the end.
    pub disk_bytes: u64,
    /// Of these, the checkpoints': so many are kept,
    pub checkpoints: usize,
    /// of so many bytes each. While one is written, there is one more.
    pub checkpoint_bytes: u64,
    /// Of the bytes on the disk, the copies' of pretrained weights.
    pub pretrained_bytes: u64,
    /// The most memory that this process has had so far, in bytes, where the system tells: data, networks, and what a step and
    /// an evaluation need.
    pub peak_memory_bytes: Option<u64>,
}

/// What several measurements gave.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// Their mean.
    pub mean: f64,
    /// Their sample standard deviation.
    pub deviation: f64,
    /// How many they are.
    pub count: usize,
}

/// A number that is not known exactly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Range {
    /// It is hardly less.
    pub low: f64,
    /// What is expected.
    pub expected: f64,
    /// It is hardly more.
    pub high: f64,
}

impl Range {
    /// This many times as much.
    pub fn times(self, factor: f64) -> Self {
        Self { low: self.low * factor, expected: self.expected * factor, high: self.high * factor }
    }

    /// Both together.
    pub fn plus(self, other: Self) -> Self {
        Self { low: self.low + other.low, expected: self.expected + other.expected, high: self.high + other.high }
    }
}

impl Spread {
    /// Of at least one measurement.
    fn of(values: &[f64]) -> Self {
        let count = values.len();
        let mean = values.iter().sum::<f64>() / count.max(1) as f64;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let deviation = if count > 1 { (squares / (count - 1) as f64).sqrt() } else { 0.0 };
        Self { mean, deviation, count }
    }
}

impl Estimate {
    /// Trains a few steps of an experiment and judges a few batches, in memory: nothing is written.
    ///
    /// # Errors
    /// If the experiment cannot be trained, or an image cannot be read.
    pub fn measure(experiment: &Experiment) -> Result<Self, Error> {
        let settings = &experiment.settings.train;
        let mut trainer = first_trainer(experiment)?;
        let (step_seconds, report) = measure_steps(experiment, &mut trainer)?;
        let evaluation_seconds = measure_evaluation(experiment, &mut trainer)?;
        let started = Instant::now();
        let checkpoint_bytes = checkpoint_bytes(&trainer)?;
        let checkpoint_seconds = started.elapsed().as_secs_f64();

        let (step, length) = (Spread::of(&step_seconds), experiment.length());
        let evaluations = evaluations(settings);
        let others = evaluations as f64 * evaluation_seconds + length.epochs as f64 * checkpoint_seconds;
        let steps = length.steps();
        let with = |step_seconds: f64| steps as f64 * step_seconds.max(0.0) + others;
        // The best epoch's may be older than the newest.
        let best = usize::from(settings.keep == Keep::Best);
        let checkpoints = (settings.keep_checkpoints + best).min(length.epochs);
        let pretrained_bytes = pretrained_bytes(experiment)?;
        Ok(Self {
            epochs: length.epochs,
            steps,
            step,
            evaluations,
            evaluation_images: experiment.evaluation.len(),
            evaluation_seconds,
            checkpoint_seconds,
            seconds: Range {
                low: with(step.mean - step.deviation),
                expected: with(step.mean),
                high: with(step.mean + step.deviation),
            },
            disk_bytes: checkpoints as u64 * checkpoint_bytes + pretrained_bytes + log_bytes(&report, steps, settings)?,
            checkpoints,
            checkpoint_bytes,
            pretrained_bytes,
            peak_memory_bytes: peak_memory(),
        })
    }
}

/// Seconds of each of a few steps after a first one, which asks for memory, and what the last one reported. Steps of all epochs
/// alike are as long as those of the first.
fn measure_steps(experiment: &Experiment, trainer: &mut Trainer) -> Result<(Vec<f64>, StepReport), Error> {
    let (settings, length) = (&experiment.settings.train, experiment.length());
    let [least, most] = STEPS;
    let mut seconds = Vec::new();
    let mut last = StepReport::default();
    let mut at = Position::default();
    let mut batches = loader(experiment, at)?;
    let mut started = Instant::now();
    let mut measuring = Instant::now();
    while seconds.len() < least || (seconds.len() < most && measuring.elapsed() < TIME) {
        if at.batch == length.batches {
            // Small data: the epoch is over.
            at = Position { step: at.step, epoch: at.epoch + 1, batch: 0 };
            batches = loader(experiment, at)?;
        }
        let of_step = batches.by_ref().take(settings.accumulate).collect::<Result<Vec<Batch>, _>>()?;
        last = trainer.step(&of_step, at, length, settings.rule(at, length))?;
        if at.step > 0 {
            seconds.push(started.elapsed().as_secs_f64());
        } else {
            measuring = Instant::now();
        }
        started = Instant::now();
        (at.step, at.batch) = (at.step + 1, at.batch + 1);
    }
    Ok((seconds, last))
}

/// Seconds of judging all images once, from a few batches after a first one. Where there is only one, it is judged twice.
fn measure_evaluation(experiment: &Experiment, trainer: &mut Trainer) -> Result<f64, Error> {
    let Experiment { evaluation: data, transform, settings, .. } = experiment;
    let node_count = trainer.node_count();
    let [least, most] = BATCHES;
    let start = || Evaluation::new(node_count, data, transform, &settings.train);
    let mut evaluation = start()?;
    let (nodes, scratch) = trainer.nodes();
    let mut before = evaluation.next(nodes, scratch)?.unwrap_or(0);
    let measuring = Instant::now();
    let (mut batches, mut images) = (0, 0);
    while batches < least || (batches < most && measuring.elapsed() < TIME) {
        match evaluation.next(nodes, scratch)? {
            Some(done) => {
                images += done - before;
                before = done;
                batches += 1;
            }
            None if batches < least => (evaluation, before) = (start()?, 0),
            None => break,
        }
    }
    Ok(measuring.elapsed().as_secs_f64() / images.max(1) as f64 * data.len() as f64)
}

/// How often a training judges its networks: every so many epochs and after the last.
fn evaluations(settings: &TrainSettings) -> usize {
    let TrainSettings { epochs, evaluate_every, .. } = *settings;
    if evaluate_every == 0 { 1 } else { epochs.div_ceil(evaluate_every) }
}

/// Bytes of the files of a checkpoint, made as one is written.
fn checkpoint_bytes(trainer: &Trainer) -> Result<u64, Error> {
    let mut bytes = 0;
    for m in 0..trainer.node_count() {
        let (weights, state) = trainer.state(m)?;
        for dict in std::iter::once(&weights).chain(state.values()) {
            let file = weights::to_bytes(dict, None);
            // A checkpoint has the checksums of its files; computing them is a part of the time it takes.
            std::hint::black_box(checkpoint::checksum(&file));
            bytes += file.len() as u64;
        }
    }
    Ok(bytes)
}

/// Bytes of the copies of pretrained weights: of equal files there is one.
fn pretrained_bytes(experiment: &Experiment) -> Result<u64, Error> {
    let mut files = BTreeMap::new();
    for (node, start) in experiment.graph.nodes().iter().zip(&experiment.starts) {
        if let (Some(name), Some(path)) = (&node.pretrained, &start.path) {
            files.insert(name, fs::metadata(path).map_err(Error::file("read", path))?.len());
        }
    }
    Ok(files.values().sum())
}

/// Bytes of the logged steps, which `metrics.jsonl` and TensorBoard's file have both, in about as many bytes.
fn log_bytes(report: &StepReport, steps: u64, settings: &TrainSettings) -> Result<u64, Error> {
    let line = serde_json::to_string(&Line::Step(report)).map_err(|e| Error::Setting(e.to_string()))?;
    Ok(steps.checked_div(settings.log_every).unwrap_or(0) * 2 * line.len() as u64)
}

/// The most memory that this process has had, in bytes; `None` where the system does not tell.
fn peak_memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_judged_every_so_many_epochs_and_after_the_last() {
        let count =
            |epochs, evaluate_every| evaluations(&TrainSettings { epochs, evaluate_every, ..Default::default() });
        assert_eq!([count(20, 1), count(20, 5), count(21, 5), count(3, 10), count(20, 0)], [20, 4, 5, 1, 1]);
    }

    #[test]
    fn a_spread_is_mean_and_deviation() {
        assert_eq!(Spread::of(&[1.0, 3.0]), Spread { mean: 2.0, deviation: 2f64.sqrt(), count: 2 });
        assert_eq!(Spread::of(&[1.0]), Spread { mean: 1.0, deviation: 0.0, count: 1 });
    }
}
