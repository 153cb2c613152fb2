//! Checkpoints: everything that a run needs to go on as if nothing had happened.
//!
//! A checkpoint is a directory that appears under its name at once, by a rename, when all its files are on the disk.
//! `state.json` holds the checksums of the others, so that a file damaged later is noticed and the checkpoint before is
//! used. There is no generator state to save: all randomness is a function of seed, epoch and image.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use ktg_nn::{StateDict, weights};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::files::{sync_parent, write_synced};
use crate::metrics::EpochSums;
use crate::trainer::Trainer;
use crate::Error;

/// Version of the layout; another one is not read.
const VERSION: u32 = 1;

/// Where a run stands, `state.json`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct State {
    version: u32,
    /// Steps done.
    pub step: u64,
    /// The epoch that the next step belongs to, from 0.
    pub epoch: usize,
    /// Steps of that epoch that are done.
    pub batch: usize,
    /// Seed of everything random; it must be the run's.
    pub seed: u64,
    /// Length of `metrics.jsonl`.
    pub metrics_bytes: u64,
    /// Losses of the unfinished epoch.
    pub sums: EpochSums,
    /// SHA-256 of the other files.
    files: BTreeMap<String, String>,
}

impl State {
    /// Before the first step.
    pub fn new(seed: u64) -> Self {
        Self { seed, ..Self::default() }
    }
}

const OPTIMISER: &str = "optimiser.safetensors";
const STATE: &str = "state.json";

/// Name of node `m`'s weights (from 0).
pub(crate) fn weights_name(m: usize) -> String {
    format!("node{}.safetensors", m + 1)
}

/// Writes a checkpoint into `directory` and removes all but the newest `keep`.
pub(crate) fn write(directory: &Path, mut state: State, trainer: &Trainer, keep: usize) -> Result<(), Error> {
    fs::create_dir_all(directory).map_err(Error::file("create", directory))?;
    let path = directory.join(format!("step-{:09}", state.step));
    if path.exists() {
        // Steps are deterministic: a checkpoint of this step, left by an interrupted run, is this one.
        if verify(&path).is_ok() {
            return Ok(());
        }
        fs::remove_dir_all(&path).map_err(Error::file("remove", &path))?;
    }
    let temporary = directory.join("unfinished.tmp");
    if temporary.exists() {
        fs::remove_dir_all(&temporary).map_err(Error::file("remove", &temporary))?;
    }
    fs::create_dir(&temporary).map_err(Error::file("create", &temporary))?;
    state.version = VERSION;
    let mut optimiser = StateDict::new();
    let mut save = |name: String, dict: &StateDict| -> Result<(), Error> {
        let bytes = weights::to_bytes(dict, None);
        state.files.insert(name.clone(), checksum(&bytes));
        write_synced(&temporary.join(name), &bytes)
    };
    for m in 0..trainer.nodes.len() {
        let (weights, momentum) = trainer.state(m);
        save(weights_name(m), &weights)?;
        optimiser.extend(momentum.into_iter().map(|(name, array)| (format!("node{}.{name}", m + 1), array)));
    }
    save(OPTIMISER.to_owned(), &optimiser)?;
    let json = serde_json::to_vec_pretty(&state).map_err(|e| Error::run(&path, e.to_string()))?;
    write_synced(&temporary.join(STATE), &json)?;
    sync_parent(&temporary.join(STATE))?;
    fs::rename(&temporary, &path).map_err(Error::file("write", &path))?;
    sync_parent(&path)?;
    let mut all = list(directory)?;
    all.truncate(all.len().saturating_sub(keep));
    for old in all {
        fs::remove_dir_all(&old).map_err(Error::file("remove", &old))?;
    }
    Ok(())
}

/// The checkpoints in `directory`, oldest first; none if it does not exist.
pub(crate) fn list(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    if !directory.exists() {
        return Ok(Vec::new());
    }
    let mut all = Vec::new();
    for entry in fs::read_dir(directory).map_err(Error::file("read", directory))? {
        let entry = entry.map_err(Error::file("read", directory))?;
        if entry.file_name().to_string_lossy().starts_with("step-") {
            all.push(entry.path());
        }
    }
    all.sort();
    Ok(all)
}

/// The newest checkpoint whose files are all as they were written, and a sentence about each newer one that is not.
pub(crate) fn newest(directory: &Path) -> Result<(Option<PathBuf>, Vec<String>), Error> {
    let mut warnings = Vec::new();
    for path in list(directory)?.into_iter().rev() {
        match verify(&path) {
            Ok(_) => return Ok((Some(path), warnings)),
            Err(reason) => {
                let path = path.display();
                warnings.push(format!("the checkpoint {path} cannot be used ({reason}); trying the one before"));
            }
        }
    }
    Ok((None, warnings))
}

/// Reads the state of a checkpoint and checks all its files.
fn verify(path: &Path) -> Result<State, String> {
    let read = |name: &str| fs::read(path.join(name)).map_err(|e| format!("{name}: {e}"));
    let state: State = serde_json::from_slice(&read(STATE)?).map_err(|e| format!("{STATE}: {e}"))?;
    if state.version != VERSION {
        return Err(format!("{STATE}: version {} instead of {VERSION}", state.version));
    }
    for (name, expected) in &state.files {
        if checksum(&read(name)?) != *expected {
            return Err(format!("{name} is damaged"));
        }
    }
    Ok(state)
}

/// Puts a checkpoint's weights and momentum into `trainer`.
pub(crate) fn restore(path: &Path, trainer: &mut Trainer) -> Result<State, Error> {
    let state = verify(path).map_err(|reason| Error::run(path, reason))?;
    let optimiser = weights::read(&path.join(OPTIMISER))?;
    for m in 0..trainer.nodes.len() {
        let file = path.join(weights_name(m));
        let prefix = format!("node{}.", m + 1);
        let momentum: StateDict = optimiser
            .iter()
            .filter_map(|(name, array)| Some((name.strip_prefix(&prefix)?.to_owned(), array.clone())))
            .collect();
        trainer.restore(m, &weights::read(&file)?, &momentum, &file.display().to_string())?;
    }
    Ok(state)
}

fn checksum(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}
