//! Files that are either the old or the new version, never half of one.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use crate::Error;

/// Writes a file so that a crash at any instant leaves the old version or the new.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    ktg_data::write_atomically(path, bytes).map_err(Error::file("write", path))
}

/// Writes a file and waits until it is on the disk.
pub(crate) fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let mut file = File::create(path).map_err(Error::file("create", path))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(Error::file("write", path))
}

/// Waits until a rename or a new name in `path`'s directory is on the disk.
pub(crate) fn sync_parent(path: &Path) -> Result<(), Error> {
    ktg_data::sync_parent(path).map_err(Error::file("sync the directory of", path))
}

/// Reads a text file.
pub(crate) fn read_text(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(Error::file("read", path))
}
