//! One training run, from an experiment to a finished run directory, however often it is interrupted.

use std::fs::{self, File, OpenOptions};
use std::path::Path;
use std::sync::atomic::AtomicBool;

use serde::{Deserialize, Serialize};

use crate::experiment::PRETRAINED;
use crate::files::read_text;
use crate::saved::{DATA, DataFile, GRAPH, RESULT, SETTINGS};
use crate::session::Run;
use crate::{Error, Experiment, Measures, Observer, Settings};

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
    let own = [GRAPH, DATA, PRETRAINED, LOCK, "graph.toml.tmp", "data.json.tmp", "settings.toml.tmp"];
    for entry in fs::read_dir(directory).map_err(Error::file("read", directory))? {
        let name = entry.map_err(Error::file("read", directory))?.file_name();
        let name = name.to_string_lossy();
        if !own.contains(&&*name) {
            let reason = format!("it is not empty (there is `{name}`); choose another directory");
            return Err(Error::run(directory, reason));
        }
    }
    run.write_description()?;
    run.train(stop, observer)
}

/// Continues the run in `directory` from its newest usable checkpoint; a finished one just gives its result.
pub fn resume(directory: &Path, stop: &AtomicBool, observer: &mut dyn Observer) -> Result<Outcome, Error> {
    let settings = directory.join(SETTINGS);
    if !settings.is_file() {
        return Err(Error::run(directory, "there is no run in it (no settings.toml); start one with `ktg train`"));
    }
    let _lock = lock(directory)?;
    let result = directory.join(RESULT);
    if result.exists() {
        let result = serde_json::from_str(&read_text(&result)?).map_err(|e| Error::run(&result, e.to_string()))?;
        return Ok(Outcome::Finished(result));
    }
    let run = Run::new(Experiment::open(Settings::read(&settings)?, directory)?, directory)?;
    if run.data != DataFile::read(directory)? {
        let reason = "its training images are not those it was started with; put them back, or train anew elsewhere";
        return Err(Error::run(directory, reason));
    }
    run.train(stop, observer)
}

const LOCK: &str = "run.lock";

/// Holds the directory for this process; the system lets go of it however the process ends.
fn lock(directory: &Path) -> Result<File, Error> {
    let path = directory.join(LOCK);
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(Error::file("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => {
            Err(Error::run(directory, "another process is working on this run; wait for it or stop it"))
        }
        Err(fs::TryLockError::Error(source)) => Err(Error::file("lock", &path)(source)),
    }
}
