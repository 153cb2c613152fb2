//! What a search asks of whoever trains.

use std::path::{Path, PathBuf};

use ktg_graph::Graph;
use serde_json::Value as Json;

use crate::{ObjectiveKind, Occupant, StudyMark};

/// A trial to work on.
#[derive(Clone, Debug)]
pub struct Task {
    /// Its number in the study.
    pub number: i64,
    /// The graph to train.
    pub graph: Graph,
    /// The seed to train it with, if whoever enqueued it asked for one (user attribute `seed`).
    pub seed: Option<u64>,
    /// Where its run is kept. If there is one already, of this or of another worker, the trial goes on with it.
    pub directory: PathBuf,
    /// What a run that is begun there keeps of the study.
    pub study: StudyMark,
    /// The last step that was reported, 0 if none was: later ones are reported, even if they were computed before.
    pub reported: i64,
}

/// What [`Work::next`] gives.
#[derive(Clone, Debug, PartialEq)]
pub enum Report {
    /// A step (epoch) is done, with this value.
    Step(i64, f64),
    /// All is done: the final value, and what else is worth knowing, which becomes user attributes.
    Finished(f64, Vec<(String, Json)>),
    /// It stopped, saved so that it can go on, and is to be given back: the whole search was asked to stop, or its directory
    /// has become another study's.
    Stopped,
    /// This graph cannot be trained, for this reason.
    Failed(String),
}

/// The work on a trial. It does nothing by itself: it is pulled, and dropped to leave it where its last step was saved.
pub trait Work {
    /// Works until there is something to report.
    ///
    /// # Errors
    /// What would stop every trial, in a sentence; the trial is then given back, and the search ends.
    fn next(&mut self) -> Result<Report, String>;
}

/// Trains graphs. Larger values are better.
pub trait Objective {
    /// The number of steps (epochs) of a trial.
    fn steps(&self) -> u32;

    /// Whether a graph can be trained and is worth it. Samplers leave out those that are not.
    fn accepts(&self, _graph: &Graph) -> bool {
        true
    }

    /// Whose run is in a directory. As it stands here, for those who mark no runs.
    fn occupant(&self, directory: &Path) -> Occupant {
        if directory.is_dir() { Occupant::Unmarked } else { Occupant::Nobody }
    }

    /// Begins a trial, or goes on with it where it was left.
    fn start<'a>(&'a mut self, task: Task) -> Box<dyn Work + 'a>;

    /// The trial whose run is kept in this directory waits: all that is not needed to go on may be deleted.
    fn paused(&mut self, _directory: &Path) {}

    /// The trial whose run is kept in this directory is over: all that was kept to go on may be deleted.
    fn over(&mut self, _directory: &Path) {}
}

impl ObjectiveKind {
    /// A trial's value in words: "51.52 %", or "NLL 1.2345" for the value -1.2345.
    pub fn in_words(self, value: f64) -> String {
        match self {
            ObjectiveKind::Accuracy => format!("{} %", self.number_in_words(value)),
            ObjectiveKind::Nll => format!("NLL {}", self.number_in_words(value)),
        }
    }

    /// The number alone: "51.52", or "1.2345" for the value -1.2345.
    pub fn number_in_words(self, value: f64) -> String {
        match self {
            ObjectiveKind::Accuracy => format!("{value:.2}"),
            ObjectiveKind::Nll => format!("{:.4}", -value),
        }
    }

    /// Decimals that a value is worth, in tables.
    pub fn decimals(self) -> usize {
        match self {
            ObjectiveKind::Accuracy => 2,
            ObjectiveKind::Nll => 4,
        }
    }

    /// What the values are, for the axes of figures and the heads of tables.
    pub fn title(self) -> &'static str {
        match self {
            ObjectiveKind::Accuracy => "accuracy in %",
            ObjectiveKind::Nll => "log-likelihood in nats",
        }
    }
}
