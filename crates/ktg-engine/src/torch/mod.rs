//! The engine that calls PyTorch's library, for GPUs (and, to be checked everywhere, for PyTorch's CPU). It runs the
//! same list of layers by PyTorch's own kernels; losses stay on the host, so only outputs and their gradients leave
//! the device.
//!
//! Everything is called by tch's fallible functions; what fails ends as
//! [`EngineError::Device`](crate::EngineError::Device).

mod layers;
mod layout;
mod node;
mod pass;
mod scale;
mod state;
mod tensors;
mod update;

pub use node::TorchNode;
