//! Files that are either the old or the new version, never half of one.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use crate::Error;

/// Writes a file so that a crash at any instant leaves the old version or the new: temporary file, fsync, rename,
/// fsync of the directory.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    let temporary = path.with_file_name(name);
    write_synced(&temporary, bytes)?;
    fs::rename(&temporary, path).map_err(Error::file("write", path))?;
    sync_parent(path)
}

/// Writes a file and waits until it is on the disk.
pub(crate) fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let mut file = File::create(path).map_err(Error::file("create", path))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(Error::file("write", path))
}

/// Waits until a rename or a new name in `path`'s directory is on the disk.
pub(crate) fn sync_parent(path: &Path) -> Result<(), Error> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    // Only Unix can open a directory to sync it; elsewhere the rename itself has to do.
    if cfg!(unix) {
        File::open(parent).and_then(|d| d.sync_all()).map_err(Error::file("sync", parent))?;
    }
    Ok(())
}

/// Reads a text file.
pub(crate) fn read_text(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(Error::file("read", path))
}
