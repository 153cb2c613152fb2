//! Everything that can go wrong while a graph is trained.

use std::path::{Path, PathBuf};

use ktg_base::FileError;

/// An error of settings, files or training; its text is one sentence for the user.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The graph, or how it fits the networks.
    #[error(transparent)]
    Graph(#[from] ktg_graph::Error),
    /// The data.
    #[error(transparent)]
    Data(#[from] ktg_data::Error),
    /// A weights file.
    #[error(transparent)]
    Weights(#[from] ktg_net::WeightsError),
    /// A network that cannot be run.
    #[error(transparent)]
    Shape(#[from] ktg_net::ShapeError),
    /// A node that cannot be made or cannot compute.
    #[error(transparent)]
    Engine(#[from] ktg_engine::EngineError),
    /// A setting that makes no sense.
    #[error("{0}")]
    Setting(String),
    /// A file that cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A run directory that cannot be used.
    #[error("{}: {reason}", path.display())]
    Run {
        /// The directory.
        path: PathBuf,
        /// What is wrong and what to do.
        reason: String,
    },
    /// A run directory that holds another run.
    #[error("{}: the run in it is of another graph, other settings or other images; choose another directory", .0.display())]
    OtherRun(PathBuf),
    /// A run directory that another process has.
    #[error("{}: another process is working on this run; wait for it or stop it", .0.display())]
    Busy(PathBuf),
    /// A network's answers are no longer numbers.
    #[error(
        "node {node} answers NaN or infinity for `{image}`: the training diverged; lower the learning rate and train it anew"
    )]
    NotFinite {
        /// The node, counted from 1.
        node: usize,
        /// The image.
        image: String,
    },
    /// A loss is no longer a number.
    #[error(
        "the loss of node {node} is {value} at step {step} (edge `{edge}`): the training diverged; lower the learning \
         rate, which is {learning_rate} here, or cut that edge"
    )]
    Diverged {
        /// The node, counted from 1.
        node: usize,
        /// The edge, as graph files write it.
        edge: String,
        /// The step, counted from 1.
        step: u64,
        /// NaN or an infinity.
        value: f32,
        /// The learning rate at that step.
        learning_rate: f64,
    },
}

impl Error {
    /// Whether the networks of a run are no longer numbers: it cannot go on, and other runs are not to blame.
    pub fn is_divergence(&self) -> bool {
        match self {
            Error::Diverged { .. } | Error::NotFinite { .. } => true,
            Error::Engine(error) => matches!(error, ktg_engine::EngineError::Overflow),
            _ => false,
        }
    }

    /// Makes a file error of an I/O error.
    pub(crate) fn file(action: &'static str, path: &Path) -> impl Fn(std::io::Error) -> Error {
        let of = FileError::of(action, path);
        move |source| Error::File(of(source))
    }

    pub(crate) fn run(path: &Path, reason: impl Into<String>) -> Error {
        Error::Run { path: path.to_owned(), reason: reason.into() }
    }
}
