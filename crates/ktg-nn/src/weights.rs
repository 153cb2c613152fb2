//! Weights in and out of safetensors files, under PyTorch's parameter names.
//!
//! A file written here loads in PyTorch with `model.load_state_dict(safetensors.torch.load_file(path), strict=False)`
//! (only batch norm's `num_batches_tracked` counters are missing), and a file written there with
//! `safetensors.torch.save_file(model.state_dict(), path)` loads here.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use burn::module::Param;
use burn::tensor::{Tensor, TensorData};
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
    /// The file holds the weights of another network.
    #[error("{path} does not fit the network: {reason}")]
    Mismatch {
        /// The file.
        path: String,
        /// The first tensors that differ.
        reason: String,
    },
}

/// Reads a safetensors file. Tensors other than `F32` are an error, except integer counters, which are left out.
pub fn read(path: &Path) -> Result<StateDict, WeightsError> {
    let name = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|source| WeightsError::Read { path: name.clone(), source })?;
    from_bytes(&bytes, &name)
}

/// Reads safetensors from memory; `origin` names them in messages.
pub fn from_bytes(bytes: &[u8], origin: &str) -> Result<StateDict, WeightsError> {
    let format = |reason: String| WeightsError::Format { path: origin.to_owned(), reason };
    let tensors = SafeTensors::deserialize(bytes).map_err(|e| format(e.to_string()))?;
    let mut dict = StateDict::new();
    for (name, view) in tensors.iter() {
        match view.dtype() {
            Dtype::F32 => {
                let data = view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
                dict.insert(name.to_owned(), Array { shape: view.shape().to_vec(), data });
            }
            Dtype::I64 | Dtype::I32 => {}
            other => {
                return Err(format(format!("tensor `{name}` is {other:?}, save it as float32")));
            }
        }
    }
    Ok(dict)
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
    /// Names and shapes must be those of this network, except that a common prefix `module.` (of PyTorch's
    /// `DataParallel`) and `num_batches_tracked` counters are ignored. On an error the network is unchanged.
    pub fn load_state_dict(&mut self, dict: &StateDict, origin: &str) -> Result<(), WeightsError> {
        let dict: HashMap<&str, &Array> = dict
            .iter()
            .map(|(name, array)| (name.strip_prefix("module.").unwrap_or(name), array))
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
