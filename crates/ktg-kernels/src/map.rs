//! Files as memory.

use std::fs::File;
use std::io;

use memmap2::Mmap;

/// Maps a file for reading: the system reads its content when it is looked at, and drops it when memory is short.
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
pub fn map_file(file: &File) -> io::Result<Mmap> {
    // SAFETY: the mapping is read-only and lives as long as the handle; that its bytes do not change is the contract.
    unsafe { Mmap::map(file) }
}
