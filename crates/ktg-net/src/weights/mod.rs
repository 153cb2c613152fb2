//! Weights in and out of files, under PyTorch's parameter names.
//!
//! A file written here loads in PyTorch with `model.load_state_dict(safetensors.torch.load_file(path), strict=False)`
//! (only batch norm's `num_batches_tracked` counters are missing). A file written there with
//! `safetensors.torch.save_file(model.state_dict(), path)` or `torch.save(model.state_dict(), path)` loads here, and so does
//! a checkpoint that holds such a dictionary beside other plain data.

mod array;
mod check;
mod collected;
mod error;
mod fit;
mod looks;
mod positions;
mod pytorch;
mod read;
mod tensors;

pub use array::{Array, StateDict};
pub use check::check;
pub use error::WeightsError;
pub use fit::{Fit, fit};
pub use read::{WeightsFile, extension, from_bytes, read};
pub use tensors::to_bytes;
