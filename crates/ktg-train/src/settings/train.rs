//! The table `[train]`.

use ktg_engine::{Optimizer, Rule};
use serde::{Deserialize, Serialize};

use super::precision::PrecisionSetting;
use super::rules::hold;
use crate::schedule::{self, Length, Position};
use crate::{Error, Schedule};

/// More would never end, and steps are counted in 64 bits.
const MAX_EPOCHS: usize = 1_000_000;

/// The training. The defaults are the paper's (SPEC 9).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainSettings {
    /// Passes over the training images. Default: 300.
    pub epochs: usize,
    /// Images a batch; an incomplete last batch is dropped. Default: 16.
    pub batch_size: usize,
    /// Batches a step, one after the other: the step is that of one larger batch, but for batch norm, which sees its parts.
    /// Default: 1.
    #[serde(skip_serializing_if = "is_one")]
    pub accumulate: usize,
    /// What moves the weights. Default: sgd.
    #[serde(skip_serializing_if = "is_standard")]
    pub optimizer: OptimizerName,
    /// Learning rate before the schedule's factor. Default: 0.1.
    pub learning_rate: f64,
    /// Momentum of `sgd`. Default: 0.9.
    pub momentum: f64,
    /// Nesterov's momentum, with `sgd`. Default: false.
    #[serde(skip_serializing_if = "is_standard")]
    pub nesterov: bool,
    /// Of `adamw`, shares of the past in the means of the gradients and of their squares. Default: 0.9, 0.999.
    #[serde(skip_serializing_if = "is_usual")]
    pub betas: [f64; 2],
    /// Of `adamw`, what is added to the root of the mean square. Default: 1e-8.
    #[serde(skip_serializing_if = "is_usual_epsilon")]
    pub epsilon: f64,
    /// L2 penalty of `sgd`, decoupled decay of `adamw`. Default: 1e-4.
    pub weight_decay: f64,
    /// Whether norms and biases decay, too. Default: true.
    #[serde(skip_serializing_if = "is_true")]
    pub decay_norms_and_biases: bool,
    /// Largest norm of a network's gradients; longer ones are scaled down to it. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_norm: Option<f64>,
    /// Share of the past in a moving average of the weights and statistics, which is then judged and exported in their
    /// place. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub average: Option<f64>,
    /// Epochs in which the learning rate rises linearly. Default: 0.
    pub warmup_epochs: usize,
    /// Whether the order of the images changes every epoch. Default: true.
    pub shuffle: bool,
    /// Which images an epoch has. Default: all, each once.
    #[serde(skip_serializing_if = "is_standard")]
    pub sampling: Sampling,
    /// Loader threads that decode and augment ahead of training; 0: none. Changes no result. Default: 2.
    pub loader_threads: usize,
    /// Every how many steps `metrics.jsonl` gets the losses of all nodes and edges; 0: never. Default: 50.
    pub log_every: u64,
    /// Every how many epochs the networks are judged, besides the last. 0: only after the last. Default: 1.
    pub evaluate_every: usize,
    /// In which type of number the networks compute while they learn. Default: f32.
    #[serde(skip_serializing_if = "is_standard")]
    pub precision: PrecisionSetting,
    /// Images a batch when judging. Default: 100.
    pub evaluate_batch_size: usize,
    /// A checkpoint is written after every epoch and, within an epoch, every so many minutes. Default: 10.
    pub checkpoint_minutes: f64,
    /// How many checkpoints are kept, the newest; at least 2, so that one bad file loses little. Default: 2.
    pub keep_checkpoints: usize,
    /// Which epoch's networks are the run's result. Default: last.
    #[serde(skip_serializing_if = "is_standard")]
    pub keep: Keep,
    /// Ends the training when no epoch of so many was better than the best before. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patience: Option<usize>,
    /// Writes the initial weights and the batches of the first so many steps, to be checked against another
    /// implementation (`fixtures/verify_run.py`). Default: 0.
    pub record_steps: u64,
    /// Learning-rate schedule. Default: x0.1 at half and at three quarters of the training.
    pub schedule: Schedule,
}

impl Default for TrainSettings {
    fn default() -> Self {
        Self {
            epochs: 300,
            batch_size: 16,
            accumulate: 1,
            optimizer: OptimizerName::Sgd,
            learning_rate: 0.1,
            momentum: 0.9,
            nesterov: false,
            betas: BETAS,
            epsilon: EPSILON,
            weight_decay: 1e-4,
            decay_norms_and_biases: true,
            clip_norm: None,
            average: None,
            warmup_epochs: 0,
            shuffle: true,
            sampling: Sampling::All,
            loader_threads: 2,
            log_every: 50,
            evaluate_every: 1,
            precision: PrecisionSetting::default(),
            evaluate_batch_size: 100,
            checkpoint_minutes: 10.0,
            keep_checkpoints: 2,
            keep: Keep::Last,
            patience: None,
            record_steps: 0,
            schedule: Schedule::default(),
        }
    }
}

/// What moves the weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerName {
    /// Stochastic gradient descent with momentum.
    #[default]
    Sgd,
    /// Adam with decoupled weight decay (Loshchilov & Hutter 2019).
    AdamW,
}

/// Which epoch's networks are the result of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Keep {
    /// The last one's.
    #[default]
    Last,
    /// Those of the epoch whose ensemble had the highest top-1 accuracy on the images that the run is judged on, and of equal
    /// ones the lowest NLL. Never by test images.
    Best,
}

