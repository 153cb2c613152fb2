//! Trains one knowledge transfer graph and judges it.
//!
//! [`Settings`] (a TOML experiment file) become an [`Experiment`] (data opened, graph checked), which [`run::start`]
//! trains into a run directory and [`run::resume`] continues. Everything that other tools need is in that directory:
//!
//! | file | content |
//! | --- | --- |
//! | `settings.toml`, `graph.toml` | the effective settings and the graph |
//! | `skipped.txt`, `split.json` | images that are left out, and the search split, where there are such files |
//! | `data.json` | class names, and a fingerprint of the training images |
//! | `pretrained/` | copies of the nodes' pretrained weights, if any |
//! | `metrics.jsonl` | losses of nodes and edges per logged step, training and evaluation measures per epoch |
//! | `timing.jsonl` | seconds and images/s per epoch (apart, because times never repeat and metrics do) |
//! | `events.out.tfevents.*` | the same for TensorBoard |
//! | `checkpoints/step-NNN/` | `node1.safetensors` ... with PyTorch's names, `optimiser.safetensors`, `state.json` |
//! | `initial/`, `batches.safetensors` | with `record_steps`: what another implementation needs to check this one |
//! | `run.lock` | held by the process that works on the run |
//! | `result.json` | the final measures; it exists when the run is finished |

mod answers;
mod checkpoint;
mod directory;
mod error;
mod evaluate;
mod experiment;
pub mod measures;
mod metrics;
mod progress;
mod record;
pub mod run;
mod saved;
pub mod schedule;
mod session;
mod settings;
mod tensorboard;
pub mod trainer;

pub use answers::Answer;
pub use directory::RunDirectory;
pub use error::Error;
pub use evaluate::evaluate;
pub use experiment::Experiment;
pub use measures::Measures;
pub use metrics::{EdgeReport, EpochReport, NodeReport, StepReport};
pub use progress::{Observer, Silent};
pub use run::{Outcome, RunResult};
pub use saved::{NodePrediction, Prediction, SavedRun};
pub use schedule::Schedule;
pub use settings::{EvaluateOn, GraphSettings, LossSection, Precision, Settings, SplitSettings, TrainSettings};
pub use trainer::Trainer;
