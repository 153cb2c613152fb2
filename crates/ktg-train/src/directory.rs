//! The run directory: the only place that knows its files, their names, and who may write them.
//!
//! | file | content |
//! | --- | --- |
//! | `settings.toml`, `graph.toml` | the effective settings and the graph |
//! | `skipped.txt`, `split.json` | images that are left out, and the search split, where there are such files |
//! | `data.json` | class names, and a fingerprint of the training images |
//! | `owner.json` | whose run it is, if whoever began it said so: the study of a trial |
//! | `pretrained/` | copies of the nodes' pretrained weights, if any |
//! | `metrics.jsonl` | losses of nodes and edges per logged step, training and evaluation measures per epoch |
//! | `timing.jsonl` | seconds and images/s per epoch (apart, because times never repeat and metrics do) |
//! | `events.out.tfevents.*` | the same for TensorBoard |
//! | `checkpoints/step-NNN/` | `node1.safetensors` ... with PyTorch's names, `optimiser.safetensors`, `state.json` |
//! | `initial/`, `batches.safetensors` | with `record_steps`: what another implementation needs to check this one |
//! | `run.lock` | held by the process that works on the run |
//! | `diverged.txt` | why the training broke off, if it did |
//! | `result.json` | the final measures; it exists when the run is finished |

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use ktg_base::files::is_leftover;
use ktg_base::{create_dir_all, line_of_key, read_text, write_atomically};
use ktg_graph::Document;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::checkpoint::Kept;
use crate::data::DataFile;
use crate::metrics::{self, EpochReport};
use crate::pretrained::PRETRAINED;
use crate::{Error, Experiment, GraphSettings, Keep, Measures, Settings, checkpoint};

const SETTINGS: &str = "settings.toml";
const GRAPH: &str = "graph.toml";
const DATA: &str = "data.json";
/// Images that the run leaves out.
const SKIPPED: &str = "skipped.txt";
/// The search split, where it came from a file.
const SPLIT: &str = "split.json";
const OWNER: &str = "owner.json";
const LOCK: &str = "run.lock";
const RESULT: &str = "result.json";
const DIVERGED: &str = "diverged.txt";
const TIMING: &str = "timing.jsonl";

/// A directory that holds a run, or will.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunDirectory {
    path: PathBuf,
}

/// `result.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunResult {
    /// The graph's name, if it has one.
    pub graph: Option<String>,
    /// The graph's canonical hash.
    pub graph_hash: String,
    /// Seed of the run.
    pub seed: u64,
    /// Epochs trained.
    pub epochs: usize,
    /// The best one, whose networks are the result, with `train.keep = "best"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best_epoch: Option<usize>,
    /// Whether it ended before its time, with `train.patience`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stopped_early: bool,
    /// Training images.
    pub train_images: usize,
    /// Seconds of training and evaluation: the sum of `timing.jsonl`, which lacks what a killed process was about and has
    /// twice what had to be done again.
    pub seconds: f64,
    /// The networks after the last epoch, or the best one.
    pub measures: Measures,
}

/// A line of `timing.jsonl`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Timing {
    pub step: u64,
    pub training_seconds: f64,
    /// Of these, spent waiting for images.
    #[serde(default)]
    pub data_seconds: f64,
    /// Of training, evaluation and saving.
    pub seconds: f64,
    pub images_per_second: f64,
}

impl RunResult {
    /// How long it was trained, and which epoch it is: `20 epochs (stopped early; epoch 13 is the best)`.
    pub fn length(&self) -> String {
        let early = self.stopped_early.then(|| "stopped early".to_owned());
        let best = self.best_epoch.map(|best| format!("epoch {best} is the best"));
        let more: Vec<String> = early.into_iter().chain(best).collect();
        let epochs = if self.epochs == 1 { "epoch" } else { "epochs" };
        match more.is_empty() {
            true => format!("{} {epochs}", self.epochs),
            false => format!("{} {epochs} ({})", self.epochs, more.join("; ")),
        }
    }
}

