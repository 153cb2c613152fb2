//! A connection to a database of studies, which waits out a database that goes away.
//!
//! A worker and its heartbeat share one connection, a transaction at a time: nobody holds it who waits for the database.
//! One to a server is given up wherever there is nothing to ask for a while, and made again when there is: a worker that
//! trains has none, so that fewer connections than workers are enough.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::connection::{Answer, Connection, Transaction, Trouble};
use super::reader::Reader;
use super::rows::Claimed;
use super::{StorageUrl, schema, sqlite};
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
    /// Waits for no more than its turn: for commands that a person runs.
    pub fn none() -> Self {
        Self { limit: Duration::ZERO, stop: Arc::new(AtomicBool::new(false)), notice: Arc::new(|_| {}) }
    }
}

/// Trouble that is over so soon, such as a deadlock, is nobody's concern.
const MOMENT: Duration = Duration::from_millis(500);
/// The same where it is another worker's turn, for which even who has no patience waits.
const TURN: Duration = Duration::from_secs(5);
/// The longest pause between attempts, and the same where it is another worker's turn: who asks seldom never finds a
/// connection free among others who come and go.
const PAUSE: Duration = Duration::from_secs(1);
const TURN_PAUSE: Duration = Duration::from_millis(250);
/// How often one who waits says that it still waits.
const REMINDER: Duration = Duration::from_secs(10);

/// What a connection may do with a database.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    /// Also make the file or the tables, if there are none: only the first connection.
    Create,
    Write,
    /// Nothing that leaves a trace.
    Read,
}

/// A database of studies.
pub struct Storage {
    url: StorageUrl,
    connection: Arc<Mutex<Option<Box<Connection>>>>,
    /// What a connection may do.
    access: Access,
    patience: Patience,
}

impl Storage {
    /// Connects to a database of studies; with `create`, a missing SQLite file or an empty database gets the tables.
    ///
    /// # Errors
    /// If it cannot be reached within the patience, or is not a database of Optuna studies (which is then unchanged).
    pub fn open(url: &StorageUrl, create: bool, patience: Patience) -> Result<Self, Error> {
        let access = if create { Access::Create } else { Access::Write };
        let mut storage = Self::open_for(url, access, patience)?;
        storage.access = Access::Write;
        Ok(storage)
    }

    /// Connects to a database of studies that is only read: nothing is written into it nor beside it, so that it may be on
    /// a medium that cannot be written. Not for a process that writes to the same file meanwhile: whoever closes a file
    /// gives up all locks that his process has on it.
    ///
    /// # Errors
    /// If it cannot be read, or is not a database of Optuna studies.
    pub fn open_to_read(url: &StorageUrl) -> Result<Self, Error> {
        Self::open_for(url, Access::Read, Patience::none())
    }

    fn open_for(url: &StorageUrl, access: Access, patience: Patience) -> Result<Self, Error> {
        let mut storage = Self { url: url.clone(), connection: Arc::default(), access, patience };
        storage.run(|_| Ok(()))?;
        Ok(storage)
    }

    /// The same database for another thread, over the same connection.
    pub(crate) fn shared(&self) -> Self {
        let connection = Arc::clone(&self.connection);
        Self { url: self.url.clone(), connection, access: self.access, patience: self.patience.clone() }
    }

    /// Gives up the connection, if others may be in need of it and nobody here uses it now.
    pub(crate) fn hang_up(&self) {
        if let StorageUrl::Postgres(_) = &self.url
            && let Ok(mut connection) = self.connection.try_lock()
        {
            *connection = None;
        }
    }

    /// Runs `work` until it succeeds or fails for good. It may run again after it was done, when only the answer was
    /// lost, and must then have no second effect.
    pub(super) fn run<T>(&mut self, mut work: impl FnMut(&mut Connection) -> Answer<T>) -> Result<T, Error> {
        let started = Instant::now();
        let mut pause = Duration::from_millis(20);
        let mut said: Option<Instant> = None;
        loop {
            let (reason, moment, limit, longest_pause) = match self.attempt(&mut work) {
                Ok(value) => {
                    if said.is_some() {
                        let seconds = started.elapsed().as_secs();
                        (self.patience.notice)(&format!("the storage works again after {seconds} s"));
                    }
                    return Ok(value);
                }
                Err(Trouble::Lasting(reason)) => return Err(self.error(reason)),
                Err(Trouble::Passing(reason)) => (reason, MOMENT, self.patience.limit, PAUSE),
                Err(Trouble::Crowded(reason)) => (reason, TURN, self.patience.limit.max(TURN), TURN_PAUSE),
            };
            if self.patience.stop.load(Ordering::Relaxed) && said.is_some() {
                return Err(Error::Stopped);
            }
            let elapsed = started.elapsed();
            if elapsed >= limit {
                return Err(match elapsed.as_secs() {
                    0 => self.error(reason),
                    seconds => self.error(format!("{reason}; gave up after {seconds} s")),
                });
            }
            if elapsed > moment && said.is_none_or(|at| at.elapsed() >= REMINDER) {
                let limit = limit.as_secs();
                let storage = &self.url;
                (self.patience.notice)(&format!(
                    "{storage}: {reason}; waiting for it (up to {limit} s; finished trials are safe)"
                ));
                said = Some(Instant::now());
            }
            std::thread::sleep(pause.min(longest_pause));
            pause = (pause * 2).min(PAUSE);
        }
    }

