//! Weights in and out of safetensors files, under PyTorch's parameter names.
//!
//! A file written here loads in PyTorch with `model.load_state_dict(safetensors.torch.load_file(path), strict=False)`
//! (only batch norm's `num_batches_tracked` counters are missing), and a file written there with
//! `safetensors.torch.save_file(model.state_dict(), path)` loads here.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use burn::module::Param;
use burn::tensor::{Tensor, TensorData};
use half::{bf16, f16};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::device::DeviceError;
use crate::names::{NamedMapper, NamedVisitor};
use crate::network::Network;

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

impl Network {
    /// All parameters and running statistics.
    pub fn state_dict(&self) -> StateDict {
        let mut collect = Collect(StateDict::new());
        self.visit_named(&mut collect);
        collect.0
    }

    /// Replaces all parameters and running statistics by those of `dict`. `origin` names it in messages.
    ///
    /// Names and shapes must be those of this network, except that `num_batches_tracked` counters are ignored. On an error
    /// the network is unchanged.
    pub fn load_state_dict(&mut self, dict: &StateDict, origin: &str) -> Result<(), WeightsError> {
        let dict: HashMap<&str, &Array> = dict
            .iter()
            .map(|(name, array)| (name.as_str(), array))
            .filter(|(name, _)| !name.ends_with("num_batches_tracked"))
            .collect();
        let own = self.state_dict();
        let mut problems = Vec::new();
        for (name, array) in &own {
            match dict.get(name.as_str()) {
                None => problems.push(format!("`{name}` is missing")),
                Some(other) if other.shape != array.shape => {
                    problems.push(format!("`{name}` is {:?}, the network has {:?}", other.shape, array.shape));
                }
                Some(_) => {}
            }
        }
        let mut unknown: Vec<&str> = dict.keys().filter(|name| !own.contains_key(**name)).copied().collect();
        unknown.sort_unstable();
        problems.extend(unknown.iter().map(|name| format!("`{name}` is not in the network")));
        if !problems.is_empty() {
            let more = problems.len().saturating_sub(3);
            let mut reason = problems[..problems.len().min(3)].join(", ");
            if more > 0 {
                reason += &format!(" and {more} more");
            }
            return Err(WeightsError::Mismatch { path: origin.to_owned(), reason });
        }
        *self = self.clone().map_named(&mut Replace(dict));
        Ok(())
    }
}

struct Collect(StateDict);

impl NamedVisitor for Collect {
    fn visit<const D: usize>(&mut self, name: String, param: &Param<Tensor<D>>) {
        let tensor = param.val();
        let shape = tensor.dims().to_vec();
        self.0.insert(name, Array { shape, data: values(tensor) });
    }
}

struct Replace<'a>(HashMap<&'a str, &'a Array>);

impl NamedMapper for Replace<'_> {
    fn map<const D: usize>(&mut self, name: &str, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let array = self.0[name];
        param.map(|old| {
            let data = TensorData::new(array.data.clone(), array.shape.clone());
            Tensor::from_data(data, &old.device()).set_require_grad(old.is_require_grad())
        })
    }
}

/// A tensor's values in row-major order, wherever it lives.
///
/// # Panics
///
/// Panics if the tensor is not `f32` (all of ours are) or the device fails.
pub fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    try_values(tensor).unwrap_or_else(|error| panic!("{error}"))
}

/// As [`values`], for a device that may have run out of memory or failed since the last read: what it could not do shows
/// when a result is asked for.
pub fn try_values<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, DeviceError> {
    tensor.try_into_vec_as::<f32>().map_err(|error| DeviceError::of_driver(&error.to_string()))
}