/// The usual ones of AdamW.
const BETAS: [f64; 2] = [0.9, 0.999];

/// What AdamW adds to the root of the mean square.
const EPSILON: f64 = 1e-8;

/// Settings written before there was a choice stay as they are; so for the next ones.
fn is_standard<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn is_one(value: &usize) -> bool {
    *value == 1
}

fn is_true(value: &bool) -> bool {
    *value
}

fn is_usual(betas: &[f64; 2]) -> bool {
    *betas == BETAS
}

fn is_usual_epsilon(epsilon: &f64) -> bool {
    *epsilon == EPSILON
}

/// Which images an epoch has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sampling {
    /// All, each once.
    #[default]
    All,
    /// As many, but from all classes the same number, or one more: images of small classes come several times, and of large
    /// ones a random part ([`ktg_data::balanced_order`]).
    Balanced,
}

impl TrainSettings {
    /// The rule of a step of a training that is so long.
    pub fn rule(&self, at: Position, length: Length) -> Rule<'static> {
        let factor = schedule::factor(&self.schedule, self.warmup_epochs, at, length);
        let Self { momentum, nesterov, betas, epsilon, weight_decay, clip_norm, average, .. } = *self;
        let optimizer = match self.optimizer {
            OptimizerName::Sgd => Optimizer::Sgd { momentum, nesterov },
            OptimizerName::AdamW => Optimizer::AdamW { betas, epsilon },
        };
        let (number, learning_rate) = (at.step + 1, self.learning_rate * factor);
        Rule { optimizer, learning_rate, weight_decay, number, clip_norm, average, factors: &[] }
    }

    /// The last epoch counts, and all are done: as where others compare epochs.
    pub fn keep_last(&mut self) {
        (self.keep, self.patience) = (Keep::Last, None);
    }

    /// Images a step.
    pub fn images_per_step(&self) -> usize {
        self.batch_size.saturating_mul(self.accumulate)
    }

    /// Whether it depends on the epochs' accuracies which of them counts, or how many there are.
    pub(crate) fn chooses(&self) -> bool {
        self.keep == Keep::Best || self.patience.is_some()
    }

    /// Checks every number's range.
    pub(super) fn check(&self) -> Result<(), Error> {
        let finite = |v: f64| v.is_finite() && v >= 0.0;
        let is_share = |v: f64| (0.0..1.0).contains(&v);
        let is_sgd = self.optimizer == OptimizerName::Sgd;
        let rules = [
            ((1..=MAX_EPOCHS).contains(&self.epochs), "`train.epochs` is between 1 and 1000000"),
            (self.batch_size >= 1, "`train.batch_size` is at least 1"),
            (self.accumulate >= 1, "`train.accumulate` is at least 1"),
            (self.images_per_step() < usize::MAX, "`train.batch_size` times `train.accumulate` is too large"),
            (self.betas.iter().all(|&beta| is_share(beta)), "`train.betas` are two numbers from 0 to below 1"),
            (is_sgd || !self.nesterov, "`train.nesterov` belongs to the optimizer `sgd`"),
            (!self.nesterov || self.momentum > 0.0, "`train.nesterov` needs a `train.momentum` above 0"),
            (!is_sgd || self.betas == BETAS, "`train.betas` belong to the optimizer `adamw`"),
            (!is_sgd || self.epsilon == EPSILON, "`train.epsilon` belongs to the optimizer `adamw`"),
            (self.epsilon > 0.0 && self.epsilon.is_finite(), "`train.epsilon` is above 0"),
            (self.clip_norm.is_none_or(|norm| norm > 0.0 && norm.is_finite()), "`train.clip_norm` is above 0"),
            (self.average.is_none_or(is_share), "`train.average` is from 0 to below 1, such as 0.999"),
            (self.patience != Some(0), "`train.patience` is at least 1"),
            (
                !self.chooses() || self.evaluate_every >= 1,
                "`train.keep = \"best\"` and `train.patience` need a `train.evaluate_every` of at least 1",
            ),
            (
                self.record_steps == 0 || self.accumulate == 1,
                "`train.record_steps` knows no `train.accumulate`; leave one of them out",
            ),
            (self.evaluate_batch_size >= 1, "`train.evaluate_batch_size` is at least 1"),
            (finite(self.learning_rate), "`train.learning_rate` is a number from 0 up"),
            (finite(self.weight_decay), "`train.weight_decay` is a number from 0 up"),
            ((0.0..1.0).contains(&self.momentum), "`train.momentum` is from 0 to below 1"),
            (self.warmup_epochs <= self.epochs, "`train.warmup_epochs` is at most `train.epochs`"),
            (self.keep_checkpoints >= 2, "`train.keep_checkpoints` is at least 2"),
            (self.checkpoint_minutes > 0.0, "`train.checkpoint_minutes` is above 0"),
            (self.loader_threads <= 1024, "`train.loader_threads` is at most 1024"),
            (
                self.shuffle || self.sampling == Sampling::All,
                "`train.sampling = \"balanced\"` draws the images anew every epoch, so it cannot go with `train.shuffle = false`",
            ),
        ];
        self.schedule.check().map_err(Error::Setting)?;
        hold(rules)
    }
}
