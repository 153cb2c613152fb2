//! What a table, figure or report can fail with.

/// Any error of this crate; shown as one sentence.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A plan is wrong.
    #[error("{0}")]
    Plan(String),
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] ktg_base::FileError),
    /// From a run directory.
    #[error(transparent)]
    Train(#[from] ktg_train::Error),
    /// From a study.
    #[error(transparent)]
    Search(#[from] ktg_search::Error),
    /// From a graph.
    #[error(transparent)]
    Graph(#[from] ktg_graph::Error),
    /// From images.
    #[error(transparent)]
    Data(#[from] ktg_data::Error),
    /// From drawing.
    #[error(transparent)]
    Figure(#[from] ktg_figures::Error),
    /// Anything else, in words.
    #[error("{0}")]
    Other(String),
}
