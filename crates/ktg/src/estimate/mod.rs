//! `--estimate`: what a training, a plan or a search will take. Nothing is written.

mod plan;
mod search;
mod train;
mod words;

pub use plan::run as plan;
pub use search::run as search;
pub use train::run as train;
