//! Checkpoints: everything that a run needs to go on as if nothing had happened.
//!
//! A checkpoint is a directory that appears under its name at once, by a rename, when all its files are on the disk.
//! `state.json` holds the checksums of the others, so that a file damaged later is noticed and the checkpoint before is
//! used. There is no generator state to save: all randomness is a function of seed, epoch and image.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use ktg_base::{create_dir_all, sync_parent, write_synced};
use ktg_engine::{AVERAGE, MOMENTUM, OptimizerState, Precision};
use ktg_net::{StateDict, weights};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::measures::Measures;
use crate::metrics::ReportSums;
use crate::schedule::Position;
use crate::trainer::Trainer;
use crate::{Error, Keep};

/// Version of the layout; another one is not read.
const VERSION: u32 = 1;

/// Where a run stands, `state.json`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct State {
    version: u32,
    /// Where it stands.
    #[serde(flatten)]
    pub position: Position,
    /// Fingerprint of graph, decisive settings and data; it must be the run's.
    pub fingerprint: String,
    /// Kernels that computed ([`ktg_engine::Choice`], or as the device); others round otherwise. Empty in old checkpoints.
    #[serde(default)]
    pub kernels: String,
    /// Kind of device that computed ([`ktg_engine::Device::kind`]); another one rounds otherwise. Empty in old checkpoints.
    #[serde(default)]
    pub device: String,
    /// Length of `metrics.jsonl`.
    pub metrics_bytes: u64,
    /// Losses of the unfinished epoch.
    pub sums: ReportSums,
    /// The best epoch so far, where that matters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best: Option<Best>,
    /// SHA-256 of the other files.
    files: BTreeMap<String, String>,
}

impl State {
    /// Before the first step.
    pub fn new(fingerprint: String, precision: Precision) -> Self {
        let devices = ktg_engine::Devices::chosen();
        let device = devices.kind().to_owned();
        let kernels = if device == "cpu" { ktg_engine::chosen().name_in(precision) } else { devices.rounding() };
        Self { fingerprint, kernels, device, ..Self::default() }
    }

    /// Before there were others, all were the CPU.
    pub fn device_name(&self) -> &str {
        if self.device.is_empty() { "cpu" } else { &self.device }
    }
}

/// The best epoch of a training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Best {
    /// Which one, counted from 1.
    pub epoch: usize,
    /// Steps done at its end, by which its checkpoint is called.
    pub step: u64,
    /// What its networks do.
    pub measures: Measures,
}

impl Best {
    /// Whether others are better: a higher top-1 accuracy of the ensemble, and if it is the same, a lower NLL.
    pub fn is_beaten_by(&self, measures: &Measures) -> bool {
        let (best, new) = (&self.measures.ensemble, &measures.ensemble);
        let (best_accuracy, new_accuracy) = (best.accuracy.top1, new.accuracy.top1);
        new_accuracy > best_accuracy || new_accuracy == best_accuracy && new.nll < best.nll
    }
}

/// The kind under which the weights that learn are kept among the optimizer's arrays, where the node's own file has their
/// moving average.
const WEIGHTS: &str = "weights";

const OPTIMISER: &str = "optimiser.safetensors";
const STATE: &str = "state.json";

/// Name of node `m`'s weights (from 0).
pub(crate) fn weights_name(m: usize) -> String {
    format!("node{}.safetensors", m + 1)
}

/// The checkpoint of a step.
fn path_of(directory: &Path, step: u64) -> PathBuf {
    directory.join(format!("step-{step:09}"))
}

/// Which checkpoints stay.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kept {
    /// So many, the newest,
    pub newest: usize,
    /// and those of the epochs that these call the best.
    pub best: bool,
}

