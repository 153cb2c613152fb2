//! Files that are either the old or the new version, never half of one.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::{Builder, NamedTempFile};

/// What the name of a file ends in until it is complete.
const UNFINISHED: &str = ".tmp";

/// A file or directory that cannot be used; displayed as `cannot write NAME: reason`.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {source}", path.display())]
pub struct FileError {
    /// What was tried, such as "write".
    pub action: &'static str,
    /// The file or directory.
    pub path: PathBuf,
    /// What the system says.
    pub source: io::Error,
}

impl FileError {
    /// Makes one of an I/O error: `file.sync_all().map_err(FileError::of("write", path))`.
    pub fn of(action: &'static str, path: &Path) -> impl Fn(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self { action, path: path.clone(), source }
    }
}

/// A file that takes its name only when it is complete. Dropped before that, it leaves nothing; a killed process leaves a
/// `NAME.XXXXXX.tmp`. Several may be written for the same name at a time: the last one that is complete stays.
#[derive(Debug)]
pub struct NewFile {
    file: NamedTempFile,
    path: PathBuf,
}

impl NewFile {
    /// Starts the new version of the file `path`, beside it.
    ///
    /// # Errors
    /// If no file can be created there.
    pub fn create(path: &Path) -> Result<Self, FileError> {
        let mut prefix = path.file_name().unwrap_or(OsStr::new("")).to_owned();
        prefix.push(".");
        // Created here and not by the library, whose files nobody else may read.
        let file = Builder::new()
            .prefix(&prefix)
            .suffix(UNFINISHED)
            .make_in(directory_of(path), |temporary| File::create_new(temporary))
            .map_err(FileError::of("write", path))?;
        Ok(Self { file, path: path.to_path_buf() })
    }

    /// The file, to be written.
    pub fn file(&mut self) -> &mut File {
        self.file.as_file_mut()
    }

    /// Waits until the content is on the disk, then gives the file its name.
    ///
    /// # Errors
    /// If the disk is full or fails; then the old version stays.
    pub fn commit(self) -> Result<(), FileError> {
        self.file.as_file().sync_all().map_err(FileError::of("write", &self.path))?;
        self.file.persist(&self.path).map_err(|e| FileError::of("write", &self.path)(e.error))?;
        sync_parent(&self.path)
    }

    /// The same, unless there is a file of that name by now: of several processes, the first one counts.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn commit_if_first(self) -> Result<(), FileError> {
        self.file.as_file().sync_all().map_err(FileError::of("write", &self.path))?;
        match self.file.persist_noclobber(&self.path) {
            Err(e) if e.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(e) => Err(FileError::of("write", &self.path)(e.error)),
            Ok(_) => sync_parent(&self.path),
        }
    }
}

/// Whether a file of this name is what a killed process left of a [`NewFile`] for `file`, a name without a directory.
pub fn is_leftover(name: &str, file: &str) -> bool {
    name.strip_prefix(file).is_some_and(|rest| rest.starts_with('.') && rest.ends_with(UNFINISHED))
}

/// Writes a file so that a crash at any instant leaves the old version or the new. Of several processes that write it at
/// the same time, the last one counts.
///
/// # Errors
/// If it cannot be written; then the old version stays.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let mut new = NewFile::create(path)?;
    new.file().write_all(bytes).map_err(FileError::of("write", path))?;
    new.commit()
}

/// Writes a file and waits until it is on the disk.
///
/// # Errors
/// If it cannot be created or written; then there may be a part of it.
pub fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let mut file = File::create(path).map_err(FileError::of("create", path))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(FileError::of("write", path))
}

/// Waits until a rename or a new name in `path`'s directory is on the disk.
///
/// # Errors
/// If the directory cannot be opened or the disk fails.
pub fn sync_parent(path: &Path) -> Result<(), FileError> {
    if cfg!(not(unix)) {
        return Ok(()); // only Unix can open a directory to sync it; elsewhere the rename itself has to do
    }
    let synced = File::open(directory_of(path)).and_then(|directory| directory.sync_all());
    synced.map_err(FileError::of("sync the directory of", path))
}

/// Makes a directory and those above it, where they are missing.
///
/// # Errors
/// If one cannot be made.
pub fn create_dir_all(path: &Path) -> Result<(), FileError> {
    std::fs::create_dir_all(path).map_err(FileError::of("create", path))
}

/// Reads a text file.
///
/// # Errors
/// If it cannot be read, or is not UTF-8.
pub fn read_text(path: &Path) -> Result<String, FileError> {
    std::fs::read_to_string(path).map_err(FileError::of("read", path))
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
