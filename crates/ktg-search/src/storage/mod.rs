//! Studies in Optuna's relational schema, so that `optuna`, `optuna-dashboard` and `ktg` share them.
//!
//! [`Storage`] is a connection that waits out a database that goes away; [`Study`] has the operations of a search. One
//! SQL text serves both databases; `connection.rs` holds what differs.

mod connection;
mod encoding;
mod enqueue;
mod paused;
#[cfg(feature = "postgres")]
mod postgres;
mod read;
mod retry;
mod rows;
mod rungs;
mod schema;
mod seen;
mod sqlite;
mod study;
mod trials;
mod url;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use connection::{Connection, Trouble};

pub use encoding::State;
pub use enqueue::Enqueued;
pub use paused::PausedTrial;
pub use read::{StudySummary, Trial};
pub use retry::Reaped;
pub use rows::Claimed;
pub use rungs::RungValue;
pub use study::Study;
pub use trials::{Inserted, NewTrial};
pub use url::StorageUrl;

use crate::Error;

/// How long a database may be away, who is told, and what ends the waiting.
#[derive(Clone)]
pub struct Patience {
    /// After so long the operation fails.
    pub limit: Duration,
    /// Set to end the waiting at once.
    pub stop: Arc<AtomicBool>,
    /// Hears what goes wrong, in sentences.
    pub notice: Arc<dyn Fn(&str) + Send + Sync>,
}

impl Patience {
    /// Does not wait: for commands that a person runs.
    pub fn none() -> Self {
        Self { limit: Duration::ZERO, stop: Arc::new(AtomicBool::new(false)), notice: Arc::new(|_| {}) }
    }
}

/// How often one who waits says that it still waits.
const REMINDER: Duration = Duration::from_secs(10);

/// A database of studies.
pub struct Storage {
    url: StorageUrl,
    connection: Option<Box<dyn Connection>>,
    patience: Patience,
}

impl Storage {
    /// Connects to a database of studies; with `create`, a missing SQLite file or an empty database gets the tables.
    ///
    /// # Errors
    /// If it cannot be reached within the patience, or is not a database of Optuna studies (which is then unchanged).
    pub fn open(url: &StorageUrl, create: bool, patience: Patience) -> Result<Self, Error> {
        let mut storage = Self { url: url.clone(), connection: None, patience };
        let mut connect = || connect(url, create);
        storage.connection = Some(storage.wait(&mut connect)?);
        Ok(storage)
    }

    /// A connection of its own to the same database.
    pub fn another(&self) -> Result<Self, Error> {
        Self::open(&self.url, false, self.patience.clone())
    }

    /// Runs `work` until it succeeds or fails for good. It may run again after it was done, when only the answer was
    /// lost, and must then have no second effect.
    fn run<T>(&mut self, mut work: impl FnMut(&mut dyn Connection) -> Result<T, Trouble>) -> Result<T, Error> {
        let (mut connection, url) = (self.connection.take(), self.url.clone());
        let result = self.wait(&mut || {
            let mut usable = match connection.take() {
                Some(connection) => connection,
                None => connect(&url, false)?,
            };
            let result = work(&mut *usable);
            // After trouble a new connection is sure to be in no transaction.
            if !matches!(result, Err(Trouble::Passing(_))) {
                connection = Some(usable);
            }
            result
        });
        self.connection = connection;
        result
    }

    fn wait<T>(&self, attempt: &mut dyn FnMut() -> Result<T, Trouble>) -> Result<T, Error> {
        let error = |reason: String| Err(Error::Storage { storage: self.url.to_string(), reason });
        let started = Instant::now();
        let mut pause = Duration::from_millis(20);
        let mut said: Option<Instant> = None;
        loop {
            let reason = match attempt() {
                Ok(value) => {
                    if said.is_some() {
                        let seconds = started.elapsed().as_secs();
                        (self.patience.notice)(&format!("the storage works again after {seconds} s"));
                    }
                    return Ok(value);
                }
                Err(Trouble::Lasting(reason)) => return error(reason),
                Err(Trouble::Passing(reason)) => reason,
            };
            if self.patience.stop.load(Ordering::Relaxed) && said.is_some() {
                return Err(Error::Stopped);
            }
            let elapsed = started.elapsed();
            if elapsed >= self.patience.limit {
                return match elapsed.as_secs() {
                    0 => error(reason),
                    seconds => error(format!("{reason}; gave up after {seconds} s")),
                };
            }
            // A moment's trouble, such as a deadlock, is nobody's concern.
            if elapsed > Duration::from_millis(500) && said.is_none_or(|at| at.elapsed() >= REMINDER) {
                let limit = self.patience.limit.as_secs();
                let storage = &self.url;
                (self.patience.notice)(&format!(
                    "{storage}: {reason}; waiting for it (up to {limit} s; finished trials are safe)"
                ));
                said = Some(Instant::now());
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_secs(1));
        }
    }

    fn error(&self, reason: impl Into<String>) -> Error {
        Error::Storage { storage: self.url.to_string(), reason: reason.into() }
    }
}

fn connect(url: &StorageUrl, create: bool) -> Result<Box<dyn Connection>, Trouble> {
    match url {
        StorageUrl::Sqlite(path) => {
            let mut connection = sqlite::Sqlite::open(path, create)?;
            // First look, then touch.
            schema::check(&mut connection, create)?;
            connection.tune()?;
            Ok(Box::new(connection))
        }
        #[cfg(feature = "postgres")]
        StorageUrl::Postgres(url) => {
            let mut connection = postgres::Postgres::open(url)?;
            schema::check(&mut connection, create)?;
            Ok(Box::new(connection))
        }
        #[cfg(not(feature = "postgres"))]
        StorageUrl::Postgres(_) => Err(Trouble::Lasting(
            "this program was built without PostgreSQL; build it with the cargo feature `postgres`".to_owned(),
        )),
    }
}
