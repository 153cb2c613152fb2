//! The operations of a search on its study.

use std::collections::HashSet;

use serde_json::Value as Json;

use super::connection::{Connection, Row, Trouble, Value, durable_transaction, study_transaction, transaction};
use super::encoding::{State, categorical, encode};
use super::rungs::RungCache;
use super::{Patience, Storage, StorageUrl};
use crate::Error;

/// User attribute of a trial: the canonical hash of its graph.
pub(crate) const GRAPH: &str = "graph";
/// User attribute of a trial: who works on it, and which of its pieces of work that is.
pub(crate) const WORKER: &str = "worker";
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

/// What is known of the trials of a study, so that only news are read.
#[derive(Default)]
pub(super) struct Seen {
    graphs: HashSet<String>,
    last_graph: i64,
    retries: i64,
    last_retry: i64,
}

/// A trial to add.
pub struct NewTrial<'a> {
    /// Name, choices and chosen index of each parameter.
    pub parameters: Vec<(&'a str, &'a [String], usize)>,
    /// Canonical hash of the graph.
    pub graph: String,
}

/// What became of a trial to add.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// It is this worker's now.
    Trial(Claimed),
    /// The study has a trial of this graph already.
    Known,
    /// The study has as many trials as it shall have.
    Full,
}

/// A trial that is this worker's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// Key in the database.
    pub id: i64,
    /// Number in the study, from 0.
    pub number: i64,
}

