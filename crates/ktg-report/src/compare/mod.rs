//! Comparisons of methods: planned ([`Plan`]), trained by `ktg compare`, and read again ([`Comparison`]).

mod plan;
mod results;
mod tables;
pub mod thesis;

pub use plan::{DataSet, FoundOn, Plan, PlannedMethod, Source, read_experiment};
pub use results::{Comparison, Group, GroupRun, Index, IndexedGroup, IndexedMethod, RunState};
pub use tables::{accuracy_figure, ensemble_difference, network, tables};
