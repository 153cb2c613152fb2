//! The life of a trial: added or claimed, reported, ended or given back.

use serde_json::Value as Json;

use super::connection::{Connection, Trouble, Value, durable_transaction, study_transaction, transaction};
use super::encoding::{State, categorical, encode};
use super::rows::{
    Claimed, beat, claimed, end, hold, next_number, owner, put_attribute, put_running_attribute, quoted, stop_beating,
    take, worked_on,
};
use super::study::Study;
use crate::Error;
use crate::attributes::GRAPH;

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

impl Study {
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
                if seen.knows(&new.graph) {
                    return Ok(Inserted::Known);
                }
                if seen.trials(connection, id)? >= limit {
                    return Ok(Inserted::Full);
                }
                insert(connection, id, new, worker).map(Inserted::Trial)
            })
        })
    }

    /// Claims a trial for the piece of work `worker` by `work`, or finds the one that a first attempt has claimed when only
    /// its answer was lost.
    pub(super) fn claim(
        &mut self,
        worker: &str,
        mut work: impl FnMut(&mut dyn Connection) -> Result<Option<Claimed>, Trouble>,
    ) -> Result<Option<Claimed>, Error> {
        let id = self.id;
        let mut again = false;
        self.storage.run(|connection| match std::mem::replace(&mut again, true) {
            true => match worked_on(connection, id, worker)? {
                None => work(connection),
                claimed => Ok(claimed),
            },
            false => work(connection),
        })
    }

    /// Takes the oldest waiting trial, if there is one.
    pub fn claim_waiting(&mut self, worker: &str) -> Result<Option<Claimed>, Error> {
        let id = self.id;
        self.claim(worker, |connection| {
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
                // Not of one that was taken from its worker meanwhile: what is over never changes.
                if !beat(connection, trial)? {
                    return Ok(());
                }
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
