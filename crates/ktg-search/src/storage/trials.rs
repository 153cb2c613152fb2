//! The life of a trial: added or claimed, reported, ended or given back.

use serde_json::Value as Json;

use super::Study;
use super::connection::{Answer, Connection, Transaction, Value};
use super::encoding::{State, categorical, encode};
use super::rows::{Claimed, PARAMETER_COLUMNS, quoted};
use crate::Error;
use crate::attributes::{GRAPH, SEED, VARIANT};

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
        let mut refused = Inserted::Full;
        let claimed = self.storage.claim(self.id, worker, |connection| {
            self.seen.update(connection, self.id)?;
            if self.seen.knows(&new.graph) {
                refused = Inserted::Known;
                return Ok(None);
            }
            if self.seen.trials(connection, self.id)? >= limit {
                return Ok(None);
            }
            let claimed = connection.insert_trial(self.id, State::Running)?;
            insert_description(connection, claimed.id, new)?;
            Ok(Some(claimed))
        })?;
        Ok(claimed.map_or(refused, Inserted::Trial))
    }

    /// Takes the oldest waiting trial, if there is one.
    pub fn claim_waiting(&mut self, worker: &str) -> Result<Option<Claimed>, Error> {
        let select = "SELECT trial_id, number FROM trials WHERE study_id = $1 AND state = 'WAITING' \
                      ORDER BY trial_id LIMIT 1";
        // Mostly there is none, which can be seen without a lock.
        if !self.storage.run(|connection| connection.any(select, &[self.id.into()]))? {
            return Ok(None);
        }
        self.storage.claim(self.id, worker, |connection| {
            let Some(claimed) = connection.first(select, &[self.id.into()], Claimed::read)? else { return Ok(None) };
            let now = connection.dialect().now;
            let update = format!(
                "UPDATE trials SET state = 'RUNNING', datetime_start = {now} \
                 WHERE trial_id = $1 AND state = 'WAITING' RETURNING trial_id"
            );
            Ok(connection.any(&update, &[claimed.id.into()])?.then_some(claimed))
        })
    }

    /// Adds what a trial that waited lacks: parameters that whoever enqueued it left open, and its graph. Nothing is added
    /// if another trial has the same graph, seed and change of an analysis, and has not failed: its number is returned.
    pub fn describe(&mut self, trial: i64, new: &NewTrial) -> Result<Option<i64>, Error> {
        self.storage.transaction(Transaction::OfStudy(self.id), |connection| {
            let twin = twin(connection, self.id, trial, &new.graph)?;
            // Not to one that was taken from its worker meanwhile: what is over never changes.
            if twin.is_none() && connection.beat(trial)? {
                insert_description(connection, trial, new)?;
            }
            Ok(twin)
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
            connection.outliving_a_crash(|connection| connection.any(&insert, &parameters))
        })
    }

    /// Says that this worker is alive. `false`: the trial is not its any more.
    pub fn beat(&mut self, trial: i64) -> Result<bool, Error> {
        self.storage.transaction(Transaction::Plain, |connection| {
            connection.lock_trial(trial)?;
            connection.beat(trial)
        })
    }

    /// Sets a user attribute of a running trial; one that was taken from its worker stays as it is.
    pub fn set_attribute(&mut self, trial: i64, key: &str, value: &Json) -> Result<(), Error> {
        let value = value.to_string();
        self.storage.run(|connection| {
            connection.outliving_a_crash(|connection| connection.put_running_attribute("user", trial, key, &value))
        })
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
        self.storage.transaction(Transaction::Durable, |connection| {
            let again = std::mem::replace(&mut again, true);
            if !connection.end(trial, state, value)? {
                // Done before, if this is the second attempt.
                let done = format!("SELECT 1 FROM trials WHERE trial_id = $1 AND state = '{state}'");
                return Ok(again && connection.any(&done, &[trial.into()])?);
            }
            for (key, value) in attributes {
                connection.put_attribute("user", trial, key, &value.to_string())?;
            }
            Ok(true)
        })
    }

    /// Gives a running trial back: it waits for any worker, with what it has reported.
    pub fn give_back(&mut self, trial: i64) -> Result<(), Error> {
        let left = self.storage.leave(trial, Transaction::Durable, |connection| {
            let update = "UPDATE trials SET state = 'WAITING', datetime_start = NULL \
                          WHERE trial_id = $1 AND state = 'RUNNING'";
            connection.run(update, &[trial.into()])?;
            // Whoever takes it next may be an Optuna that sends no heartbeats.
            connection.stop_beating(trial)?;
            Ok(true)
        });
        left.map(drop)
    }
}

/// The number of the first trial that has the graph which this one is to have; the study must be locked. Only a trial
/// with parameters has one for sure. Of two that have parameters and graph already, because they were given back or
/// another program added them so, the first one is that which had its graph first.
fn twin(connection: &mut Connection, study: i64, trial: i64, graph: &str) -> Answer<Option<i64>> {
    let has_parameters = |trial: &str| format!("EXISTS (SELECT 1 FROM trial_params p WHERE p.trial_id = {trial})");
    let attribute = |trial: &str, key: &str| {
        let select =
            format!("SELECT value_json FROM trial_user_attributes WHERE trial_id = {trial} AND \"key\" = '{key}'");
        format!("COALESCE(({select}), '')")
    };
    let is_equal = |key: &str| format!("{} = {}", attribute("t.trial_id", key), attribute("$2", key));
    let select = format!(
        "SELECT t.number FROM trials t \
         JOIN trial_user_attributes a ON a.trial_id = t.trial_id AND a.\"key\" = '{GRAPH}' \
         WHERE t.study_id = $1 AND t.trial_id <> $2 AND a.value_json = $3 AND t.state <> 'FAIL' \
         AND {is_described} AND {same_seed} AND {same_variant} \
         AND NOT EXISTS (SELECT 1 FROM trial_user_attributes own WHERE own.trial_id = $2 AND own.\"key\" = '{GRAPH}' \
         AND own.trial_user_attribute_id < a.trial_user_attribute_id AND {was_described}) \
         ORDER BY t.number LIMIT 1",
        is_described = has_parameters("t.trial_id"),
        same_seed = is_equal(SEED),
        same_variant = is_equal(VARIANT),
        was_described = has_parameters("$2"),
    );
    connection.first(&select, &[study.into(), trial.into(), quoted(graph).as_str().into()], |row| row.int(0))
}

/// Adds a trial's parameters; those that are there stay. Notes its graph.
fn insert_description(connection: &mut Connection, trial: i64, new: &NewTrial) -> Answer<()> {
    let row = |(name, choices, index): &(&str, &[String], usize)| {
        vec![trial.into(), (*name).into(), Value::Real(*index as f64), Value::Text(categorical(choices))]
    };
    let rows: Vec<Vec<Value>> = new.parameters.iter().map(row).collect();
    let stay = "ON CONFLICT (trial_id, param_name) DO NOTHING";
    connection.insert_rows("trial_params", &PARAMETER_COLUMNS, &rows, stay)?;
    connection.put_attribute("user", trial, GRAPH, &quoted(&new.graph))
}
