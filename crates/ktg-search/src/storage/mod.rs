//! Studies in Optuna's relational schema, so that `optuna`, `optuna-dashboard` and `ktg` share them.
//!
//! [`Storage`] is a connection, made when it is needed, that waits out a database that goes away; [`Study`] has the
//! operations of a search. One SQL text serves both databases; a `Dialect` (`connection.rs`) holds what differs.
//!
//! # The life of a trial
//!
//! ```text
//!            Study::insert                           enqueue_missing, Optuna's enqueue_trial, reap (the repetition)
//!                  |                                            |
//!                  v               claim_waiting                v
//!             RUNNING  <------------------------------------ WAITING
//!        with a heartbeat ---------------------------------->
//!           |   |   |  ^             give_back
//!           |   |   |  |
//!           |   |   |  |  claim_paused
//!           |   |   |  +------------------------- RUNNING
//!           |   |   |                        without a heartbeat,
//!           |   |   +----------------------> attribute `paused`
//!           |   |          pause                    |
//!           |   |                                   | prune_paused
//!           |   | finish                            v
//!           |   +-----------> COMPLETE, FAIL,    PRUNED
//!           |
//!           +-----------> FAIL, and a WAITING trial that repeats it
//!             reap
//! ```
//!
//! * **Whose is it?** A running trial with a heartbeat is the piece of work that its attribute `worker` names: a worker
//!   gives each trial that it asks for a name of its own. While it works, it calls `report`, `complete_rung`,
//!   `set_attribute`, `describe` and, in a thread of its own, `beat`.
//! * **Who is dead?** Whose heartbeat another worker has seen unchanged for `silence` by its own clock, while the storage
//!   was not away: the time that a heartbeat bears does not matter. `reap` then ends the trial, and a new one takes over its
//!   parameters, attributes, reports and values at rungs. A running trial without a heartbeat, paused or of another
//!   program, is never thought dead.
//! * **What is over never changes.** Every statement about a running trial says `state = 'RUNNING'`, and a method
//!   answers `false` where it found none: another worker has taken the trial, or somebody ended or deleted it.
//! * **Every operation may run twice**: the database may have done it and only the answer may be lost. `insert`,
//!   `claim_waiting` and `claim_paused` (`Storage::claim`) then find the trial by the name of the piece of work; `pause` and
//!   `give_back` (`Storage::leave`) do nothing if the trial bears another name by then; a second `finish` finds the state
//!   that it wanted. All others write the same values again.
//! * **A graph is trained once.** A trial that waited is described when it is taken, with the study locked: if another one
//!   that has not failed has its graph, it fails at once (`Study::describe`).
//! * **Who only reads leaves no trace** in an SQLite file or beside it (`reader.rs`).
//! * **Three kinds of transaction** (`Transaction`): where trials are added or claimed, the study is locked, so that adding
//!   leaves no gap in the numbers and no graph is there twice; what must outlive a power cut is durable; the others only belong together.

mod connection;
mod database;
mod encoding;
mod enqueue;
mod import;
mod paused;
#[cfg(feature = "postgres")]
mod postgres;
mod read;
mod reader;
mod retry;
mod rows;
mod rungs;
mod schema;
mod seen;
mod sqlite;
mod study;
mod trials;
mod url;

pub use database::{Patience, Storage};
pub use encoding::State;
pub use enqueue::Enqueued;
pub use paused::PausedTrial;
pub use read::{Choices, StudySummary, Trial};
pub use retry::{Heartbeat, Reaped};
pub use rows::Claimed;
pub use rungs::RungValue;
pub(crate) use study::check_name;
pub use study::{Goal, Study};
pub use trials::{Inserted, NewTrial};
pub use url::StorageUrl;
