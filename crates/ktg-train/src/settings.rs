//! The experiment file: every setting of a run, with its default.

use std::path::{Path, PathBuf};

use ktg_base::{read_text, toml_message, toml_problem};
use ktg_data::{Augment, DataSource};
use ktg_engine::loss::LossSettings;
use ktg_engine::{Optimizer, Rule};
use ktg_graph::{Factor, Freeze};
use serde::{Deserialize, Serialize};

use crate::schedule::{self, Length, Position};
use crate::{Error, Schedule};

/// More would never end, and steps are counted in 64 bits.
const MAX_EPOCHS: usize = 1_000_000;

/// All settings of a run. In TOML; whatever is left out has its default, and unknown keys are errors.
///
/// ```toml
/// seed = 1
/// side = 32
///
/// [graph]
/// preset = "dml"
/// nodes = 2
/// architecture = "abn-resnet-cifar-20"
///
/// [data]
/// source = "list"
/// root = "photos"
/// train = "train.txt"
/// test = "test.txt"
///
/// [train]
/// epochs = 60
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Seed of weights, order of images and augmentation. Default: 0. TOML integers go up to 2^63 - 1.
    pub seed: u64,
    /// Side of the networks' square input in pixels. Default: 32.
    pub side: usize,
    /// The graph.
    pub graph: GraphSettings,
    /// Where the images are.
    pub data: DataSource,
    /// Which images train and which judge.
    pub split: SplitSettings,
    /// What happens to an image before a network sees it.
    pub augment: Augment,
    /// The training.
    pub train: TrainSettings,
    /// The losses.
    pub loss: LossSettings,
    /// What `ktg search` searches and how (`ktg_search::SearchSettings`); a training does not look at it.
    #[serde(skip_serializing)]
    pub search: toml::Table,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            seed: 0,
            side: 32,
            graph: GraphSettings::default(),
            data: DataSource::default(),
            split: SplitSettings::default(),
            augment: Augment::default(),
            train: TrainSettings::default(),
            loss: LossSettings::default(),
            search: toml::Table::new(),
        }
    }
}

/// The graph: a file, or a preset.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GraphSettings {
    /// A graph file, relative to the experiment file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// Name of a preset; see `ktg graph preset --help`. Default, if there is no file either: independent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    /// Number of network nodes of the preset. Default: 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodes: Option<usize>,
    /// Architecture of all nodes. Default for presets: abn-resnet-cifar-20. With a file, it replaces the file's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
    /// Weights of the preset `kd`'s teacher, node 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub teacher: Option<PathBuf>,
    /// File of weights that every node starts from which has none of its own and is not frozen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pretrained: Option<PathBuf>,
    /// Whether all tensors of that file, and no others, must be the network's. Default: false, what fits is taken.
    #[serde(skip_serializing_if = "is_false")]
    pub strict: bool,
    /// The part of every network that stays as it starts: `"backbone"`, or a list of stages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub freeze: Option<Freeze>,
    /// Factor on the learning rate of what is loaded. Default: 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learning_rate_factor: Option<Factor>,
}

/// Settings that are off are left out of files, as before there were any.
fn is_false(setting: &bool) -> bool {
    !*setting
}

/// The images that a run is judged on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EvaluateOn {
    /// The test images.
    #[default]
    Test,
    /// The validation images.
    Val,
    /// A held-out part of the training images (SPEC 8), which are then not trained on.
    SearchSplit,
}

/// Which images train and which judge.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SplitSettings {
    /// What the run is judged on. Default: test.
    pub evaluate_on: EvaluateOn,
    /// With `evaluate_on = "search-split"`: share of each class that is trained on. Default: 0.5, the paper's for
    /// fine-grained sets (0.8 for CIFAR).
    pub search_share: f64,
    /// With `evaluate_on = "search-split"`: a split that `ktg data split` wrote, instead of `search_share` and `seed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// Share of the training images that is used at all, stratified by class. Default: 1.
    pub train_share: f64,
    /// Seed of the splits, apart from the run's, so that runs with several seeds share a split. Default: 0.
    pub seed: u64,
}

