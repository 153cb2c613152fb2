//! Files that are either the old or the new version, never half of one.

use std::fs::{File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A file that takes its name only when it is complete. Dropped before that, it leaves nothing.
#[derive(Debug)]
pub struct NewFile {
    file: File,
    path: PathBuf,
    temporary: Option<PathBuf>,
}

impl NewFile {
    /// Starts the new version of the file `path` beside it, as `NAME.tmp`.
    ///
    /// # Errors
    /// If it cannot be created, or another process is writing it.
    pub fn create(path: &Path) -> io::Result<Self> {
        let mut name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?.to_owned();
        name.push(".tmp");
        let temporary = path.with_file_name(name);
        let mut tries = 0;
        let file = loop {
            let file = File::options().read(true).write(true).create(true).truncate(false).open(&temporary)?;
            match file.try_lock() {
                // Where a file system has no locks, two writers are the user's affair.
                Ok(()) | Err(TryLockError::Error(_)) => {}
                Err(TryLockError::WouldBlock) => {
                    return Err(io::Error::new(io::ErrorKind::ResourceBusy, "another process is writing it"));
                }
            }
            // Between opening and locking, another writer may have given this very file its name.
            // (File systems that cannot tell files apart are not asked forever.)
            tries += 1;
            if is_at(&file, &temporary)? || tries == 100 {
                break file;
            }
        };
        // What a killed process left behind.
        file.set_len(0)?;
        Ok(Self { file, path: path.to_path_buf(), temporary: Some(temporary) })
    }

    /// The file, to be written.
    pub fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Waits until the content is on the disk, then gives the file its name.
    ///
    /// # Errors
    /// If the disk is full or fails; then the old version stays.
    pub fn commit(mut self) -> io::Result<()> {
        self.file.sync_all()?;
        if let Some(temporary) = &self.temporary {
            std::fs::rename(temporary, &self.path)?;
            self.temporary = None;
        }
        sync_parent(&self.path)
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            let _ = std::fs::remove_file(temporary); // nothing more can be done about it
        }
    }
}

/// Whether an open file still has this name.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let file = file.metadata()?;
    match std::fs::metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (file.dev(), file.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Elsewhere an open file keeps its name.
#[cfg(not(unix))]
fn is_at(_: &File, _: &Path) -> io::Result<bool> {
    Ok(true)
}

/// Writes a whole file as [`NewFile`] does.
///
/// # Errors
/// If it cannot be written; then the old version stays.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut new = NewFile::create(path)?;
    new.file().write_all(bytes)?;
    new.commit()
}

/// Waits until a rename or a new name in `path`'s directory is on the disk.
///
/// # Errors
/// If the directory cannot be opened or the disk fails.
pub fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    // Only Unix can open a directory to sync it; elsewhere the rename itself has to do.
    if cfg!(unix) { File::open(parent)?.sync_all() } else { Ok(()) }
}