/// Writes a checkpoint into `directory` and removes those that are not `kept`. Returns a sentence for the user if an old
/// one cannot be removed, which is no reason to stop training.
pub(crate) fn write(
    directory: &Path,
    mut state: State,
    trainer: &Trainer,
    kept: Kept,
) -> Result<Option<String>, Error> {
    create_dir_all(directory)?;
    let path = path_of(directory, state.position.step);
    // Steps are deterministic: a checkpoint of this step, left by an interrupted run, is this one; but judging may have come
    // since.
    if path.exists() && verify(&path)?.is_ok_and(|old| old.best == state.best) {
        return Ok(None);
    }
    let temporary = directory.join("unfinished.tmp");
    remove_if_there(&path)?;
    remove_if_there(&temporary)?;
    fs::create_dir(&temporary).map_err(Error::file("create", &temporary))?;
    state.version = VERSION;
    let mut optimiser = StateDict::new();
    let mut save = |name: String, dict: &StateDict| -> Result<(), Error> {
        let bytes = weights::to_bytes(dict, None);
        state.files.insert(name.clone(), checksum(&bytes));
        Ok(write_synced(&temporary.join(name), &bytes)?)
    };
    for m in 0..trainer.node_count() {
        let (mut weights, mut state) = trainer.state(m)?;
        // What others read is what the run is judged by.
        if let Some(average) = state.remove(AVERAGE) {
            state.insert(WEIGHTS.to_owned(), std::mem::replace(&mut weights, average));
        }
        save(weights_name(m), &weights)?;
        for (kind, dict) in state {
            let prefix = optimizer_prefix(m, &kind);
            optimiser.extend(dict.into_iter().map(|(name, array)| (prefix.clone() + &name, array)));
        }
    }
    save(OPTIMISER.to_owned(), &optimiser)?;
    let json = serde_json::to_vec_pretty(&state).map_err(|e| Error::run(&path, e.to_string()))?;
    write_synced(&temporary.join(STATE), &json)?;
    sync_parent(&temporary.join(STATE))?;
    fs::rename(&temporary, &path).map_err(Error::file("write", &path))?;
    sync_parent(&path)?;
    Ok(delete_older(directory, kept).err().map(|e| e.to_string()))
}

fn remove_if_there(directory: &Path) -> Result<(), Error> {
    if !directory.exists() {
        return Ok(());
    }
    fs::remove_dir_all(directory).map_err(Error::file("remove", directory))
}

/// Removes all checkpoints in `directory` that are not `kept`.
pub(crate) fn delete_older(directory: &Path, kept: Kept) -> Result<(), Error> {
    let mut older = list(directory)?;
    let newest = older.split_off(older.len().saturating_sub(kept.newest));
    if kept.best {
        // The newest of them may be damaged one day, and the one before may have another best.
        let best: Vec<PathBuf> = newest.iter().filter_map(|path| Some(path_of(directory, best_step(path)?))).collect();
        older.retain(|path| !best.contains(path));
    }
    older.iter().try_for_each(|old| fs::remove_dir_all(old).map_err(Error::file("remove the old checkpoint", old)))
}

