//! What a run does next, as whoever pulls it sees it.

use crate::metrics::{EpochReport, StepReport};

/// Something that a run has just done; see [`Run::next`](crate::Run::next).
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A sentence that the user should know.
    Warning(String),
    /// A training step, done and logged.
    Step(StepReport),
    /// Images of the evaluation at hand that have been classified.
    Evaluating {
        /// So many,
        done: usize,
        /// of so many.
        images: usize,
    },
    /// A checkpoint, written and on the disk: from here the run can go on.
    Checkpoint,
    /// The end of an epoch, of which everything is on the disk.
    Epoch(EpochReport),
}