/// A trial that waits for its continuation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PausedTrial {
    /// Key in the database.
    pub id: i64,
    /// The rung at which it was stopped.
    pub rung: u32,
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

    /// Adds a trial, running, unless the study knows its graph or has `limit` trials (retries do not count). `worker` names
    /// this piece of work; no two are called alike.
    pub fn insert(&mut self, new: &NewTrial, worker: &str, limit: i64) -> Result<Inserted, Error> {
        let (id, seen) = (self.id, &mut self.seen);
        let mut again = false;
        self.storage.run(|connection| {
            if std::mem::replace(&mut again, true) {
                // The commit may have been done and only its answer lost.
                if let Some(claimed) = worked_on(connection, id, worker)? {
                    return Ok(Inserted::Trial(claimed));
                }
            }
            study_transaction(connection, id, |connection| {
                seen.update(connection, id)?;
                if seen.graphs.contains(&quoted(&new.graph)) {
                    return Ok(Inserted::Known);
                }
                if seen.trials(connection, id)? >= limit {
                    return Ok(Inserted::Full);
                }
                insert(connection, id, new, worker).map(Inserted::Trial)
            })
        })
    }

    /// Whether the study has a trial of this graph, as far as this worker has seen.
    pub fn knows(&self, graph: &str) -> bool {
        self.seen.graphs.contains(&quoted(graph))
    }

    /// Learns of the graphs that others have added.
    pub fn look(&mut self) -> Result<(), Error> {
        let (id, seen) = (self.id, &mut self.seen);
        self.storage.run(|connection| seen.update(connection, id))
    }

    /// The number of trials but for retries.
    pub fn count(&mut self) -> Result<i64, Error> {
        let (id, seen) = (self.id, &mut self.seen);
        self.storage.run(|connection| {
            seen.update(connection, id)?;
            seen.trials(connection, id)
        })
    }

    /// Takes the oldest waiting trial, if there is one.
    pub fn claim_waiting(&mut self, worker: &str) -> Result<Option<Claimed>, Error> {
        let id = self.id;
        let mut again = false;
        self.storage.run(|connection| {
            if std::mem::replace(&mut again, true)
                && let Some(claimed) = worked_on(connection, id, worker)?
            {
                return Ok(Some(claimed));
            }
            let select = "SELECT trial_id, number FROM trials WHERE study_id = $1 AND state = 'WAITING' \
                          ORDER BY trial_id LIMIT 1";
            if connection.query(select, &[id.into()])?.is_empty() {
                return Ok(None);
            }
            study_transaction(connection, id, |connection| {
                let rows = connection.query(select, &[id.into()])?;
                let Some(row) = rows.first() else { return Ok(None) };
                let claimed = claimed(row)?;
                let now = connection.dialect().now;
                let update = format!(
                    "UPDATE trials SET state = 'RUNNING', datetime_start = {now} \
                     WHERE trial_id = $1 AND state = 'WAITING' RETURNING trial_id"
                );
                if connection.query(&update, &[claimed.id.into()])?.is_empty() {
                    return Ok(None);
                }
                take(connection, claimed.id, worker)?;
                Ok(Some(claimed))
            })
        })
    }

    /// Adds what a waiting trial lacks: parameters that whoever enqueued it left open, and its graph.
    pub fn describe(&mut self, trial: i64, new: &NewTrial) -> Result<(), Error> {
        let id = self.id;
        self.storage.run(|connection| {
            study_transaction(connection, id, |connection| {
                insert_parameters(connection, trial, new)?;
                put_attribute(connection, "user", trial, GRAPH, &quoted(&new.graph))
            })
        })
    }

    /// Reports a value at a step. `false`: the trial is not this worker's any more.
    pub fn report(&mut self, trial: i64, step: i64, value: f64) -> Result<bool, Error> {
        let (value, kind) = encode(value);
        let parameters = [step.into(), value, trial.into()];
        self.storage.run(|connection| {
            let insert = format!(
                "INSERT INTO trial_intermediate_values \
                 (trial_id, step, intermediate_value, intermediate_value_type) \
                 SELECT trial_id, $1, $2, '{kind}' FROM trials WHERE trial_id = $3 AND state = 'RUNNING' {hold} \
                 ON CONFLICT (trial_id, step) DO UPDATE SET intermediate_value = excluded.intermediate_value, \
                 intermediate_value_type = excluded.intermediate_value_type RETURNING step",
                hold = connection.dialect().hold
            );
            connection.query(&insert, &parameters).map(|rows| !rows.is_empty())
        })
    }

    /// Says that this worker is alive. `false`: the trial is not its any more.
    pub fn beat(&mut self, trial: i64) -> Result<bool, Error> {
        self.storage.run(|connection| {
            transaction(connection, |connection| {
                hold(connection, trial)?;
                beat(connection, trial)
            })
        })
    }

    /// Sets a user attribute of a running trial; one that was taken from its worker stays as it is.
    pub fn set_attribute(&mut self, trial: i64, key: &str, value: &Json) -> Result<(), Error> {
        let value = value.to_string();
        self.storage.run(|c| put_running_attribute(c, "user", trial, key, &value))
    }

    /// Ends a trial with its value, if it has one, and attributes. On the disk when it returns. `false`: the trial is
    /// not this worker's any more, and nothing was written.
    pub fn finish(
        &mut self,
        trial: i64,
        state: State,
        value: Option<f64>,
        attributes: &[(String, Json)],
    ) -> Result<bool, Error> {
        let mut again = false;
        self.storage.run(|connection| {
            let again = std::mem::replace(&mut again, true);
            durable_transaction(connection, |connection| {
                if !end(connection, trial, state, value)? {
                    // Done before, if this is the second attempt.
                    let select = "SELECT 1 FROM trials WHERE trial_id = $1 AND state = $2";
                    return Ok(again && !connection.query(select, &[trial.into(), state.name().into()])?.is_empty());
                }
                for (key, value) in attributes {
                    put_attribute(connection, "user", trial, key, &value.to_string())?;
                }
                Ok(true)
            })
        })
    }

    /// Gives a running trial back: it waits for any worker, with what it has reported.
    pub fn give_back(&mut self, trial: i64) -> Result<(), Error> {
        let update = "UPDATE trials SET state = 'WAITING', datetime_start = NULL \
                      WHERE trial_id = $1 AND state = 'RUNNING'";
        // If only the answer to a first attempt was lost, the trial may be another worker's by the second.
        let mut first = None;
        self.storage.run(|connection| {
            durable_transaction(connection, |connection| {
                hold(connection, trial)?;
                let owner = owner(connection, trial)?;
                if *first.get_or_insert_with(|| owner.clone()) != owner {
                    return Ok(());
                }
                connection.query(update, &[trial.into()])?;
                // Whoever takes it next may be an Optuna that sends no heartbeats.
                stop_beating(connection, trial)
            })
        })
    }

    /// Pauses a running trial at a rung, until it belongs to the top of that rung or the study ends.
    ///
    /// It stays RUNNING, but without a heartbeat: a finished state would be final to all readers, a waiting one would be
    /// taken by any Optuna, and a running trial without a heartbeat is neither taken nor ever thought dead. `false`: it is
    /// not this worker's any more.
    pub fn pause(&mut self, trial: i64, rung: u32) -> Result<bool, Error> {
        // If only the answer to a first attempt was lost, the trial may be another worker's by the second.
        let mut first = None;
        self.storage.run(|connection| {
            transaction(connection, |connection| {
                hold(connection, trial)?;
                let owner = owner(connection, trial)?;
                if *first.get_or_insert_with(|| owner.clone()) != owner || !beat(connection, trial)? {
                    return Ok(false);
                }
                stop_beating(connection, trial)?;
                put_attribute(connection, "user", trial, PAUSED, &rung.to_string())?;
                Ok(true)
            })
        })
    }

    /// The paused trials.
    pub fn paused(&mut self) -> Result<Vec<PausedTrial>, Error> {
        let id = self.id;
        let select = "SELECT t.trial_id, a.value_json FROM trials t \
                      JOIN trial_user_attributes a ON a.trial_id = t.trial_id \
                      WHERE t.study_id = $1 AND t.state = 'RUNNING' AND a.\"key\" = $2";
        self.storage.run(|connection| {
            let rows = connection.query(select, &[id.into(), PAUSED.into()])?;
            let paused = |row: &Row| Ok(row.text(1)?.parse().ok().map(|rung| (row.int(0), rung)));
            rows.iter()
                .filter_map(|row| paused(row).transpose())
                .map(|found| found.and_then(|(id, rung)| Ok(PausedTrial { id: id?, rung })))
                .collect()
        })
    }

    /// Takes a paused trial, unless another worker was faster.
    pub fn claim_paused(&mut self, trial: i64, worker: &str) -> Result<Option<Claimed>, Error> {
        let id = self.id;
        let mut again = false;
        self.storage.run(|connection| {
            if std::mem::replace(&mut again, true)
                && let Some(claimed) = worked_on(connection, id, worker)?
            {
                return Ok(Some(claimed));
            }
            study_transaction(connection, id, |connection| {
                let delete = "DELETE FROM trial_user_attributes WHERE trial_id = $1 AND \"key\" = $2 RETURNING 1";
                let paused = connection.query(delete, &[trial.into(), PAUSED.into()])?;
                let select = "SELECT trial_id, number FROM trials WHERE trial_id = $1 AND state = 'RUNNING'";
                let rows = connection.query(select, &[trial.into()])?;
                match rows.first() {
                    Some(row) if !paused.is_empty() => {
                        take(connection, trial, worker)?;
                        claimed(row).map(Some)
                    }
                    _ => Ok(None),
                }
            })
        })
    }

    /// Prunes a paused trial, with its last report as its value. `false`: it is not paused any more.
    pub fn prune_paused(&mut self, trial: i64) -> Result<bool, Error> {
        self.storage.run(|connection| {
            // There may be thousands; if a power cut takes some back, the next worker prunes them.
            transaction(connection, |connection| {
                let delete = "DELETE FROM trial_user_attributes WHERE trial_id = $1 AND \"key\" = $2 RETURNING 1";
                if connection.query(delete, &[trial.into(), PAUSED.into()])?.is_empty() {
                    return Ok(false);
                }
                let value = last_report(connection, trial)?;
                end(connection, trial, State::Pruned, value)
            })
        })
    }
}