impl Default for SplitSettings {
    fn default() -> Self {
        Self { evaluate_on: EvaluateOn::Test, search_share: 0.5, file: None, train_share: 1.0, seed: 0 }
    }
}

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
    /// In which type of number the networks compute while they learn. Default, and all there is on the CPU: f32.
    #[serde(skip_serializing_if = "is_single")]
    pub precision: Precision,
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
            precision: Precision::F32,
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

/// In which type of number networks compute. Weights, statistics, losses and the optimizer are `f32` always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32 bits.
    #[default]
    F32,
    /// 16 bits with the range of `f32`.
    Bf16,
    /// 16 bits with more digits and less range.
    F16,
}

impl Precision {
    /// As settings have it.
    pub fn name(self) -> &'static str {
        match self {
            Precision::F32 => "f32",
            Precision::Bf16 => "bf16",
            Precision::F16 => "f16",
        }
    }
}

/// Settings written before there was a choice stay as they are; so for the next ones.
fn is_single(precision: &Precision) -> bool {
    *precision == Precision::F32
}

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

    /// Images a step.
    pub fn images_per_step(&self) -> usize {
        self.batch_size.saturating_mul(self.accumulate)
    }

    /// Whether it depends on the epochs' accuracies which of them counts, or how many there are.
    pub(crate) fn chooses(&self) -> bool {
        self.keep == Keep::Best || self.patience.is_some()
    }
}

