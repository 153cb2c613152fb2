//! Files as memory.

use std::fs::File;
use std::io;
use std::ops::Deref;

/// A file's content, which the system reads when it is looked at and drops when memory is short.
#[derive(Debug)]
pub struct MappedFile(memmap2::Mmap);

/// Maps a file for reading.
///
/// # Contract
///
/// Nobody changes the file in place while it is mapped: whoever replaces it writes a new file and renames it, as `ktg` does.
/// It cannot be checked, since other processes may have the file open, which is why this sentence stands here and not an
/// error below. Bytes that change are read as they are at that moment, so a reader must check what it reads and must not read
/// the same byte twice to rely on both; a file that is cut off ends the process with a bus error (SIGBUS).
///
/// # Errors
/// If the file cannot be mapped, for example because it is a directory.
pub fn map_file(file: &File) -> io::Result<MappedFile> {
    // SAFETY: the mapping is read-only and lives as long as the handle; that its bytes do not change is the contract.
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
