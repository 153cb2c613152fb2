//! Reading an SQLite file without writing anything: neither into it, nor beside it. So studies on read-only media can be
//! read, and those that others work on stay as they are.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tempfile::TempDir;

use super::connection::{Answer, Dialect, Driver, Row, Trouble, Value};
use super::sqlite::{Sqlite, beside};

/// So often a file that changes while it is read is read again.
const ATTEMPTS: usize = 5;

/// A connection that only reads.
pub(crate) struct Reader {
    sqlite: Sqlite,
    path: PathBuf,
    way: Way,
}

/// How a file is read.
enum Way {
    /// Together with others, by the locks and the index of the log that they have made.
    Shared,
    /// As if nothing could change it, because nobody has it open; it was so when reading began.
    Alone(Content),
    /// A copy, with what a program that died has left in a file beside it.
    Copy { _directory: TempDir },
}

/// What tells whether a file or those beside it have changed: of each, its length and time.
type Content = [Option<(u64, Option<SystemTime>)>; 3];

impl Reader {
    /// Opens a file.
    pub fn open(path: &Path) -> Answer<Self> {
        if !path.exists() {
            return Err(Trouble::Lasting("there is no such file".to_owned()));
        }
        let (sqlite, way) = open(path)?;
        Ok(Self { sqlite, path: path.to_owned(), way })
    }

    /// Whether what was read may have been half old and half new.
    fn is_outdated(&self) -> bool {
        matches!(&self.way, Way::Alone(before) if content(&self.path) != *before)
    }

    fn read<T>(&mut self, mut work: impl FnMut(&mut Sqlite) -> Answer<T>) -> Answer<T> {
        for _ in 0..ATTEMPTS {
            let answer = work(&mut self.sqlite);
            if !self.is_outdated() {
                return answer;
            }
            (self.sqlite, self.way) = open(&self.path)?;
        }
        Err(Trouble::Passing("the file changes while it is read".to_owned()))
    }
}

impl Driver for Reader {
    fn dialect(&self) -> &'static Dialect {
        self.sqlite.dialect()
    }

    fn query(&mut self, sql: &str, parameters: &[Value]) -> Answer<Vec<Row>> {
        self.read(|sqlite| sqlite.query(sql, parameters))
    }

    fn batch(&mut self, sql: &str) -> Answer<()> {
        self.read(|sqlite| sqlite.batch(sql))
    }
}

/// Opens a file in the way that leaves no trace. Of a database with a log, SQLite makes the files that end in `-wal` and
/// `-shm` even for one who only reads, and never removes them for him.
fn open(path: &Path) -> Answer<(Sqlite, Way)> {
    let before = content(path);
    let [_, log, journal] = before.map(|file| file.is_some_and(|(length, _)| length > 0));
    if has_log(path) && !log {
        return Ok((Sqlite::open_to_read(path, true)?, Way::Alone(before)));
    }
    // Whoever wrote these had died, or the file is a copy.
    let is_left_over = journal || (log && !beside(path, "-shm").exists());
    if is_left_over {
        return copy(path);
    }
    let mut shared = Sqlite::open_to_read(path, false)?;
    // Where nothing may be written, SQLite reads a log only together with one who writes it.
    if log && shared.batch("SELECT 1 FROM sqlite_master").is_err() {
        return copy(path);
    }
    Ok((shared, Way::Shared))
}

/// Whether a file is a database that is changed by way of a log, as those of workers are.
fn has_log(path: &Path) -> bool {
    let mut header = [0; 20];
    let is_read = fs::File::open(path).and_then(|mut file| file.read_exact(&mut header)).is_ok();
    is_read && header.starts_with(b"SQLite format 3\0") && header[18..] == [2, 2]
}

/// Copies a file, and what belongs to it, to where it may be written.
fn copy(path: &Path) -> Answer<(Sqlite, Way)> {
    let trouble = |e: io::Error| Trouble::Lasting(format!("the file cannot be copied to be read ({e})"));
    let directory = tempfile::tempdir().map_err(trouble)?;
    let file = directory.path().join("study.db");
    for _ in 0..ATTEMPTS {
        let before = content(path);
        fs::copy(path, &file).map_err(trouble)?;
        for end in LOGS {
            let (from, to) = (beside(path, end), beside(&file, end));
            if from.exists() {
                fs::copy(from, to).map_err(trouble)?;
            }
        }
        if content(path) == before {
            return Ok((Sqlite::open(&file, false)?, Way::Copy { _directory: directory }));
        }
    }
    Err(Trouble::Passing("the file changes while it is copied to be read".to_owned()))
}

/// How the names of files end that hold a part of a database beside it.
const LOGS: [&str; 2] = ["-wal", "-journal"];

fn content(path: &Path) -> Content {
    [path.to_owned(), beside(path, LOGS[0]), beside(path, LOGS[1])].map(|path| {
        let file = fs::metadata(path).ok()?;
        Some((file.len(), file.modified().ok()))
    })
}
