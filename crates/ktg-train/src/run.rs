//! One training run, from an experiment to a finished run directory, however often it is interrupted.

use std::fs::{self, File, OpenOptions};
use std::path::Path;
use std::sync::atomic::AtomicBool;

use ktg_base::files::{is_leftover, read_text};
use ktg_graph::Document;
use serde::{Deserialize, Serialize};

use crate::experiment::PRETRAINED;
use crate::saved::{DATA, DataFile, GRAPH, RESULT, SETTINGS, SKIPPED, SPLIT};
use crate::session::{Run, run_settings};
use crate::{EpochReport, Error, Experiment, Measures, Observer, Settings, checkpoint};

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// All epochs are done; this is also in `result.json`.
    Finished(RunResult),
    /// Stopped on request, after a checkpoint; it can be resumed.
    Interrupted {
        /// Steps done.
        step: u64,
        /// Steps of the whole training.
        steps: u64,
    },
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
    /// Training images.
    pub train_images: usize,
    /// Seconds of training and judging: the sum of `timing.jsonl`, which lacks what a killed process was about and has
    /// twice what had to be done again.
    pub seconds: f64,
    /// The networks after the last epoch.
    pub measures: Measures,
}

/// Starts `experiment` in `directory`, which must be new, empty or missing. A set `stop` flag ends the run after the
/// step at hand, with a checkpoint.
pub fn start(
    experiment: Experiment,
    directory: &Path,
    stop: &AtomicBool,
    observer: &mut dyn Observer,
) -> Result<Outcome, Error> {
    // Everything that can be wrong with the experiment comes before the first file.
    let run = Run::new(experiment, directory)?;
    fs::create_dir_all(directory).map_err(Error::file("create", directory))?;
    let _lock = lock(directory)?;
    if directory.join(SETTINGS).exists() {
        let reason = "there is a run in it already; continue it with --resume, or choose another directory";
        return Err(Error::run(directory, reason));
    }
    // What a process that was killed before it had written the settings left.
    let own = [GRAPH, DATA, SKIPPED, SPLIT, PRETRAINED, LOCK];
    let is_own = |name: &str| own.contains(&name) || [SETTINGS].iter().chain(&own).any(|own| is_leftover(name, own));
    for entry in fs::read_dir(directory).map_err(Error::file("read", directory))? {
        let name = entry.map_err(Error::file("read", directory))?.file_name();
        let name = name.to_string_lossy();
        if !is_own(&name) {
            let reason = format!("it is not empty (there is `{name}`); choose another directory");
            return Err(Error::run(directory, reason));
        }
    }
    run.write_description()?;
    run.train(stop, observer)
}

/// Continues the run of `experiment` in `directory`, or starts it if there is none.
///
/// # Errors
/// If the directory holds another run, or another process works on it.
pub fn start_or_resume(
    experiment: Experiment,
    directory: &Path,
    stop: &AtomicBool,
    observer: &mut dyn Observer,
) -> Result<Outcome, Error> {
    if !directory.join(SETTINGS).is_file() {
        return start(experiment, directory, stop, observer);
    }
    let _lock = lock(directory)?;
    check_same(&experiment, directory)?;
    let run = Run::new(experiment, directory)?;
    match result(directory)? {
        Some(result) => Ok(Outcome::Finished(result)),
        None => run.train(stop, observer),
    }
}

/// The epochs that the run of `experiment` in `directory` has reported, oldest first; none if there is no run. One that
/// is reported twice, because a stopped run went on from an earlier point, is here once.
///
/// # Errors
/// If the directory holds another run.
pub fn epochs(experiment: &Experiment, directory: &Path) -> Result<Vec<EpochReport>, Error> {
    let path = directory.join("metrics.jsonl");
    if !directory.join(SETTINGS).is_file() || !path.exists() {
        return Ok(Vec::new());
    }
    check_same(experiment, directory)?;
    crate::metrics::epochs(&path)
}

/// Makes sure that the run in `directory` is that of `experiment`.
fn check_same(experiment: &Experiment, directory: &Path) -> Result<(), Error> {
    let settings = &experiment.settings;
    let data = DataFile::of(&experiment.train, &experiment.evaluation);
    let same = Document::read(&directory.join(GRAPH))?.graph == experiment.graph
        && Settings::read(&directory.join(SETTINGS))?.decisive() == run_settings(settings).decisive()
        && DataFile::read(directory)? == data;
    if same { Ok(()) } else { Err(Error::OtherRun(directory.to_owned())) }
}

/// Deletes the checkpoints of the run in `directory` but for the newest `keep`: with 0, it cannot go on.
pub fn delete_checkpoints(directory: &Path, keep: usize) -> Result<(), Error> {
    let _lock = lock(directory)?;
    checkpoint::delete_older(&directory.join("checkpoints"), keep)
}

/// The result of the run in `directory`, if it is finished.
pub(crate) fn result(directory: &Path) -> Result<Option<RunResult>, Error> {
    let path = directory.join(RESULT);
    if !path.exists() {
        return Ok(None);
    }
    let result: RunResult = serde_json::from_str(&read_text(&path)?).map_err(|e| Error::run(&path, e.to_string()))?;
    result.measures.check().map_err(|reason| Error::run(&path, reason))?;
    Ok(Some(result))
}

/// Continues the run in `directory` from its newest usable checkpoint; a finished one just gives its result.
pub fn resume(directory: &Path, stop: &AtomicBool, observer: &mut dyn Observer) -> Result<Outcome, Error> {
    let settings = directory.join(SETTINGS);
    if !settings.is_file() {
        return Err(Error::run(directory, "there is no run in it (no settings.toml); start one with `ktg train`"));
    }
    let _lock = lock(directory)?;
    if let Some(result) = result(directory)? {
        return Ok(Outcome::Finished(result));
    }
    let run = Run::new(reopened(directory)?, directory)?;
    if run.data != DataFile::read(directory)? {
        let reason = "its images are not those it was started with; put them back, or train anew elsewhere";
        return Err(Error::run(directory, reason));
    }
    run.train(stop, observer)
}

/// The experiment of the run in `directory`; an error about its data says where the data's place is written.
fn reopened(directory: &Path) -> Result<Experiment, Error> {
    let settings = directory.join(SETTINGS);
    Experiment::open(Settings::read(&settings)?, directory).map_err(|error| match error {
        Error::Data(problem) => {
            let advice = format!("if the data has moved, change the table [data] of {}", settings.display());
            Error::Setting(format!("{problem}; {advice}"))
        }
        other => other,
    })
}

const LOCK: &str = "run.lock";

/// Whether another process works on the run in `directory`, as far as can be told now.
pub fn is_busy(directory: &Path) -> bool {
    let Ok(file) = OpenOptions::new().write(true).open(directory.join(LOCK)) else { return false };
    matches!(file.try_lock(), Err(fs::TryLockError::WouldBlock))
}

/// Holds the directory for this process; the system lets go of it however the process ends.
fn lock(directory: &Path) -> Result<File, Error> {
    let path = directory.join(LOCK);
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(Error::file("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(Error::Busy(directory.to_owned())),
        Err(fs::TryLockError::Error(source)) => Err(Error::file("lock", &path)(source)),
    }
}
