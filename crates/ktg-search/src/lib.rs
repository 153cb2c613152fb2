//! Finds knowledge transfer graphs.

mod error;
pub mod pruner;
pub mod sampler;
pub mod settings;
pub mod space;
pub mod storage;

pub use error::Error;