/// The step of the best epoch, as a checkpoint has it.
fn best_step(checkpoint: &Path) -> Option<u64> {
    let state: State = serde_json::from_slice(&fs::read(checkpoint.join(STATE)).ok()?).ok()?;
    Some(state.best?.step)
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

/// The newest checkpoint whose files are all as they were written.
pub(crate) struct Newest {
    pub path: PathBuf,
    /// Where the run stood.
    pub state: State,
    /// Newer ones that cannot be used.
    pub damaged: Vec<PathBuf>,
    /// A sentence about each of those.
    pub warnings: Vec<String>,
}

/// Finds the newest usable checkpoint; `None` if there are no checkpoints.
///
/// # Errors
///
/// If a file cannot be read for another reason than being damaged or missing, if the checkpoint is of another version
/// of this program, or if there are checkpoints, but all are damaged.
pub(crate) fn newest(directory: &Path) -> Result<Option<Newest>, Error> {
    let all = list(directory)?;
    let (mut damaged, mut warnings) = (Vec::new(), Vec::new());
    for path in all.iter().rev() {
        match verify(path)? {
            Ok(state) => return Ok(Some(Newest { path: path.clone(), state, damaged, warnings })),
            Err(reason) => {
                let shown = path.display();
                warnings.push(format!("the checkpoint {shown} cannot be used ({reason}); trying the one before"));
                damaged.push(path.clone());
            }
        }
    }
    let reason = "all checkpoints are damaged; restore one, or train anew elsewhere";
    if all.is_empty() { Ok(None) } else { Err(Error::run(directory, reason)) }
}

/// The checkpoint whose networks are a run's result: the newest, or that of the best epoch, as the newest one says.
///
/// # Errors
///
/// If the best one is missing or damaged, or as [`newest`].
pub(crate) fn result(directory: &Path, keep: Keep) -> Result<Option<Newest>, Error> {
    let Some(newest) = newest(directory)? else { return Ok(None) };
    if keep == Keep::Last {
        return Ok(Some(newest));
    }
    let Some(best) = newest.state.best.as_ref().filter(|best| best.step != newest.state.position.step) else {
        return Ok(Some(newest));
    };
    let path = path_of(directory, best.step);
    match verify(&path)? {
        Ok(_) => Ok(Some(Newest { path, ..newest })),
        Err(reason) => Err(Error::run(&path, format!("the best epoch's checkpoint cannot be used: {reason}"))),
    }
}

/// Puts a damaged checkpoint out of the way, so that it is not mistaken for the newest again.
pub(crate) fn set_aside(path: &Path) -> Result<(), Error> {
    let name = format!("damaged-{}", path.file_name().unwrap_or_default().to_string_lossy());
    let aside = path.with_file_name(name);
    remove_if_there(&aside)?;
    fs::rename(path, &aside).map_err(Error::file("rename", path))
}

/// Reads the state of a checkpoint and checks all its files; the inner error says what is damaged.
fn verify(path: &Path) -> Result<Result<State, String>, Error> {
    let read = |name: &str| match fs::read(path.join(name)) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::file("read", &path.join(name))(e)),
    };
    let Some(bytes) = read(STATE)? else { return Ok(Err(format!("{STATE} is missing"))) };
    let state: State = match serde_json::from_slice::<serde_json::Value>(&bytes) {
        Ok(value) if value["version"] != VERSION => {
            let found = &value["version"];
            let reason = format!("it was written by another version of ktg ({found} instead of {VERSION})");
            return Err(Error::run(path, reason));
        }
        value => match value.and_then(serde_json::from_value) {
            Err(e) => return Ok(Err(format!("{STATE} is damaged: {e}"))),
            Ok(state) => state,
        },
    };
    for (name, expected) in &state.files {
        match read(name)? {
            None => return Ok(Err(format!("{name} is missing"))),
            Some(bytes) if checksum(&bytes) != *expected => return Ok(Err(format!("{name} is damaged"))),
            Some(_) => {}
        }
    }
    Ok(Ok(state))
}

/// Puts the weights and momentum of a checkpoint that [`newest`] found whole into `trainer`.
pub(crate) fn restore(path: &Path, trainer: &mut Trainer) -> Result<(), Error> {
    let optimiser = weights::read(&path.join(OPTIMISER))?.arrays;
    for m in 0..trainer.node_count() {
        let file = path.join(weights_name(m));
        let mut state = OptimizerState::new();
        for (name, array) in &optimiser {
            if let Some((kind, name)) = optimizer_entry(m, name) {
                state.entry(kind.to_owned()).or_default().insert(name.to_owned(), array.clone());
            }
        }
        let mut weights = weights::read(&file)?.arrays;
        if let Some(learning) = state.remove(WEIGHTS) {
            state.insert(AVERAGE.to_owned(), std::mem::replace(&mut weights, learning));
        }
        trainer.restore(m, &weights, &state, &file.display().to_string())?;
    }
    Ok(())
}

/// What the optimizer's arrays of node `m` have before the names of their parameters: `node1.` for momentum, which was
/// there first, and `node1/KIND/` for every other kind.
fn optimizer_prefix(m: usize, kind: &str) -> String {
    if kind == MOMENTUM { format!("node{}.", m + 1) } else { format!("node{}/{kind}/", m + 1) }
}

/// Kind and parameter of an array, if it is one of node `m`'s.
fn optimizer_entry(m: usize, name: &str) -> Option<(&str, &str)> {
    let node = format!("node{}", m + 1);
    let rest = name.strip_prefix(&node)?;
    match rest.strip_prefix('/') {
        Some(rest) => rest.split_once('/'),
        None => Some((MOMENTUM, rest.strip_prefix('.')?)),
    }
}

/// SHA-256 in hexadecimal.
pub(crate) fn checksum(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn optimizer_arrays_are_found_again_by_kind_and_node() {
        assert_eq!(optimizer_prefix(0, MOMENTUM) + "conv1.weight", "node1.conv1.weight", "as in files of before");
        for (m, kind) in [(0, MOMENTUM), (11, "exp_avg")] {
            let name = optimizer_prefix(m, kind) + "fc.bias";
            assert_eq!(optimizer_entry(m, &name), Some((kind, "fc.bias")));
            assert_eq!(optimizer_entry(m + 1, &name), None);
            assert_eq!(optimizer_entry(1, &name), None);
        }
    }
}
