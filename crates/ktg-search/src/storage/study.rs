//! A study, and its attributes.

use serde_json::Value as Json;

use super::connection::transaction;
use super::rungs::RungCache;
use super::seen::Seen;
use super::{Patience, Storage, StorageUrl};
use crate::Error;

/// User attribute of a trial: the canonical hash of its graph.
pub(crate) const GRAPH: &str = "graph";
/// User attribute of a trial: who works on it, and which of its pieces of work that is.
pub const WORKER: &str = "worker";
/// User attribute of a trial that waits for its continuation: the rung at which it was stopped.
pub(crate) const PAUSED: &str = "paused";
/// System attribute of a retry: the number of the trial it repeats. Optuna's name.
pub(super) const FAILED_TRIAL: &str = "failed_trial";

/// A study, and this worker's connection to it. Larger values are better.
pub struct Study {
    pub(super) storage: Storage,
    pub(super) id: i64,
    name: String,
    pub(super) seen: Seen,
    pub(super) rungs: RungCache,
}

impl Study {
    /// Opens a study; with `create`, one that is missing is made.
    ///
    /// # Errors
    /// If the name is not one, there is no such study, or it does not maximise one value.
    pub fn open(url: &StorageUrl, name: &str, create: bool, patience: Patience) -> Result<Self, Error> {
        let study_error = |reason: &str| Error::Study { study: name.to_owned(), reason: reason.to_owned() };
        if name.is_empty() || name.chars().count() > 512 || name.contains('\0') {
            return Err(study_error("a study's name has 1 to 512 characters, and NUL is none of them"));
        }
        let mut storage = Storage::open(url, create, patience)?;
        let id = storage.run(|connection| {
            let find = "SELECT study_id FROM studies WHERE study_name = $1";
            if let Some(row) = connection.query(find, &[name.into()])?.first() {
                return row.int(0).map(Some);
            }
            if !create {
                return Ok(None);
            }
            transaction(connection, |connection| {
                let insert = "INSERT INTO studies (study_name) VALUES ($1) \
                              ON CONFLICT (study_name) DO NOTHING RETURNING study_id";
                if let Some(row) = connection.query(insert, &[name.into()])?.first() {
                    let direction = "INSERT INTO study_directions (direction, study_id, objective) \
                                     VALUES ('MAXIMIZE', $1, 0)";
                    connection.query(direction, &[row.int(0)?.into()])?;
                }
                connection.query(find, &[name.into()])?.first().map(|row| row.int(0)).transpose()
            })
        })?;
        let Some(id) = id else {
            return Err(study_error(&format!("there is no such study in {url}; see `ktg study list`")));
        };
        let directions = storage.run(|connection| {
            let select = "SELECT CAST(direction AS TEXT) FROM study_directions WHERE study_id = $1";
            let rows = connection.query(select, &[id.into()])?;
            rows.iter().map(|row| row.text(0).map(str::to_owned)).collect::<Result<Vec<_>, _>>()
        })?;
        if directions != ["MAXIMIZE"] {
            let reason = format!("its directions are {directions:?}; accuracies need one, MAXIMIZE");
            return Err(study_error(&reason));
        }
        Ok(Self { storage, id, name: name.to_owned(), seen: Seen::default(), rungs: RungCache::default() })
    }

    /// The same study through a connection of its own.
    pub fn another(&self) -> Result<Self, Error> {
        Ok(Self {
            storage: self.storage.another()?,
            id: self.id,
            name: self.name.clone(),
            seen: Seen::default(),
            rungs: RungCache::default(),
        })
    }

    /// Asks the storage for an answer.
    pub fn ping(&mut self) -> Result<(), Error> {
        self.storage.run(|connection| connection.batch("SELECT 1"))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn error(&self, reason: impl Into<String>) -> Error {
        Error::Study { study: self.name.clone(), reason: reason.into() }
    }

    /// Sets a user attribute of the study unless it has one of this key; returns the one it has.
    pub fn attribute_or(&mut self, key: &str, value: &Json) -> Result<Json, Error> {
        let id = self.id;
        let value = value.to_string();
        let insert = "INSERT INTO study_user_attributes (study_id, \"key\", value_json) VALUES ($1, $2, $3) \
                      ON CONFLICT (study_id, \"key\") DO NOTHING";
        self.storage.run(|c| c.query(insert, &[id.into(), key.into(), value.as_str().into()]))?;
        Ok(self.attribute(key)?.unwrap_or(Json::Null))
    }

    /// Sets a user attribute of the study, whatever it was.
    pub fn put_attribute(&mut self, key: &str, value: &Json) -> Result<(), Error> {
        let id = self.id;
        let value = value.to_string();
        let upsert = "INSERT INTO study_user_attributes (study_id, \"key\", value_json) VALUES ($1, $2, $3) \
                      ON CONFLICT (study_id, \"key\") DO UPDATE SET value_json = excluded.value_json";
        self.storage.run(|c| c.query(upsert, &[id.into(), key.into(), value.as_str().into()])).map(drop)
    }

    /// A user attribute of the study.
    pub fn attribute(&mut self, key: &str) -> Result<Option<Json>, Error> {
        let id = self.id;
        let select = "SELECT value_json FROM study_user_attributes WHERE study_id = $1 AND \"key\" = $2";
        let rows = self.storage.run(|c| c.query(select, &[id.into(), key.into()]))?;
        match rows.first().map(|row| row.text(0)) {
            None => Ok(None),
            Some(Ok(text)) => Ok(Some(super::encoding::json(text))),
            Some(Err(_)) => Err(self.storage.error(format!("the study's attribute `{key}` is damaged"))),
        }
    }
}
