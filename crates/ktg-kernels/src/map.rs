//! Files as memory.

use std::fs::File;
use std::io;
use std::ops::Deref;

/// A file's content, which the system reads when it is looked at and drops when memory is short.
#[derive(Debug)]
pub struct MappedFile(memmap2::Mmap);

/// Maps a file for reading.
///
/// The file must not be changed in place while it is mapped: whoever replaces it writes a new file and renames it, as all
/// programs here do. A file that is cut off meanwhile ends the process with a bus error.
///
/// # Errors
/// If the file cannot be mapped, for example because it is a directory.
pub fn map_file(file: &File) -> io::Result<MappedFile> {
    // SAFETY: the mapping is read-only and lives as long as the handle. What the compiler may not see is bytes that
    // change under it; the files that are mapped here come into being by a rename of a complete file and are never written
    // again, which the documentation demands of callers. No process can prevent another from breaking that.
    let map = unsafe { memmap2::Mmap::map(file)? };
    Ok(MappedFile(map))
}

impl Deref for MappedFile {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for MappedFile {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}
