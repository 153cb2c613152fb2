//! Runs the networks of a knowledge transfer graph.
//!
//! A [`Node`] is a network at work: it takes images forward, gradients at its outputs backward, and learns by an
//! optimizer's rule. Its outputs are small host arrays ([`Outputs`]); the losses of the graph's edges are computed on
//! them ([`loss`]), value and gradient side by side. One training step is: `forward` of every node that is needed,
//! losses and gradients of the graph, `backward` and `update` of every node that learns.
//!
//! [`CpuNode`], on `ktg-kernels`, plans a network once (which layers are computed together, which buffer lives how
//! long); [`ReferenceNode`] is written from the definitions, plain and slow, in double precision: [`Choice`] names one
//! of them, and for the first the instructions it uses. With the feature `torch`, `TorchNode` calls PyTorch's library,
//! for GPUs: [`Devices`] says where which node lives.
//!
//! What both promise is in `docs/design.md`, "The engine's contract", and tested sentence by sentence in
//! `tests/contract.rs`.

mod choice;
mod cpu;
mod device;
mod draws;
mod error;
mod gain;
mod job;
pub mod loss;
mod node;
#[cfg(test)]
mod numbers;
mod optimizer;
mod outputs;
mod parameters;
mod precision;
mod reference;
#[cfg(feature = "torch")]
mod torch;
mod uploads;

pub use choice::{Choice, ChoiceError, VARIABLE, choose, chosen, computes, node};
pub use cpu::{CpuNode, account};
pub use device::{Device, DeviceError, Devices, TF32_OFF, TF32_PRODUCTS};
pub use draws::Draws;
pub use error::EngineError;
pub use gain::{bf16_gains, bf16_may_gain};
pub use job::{Job, Wanted};
pub use node::{Node, Scratch};
pub use optimizer::{AVERAGE, Factors, LOSS_SCALE, MOMENTS, MOMENTUM, Optimizer, OptimizerState, Rule};
pub use outputs::{Images, Map, OutputGradients, Outputs};
pub use precision::{Computing, Precision};
pub use reference::ReferenceNode;
#[cfg(feature = "torch")]
pub use torch::TorchNode;
pub use uploads::Uploads;