impl Seen {
    /// The number of trials that repeat others.
    pub fn retries(&self) -> i64 {
        self.retries
    }

    /// Reads the graphs and retries that were added since the last time. Both are only added while the study is locked,
    /// so their keys grow in the order in which they become visible.
    fn update(&mut self, connection: &mut dyn Connection, study: i64) -> Result<(), Trouble> {
        // The study is asked for row by row, so that the rows are found by their own key and not by the trials'.
        let graphs = "SELECT a.trial_user_attribute_id, a.value_json FROM trial_user_attributes a \
                      WHERE a.trial_user_attribute_id > $1 AND a.\"key\" = $2 \
                      AND (SELECT t.study_id FROM trials t WHERE t.trial_id = a.trial_id) = $3";
        for row in connection.query(graphs, &[self.last_graph.into(), GRAPH.into(), study.into()])? {
            self.last_graph = self.last_graph.max(row.int(0)?);
            self.graphs.insert(row.text(1)?.to_owned());
        }
        let retries = "SELECT a.trial_system_attribute_id FROM trial_system_attributes a \
                       WHERE a.trial_system_attribute_id > $1 AND a.\"key\" = $2 \
                       AND (SELECT t.study_id FROM trials t WHERE t.trial_id = a.trial_id) = $3";
        for row in connection.query(retries, &[self.last_retry.into(), FAILED_TRIAL.into(), study.into()])? {
            self.last_retry = self.last_retry.max(row.int(0)?);
            self.retries += 1;
        }
        Ok(())
    }

