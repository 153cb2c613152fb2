//! Everything that can go wrong with data, one sentence each.

use ktg_base::FileError;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Why data could not be opened, decoded, augmented or loaded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting is wrong in itself or does not suit the data.
    #[error("{0}")]
    Setting(String),
    /// A file or folder cannot be read or written.
    #[error(transparent)]
    Access(#[from] FileError),
    /// A list or class file is wrong at one line.
    #[error("{}:{line}: {problem}", file.display())]
    Line {
        /// The list or class file.
        file: PathBuf,
        /// Line number, from 1.
        line: usize,
        /// What is wrong there and what to do.
        problem: String,
    },
    /// A file or folder of a data set is damaged, incomplete, inconsistent, or not what was expected.
    #[error("{}: {problem}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong there and what to do.
        problem: String,
    },
    /// One image cannot be used.
    #[error("image {name}: {problem}")]
    Image {
        /// Path of the image, or `train image 17` where it has none of its own.
        name: String,
        /// What is wrong and what to do.
        problem: String,
    },
    /// Several images cannot be used (from [`Dataset::check`](crate::Dataset::check)).
    #[error(
        "{bad} of {total} images cannot be used; repair them, take them out of the data set, or use --skip-bad:\n  {}{}",
        first.join("\n  "),
        if *bad > first.len() { "\n  ..." } else { "" }
    )]
    BadImages {
        /// How many images are bad.
        bad: usize,
        /// How many were looked at.
        total: usize,
        /// The errors of the first bad images in the order of the data set, at most ten.
        first: Vec<String>,
    },
    /// A loader thread could not be started or died.
    #[error("data loader: {0}")]
    Loader(String),
}

impl Error {
    pub(crate) fn read(path: &Path, source: std::io::Error) -> Self {
        FileError::of("read", path)(source).into()
    }

    pub(crate) fn line(file: &Path, line: usize, problem: impl Into<String>) -> Self {
        Self::Line { file: file.to_path_buf(), line, problem: problem.into() }
    }

    pub(crate) fn file(path: &Path, problem: impl Into<String>) -> Self {
        Self::File { path: path.to_path_buf(), problem: problem.into() }
    }

    /// An error about all of them, of `total` that were looked at; none if there are none.
    ///
    /// # Errors
    /// [`Error::BadImages`] counts them and names the first ones.
    pub fn of_bad_images(bad: Vec<BadImage>, total: usize) -> Result<(), Self> {
        const NAMED: usize = 10;
        if bad.is_empty() {
            return Ok(());
        }
        let count = bad.len();
        let first = bad.into_iter().take(NAMED).map(|image| image.problem).collect();
        Err(Self::BadImages { bad: count, total, first })
    }

    pub(crate) fn image(name: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Image { name: name.into(), problem: problem.into() }
    }
}

/// An image that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BadImage {
    /// Its number in the data set.
    #[serde(skip)]
    pub index: usize,
    /// Its [`short_name`](crate::Dataset::short_name).
    pub name: String,
    /// One sentence that names it and says what is wrong.
    pub problem: String,
}