impl RunDirectory {
    /// The directory at `path`, which need not exist yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there is a run in it.
    pub fn has_run(&self) -> bool {
        self.path.join(SETTINGS).is_file()
    }

    /// Whether the run in it is finished, as far as can be told without reading its result.
    pub fn is_finished(&self) -> bool {
        self.path.join(RESULT).exists()
    }

    /// Whether another process works on it, as far as can be told now.
    pub fn is_busy(&self) -> bool {
        let Ok(file) = OpenOptions::new().write(true).open(self.path.join(LOCK)) else { return false };
        matches!(file.try_lock(), Err(fs::TryLockError::WouldBlock))
    }

    /// The settings of its run.
    ///
    /// # Errors
    /// If there is no run in it, or the file is damaged.
    pub fn settings(&self) -> Result<Settings, Error> {
        self.check_has_run()?;
        Settings::read(&self.settings_path())
    }

    pub(crate) fn check_has_run(&self) -> Result<(), Error> {
        match self.has_run() {
            true => Ok(()),
            false => Err(self.error("there is no run in it (no settings.toml); start one with `ktg train`")),
        }
    }

    /// The file of the settings.
    pub(crate) fn settings_path(&self) -> PathBuf {
        self.path.join(SETTINGS)
    }

    /// The place in the settings, as file and line, that says where the data lies.
    pub(crate) fn place_of_data(&self) -> String {
        let path = self.settings_path();
        let text = read_text(&path).unwrap_or_default();
        let table = text.lines().position(|line| line.trim() == "[data]");
        let place = |table| ["root", "file"].iter().find_map(|key| line_of_key(&text, table, key)).unwrap_or(table);
        match table.map(place).and_then(|number| Some((number, text.lines().nth(number)?))) {
            Some((number, line)) => format!("`{line}` in {}:{}", path.display(), number + 1),
            None => format!("the table [data] of {}", path.display()),
        }
    }

    /// The graph of its run.
    ///
    /// # Errors
    /// If the file is missing or damaged.
    pub fn graph(&self) -> Result<Document, Error> {
        Ok(Document::read(&self.path.join(GRAPH))?)
    }

    /// Whose run it is, as [`Experiment::owner`] said when it was begun.
    ///
    /// # Errors
    /// If the file cannot be read or is damaged.
    pub fn owner(&self) -> Result<Option<Json>, Error> {
        if self.path.join(OWNER).exists() { self.read_json(OWNER).map(Some) } else { Ok(None) }
    }

    /// What the run remembers of its data.
    pub(crate) fn data(&self) -> Result<DataFile, Error> {
        self.read_json(DATA)
    }

    /// The epochs that its run has reported, oldest first; none if there are no metrics yet. One that is reported twice,
    /// because a stopped run went on from an earlier point, is here once.
    ///
    /// # Errors
    /// If the metrics cannot be read or are damaged.
    pub fn epochs(&self) -> Result<Vec<EpochReport>, Error> {
        let path = self.metrics_path();
        if path.exists() { metrics::epochs(&path) } else { Ok(Vec::new()) }
    }

    /// The epochs that the run of `experiment` has reported; none if there is no run yet.
    ///
    /// # Errors
    /// As [`epochs`](Self::epochs), and if the run is another one ([`Error::OtherRun`]).
    pub fn epochs_of(&self, experiment: &Experiment) -> Result<Vec<EpochReport>, Error> {
        if !self.has_run() {
            return Ok(Vec::new());
        }
        self.check_is_of(experiment)?;
        self.epochs()
    }

    pub(crate) fn metrics_path(&self) -> PathBuf {
        self.path.join("metrics.jsonl")
    }

    /// The result of its run, if that is finished.
    ///
    /// # Errors
    /// If the file cannot be read or is damaged.
    pub fn result(&self) -> Result<Option<RunResult>, Error> {
        if !self.is_finished() {
            return Ok(None);
        }
        let result: RunResult = self.read_json(RESULT)?;
        result.measures.check().map_err(|reason| Error::run(&self.path.join(RESULT), reason))?;
        Ok(Some(result))
    }