impl Settings {
    /// Reads an experiment file. The error names file, line and key.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = read_text(path)?;
        Self::parse(&text, &path.display().to_string())
    }

    /// Parses an experiment file's text; `origin` names it in messages.
    pub fn parse(text: &str, origin: &str) -> Result<Self, Error> {
        let settings: Self = toml::from_str(text).map_err(|e| Error::Setting(toml_problem(text, origin, &e)))?;
        settings.check().map_err(|e| match e {
            Error::Setting(message) => Error::Setting(format!("{origin}: {message}")),
            other => other,
        })?;
        Ok(settings)
    }

    /// The same settings without those that change no result (and may be changed between two parts of a run): where the
    /// data lies, loader threads, checkpoints, cache, what is searched. Which images are used is told by their fingerprints.
    pub fn decisive(&self) -> Self {
        let mut settings = self.clone();
        let standard = TrainSettings::default();
        settings.search = toml::Table::new();
        // What is left out and how the rest is split is in the fingerprints of the images.
        settings.data = settings.data.without_places();
        if settings.split.file.take().is_some() {
            let standard = SplitSettings::default();
            (settings.split.search_share, settings.split.seed) = (standard.search_share, standard.seed);
        }
        settings.train.loader_threads = standard.loader_threads;
        settings.train.checkpoint_minutes = standard.checkpoint_minutes;
        settings.train.keep_checkpoints = standard.keep_checkpoints;
        settings
    }

    /// The [`decisive`](Self::decisive) settings without graph and seed: what runs that are compared have in common.
    pub fn without_graph_and_seed(&self) -> Self {
        Self { seed: 0, graph: GraphSettings::default(), ..self.decisive() }
    }

    /// These settings with one changed: `key` as in `train.epochs`, `value` in TOML or, failing that, as plain text.
    pub fn with(&self, key: &str, value: &str) -> Result<Self, Error> {
        self.check()?;
        let error = |reason: String| Error::Setting(format!("cannot set `{key}` to `{value}`: {reason}"));
        let parsed = toml::from_str::<toml::Table>(&format!("value = {value}"));
        let parsed = parsed.ok().and_then(|mut table| table.remove("value"));
        let value = parsed.unwrap_or_else(|| toml::Value::String(value.to_owned()));
        let mut root = toml::Table::try_from(self).map_err(|e| error(e.to_string()))?;
        let (path, last) = key.rsplit_once('.').map_or((None, key), |(path, last)| (Some(path), last));
        let mut table = &mut root;
        for part in path.into_iter().flat_map(|path| path.split('.')) {
            let entry = table.entry(part).or_insert_with(|| toml::Value::Table(toml::Table::new()));
            table = entry.as_table_mut().ok_or_else(|| error(format!("`{part}` is not a table")))?;
        }
        // Another kind has other options.
        if last == "kind" && table.get(last) != Some(&value) {
            table.clear();
        }
        table.insert(last.to_owned(), value);
        root.try_into().map_err(|e: toml::de::Error| error(toml_message(&e)))
    }

    /// The same as a file.
    pub fn to_toml(&self) -> Result<String, Error> {
        toml::to_string(self).map_err(|e| Error::Setting(format!("the settings cannot be written as TOML: {e}")))
    }

    /// Makes sure that no test image chooses an epoch: a training may not, though what is trained is judged by them.
    pub(crate) fn check_choice(&self) -> Result<(), Error> {
        if !self.train.chooses() || self.split.evaluate_on != EvaluateOn::Test {
            return Ok(());
        }
        let rule = "`train.keep = \"best\"` and `train.patience` choose by the images that the run is judged on, which must \
                    not be the test images: set `split.evaluate_on` to `val` or `search-split`, and judge the run with \
                    `ktg eval --on test`";
        Err(Error::Setting(rule.to_owned()))
    }

    /// Checks every number's range.
    pub fn check(&self) -> Result<(), Error> {
        let (train, split, loss) = (&self.train, &self.split, &self.loss);
        let finite = |v: f64| v.is_finite() && v >= 0.0;
        let share = |v: f64| v > 0.0 && v <= 1.0;
        let is_share = |v: f64| (0.0..1.0).contains(&v);
        let is_sgd = train.optimizer == OptimizerName::Sgd;
        let rules = [
            (self.seed <= i64::MAX as u64, "`seed` is at most 9223372036854775807"),
            (split.seed <= i64::MAX as u64, "`split.seed` is at most 9223372036854775807"),
            ((1..=4096).contains(&self.side), "`side` is between 1 and 4096"),
            ((1..=MAX_EPOCHS).contains(&train.epochs), "`train.epochs` is between 1 and 1000000"),
            (train.batch_size >= 1, "`train.batch_size` is at least 1"),
            (train.accumulate >= 1, "`train.accumulate` is at least 1"),
            (train.images_per_step() < usize::MAX, "`train.batch_size` times `train.accumulate` is too large"),
            (train.betas.iter().all(|&beta| is_share(beta)), "`train.betas` are two numbers from 0 to below 1"),
            (is_sgd || !train.nesterov, "`train.nesterov` belongs to the optimizer `sgd`"),
            (!train.nesterov || train.momentum > 0.0, "`train.nesterov` needs a `train.momentum` above 0"),
            (!is_sgd || train.betas == BETAS, "`train.betas` belong to the optimizer `adamw`"),
            (!is_sgd || train.epsilon == EPSILON, "`train.epsilon` belongs to the optimizer `adamw`"),
            (train.epsilon > 0.0 && train.epsilon.is_finite(), "`train.epsilon` is above 0"),
            (train.clip_norm.is_none_or(|norm| norm > 0.0 && norm.is_finite()), "`train.clip_norm` is above 0"),
            (train.average.is_none_or(is_share), "`train.average` is from 0 to below 1, such as 0.999"),
            (train.patience != Some(0), "`train.patience` is at least 1"),
            (
                !train.chooses() || train.evaluate_every >= 1,
                "`train.keep = \"best\"` and `train.patience` need a `train.evaluate_every` of at least 1",
            ),
            (is_share(loss.label_smoothing), "`loss.label_smoothing` is from 0 to below 1"),
            (
                train.record_steps == 0 || train.accumulate == 1,
                "`train.record_steps` knows no `train.accumulate`; leave one of them out",
            ),
            (train.evaluate_batch_size >= 1, "`train.evaluate_batch_size` is at least 1"),
            (finite(train.learning_rate), "`train.learning_rate` is a number from 0 up"),
            (finite(train.weight_decay), "`train.weight_decay` is a number from 0 up"),
            ((0.0..1.0).contains(&train.momentum), "`train.momentum` is from 0 to below 1"),
            (train.warmup_epochs <= train.epochs, "`train.warmup_epochs` is at most `train.epochs`"),
            (train.keep_checkpoints >= 2, "`train.keep_checkpoints` is at least 2"),
            (train.checkpoint_minutes > 0.0, "`train.checkpoint_minutes` is above 0"),
            (train.loader_threads <= 1024, "`train.loader_threads` is at most 1024"),
            (
                train.shuffle || train.sampling == Sampling::All,
                "`train.sampling = \"balanced\"` draws the images anew every epoch, so it cannot go with `train.shuffle = false`",
            ),
            (share(split.train_share), "`split.train_share` is above 0 and at most 1"),
            (share(split.search_share) && split.search_share < 1.0, "`split.search_share` is between 0 and 1"),
            (
                train.record_steps == 0 || (self.augment.mixup.is_none() && self.augment.cutmix.is_none()),
                "`train.record_steps` knows neither `augment.mixup` nor `augment.cutmix`; leave one or the others out",
            ),
            (
                split.file.is_none() || split.train_share == 1.0,
                "`split.file` names all training images, so it cannot go with a `split.train_share` below 1",
            ),
            (loss.temperature > 0.0 && loss.temperature.is_finite(), "`loss.temperature` is above 0"),
            (
                !loss.crop_sizes.is_empty() && loss.crop_sizes.iter().all(|&s| s >= 1),
                "`loss.crop_sizes` holds at least one size from 1 up",
            ),
        ];
        train.schedule.check().map_err(Error::Setting)?;
        let broken = rules.into_iter().find(|(holds, _)| !holds);
        broken.map_or(Ok(()), |(_, rule)| Err(Error::Setting(rule.to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_round_trips() {
        let mut settings = Settings::default();
        settings.train.schedule = Schedule::Cosine {};
        settings.graph.preset = Some("dml".to_owned());
        let text = settings.to_toml().unwrap();
        assert_eq!(Settings::parse(&text, "x").unwrap(), settings);
    }

    #[test]
    fn what_has_its_default_and_is_newer_than_the_first_runs_is_not_written() {
        let text = Settings::default().to_toml().unwrap();
        let newer = ["cutmix", "normalize", "eval_flip", "sampling"];
        assert!(newer.iter().all(|key| !text.contains(key)), "{text}");
        let changed = "[augment]\ncutmix = 1.0\nnormalize = \"imagenet\"\neval_flip = true\n\
                       [train]\nsampling = \"balanced\"\n";
        let changed = Settings::parse(changed, "x").unwrap();
        let text = changed.to_toml().unwrap();
        assert!(newer.iter().all(|key| text.contains(key)), "{text}");
        assert_eq!(Settings::parse(&text, "x").unwrap(), changed);
        assert_eq!(changed.decisive(), changed);
    }

    #[test]
    fn single_settings_can_be_changed() {
        let settings = Settings::default();
        let changed = settings.with("train.epochs", "3").unwrap().with("graph.preset", "dml").unwrap();
        assert_eq!((changed.train.epochs, changed.graph.preset.as_deref()), (3, Some("dml")));
        let changed = changed.with("train.schedule", "{ kind = \"cosine\" }").unwrap();
        assert_eq!(changed.train.schedule, Schedule::Cosine {});
        let cosine = settings.with("train.schedule.kind", "cosine").unwrap();
        assert_eq!(cosine.train.schedule, Schedule::Cosine {});
        let steps = cosine.with("train.schedule.kind", "multi-step");
        assert!(steps.unwrap_err().to_string().contains("milestones"), "it has options without a default");
        let same = settings.with("train.schedule.factor", "0.5").unwrap();
        assert_eq!(same.with("train.schedule.kind", "multi-step").unwrap(), same, "the same kind keeps its options");
        let message = settings.with("train.epoch", "3").unwrap_err().to_string();
        assert!(message.starts_with("cannot set `train.epoch` to `3`: unknown field `epoch`"), "{message}");
    }

    #[test]
    fn errors_name_the_line_and_the_key() {
        let message = Settings::parse("seed = 1\n[train]\nepoch = 3\n", "e.toml").unwrap_err().to_string();
        assert!(message.starts_with("e.toml:3: ") && message.contains("epoch"), "{message}");
        let message = Settings::parse("[train]\nepochs = \"many\"\n", "e.toml").unwrap_err().to_string();
        assert_eq!(message, "e.toml:2: invalid type: string \"many\", expected a whole number from 0 up");
        let message = Settings::default().with("train.momentum", "much").unwrap_err().to_string();
        assert!(message.ends_with("expected a number"), "{message}");
        let message = Settings::parse("[train]\nmomentum = 1.5\n", "e.toml").unwrap_err().to_string();
        assert_eq!(message, "e.toml: `train.momentum` is from 0 to below 1");
        let message = |text: &str| Settings::parse(text, "e.toml").unwrap_err().to_string();
        let text = message("[train]\nshuffle = false\nsampling = \"balanced\"\n");
        let expected = "draws the images anew every epoch, so it cannot go with `train.shuffle = false`";
        assert_eq!(text, format!("e.toml: `train.sampling = \"balanced\"` {expected}"));
        let text = message("[train]\nsampling = \"even\"\n");
        assert!(text.starts_with("e.toml:2: unknown variant `even`, expected `all` or `balanced`"), "{text}");
        for mixing in ["mixup", "cutmix"] {
            let text = message(&format!("[augment]\n{mixing} = 0.2\n[train]\nrecord_steps = 1\n"));
            let expected = "`train.record_steps` knows neither `augment.mixup` nor `augment.cutmix`";
            assert_eq!(text, format!("e.toml: {expected}; leave one or the others out"));
        }
        // Tables whose keys depend on one of them.
        let text = message("seed = 1\n[data]\nsource = \"folder\"\n\nrot = \"x\"\n");
        assert!(text.starts_with("e.toml:5: `rot` of the data source \"folder\": unknown field `rot`"), "{text}");
        let text = message("[data]\nsource = \"list\"\nlabel_column = \"two\"\n");
        let expected =
            "`label_column` of the data source \"list\": invalid type: string \"two\", expected a whole number";
        assert_eq!(text, format!("e.toml:3: {expected} from 0 up"));
        let text = message("[data]\nroot = \"x\"\nsource = \"cub\"\n");
        assert!(
            text.starts_with("e.toml:3: `source`: unknown variant `cub`, expected one of `fashion-mnist`"),
            "{text}"
        );
        let text = message("[data]\nsource = 3\n");
        assert!(text.starts_with("e.toml:2: "), "{text}");
        let text = message("[data]\nsource = \"folder\"\nroot = 3\n");
        assert!(text.starts_with("e.toml:3: ") && text.ends_with("expected a path in quotation marks"), "{text}");
        let text = message("[data]\nskip = 3\n");
        assert!(text.starts_with("e.toml:2: ") && text.ends_with("expected a path in quotation marks"), "{text}");
        let text = message("[train.schedule]\nkind = \"multi-step\"\nmilestones = [1]\nfctor = 0.5\n");
        assert!(text.starts_with("e.toml:4: unknown field `fctor`"), "{text}");
    }
}
