//! Any weights file, by its bytes.

use std::path::Path;

use super::array::StateDict;
use super::error::WeightsError;
use super::{pytorch, tensors};

/// What wrappers and trainers put before every name: `DataParallel`, `torch.compile`, and what a network is called in them.
const PREFIXES: [&str; 5] = ["module.", "_orig_mod.", "backbone.", "model.", "encoder."];

/// The content of a weights file.
#[derive(Clone, Debug, PartialEq)]
pub struct WeightsFile {
    /// The arrays, under the names that the file has for them, but for a prefix that all of them share.
    pub arrays: StateDict,
    /// What was changed on the way, a phrase each: what the user should know of a file that another program wrote.
    pub changes: Vec<String>,
}

/// Reads a weights file: see [`from_bytes`].
pub fn read(path: &Path) -> Result<WeightsFile, WeightsError> {
    let name = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|source| WeightsError::Read { path: name.clone(), source })?;
    from_bytes(&bytes, &name)
}

/// Reads safetensors, or a file that `torch.save` wrote, from memory; `origin` names it in messages. Which of them it is, its
/// bytes say. Nothing that is in a file is ever executed.
///
/// `F16`, `BF16` and `F64` become `f32`; integer counters are left out; prefixes that all names share (`module.`,
/// `_orig_mod.`, `backbone.`, `model.`, `encoder.`, one after the other) are stripped.
///
/// # Errors
///
/// If the bytes are no whole file of either kind, there are other things than weights in it, or a tensor has another type.
pub fn from_bytes(bytes: &[u8], origin: &str) -> Result<WeightsFile, WeightsError> {
    let mut changes = Vec::new();
    let collected = match pytorch::is_for(bytes) {
        true => {
            let (collected, key) = pytorch::read(bytes, origin)?;
            changes.extend(key.map(|key| format!("the weights under `{key}` are taken")));
            collected
        }
        false => tensors::read(bytes, origin)?,
    };
    let mut arrays = collected.arrays;
    let prefix = common_prefix(&arrays);
    if !prefix.is_empty() {
        arrays = arrays.into_iter().map(|(name, array)| (name[prefix.len()..].to_owned(), array)).collect();
        changes.push(format!("`{prefix}` is stripped from all names"));
    }
    if !collected.converted.is_empty() {
        let kinds: Vec<String> = collected.converted.into_iter().collect();
        changes.push(format!("numbers are converted from {} to F32", kinds.join(" and ")));
    }
    Ok(WeightsFile { arrays, changes })
}

/// How the name of a file with these bytes ends.
pub fn extension(bytes: &[u8]) -> &'static str {
    if pytorch::is_for(bytes) { "pth" } else { "safetensors" }
}

/// The longest chain of [`PREFIXES`] that every name begins with and goes on after.
fn common_prefix(arrays: &StateDict) -> String {
    let mut chain = String::new();
    loop {
        let all_have = |prefix: &&&str| {
            let is_longer =
                |name: &String| name[chain.len()..].strip_prefix(**prefix).is_some_and(|rest| !rest.is_empty());
            !arrays.is_empty() && arrays.keys().all(is_longer)
        };
        match PREFIXES.iter().find(all_have) {
            Some(prefix) => chain += prefix,
            None => return chain,
        }
    }
}