    /// Makes the run one that goes on, with these settings.
    pub(crate) fn reopen(&self, settings: &Settings) -> Result<(), Error> {
        write_atomically(&self.settings_path(), settings.to_toml()?.as_bytes())?;
        self.remove(RESULT)
    }

    /// Why its training broke off, if it did.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn divergence(&self) -> Result<Option<String>, Error> {
        let path = self.path.join(DIVERGED);
        if path.exists() { Ok(Some(read_text(&path)?.trim().to_owned())) } else { Ok(None) }
    }

    pub(crate) fn write_divergence(&self, error: &Error) -> Result<(), Error> {
        Ok(write_atomically(&self.path.join(DIVERGED), format!("{error}\n").as_bytes())?)
    }

    /// Forgets that its training broke off: it is tried again.
    pub(crate) fn forget_divergence(&self) -> Result<(), Error> {
        self.remove(DIVERGED)
    }

    fn remove(&self, name: &str) -> Result<(), Error> {
        let path = self.path.join(name);
        match fs::remove_file(&path) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(Error::file("remove", &path)(e)),
            _ => Ok(()),
        }
    }

    pub(crate) fn write_result(&self, result: &RunResult) -> Result<(), Error> {
        self.write_json(RESULT, result)
    }

    /// The lines of `timing.jsonl`, but for those that are cut off; none if there is no such file.
    pub(crate) fn timing(&self) -> Result<Vec<Timing>, Error> {
        let path = self.path.join(TIMING);
        let text = match fs::read_to_string(&path) {
            Err(e) if e.kind() == ErrorKind::NotFound => String::new(),
            text => text.map_err(Error::file("read", &path))?,
        };
        // Whoever was killed in the middle of a line left a part of it, which the next process went on with.
        Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
    }

    pub(crate) fn append_timing(&self, line: &Timing) -> Result<(), Error> {
        let path = self.path.join(TIMING);
        let text = serde_json::to_string(line).map_err(|e| Error::run(&path, e.to_string()))? + "\n";
        let file = OpenOptions::new().create(true).append(true).open(&path);
        file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(Error::file("write", &path))
    }

    /// Where its checkpoints are.
    pub(crate) fn checkpoints(&self) -> PathBuf {
        self.path.join("checkpoints")
    }

    /// Deletes all checkpoints but the newest `keep`. With 0 the run cannot go on, and the copies of what it started from go,
    /// too.
    ///
    /// # Errors
    /// If another process works on the run, or a file cannot be deleted.
    pub fn delete_checkpoints(&self, keep: usize) -> Result<(), Error> {
        let _lock = self.lock()?;
        let directory = self.checkpoints();
        let best = keep > 0 && self.settings()?.train.keep == Keep::Best;
        checkpoint::delete_older(&directory, Kept { newest: keep, best })?;
        let copies = self.path.join(PRETRAINED);
        if keep == 0 && copies.exists() {
            fs::remove_dir_all(&copies).map_err(Error::file("remove", &copies))?;
        }
        Ok(())
    }

    /// Takes the directory for this process, which holds it as long as the file; the system lets go of it however the
    /// process ends.
    ///
    /// # Errors
    /// If another process has it ([`Error::Busy`]), or it cannot be written to.
    pub(crate) fn lock(&self) -> Result<File, Error> {
        let path = self.path.join(LOCK);
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(Error::file("open", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(fs::TryLockError::WouldBlock) => Err(Error::Busy(self.path.clone())),
            Err(fs::TryLockError::Error(source)) => Err(Error::file("lock", &path)(source)),
        }
    }

    /// Makes sure that a new run may be started here: nothing is in the directory but what an attempt that was killed
    /// left.
    pub(crate) fn check_is_free(&self) -> Result<(), Error> {
        if self.has_run() {
            let reason = "there is a run in it already; continue it with --resume, or choose another directory";
            return Err(self.error(reason));
        }
        let own = [GRAPH, DATA, SKIPPED, SPLIT, OWNER, PRETRAINED, LOCK];
        let is_own = |name: &str| own.contains(&name) || own.iter().any(|own| is_leftover(name, own));
        for entry in fs::read_dir(&self.path).map_err(Error::file("read", &self.path))? {
            let name = entry.map_err(Error::file("read", &self.path))?.file_name();
            let name = name.to_string_lossy();
            if !is_own(&name) && !is_leftover(&name, SETTINGS) {
                let reason = format!("it is not empty (there is `{name}`); choose another directory");
                return Err(self.error(reason));
            }
        }
        Ok(())
    }

    /// Writes what a run is: data, graph, pretrained weights and, last, the settings. A directory without settings holds
    /// no run yet.
    pub(crate) fn write_description(&self, experiment: &Experiment) -> Result<(), Error> {
        self.write_json(DATA, &experiment.data)?;
        self.write_owner(experiment)?;
        if !experiment.skipped.is_empty() {
            let lines = experiment.skipped.join("\n") + "\n";
            write_atomically(&self.path.join(SKIPPED), lines.as_bytes())?;
        }
        if let Some(split) = &experiment.split {
            write_atomically(&self.path.join(SPLIT), split.to_json()?.as_bytes())?;
        }
        for (node, start) in experiment.graph.nodes().iter().zip(&experiment.starts) {
            if let (Some(name), Some(path)) = (&node.pretrained, &start.path) {
                let folder = self.path.join(PRETRAINED);
                create_dir_all(&folder)?;
                let bytes = fs::read(path).map_err(Error::file("read", path))?;
                write_atomically(&self.path.join(name), &bytes)?;
            }
        }
        write_atomically(&self.path.join(GRAPH), experiment.graph.to_toml().as_bytes())?;
        let settings = settings_of_run(experiment).to_toml()?;
        Ok(write_atomically(&self.settings_path(), settings.as_bytes())?)
    }

    /// Writes down whose run it is by now.
    pub(crate) fn write_owner(&self, experiment: &Experiment) -> Result<(), Error> {
        match &experiment.owner {
            Some(owner) => self.write_json(OWNER, owner),
            None => self.remove(OWNER),
        }
    }

    /// Makes sure that the run in it is that of `experiment`.
    ///
    /// # Errors
    /// [`Error::OtherRun`] if it is not; others if it cannot be read.
    pub(crate) fn check_is_of(&self, experiment: &Experiment) -> Result<(), Error> {
        let same = self.graph()?.graph == experiment.graph
            && self.settings()?.decisive() == settings_of_run(experiment).decisive()
            && self.data()? == experiment.data;
        if same { Ok(()) } else { Err(Error::OtherRun(self.path.clone())) }
    }

    fn read_json<T: DeserializeOwned>(&self, name: &str) -> Result<T, Error> {
        let path = self.path.join(name);
        serde_json::from_str(&read_text(&path)?).map_err(|e| Error::run(&path, e.to_string()))
    }

    fn write_json(&self, name: &str, value: &impl Serialize) -> Result<(), Error> {
        let path = self.path.join(name);
        let json = serde_json::to_vec_pretty(value).map_err(|e| Error::run(&path, e.to_string()))?;
        Ok(write_atomically(&path, &json)?)
    }

    pub(crate) fn error(&self, reason: impl Into<String>) -> Error {
        Error::run(&self.path, reason)
    }
}

/// The settings as a run directory has them: the graph, the images that are left out and the split are in files of its
/// own, so that the run stays what it is when the files that were given change.
pub(crate) fn settings_of_run(experiment: &Experiment) -> Settings {
    let mut settings = experiment.settings.clone();
    settings.graph = GraphSettings { file: Some(GRAPH.into()), ..GraphSettings::default() };
    settings.data.skip = (!experiment.skipped.is_empty()).then(|| SKIPPED.into());
    settings.split.file = experiment.split.as_ref().map(|_| SPLIT.into());
    settings
}
