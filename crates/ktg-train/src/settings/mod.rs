//! The experiment file: every setting of a run, with its default.

mod graph;
mod precision;
mod rules;
mod split;
mod train;

use std::path::Path;

use ktg_base::{read_text, toml_message, toml_problem};
use ktg_data::{Augment, DataSource};
use ktg_engine::loss::{ClassWeights, LossSettings};
use ktg_engine::{Devices, computes};
use serde::{Deserialize, Serialize};

use crate::Error;
use rules::hold;

pub use graph::GraphSettings;
pub use precision::PrecisionSetting;
pub use split::{EvaluateOn, SplitSettings};
pub use train::{Keep, OptimizerName, Sampling, TrainSettings};

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

    /// Whether networks can be trained in the given precision on the process' devices.
    ///
    /// # Errors
    /// If they cannot.
    pub fn check_precision(&self) -> Result<(), Error> {
        // What is decided automatically can be computed.
        let Some(precision) = self.train.precision.given().filter(|precision| !computes(*precision)) else {
            return Ok(());
        };
        let devices = Devices::chosen();
        let by = if devices.compute(precision) { " by the reference engine" } else { "" };
        Err(Error::Setting(format!(
            "`train.precision` is {}, in which networks are not computed on {devices}{by}; leave it out, or write f32",
            precision.name()
        )))
    }

    /// The [`decisive`](Self::decisive) settings without graph and seed: what runs that are compared have in common.
    pub fn without_graph_and_seed(&self) -> Self {
        Self { seed: 0, graph: GraphSettings::default(), ..self.decisive() }
    }

    /// These settings with one changed: `key` as in `train.epochs`, `value` in TOML or, failing that, as plain text. Whether they go
    /// together is not looked at: more changes may follow.
    pub fn with(&self, key: &str, value: &str) -> Result<Self, Error> {
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
        let share = |v: f64| v > 0.0 && v <= 1.0;
        let is_share = |v: f64| (0.0..1.0).contains(&v);
        let rules = [
            (self.seed <= i64::MAX as u64, "`seed` is at most 9223372036854775807"),
            (split.seed <= i64::MAX as u64, "`split.seed` is at most 9223372036854775807"),
            ((1..=4096).contains(&self.side), "`side` is between 1 and 4096"),
            (
                train.sampling == Sampling::All || loss.class_weights == ClassWeights::None,
                "`train.sampling` and `loss.class_weights` both make up for classes of different size; leave one of them out",
            ),
            (is_share(loss.label_smoothing), "`loss.label_smoothing` is from 0 to below 1"),
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
        train.check()?;
        hold(rules)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Schedule;

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
