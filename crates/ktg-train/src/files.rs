//! Files that are either the old or the new version, never half of one.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::Error;

/// How long a process waits for another one that writes the same file.
const PATIENCE: Duration = Duration::from_secs(5);

/// Writes a file so that a crash at any instant leaves the old version or the new. Of several processes that write it at
/// the same time, one comes after the other.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let started = Instant::now();
    loop {
        match ktg_data::write_atomically(path, bytes) {
            Err(e) if e.kind() == ErrorKind::ResourceBusy && started.elapsed() < PATIENCE => {
                std::thread::sleep(Duration::from_millis(5));
            }
            written => return written.map_err(Error::file("write", path)),
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writers_of_one_file_come_one_after_the_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index.json");
        std::thread::scope(|scope| {
            for writer in 0..4u8 {
                let path = &path;
                scope.spawn(move || (0..20).for_each(|_| write_atomically(path, &[writer; 1000]).unwrap()));
            }
        });
        let content = fs::read(&path).unwrap();
        assert!(content.len() == 1000 && content.iter().all(|byte| *byte == content[0]));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
    }
}
