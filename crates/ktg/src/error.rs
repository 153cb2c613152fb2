//! What a command can fail with; shown as one sentence.

use std::path::Path;

/// Any error of a command.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// From training, judging, or reading a run.
    #[error(transparent)]
    Train(#[from] ktg_train::Error),
    /// From a search, or a study.
    #[error(transparent)]
    Search(#[from] ktg_search::Error),
    /// From a graph file.
    #[error(transparent)]
    Graph(#[from] ktg_graph::Error),
    /// From tables, figures and reports.
    #[error(transparent)]
    Report(#[from] ktg_report::Error),
    /// From drawing.
    #[error(transparent)]
    Figure(#[from] ktg_figures::Error),
    /// From data.
    #[error(transparent)]
    Data(#[from] ktg_data::Error),
    /// A file that cannot be read or written.
    #[error(transparent)]
    File(#[from] ktg_base::FileError),
    /// Standard output cannot be written.
    #[error("cannot write the output: {0}")]
    Output(#[from] std::io::Error),
    /// Anything else, in words.
    #[error("{0}")]
    Other(String),
}

impl CliError {
    /// A file that cannot be created or written.
    pub fn file(action: &str, path: &Path, error: &dyn std::fmt::Display) -> Self {
        Self::Other(format!("cannot {action} {}: {error}", path.display()))
    }
}
