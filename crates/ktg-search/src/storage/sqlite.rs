//! SQLite: a file, for one machine.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::types::{Type, ValueRef};
use rusqlite::{ErrorCode, OpenFlags, params_from_iter};

use super::connection::{Answer, Dialect, Driver, Row, Trouble, Value};

static DIALECT: Dialect = Dialect {
    begin: "BEGIN IMMEDIATE",
    durable: ("PRAGMA synchronous = FULL; BEGIN IMMEDIATE", "COMMIT; PRAGMA synchronous = NORMAL"),
    row_locks: false,
    hold: "",
    now: "strftime('%Y-%m-%d %H:%M:%f000', 'now')",
    tables: "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'",
    empty: "there are no studies in it (a copy of a database in use needs the file beside it whose name ends in -wal, too)",
    types: &[
        ("{enums}", ""),
        ("{key}", "INTEGER NOT NULL"),
        ("{float}", "FLOAT"),
        ("{time}", "DATETIME"),
        ("{direction}", "VARCHAR(8)"),
        ("{state}", "VARCHAR(8)"),
        ("{value_type}", "VARCHAR(7)"),
        ("{report_type}", "VARCHAR(7)"),
    ],
};

/// How long SQLite itself waits for another writer before it says that the file is busy.
const BUSY: Duration = Duration::from_secs(2);

pub(crate) struct Sqlite {
    connection: rusqlite::Connection,
    path: PathBuf,
}

impl Sqlite {
    /// Opens a file, which is changed by nothing but statements.
    pub fn open(path: &Path, create: bool) -> Answer<Self> {
        if !create && !path.exists() {
            return Err(Trouble::Lasting("there is no such file".to_owned()));
        }
        let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        flags.set(OpenFlags::SQLITE_OPEN_CREATE, create);
        let connection = rusqlite::Connection::open_with_flags(path, flags).map_err(|error| {
            match (error.sqlite_error_code(), directory(path)) {
                (Some(ErrorCode::CannotOpen), folder) if folder.is_dir() => Trouble::Lasting(format!(
                    "the file cannot be opened ({error}); the directory {} must be writable",
                    folder.display()
                )),
                _ => error.into(),
            }
        })?;
        // What a program that died has left in the log beside its file stays there, should the file not be ours.
        let log = std::fs::metadata(beside(path, "-wal")).is_ok_and(|log| log.len() > 0);
        Self::with(connection, path, log)
    }

    /// Opens a file that this connection never changes; `alone`: nobody else does either, so that nothing has to be
    /// locked.
    pub fn open_to_read(path: &Path, alone: bool) -> Answer<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut uri = uri(path).map_err(|e| Trouble::Lasting(format!("its absolute path cannot be told ({e})")))?;
        uri += if alone { "?immutable=1" } else { "?mode=ro" };
        Self::with(rusqlite::Connection::open_with_flags(uri, flags)?, path, true)
    }

    fn with(connection: rusqlite::Connection, path: &Path, keeps_log: bool) -> Answer<Self> {
        connection.busy_timeout(BUSY)?;
        connection.set_prepared_statement_cache_capacity(64);
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, keeps_log)?;
        Ok(Self { connection, path: path.to_owned() })
    }

    fn rows(&self, sql: &str, parameters: &[Value]) -> rusqlite::Result<Vec<Row>> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let columns = statement.column_count();
        let parameters = parameters.iter().map(|value| match value {
            Value::Null => rusqlite::types::Value::Null,
            Value::Int(v) => (*v).into(),
            Value::Real(v) => (*v).into(),
            Value::Text(v) => v.clone().into(),
        });
        let mut rows = statement.query(params_from_iter(parameters))?;
        let mut answer = Vec::new();
        while let Some(row) = rows.next()? {
            let value = |i| match row.get_ref(i)? {
                ValueRef::Null => Ok(Value::Null),
                ValueRef::Integer(v) => Ok(Value::Int(v)),
                ValueRef::Real(v) => Ok(Value::Real(v)),
                ValueRef::Text(v) => Ok(Value::Text(String::from_utf8_lossy(v).into_owned())),
                ValueRef::Blob(_) => Err(rusqlite::Error::InvalidColumnType(i, String::new(), Type::Blob)),
            };
            answer.push(Row((0..columns).map(value).collect::<Result<_, _>>()?));
        }
        Ok(answer)
    }

    /// What an error of a statement means: the file is open, so that what cannot be opened or written is beside it.
    fn trouble(&self, error: rusqlite::Error) -> Trouble {
        match error.sqlite_error_code() {
            Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly) => Trouble::Lasting(format!(
                "it cannot be written ({error}); the directory {} and the file must be writable, as SQLite keeps files beside it",
                directory(&self.path).display()
            )),
            _ => error.into(),
        }
    }

    /// Readers and a writer that do not wait for each other, and commits that need no sync: what is committed outlives
    /// the process, and what must outlive a power cut is written by a durable transaction.
    pub fn tune(&mut self) -> Answer<()> {
        self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
        self.batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -32000;")
    }
}

impl Driver for Sqlite {
    fn dialect(&self) -> &'static Dialect {
        &DIALECT
    }

    fn query(&mut self, sql: &str, parameters: &[Value]) -> Answer<Vec<Row>> {
        self.rows(sql, parameters).map_err(|error| self.trouble(error))
    }

    fn batch(&mut self, sql: &str) -> Answer<()> {
        self.connection.execute_batch(sql).map_err(|error| self.trouble(error))
    }
}

/// A file as a URI, in which nothing in its name has a meaning.
fn uri(path: &Path) -> io::Result<String> {
    let path = std::path::absolute(path)?;
    let mut uri = "file://".to_owned();
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'/' | b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' => uri.push(char::from(*byte)),
            other => uri += &format!("%{other:02X}"),
        }
    }
    Ok(uri)
}

/// The directory of a file.
fn directory(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The file beside a database whose name ends so.
pub(super) fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        // It may quote what a damaged file holds.
        let text = error.to_string().replace(char::is_control, " ");
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                Trouble::Passing("another process holds the database".to_owned())
            }
            Some(ErrorCode::DiskFull) => Trouble::Passing("the disk is full".to_owned()),
            Some(ErrorCode::SystemIoFailure) => Trouble::Passing(format!("the disk reports an error ({text})")),
            Some(ErrorCode::NotADatabase) => Trouble::Lasting("the file is not an SQLite database".to_owned()),
            Some(ErrorCode::DatabaseCorrupt) => {
                Trouble::Lasting(format!("the database is damaged ({text}); restore a copy, or choose another file"))
            }
            Some(ErrorCode::CannotOpen) => {
                Trouble::Lasting(format!("the file cannot be opened ({text}); does its directory exist?"))
            }
            _ if matches!(error, rusqlite::Error::InvalidColumnType(..)) => {
                Trouble::Lasting("an answer holds binary data; the study is damaged".to_owned())
            }
            _ => Trouble::Lasting(text),
        }
    }
}
