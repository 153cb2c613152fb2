//! Finds knowledge transfer graphs: the heart of the thesis, where the graph is found, not written.
//!
//! A [`Space`] says which graphs there are (SPEC 8); a [`sampler`] chooses the next one, an [`Objective`] trains it step
//! by step, a [`pruner`] stops what is unpromising. All of it is kept in a [`storage::Study`], in Optuna's schema, and as
//! many [`Worker`]s as there are machines share a study.
//!
//! This crate never trains: the objective is a trait.

pub mod analysis;
pub mod attributes;
mod authors;
pub mod confirmation;
mod edges;
mod error;
mod history;
mod imported;
mod mark;
mod metadata;
mod model;
mod objective;
mod parameter;
pub mod pruner;
mod pulse;
pub mod sampler;
mod settings;
mod space;
pub mod storage;
mod worker;

pub use authors::AuthorsStudy;
pub use error::Error;
pub use imported::{Imported, JudgedPart};
pub use mark::{Occupant, StudyMark};
pub use metadata::{Agreement, StudyMetadata, analysed_graph};
pub use objective::{Objective, Report, Task, Work};
pub use parameter::{Parameter, ParameterKind};
pub use settings::{
    EdgeChoice, EdgeSettings, Halving, ObjectiveKind, PrunerKind, PrunerSettings, SamplerKind, SearchSettings,
};
pub use space::{Genes, Space};
pub use worker::{Event, Origin, Outcome, Worker, WorkerPlan, WorkerSettings};
