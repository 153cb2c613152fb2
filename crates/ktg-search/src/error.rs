//! Everything that can go wrong in a search.

/// An error of a study, its storage or the search settings; its text is one sentence for the user.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A storage URL that cannot be understood.
    #[error("{0}")]
    Url(String),
    /// A database that cannot be used.
    #[error("{storage}: {reason}")]
    Storage {
        /// The storage's URL, without a password.
        storage: String,
        /// What is wrong and what to do.
        reason: String,
    },
    /// A study that cannot be used.
    #[error("study {study:?}: {reason}")]
    Study {
        /// Its name.
        study: String,
        /// What is wrong and what to do.
        reason: String,
    },
    /// A setting that makes no sense.
    #[error("{0}")]
    Setting(String),
    /// A graph, or a part of one.
    #[error(transparent)]
    Graph(#[from] ktg_graph::Error),
    /// What a trial needs could not be prepared or cleaned up.
    #[error("{0}")]
    Objective(String),
    /// Asked to stop while waiting for the storage.
    #[error("stopped while waiting for the storage")]
    Stopped,
}
