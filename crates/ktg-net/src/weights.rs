//! Weights in and out of safetensors files, under PyTorch's parameter names.
//!
//! A file written here loads in PyTorch with `model.load_state_dict(safetensors.torch.load_file(path), strict=False)`
//! (only batch norm's `num_batches_tracked` counters are missing), and a file written there with
//! `safetensors.torch.save_file(model.state_dict(), path)` loads here.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use half::{bf16, f16};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::parameters::Parameter;

/// A dense `f32` array.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Sizes, outermost first.
    pub shape: Vec<usize>,
    /// Values in row-major order.
    pub data: Vec<f32>,
}

/// Arrays by name, in the order of their names.
pub type StateDict = BTreeMap<String, Array>;

/// A weights file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The bytes are not a safetensors file.
    #[error("{path} is not a whole safetensors file ({reason}); write it with safetensors.torch.save_file")]
    Format {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A tensor is of a type that is not converted.
    #[error("{path}: tensor `{name}` is {kind}, which is not read; save it as float32, float16, bfloat16 or float64")]
    Kind {
        /// The file.
        path: String,
        /// The tensor.
        name: String,
        /// Its type, as safetensors writes it.
        kind: String,
    },
    /// The file holds the weights of another network.
    #[error("{path} does not fit the network: {reason}")]
    Mismatch {
        /// The file.
        path: String,
        /// The first tensors that differ.
        reason: String,
    },
}

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

/// Reads a safetensors file: see [`from_bytes`].
pub fn read(path: &Path) -> Result<WeightsFile, WeightsError> {
    let name = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|source| WeightsError::Read { path: name.clone(), source })?;
    from_bytes(&bytes, &name)
}

/// Reads safetensors from memory; `origin` names them in messages.
///
/// `F16`, `BF16` and `F64` become `f32`; integer counters are left out; prefixes that all names share (`module.`,
/// `_orig_mod.`, `backbone.`, `model.`, `encoder.`, one after the other) are stripped.
///
/// # Errors
///
/// If the bytes are no whole safetensors file, or a tensor has another type.
pub fn from_bytes(bytes: &[u8], origin: &str) -> Result<WeightsFile, WeightsError> {
    let format = |reason: String| WeightsError::Format { path: origin.to_owned(), reason };
    let tensors = SafeTensors::deserialize(bytes).map_err(|e| format(e.to_string()))?;
    let mut arrays = StateDict::new();
    let mut converted = BTreeSet::new();
    for (name, view) in tensors.iter() {
        if matches!(view.dtype(), Dtype::I64 | Dtype::I32) {
            continue;
        }
        let Some(data) = floats(view.dtype(), view.data()) else {
            let (path, kind) = (origin.to_owned(), format!("{:?}", view.dtype()));
            return Err(WeightsError::Kind { path, name: name.to_owned(), kind });
        };
        if view.dtype() != Dtype::F32 {
            converted.insert(format!("{:?}", view.dtype()));
        }
        arrays.insert(name.to_owned(), Array { shape: view.shape().to_vec(), data });
    }
    let mut changes = Vec::new();
    let prefix = common_prefix(&arrays);
    if !prefix.is_empty() {
        arrays = arrays.into_iter().map(|(name, array)| (name[prefix.len()..].to_owned(), array)).collect();
        changes.push(format!("`{prefix}` is stripped from all names"));
    }
    if !converted.is_empty() {
        let kinds: Vec<String> = converted.into_iter().collect();
        changes.push(format!("numbers are converted from {} to F32", kinds.join(" and ")));
    }
    Ok(WeightsFile { arrays, changes })
}

/// The numbers of a tensor as `f32`; `None` if its type is not one of floating-point numbers that we convert.
fn floats(kind: Dtype, bytes: &[u8]) -> Option<Vec<f32>> {
    Some(match kind {
        Dtype::F32 => bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
        Dtype::F64 => bytes.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b) as f32).collect(),
        Dtype::F16 => bytes.as_chunks().0.iter().map(|b| f16::from_le_bytes(*b).to_f32()).collect(),
        Dtype::BF16 => bytes.as_chunks().0.iter().map(|b| bf16::from_le_bytes(*b).to_f32()).collect(),
        _ => return None,
    })
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

/// The bytes of a safetensors file.
///
/// # Panics
///
/// Panics if an array's shape does not match its length.
pub fn to_bytes(dict: &StateDict, metadata: Option<HashMap<String, String>>) -> Vec<u8> {
    let bytes: Vec<(&String, &Vec<usize>, Vec<u8>)> = dict
        .iter()
        .map(|(name, array)| (name, &array.shape, array.data.iter().flat_map(|v| v.to_le_bytes()).collect()))
        .collect();
    let views = bytes.iter().map(|(name, shape, data)| {
        let view = TensorView::new(Dtype::F32, (*shape).clone(), data).expect("shape and length agree");
        (name.as_str(), view)
    });
    safetensors::serialize(views, metadata).expect("views are valid and names are distinct")
}

/// Errs unless `dict` holds arrays of exactly these names and shapes, but for `num_batches_tracked` counters, which are
/// ignored. `origin` names it in messages.
///
/// # Errors
///
/// [`WeightsError::Mismatch`], with the first three differences.
pub fn check(parameters: &[Parameter], dict: &StateDict, origin: &str) -> Result<(), WeightsError> {
    let by_name: BTreeMap<&str, &Parameter> = parameters.iter().map(|p| (p.name.as_str(), p)).collect();
    let problem = |Parameter { name, shape, .. }: &Parameter| match dict.get(name) {
        None => Some(format!("`{name}` is missing")),
        Some(other) if other.shape != *shape => {
            Some(format!("`{name}` is {:?}, the network has {shape:?}", other.shape))
        }
        Some(_) => None,
    };
    let mut problems: Vec<String> = by_name.values().filter_map(|parameter| problem(parameter)).collect();
    let is_unknown = |name: &&String| !by_name.contains_key(name.as_str()) && !name.ends_with("num_batches_tracked");
    problems.extend(dict.keys().filter(is_unknown).map(|name| format!("`{name}` is not in the network")));
    if problems.is_empty() {
        return Ok(());
    }
    let more = problems.len().saturating_sub(3);
    let mut reason = problems[..problems.len().min(3)].join(", ");
    if more > 0 {
        reason += &format!(" and {more} more");
    }
    Err(WeightsError::Mismatch { path: origin.to_owned(), reason })
}
