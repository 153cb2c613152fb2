//! Trains one knowledge transfer graph and evaluates it.
//!
//! [`Settings`] (a TOML experiment file) become an [`Experiment`] (data opened, graph checked), which a [`Run`] trains in a
//! [`RunDirectory`], event by event. Everything that other tools need is in that directory: [`RunRecord`] reads what it
//! tells, [`SavedRun`] its networks.

mod calibration;
mod checkpoint;
mod data;
mod directory;
mod error;
mod estimate;
mod evaluate;
mod event;
mod experiment;
pub mod measures;
mod metrics;
mod pretrained;
mod record;
mod recorder;
mod run;
mod saved;
pub mod schedule;
mod session;
mod settings;
mod start;
mod tensorboard;
pub mod trainer;

pub use directory::{RunDirectory, RunResult};
pub use error::Error;
pub use estimate::{Estimate, Range, Spread};
pub use event::Event;
pub use experiment::{DEFAULT_ARCHITECTURE, Experiment};
pub use measures::Measures;
pub use metrics::{EdgeReport, EpochReport, NodeReport, StepReport};
pub use record::RunRecord;
pub use run::Run;
pub use saved::{NodePrediction, Prediction, RunOutputs, SavedRun};
pub use schedule::Schedule;
pub use settings::{
    EvaluateOn, GraphSettings, Keep, OptimizerName, PrecisionSetting, Sampling, Settings, SplitSettings, TrainSettings,
};
pub use start::Start;
pub use trainer::Trainer;
