//! The engine on `ktg-kernels`: a network is planned once, then run.

pub mod account;
mod backward;
mod call;
mod context;
mod forward;
mod memory;
mod node;
mod places;
mod plan;
mod planner;
#[cfg(test)]
mod tests;
mod update;

pub use node::CpuNode;
