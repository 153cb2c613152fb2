//! What a search asks of whoever trains.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use ktg_graph::Graph;
use serde_json::Value as Json;

/// A trial to work on.
pub struct Task<'a> {
    /// Its number in the study.
    pub number: i64,
    /// The graph to judge.
    pub graph: &'a Graph,
    /// The seed to train it with, if whoever enqueued it asked for one (user attribute `seed`).
    pub seed: Option<u64>,
    /// Where its run is kept. If there is one already, of this or of another worker, the trial goes on with it.
    pub directory: &'a Path,
    /// The last step that was reported, 0 if none was: later ones are reported, even if they were computed before.
    pub reported: i64,
    /// Set when the trial shall stop as soon as it can be continued later.
    pub stop: &'a AtomicBool,
}

/// How the work on a trial ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Ended {
    /// With its final value, and what else is worth knowing, which becomes user attributes.
    Finished(f64, Vec<(String, Json)>),
    /// Because it was told to, after it was saved so that it can go on.
    Stopped,
    /// This graph cannot be judged, for this reason.
    Failed(String),
}

/// Judges graphs. Larger values are better.
pub trait Objective {
    /// The number of steps (epochs) of a trial.
    fn steps(&self) -> u32;

    /// Whether a graph can be judged and is worth it. Samplers leave out those that are not.
    fn accepts(&self, graph: &Graph) -> bool {
        let _ = graph;
        true
    }

    /// Works on a trial, reports step and value after every step, and stops when the answer is `Break`.
    ///
    /// # Errors
    /// What would stop every trial, in a sentence; the trial is then given back, and the search ends.
    fn run(&mut self, task: &Task, report: &mut dyn FnMut(i64, f64) -> ControlFlow<()>) -> Result<Ended, String>;

    /// The trial whose run is kept in this directory waits: all that is not needed to go on may be deleted.
    fn paused(&mut self, directory: &Path) {
        let _ = directory;
    }

    /// The trial whose run is kept in this directory is over: all that was kept to go on may be deleted.
    fn over(&mut self, directory: &Path) {
        let _ = directory;
    }
}
