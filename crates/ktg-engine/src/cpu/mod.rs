//! The engine on `ktg-kernels`: a network is planned once, then run.

pub mod account;
mod backward;
mod bf16;
mod call;
mod context;
mod format;
mod forward;
mod learner;
mod memory;
mod node;
mod places;
mod plan;
mod planner;
#[cfg(test)]
mod tests;
mod tokens;
mod update;

pub use node::CpuNode;
