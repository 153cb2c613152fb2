//! Networks and losses of knowledge transfer graphs, on the Burn framework.
//!
//! * [`Architecture`] names a network (`abn-resnet-18`, `resnet-cifar-20`, ...) and builds it as a [`Network`], whose
//!   forward pass gives [`Outputs`]: class logits, attention-branch logits and an attention map.
//! * [`loss`] holds the per-sample losses of label and transfer edges, the gates and their batch mean.
//! * [`weights`] reads and writes safetensors with PyTorch's parameter names, so that weights travel both ways.
//!
//! Images are `NCHW`. Parameters are `f32`; a network computes in the type of number its images have. The [`device`] is
//! chosen at run time: parameters made on an autodiff device can be trained,
//! [`Network::valid`](burn::module::Module::valid) gives the inference twin.

mod architecture;
mod attention;
mod block;
pub mod device;
mod layers;
pub mod loss;
mod names;
mod network;
pub mod ops;
pub mod weights;

pub use architecture::{Architecture, ArchitectureError, Family, NetworkConfig};
pub use layers::BatchStatistics;
pub use names::{NamedMapper, NamedVisitor};
pub use network::{Network, Outputs, Wanted};
pub use weights::{Array, StateDict, WeightsError, WeightsFile};

/// Which code computes the networks' operations, see [`kernels::choose`].
pub use ktg_kernels::burn as kernels;

/// Burn, re-exported so that every crate of the workspace names tensors of one and the same version.
pub use burn;

use burn::tensor::Tensor;

/// Logits of the ensemble node: the mean over the logits of all network nodes (thesis, eq. 5).
///
/// Every tensor has shape `[batch, classes]`. Gradients do not reach the members.
///
/// # Panics
///
/// Panics if `members` is empty.
pub fn ensemble_logits(members: &[Tensor<2>]) -> Tensor<2> {
    let (first, rest) = members.split_first().expect("an ensemble has at least one member");
    let sum = rest.iter().fold(first.clone().detach(), |sum, logits| sum + logits.clone().detach());
    sum / members.len() as f64
}
