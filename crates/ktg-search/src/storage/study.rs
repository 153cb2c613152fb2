//! A study, and its attributes.

use serde_json::Value as Json;

use super::connection::{Answer, Connection, Transaction};
use super::encoding::{decode, json, number_to_json};
use super::rungs::{RungCache, RungValue};
use super::seen::Seen;
use super::{Patience, Storage, StorageUrl};
use crate::Error;
use crate::attributes::completed_rung;

/// Which values of a study are better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// Smaller ones, such as errors.
    Minimize,
    /// Larger ones, such as accuracies.
    Maximize,
}

impl Goal {
    /// That of a study with these directions; `None` unless it has one.
    pub(super) fn of(directions: &[String]) -> Option<Self> {
        match directions {
            [direction] if direction == "MINIMIZE" => Some(Goal::Minimize),
            [direction] if direction == "MAXIMIZE" => Some(Goal::Maximize),
            _ => None,
        }
    }
}

/// A study, and what this worker knows of it. Larger values are better.
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
        check_name(name)?;
        Self::find(Storage::open(url, create, patience)?, url, name, create)?.maximizing()
    }

    /// Opens a study that is only read, see [`Storage::open_to_read`]; whatever would write fails.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_to_read(url: &StorageUrl, name: &str) -> Result<Self, Error> {
        check_name(name)?;
        Self::find(Storage::open_to_read(url)?, url, name, false)?.maximizing()
    }

    /// Opens a study of another program, only to read it, and says which of its values are better.
    ///
    /// # Errors
    /// If there is no such study, or it has several values.
    pub fn open_to_import(url: &StorageUrl, name: &str) -> Result<(Self, Goal), Error> {
        check_name(name)?;
        let mut study = Self::find(Storage::open_to_read(url)?, url, name, false)?;
        let directions = study.directions()?;
        match Goal::of(&directions) {
            Some(goal) => Ok((study, goal)),
            None => Err(study.error(format!("its directions in {url} are {directions:?}; give a study of one value"))),
        }
    }

    fn find(mut storage: Storage, url: &StorageUrl, name: &str, create: bool) -> Result<Self, Error> {
        let find = "SELECT study_id FROM studies WHERE study_name = $1";
        let id = storage.run(|connection| {
            let found = connection.first(find, &[name.into()], |row| row.int(0))?;
            if found.is_some() || !create {
                return Ok(found);
            }
            connection.transaction(Transaction::Plain, |connection| {
                insert_study(connection, name)?;
                connection.first(find, &[name.into()], |row| row.int(0))
            })
        })?;
        match id {
            Some(id) => Ok(Self::through(storage, id, name)),
            None => {
                let list = format!("ktg study list --storage {}", url.shell_word());
                Err(study_error(name, &format!("there is no such study in {url}; see `{list}`")))
            }
        }
    }

    fn maximizing(mut self) -> Result<Self, Error> {
        let directions = self.directions()?;
        match Goal::of(&directions) {
            Some(Goal::Maximize) => Ok(self),
            _ => Err(self.error(format!("its directions are {directions:?}; accuracies need one, MAXIMIZE"))),
        }
    }

    fn directions(&mut self) -> Result<Vec<String>, Error> {
        let select = "SELECT CAST(direction AS TEXT) FROM study_directions WHERE study_id = $1";
        self.storage.run(|connection| connection.all(select, &[self.id.into()], |row| row.text(0)))
    }

    /// The same study for another thread, over the same connection.
    pub(crate) fn shared(&self) -> Self {
        Self::through(self.storage.shared(), self.id, &self.name)
    }

    /// There is nothing to ask for a while: others may have the connection.
    pub(crate) fn hang_up(&self) {
        self.storage.hang_up();
    }

    fn through(storage: Storage, id: i64, name: &str) -> Self {
        Self { storage, id, name: name.to_owned(), seen: Seen::default(), rungs: RungCache::default() }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it is kept, in a way that is the same for all its workers on a machine.
    pub(crate) fn place(&self) -> String {
        self.storage.place()
    }

    pub(crate) fn error(&self, reason: impl Into<String>) -> Error {
        Error::Study { study: self.name.clone(), reason: reason.into() }
    }

    /// An attribute cannot be understood.
    pub(crate) fn damaged(&self, key: &str, reason: &str) -> Error {
        self.error(format!("its attribute `{key}` is damaged, or of a newer ktg: {reason}"))
    }

    /// Sets a user attribute of the study unless it has one of this key; returns the one it has.
    pub fn attribute_or(&mut self, key: &str, value: &Json) -> Result<Json, Error> {
        self.insert_attribute(key, value, "DO NOTHING")?;
        Ok(self.attribute(key)?.unwrap_or(Json::Null))
    }

    /// Sets a user attribute of the study, whatever it was.
    pub fn put_attribute(&mut self, key: &str, value: &Json) -> Result<(), Error> {
        self.insert_attribute(key, value, "DO UPDATE SET value_json = excluded.value_json")
    }

    fn insert_attribute(&mut self, key: &str, value: &Json, on_conflict: &str) -> Result<(), Error> {
        let insert = format!(
            "INSERT INTO study_user_attributes (study_id, \"key\", value_json) VALUES ($1, $2, $3) \
             ON CONFLICT (study_id, \"key\") {on_conflict}"
        );
        let parameters = [self.id.into(), key.into(), value.to_string().as_str().into()];
        self.storage.run(|connection| connection.outliving_a_crash(|connection| connection.run(&insert, &parameters)))
    }

    /// A user attribute of the study.
    pub fn attribute(&mut self, key: &str) -> Result<Option<Json>, Error> {
        let select = "SELECT value_json FROM study_user_attributes WHERE study_id = $1 AND \"key\" = $2";
        let parameters = [self.id.into(), key.into()];
        match self.storage.run(|connection| connection.first(select, &parameters, |row| Ok(row.text(0))))? {
            None => Ok(None),
            Some(Ok(text)) => Ok(Some(json(&text))),
            Some(Err(_)) => Err(self.storage.error(format!("the study's attribute `{key}` is damaged"))),
        }
    }

    /// Whether the study has a trial of this graph, as far as this worker has seen.
    pub fn knows(&self, graph: &str) -> bool {
        self.seen.knows(graph)
    }

    /// Learns of the graphs that others have added.
    pub fn look(&mut self) -> Result<(), Error> {
        self.storage.run(|connection| self.seen.update(connection, self.id))
    }

    /// The number of trials but for retries.
    pub fn count(&mut self) -> Result<i64, Error> {
        self.storage.run(|connection| {
            self.seen.update(connection, self.id)?;
            self.seen.trials(connection, self.id)
        })
    }

    /// Notes the value of a running trial at a rung, under Optuna's name for it. Nothing is noted of one that was taken
    /// from its worker: its values are its retry's now.
    pub fn complete_rung(&mut self, trial: i64, rung: u32, value: f64) -> Result<(), Error> {
        let (key, value) = (completed_rung(rung), number_to_json(value));
        self.storage.run(|connection| {
            connection.outliving_a_crash(|connection| connection.put_running_attribute("system", trial, &key, &value))
        })
    }

    /// The values of all trials at a rung, or at all rungs, in no order. Trials of every state count, as in Optuna.
    pub fn rungs(&mut self, rung: Option<u32>) -> Result<Vec<RungValue>, Error> {
        self.storage.run(|connection| self.rungs.update(connection, self.id, self.seen.retries))?;
        let wanted = |value: &&RungValue| rung.is_none_or(|rung| value.rung == rung);
        Ok(self.rungs.values.values().filter(wanted).copied().collect())
    }

    /// The values that complete trials reported at a step, and the number of complete trials.
    pub fn complete_at(&mut self, step: i64) -> Result<(Vec<f64>, usize), Error> {
        self.storage.run(|connection| {
            let count = "SELECT count(*) FROM trials WHERE study_id = $1 AND state = 'COMPLETE'";
            let count = connection.first(count, &[self.id.into()], |row| row.int(0))?.unwrap_or(0);
            let select = "SELECT v.intermediate_value, CAST(v.intermediate_value_type AS TEXT) FROM trials t \
                          JOIN trial_intermediate_values v ON v.trial_id = t.trial_id \
                          WHERE t.study_id = $1 AND t.state = 'COMPLETE' AND v.step = $2";
            let values =
                connection.all(select, &[self.id.into(), step.into()], |row| decode(row.real(0)?, &row.text(1)?))?;
            Ok((values, count as usize))
        })
    }
}

/// Adds a study of accuracies; returns its key, or nothing if there is a study of this name.
pub(super) fn insert_study(connection: &mut Connection, name: &str) -> Answer<Option<i64>> {
    let insert = "INSERT INTO studies (study_name) VALUES ($1) ON CONFLICT (study_name) DO NOTHING RETURNING study_id";
    let id = connection.first(insert, &[name.into()], |row| row.int(0))?;
    if let Some(id) = id {
        let direction = "INSERT INTO study_directions (direction, study_id, objective) VALUES ('MAXIMIZE', $1, 0)";
        connection.run(direction, &[id.into()])?;
    }
    Ok(id)
}

pub(crate) fn check_name(name: &str) -> Result<(), Error> {
    match name.is_empty() || name.chars().count() > 512 || name.contains('\0') {
        true => Err(study_error(name, "a study's name has 1 to 512 characters, and NUL is none of them")),
        false => Ok(()),
    }
}

pub(super) fn study_error(name: &str, reason: &str) -> Error {
    Error::Study { study: name.to_owned(), reason: reason.to_owned() }
}