    /// The same, in a transaction.
    pub(super) fn transaction<T>(
        &mut self,
        kind: Transaction,
        mut work: impl FnMut(&mut Connection) -> Answer<T>,
    ) -> Result<T, Error> {
        self.run(|connection| connection.transaction(kind, &mut work))
    }

    /// Makes the trial that `work` chooses the piece of work `worker`. If only the answer to a first attempt was lost, the
    /// trial is found by that name.
    pub(super) fn claim(
        &mut self,
        study: i64,
        worker: &str,
        mut work: impl FnMut(&mut Connection) -> Answer<Option<Claimed>>,
    ) -> Result<Option<Claimed>, Error> {
        let mut again = false;
        self.run(|connection| {
            if std::mem::replace(&mut again, true)
                && let Some(claimed) = connection.trial_of(study, worker)?
            {
                return Ok(Some(claimed));
            }
            connection.transaction(Transaction::OfStudy(study), |connection| {
                let claimed = work(connection)?;
                if let Some(trial) = claimed {
                    connection.assign(trial.id, worker)?;
                }
                Ok(claimed)
            })
        })
    }

    /// Takes a trial from its worker, by `work`. If only the answer to a first attempt was lost, the trial may be another
    /// worker's by the second, which then does nothing (`false`).
    pub(super) fn leave(
        &mut self,
        trial: i64,
        kind: Transaction,
        mut work: impl FnMut(&mut Connection) -> Answer<bool>,
    ) -> Result<bool, Error> {
        let mut first = None;
        self.transaction(kind, |connection| {
            connection.lock_trial(trial)?;
            let worker = connection.worker_of(trial)?;
            let is_same = *first.get_or_insert_with(|| worker.clone()) == worker;
            Ok(is_same && work(connection)?)
        })
    }

    fn attempt<T>(&mut self, work: impl FnOnce(&mut Connection) -> Answer<T>) -> Answer<T> {
        let mut shared = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        // After trouble or a panic it is gone: a new one is sure to be in no transaction.
        let mut connection = match shared.take() {
            Some(connection) => connection,
            None => connect(&self.url, self.access)?,
        };
        let result = work(&mut *connection);
        if matches!(result, Ok(_) | Err(Trouble::Lasting(_))) {
            *shared = Some(connection);
        }
        result
    }

    /// Where it is: [`StorageUrl::place`].
    pub(super) fn place(&self) -> String {
        self.url.place()
    }

    pub(super) fn error(&self, reason: String) -> Error {
        Error::Storage { storage: self.url.to_string(), reason }
    }
}

fn connect(url: &StorageUrl, access: Access) -> Answer<Box<Connection>> {
    match url {
        StorageUrl::Sqlite(path) if access == Access::Read => {
            let mut connection = Reader::open(path)?;
            schema::check(&mut connection, false)?;
            Ok(Box::new(connection))
        }
        StorageUrl::Sqlite(path) => {
            let create = access == Access::Create;
            let mut connection = sqlite::Sqlite::open(path, create)?;
            // First look, then touch.
            schema::check(&mut connection, create)?;
            connection.tune()?;
            Ok(Box::new(connection))
        }
        #[cfg(feature = "postgres")]
        StorageUrl::Postgres(url) => {
            let mut connection = super::postgres::Postgres::open(url)?;
            schema::check(&mut connection, access == Access::Create)?;
            if access == Access::Read {
                let connection: &mut Connection = &mut connection;
                connection.batch("SET default_transaction_read_only = on")?;
            }
            Ok(Box::new(connection))
        }
        #[cfg(not(feature = "postgres"))]
        StorageUrl::Postgres(_) => Err(Trouble::Lasting(
            "this program was built without PostgreSQL; build it with the cargo feature `postgres`".to_owned(),
        )),
    }
}
