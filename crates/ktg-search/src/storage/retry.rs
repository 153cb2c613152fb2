//! Trials of workers that died: found by their silence, ended, and repeated.

use std::time::{Duration, Instant};

use serde_json::Value as Json;

use super::Study;
use super::connection::{Answer, Connection, Transaction};
use super::encoding::State;
use super::rows::quoted;
use crate::Error;
use crate::attributes::{COMPLETED_RUNG, FAILED_TRIAL, PAUSED, REASON, RETRY_HISTORY, WORKER};

/// The last sign of life of a running trial's worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// The trial's key in the database.
    pub id: i64,
    /// Its number.
    pub number: i64,
    /// When that was by the database's clock, which may be wrong and may jump: all it says is whether there was another.
    pub time: String,
}

/// A trial whose worker fell silent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reaped {
    /// Its number.
    pub number: i64,
    /// The trial that repeats it; `None` if it was repeated often enough.
    pub retry: Option<i64>,
}

impl Study {
    /// The heartbeats of all running trials that have one, in the order of the trials.
    pub fn heartbeats(&mut self) -> Result<Vec<Heartbeat>, Error> {
        let select = "SELECT t.trial_id, t.number, CAST(h.heartbeat AS TEXT) \
                      FROM trials t JOIN trial_heartbeats h ON h.trial_id = t.trial_id \
                      WHERE t.study_id = $1 AND t.state = 'RUNNING' ORDER BY t.trial_id";
        self.storage.run(|connection| {
            connection.all(select, &[self.id.into()], |row| {
                Ok(Heartbeat { id: row.int(0)?, number: row.int(1)?, time: row.text(2)? })
            })
        })
    }

    /// Ends the running trials of which nothing was heard since these heartbeats, for `silence` (which the caller has
    /// seen to), and adds a waiting trial for each, which has the parameters, attributes and reports of the dead one, up to
    /// `retries` times for one graph.
    ///
    /// The values at rungs move to the new trial: it continues where the dead one was, and each graph counts once in each
    /// rung. The dead trial is final from now on, so its worker, should it only have slept, can write nothing more.
    pub fn reap(&mut self, silent: &[Heartbeat], silence: Duration, retries: usize) -> Result<Vec<Reaped>, Error> {
        let asked = Instant::now();
        let mut reaped = Vec::new();
        for last in silent {
            reaped.extend(self.storage.transaction(Transaction::OfStudy(self.id), |connection| {
                // Where the storage was away, the living could not be heard either.
                if asked.elapsed() > silence / 2 || !connection.is_still(last)? {
                    return Ok(None);
                }
                if !connection.end(last.id, State::Fail, None)? {
                    return Ok(None);
                }
                let retry = repeat(connection, self.id, last, retries)?;
                Ok(Some(Reaped { number: last.number, retry }))
            })?);
        }
        Ok(reaped)
    }
}

impl Connection {
    /// Whether a trial's worker was not heard again: it may speak up at the last moment.
    fn is_still(&mut self, last: &Heartbeat) -> Answer<bool> {
        self.lock_trial(last.id)?;
        let select = "SELECT CAST(heartbeat AS TEXT) FROM trial_heartbeats WHERE trial_id = $1";
        let time = self.first(select, &[last.id.into()], |row| row.text(0))?;
        Ok(time.as_ref() == Some(&last.time))
    }
}

/// Adds the trial that repeats one, unless it was repeated often enough; the study must be locked. Returns its number.
fn repeat(connection: &mut Connection, study: i64, dead: &Heartbeat, retries: usize) -> Answer<Option<i64>> {
    let select = "SELECT value_json FROM trial_system_attributes WHERE trial_id = $1 AND \"key\" = $2";
    let history = connection.first(select, &[dead.id.into(), RETRY_HISTORY.into()], |row| row.text(0))?;
    let mut history: Vec<i64> = history.and_then(|h| serde_json::from_str(&h).ok()).unwrap_or_default();
    let before = history.len();
    history.push(dead.number);
    let is_repeated = before < retries;
    let reason = match is_repeated {
        true => "its worker fell silent; repeated by a later trial".to_owned(),
        false => format!("its worker fell silent, as in {before} trials of this graph before; not repeated"),
    };
    connection.put_attribute("user", dead.id, REASON, &quoted(&reason))?;
    if !is_repeated {
        return Ok(None);
    }
    let new = connection.insert_trial(study, State::Waiting)?;
    let ids = [new.id.into(), dead.id.into()];
    let move_rungs = format!(
        "UPDATE trial_system_attributes SET trial_id = $1 WHERE trial_id = $2 AND \"key\" LIKE '{COMPLETED_RUNG}%'"
    );
    connection.run(&move_rungs, &ids)?;
    let of_the_dead = format!("AND \"key\" NOT IN ('{WORKER}', '{PAUSED}', '{REASON}')");
    for (table, columns, condition) in [
        ("trial_params", "param_name, param_value, distribution_json", ""),
        ("trial_intermediate_values", "step, intermediate_value, intermediate_value_type", ""),
        ("trial_system_attributes", "\"key\", value_json", ""),
        ("trial_user_attributes", "\"key\", value_json", &of_the_dead),
    ] {
        let copy = format!(
            "INSERT INTO {table} (trial_id, {columns}) \
             SELECT CAST($1 AS INTEGER), {columns} FROM {table} WHERE trial_id = $2 {condition}"
        );
        connection.run(&copy, &ids)?;
    }
    connection.put_attribute("system", new.id, FAILED_TRIAL, &history[0].to_string())?;
    connection.put_attribute("system", new.id, RETRY_HISTORY, &Json::from(history).to_string())?;
    Ok(Some(new.number))
}
