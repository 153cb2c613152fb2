//! What a worker tells of its work.

use std::path::Path;

use ktg_graph::Graph;

use crate::Occupant;

/// Why a worker has a trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The sampler chose it.
    New,
    /// Someone enqueued it, gave it back, or lost it.
    Waiting,
    /// It was paused and belongs to the top of its rung now.
    Promoted,
}

/// What a worker tells of its work.
#[derive(Clone, Debug, PartialEq)]
pub enum Event<'a> {
    /// It begins to work on a trial.
    Started {
        /// The trial's number.
        number: i64,
        /// Why.
        origin: Origin,
        /// The graph.
        graph: &'a Graph,
    },
    /// Runs that this worker found where its trial's run should be are not its study's; they are left alone.
    ForeignRun {
        /// The number of the trial.
        number: i64,
        /// Where the foreign run is.
        found: &'a Path,
        /// Whose it is.
        occupant: &'a Occupant,
        /// Where the trial's run is kept instead.
        instead: &'a Path,
    },
    /// The trial was stopped for now, or is over.
    Ended {
        /// The trial's number.
        number: i64,
        /// How.
        outcome: Outcome,
        /// The last step and its value.
        last: Option<(i64, f64)>,
    },
    /// Another worker fell silent.
    Reaped {
        /// The number of its trial.
        number: i64,
        /// The trial that repeats it.
        retry: Option<i64>,
    },
    /// Nothing to do while others work on so many trials.
    Waiting(i64),
    /// The study holds every graph of the space.
    Exhausted,
    /// So many paused trials were pruned at the end.
    PrunedPaused(usize),
}

/// How the work on a trial ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It has its final value.
    Complete(f64),
    /// It was stopped for good.
    Pruned,
    /// It was stopped at this rung, and may go on.
    Paused(u32),
    /// It cannot be judged, for this reason.
    Failed(String),
    /// It was not trained: its graph is that of the trial of this number.
    SameGraph(i64),
    /// It was given back, because the worker was asked to stop.
    GivenBack,
    /// It is not this worker's any more: another one has it, or somebody else ended or deleted it.
    Lost,
}