    fn trials(&self, connection: &mut dyn Connection, study: i64) -> Result<i64, Trouble> {
        Ok(next_number(connection, study)? - self.retries)
    }
}

/// Numbers are 0, 1, 2, ... in the order of the keys; the study must be locked.
pub(super) fn next_number(connection: &mut dyn Connection, study: i64) -> Result<i64, Trouble> {
    let last = "SELECT number FROM trials WHERE study_id = $1 ORDER BY trial_id DESC LIMIT 1";
    let Some(last) = connection.query(last, &[study.into()])?.first().map(|row| row.int(0)).transpose()? else {
        return Ok(0);
    };
    // More is no INTEGER of PostgreSQL, and none of ours.
    match u32::try_from(last) {
        Ok(last) => Ok(i64::from(last) + 1),
        Err(_) => Err(Trouble::Lasting(format!("a trial has the number {last}; the study is damaged"))),
    }
}

/// Adds a running trial; the study must be locked.
fn insert(connection: &mut dyn Connection, study: i64, new: &NewTrial, worker: &str) -> Result<Claimed, Trouble> {
    let number = next_number(connection, study)?;
    let now = connection.dialect().now;
    let insert = format!(
        "INSERT INTO trials (number, study_id, state, datetime_start) \
         SELECT $1, study_id, 'RUNNING', {now} FROM studies WHERE study_id = $2 RETURNING trial_id"
    );
    let rows = connection.query(&insert, &[number.into(), study.into()])?;
    let Some(row) = rows.first() else {
        return Err(Trouble::Lasting("the study was deleted".to_owned()));
    };
    let id = row.int(0)?;
    insert_parameters(connection, id, new)?;
    put_attribute(connection, "user", id, GRAPH, &quoted(&new.graph))?;
    take(connection, id, worker)?;
    Ok(Claimed { id, number })
}

/// Adds parameters in one statement; those that are there stay.
fn insert_parameters(connection: &mut dyn Connection, trial: i64, new: &NewTrial) -> Result<(), Trouble> {
    if new.parameters.is_empty() {
        return Ok(());
    }
    let mut values = Vec::new();
    let mut parameters: Vec<Value> = Vec::new();
    for (name, choices, index) in &new.parameters {
        let n = parameters.len();
        values.push(format!("(${}, ${}, ${}, ${})", n + 1, n + 2, n + 3, n + 4));
        parameters.extend([trial.into(), (*name).into(), (*index as f64).into(), categorical(choices).into()]);
    }
    let insert = format!(
        "INSERT INTO trial_params (trial_id, param_name, param_value, distribution_json) VALUES {} \
         ON CONFLICT (trial_id, param_name) DO NOTHING",
        values.join(", ")
    );
    connection.query(&insert, &parameters).map(drop)
}

/// Makes a running trial `worker`'s: from now on it has a heartbeat.
fn take(connection: &mut dyn Connection, trial: i64, worker: &str) -> Result<(), Trouble> {
    put_attribute(connection, "user", trial, WORKER, &quoted(worker))?;
    beat(connection, trial).map(drop)
}

/// Keeps others from changing a trial until the transaction ends, and from seeing what it was before.
fn hold(connection: &mut dyn Connection, trial: i64) -> Result<(), Trouble> {
    match connection.dialect().row_locks {
        true => connection.query("SELECT 1 FROM trials WHERE trial_id = $1 FOR UPDATE", &[trial.into()]).map(drop),
        false => Ok(()),
    }
}

/// A paused trial gets no heartbeat, should its worker's last one come late: it would look dead later.
fn beat(connection: &mut dyn Connection, trial: i64) -> Result<bool, Trouble> {
    let now = connection.dialect().beat;
    let upsert = format!(
        "INSERT INTO trial_heartbeats (trial_id, heartbeat) \
         SELECT trial_id, {now} FROM trials WHERE trial_id = $1 AND state = 'RUNNING' AND NOT EXISTS \
         (SELECT 1 FROM trial_user_attributes WHERE trial_id = $1 AND \"key\" = '{PAUSED}') \
         ON CONFLICT (trial_id) DO UPDATE SET heartbeat = excluded.heartbeat RETURNING trial_id"
    );
    Ok(!connection.query(&upsert, &[trial.into()])?.is_empty())
}

