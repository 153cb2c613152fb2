//! SQLite: a file, for one machine.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::types::ValueRef;
use rusqlite::{ErrorCode, OpenFlags, params_from_iter};

use super::connection::{Answer, Dialect, Driver, Row, Trouble, Value};

static DIALECT: Dialect = Dialect {
    begin: "BEGIN IMMEDIATE",
    durable: ("PRAGMA synchronous = FULL; BEGIN IMMEDIATE", "COMMIT; PRAGMA synchronous = NORMAL"),
    row_locks: false,
    hold: "",
    now: "strftime('%Y-%m-%d %H:%M:%f000', 'now')",
    tables: "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'",
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

pub(crate) struct Sqlite(rusqlite::Connection);

impl Sqlite {
    /// Opens a file, which is changed by nothing but statements.
    pub fn open(path: &Path, create: bool) -> Answer<Self> {
        if !create && !path.exists() {
            return Err(Trouble::Lasting("there is no such file".to_owned()));
        }
        let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        flags.set(OpenFlags::SQLITE_OPEN_CREATE, create);
        let connection = rusqlite::Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY)?;
        connection.set_prepared_statement_cache_capacity(64);
        // What a program that died has left in the log beside its file stays there, should the file not be ours.
        let mut log = path.as_os_str().to_owned();
        log.push("-wal");
        let log = std::fs::metadata(log).is_ok_and(|log| log.len() > 0);
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, log)?;
        Ok(Self(connection))
    }

    /// Readers and a writer that do not wait for each other, and commits that need no sync: what is committed outlives
    /// the process, and what must outlive a power cut is written by a durable transaction.
    pub fn tune(&mut self) -> Answer<()> {
        self.0.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
        self.batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -32000;")
    }
}

impl Driver for Sqlite {
    fn dialect(&self) -> &'static Dialect {
        &DIALECT
    }

    fn query(&mut self, sql: &str, parameters: &[Value]) -> Answer<Vec<Row>> {
        let mut statement = self.0.prepare_cached(sql)?;
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
                ValueRef::Blob(_) => Err(Trouble::Lasting("an answer holds binary data; the study is damaged".into())),
            };
            answer.push(Row((0..columns).map(value).collect::<Result<_, _>>()?));
        }
        Ok(answer)
    }

    fn batch(&mut self, sql: &str) -> Answer<()> {
        Ok(self.0.execute_batch(sql)?)
    }
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
            Some(ErrorCode::ReadOnly) => Trouble::Lasting("the file cannot be written".to_owned()),
            _ => Trouble::Lasting(text),
        }
    }
}
