//! Everything that can be wrong with a weights file.

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
    /// A file of PyTorch that is damaged, or holds more than weights.
    #[error("{path}: {reason}")]
    PyTorch {
        /// The file.
        path: String,
        /// What is wrong with it, and what to do.
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
        /// The first tensors that differ, or what the file looks like.
        reason: String,
    },
}