fn stop_beating(connection: &mut dyn Connection, trial: i64) -> Result<(), Trouble> {
    connection.query("DELETE FROM trial_heartbeats WHERE trial_id = $1", &[trial.into()]).map(drop)
}

/// Ends a running trial. Value and state come together, because readers keep what they saw of a finished trial.
fn end(connection: &mut dyn Connection, trial: i64, state: State, value: Option<f64>) -> Result<bool, Trouble> {
    if !set_state(connection, trial, state)? {
        return Ok(false);
    }
    // A final value cannot be NaN.
    if let Some((value, kind)) = value.filter(|v| !v.is_nan()).map(encode) {
        let insert = format!(
            "INSERT INTO trial_values (trial_id, objective, value, value_type) VALUES ($1, 0, $2, '{kind}') \
             ON CONFLICT (trial_id, objective) DO UPDATE SET value = excluded.value, value_type = excluded.value_type"
        );
        connection.query(&insert, &[trial.into(), value])?;
    }
    Ok(true)
}

/// Ends a running trial, if it is running.
pub(super) fn set_state(connection: &mut dyn Connection, trial: i64, state: State) -> Result<bool, Trouble> {
    let now = connection.dialect().now;
    let update = format!(
        "UPDATE trials SET state = '{state}', datetime_complete = {now} \
         WHERE trial_id = $1 AND state = 'RUNNING' RETURNING trial_id"
    );
    Ok(!connection.query(&update, &[trial.into()])?.is_empty())
}

fn last_report(connection: &mut dyn Connection, trial: i64) -> Result<Option<f64>, Trouble> {
    let select = "SELECT intermediate_value, CAST(intermediate_value_type AS TEXT) FROM trial_intermediate_values \
                  WHERE trial_id = $1 ORDER BY step DESC LIMIT 1";
    let rows = connection.query(select, &[trial.into()])?;
    rows.first().map(|row| super::encoding::decode(row.real(0)?, row.text(1)?)).transpose()
}

/// The piece of work that a trial was last.
fn owner(connection: &mut dyn Connection, trial: i64) -> Result<Option<String>, Trouble> {
    let select = "SELECT value_json FROM trial_user_attributes WHERE trial_id = $1 AND \"key\" = $2";
    let rows = connection.query(select, &[trial.into(), WORKER.into()])?;
    rows.first().map(|row| row.text(0).map(str::to_owned)).transpose()
}

/// The running trial that is this piece of work.
fn worked_on(connection: &mut dyn Connection, study: i64, worker: &str) -> Result<Option<Claimed>, Trouble> {
    let select = "SELECT t.trial_id, t.number FROM trials t JOIN trial_user_attributes a ON a.trial_id = t.trial_id \
                  WHERE t.study_id = $1 AND t.state = 'RUNNING' AND a.\"key\" = $2 AND a.value_json = $3";
    let rows = connection.query(select, &[study.into(), WORKER.into(), quoted(worker).into()])?;
    rows.first().map(claimed).transpose()
}

pub(super) fn put_attribute(
    connection: &mut dyn Connection,
    kind: &str,
    trial: i64,
    key: &str,
    value: &str,
) -> Result<(), Trouble> {
    let upsert = format!(
        "INSERT INTO trial_{kind}_attributes (trial_id, \"key\", value_json) VALUES ($1, $2, $3) \
         ON CONFLICT (trial_id, \"key\") DO UPDATE SET value_json = excluded.value_json"
    );
    connection.query(&upsert, &[trial.into(), key.into(), value.into()]).map(drop)
}

/// The same, if the trial is running.
pub(super) fn put_running_attribute(
    connection: &mut dyn Connection,
    kind: &str,
    trial: i64,
    key: &str,
    value: &str,
) -> Result<(), Trouble> {
    let upsert = format!(
        "INSERT INTO trial_{kind}_attributes (trial_id, \"key\", value_json) \
         SELECT trial_id, $1, $2 FROM trials WHERE trial_id = $3 AND state = 'RUNNING' {hold} \
         ON CONFLICT (trial_id, \"key\") DO UPDATE SET value_json = excluded.value_json",
        hold = connection.dialect().hold
    );
    connection.query(&upsert, &[key.into(), value.into(), trial.into()]).map(drop)
}

fn claimed(row: &Row) -> Result<Claimed, Trouble> {
    Ok(Claimed { id: row.int(0)?, number: row.int(1)? })
}

/// A text as JSON.
fn quoted(text: &str) -> String {
    Json::String(text.to_owned()).to_string()
}
