//! Single statements about trials, for the transactions of the other modules.

use serde_json::Value as Json;

use super::connection::{Connection, Row, Trouble};
use super::encoding::{State, decode, encode};
use crate::attributes::{PAUSED, WORKER};

/// A trial that is this worker's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// Key in the database.
    pub id: i64,
    /// Number in the study, from 0.
    pub number: i64,
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

/// Adds a waiting trial without parameters; the study must be locked. Returns its key and number.
pub(super) fn insert_waiting(connection: &mut dyn Connection, study: i64) -> Result<Claimed, Trouble> {
    let number = next_number(connection, study)?;
    let insert = "INSERT INTO trials (number, study_id, state) VALUES ($1, $2, 'WAITING') RETURNING trial_id";
    let rows = connection.query(insert, &[number.into(), study.into()])?;
    let id = rows.first().map_or(Err(Trouble::Lasting("no trial was added".to_owned())), |row| row.int(0))?;
    Ok(Claimed { id, number })
}

/// Makes a running trial `worker`'s: from now on it has a heartbeat.
pub(super) fn take(connection: &mut dyn Connection, trial: i64, worker: &str) -> Result<(), Trouble> {
    put_attribute(connection, "user", trial, WORKER, &quoted(worker))?;
    beat(connection, trial).map(drop)
}

/// Keeps others from changing a trial until the transaction ends, and from seeing what it was before.
pub(super) fn hold(connection: &mut dyn Connection, trial: i64) -> Result<(), Trouble> {
    match connection.dialect().row_locks {
        true => connection.query("SELECT 1 FROM trials WHERE trial_id = $1 FOR UPDATE", &[trial.into()]).map(drop),
        false => Ok(()),
    }
}

/// A paused trial gets no heartbeat, should its worker's last one come late: it would look dead later.
pub(super) fn beat(connection: &mut dyn Connection, trial: i64) -> Result<bool, Trouble> {
    let now = connection.dialect().beat;
    let upsert = format!(
        "INSERT INTO trial_heartbeats (trial_id, heartbeat) \
         SELECT trial_id, {now} FROM trials WHERE trial_id = $1 AND state = 'RUNNING' AND NOT EXISTS \
         (SELECT 1 FROM trial_user_attributes WHERE trial_id = $1 AND \"key\" = '{PAUSED}') \
         ON CONFLICT (trial_id) DO UPDATE SET heartbeat = excluded.heartbeat RETURNING trial_id"
    );
    Ok(!connection.query(&upsert, &[trial.into()])?.is_empty())
}

pub(super) fn stop_beating(connection: &mut dyn Connection, trial: i64) -> Result<(), Trouble> {
    connection.query("DELETE FROM trial_heartbeats WHERE trial_id = $1", &[trial.into()]).map(drop)
}

/// Ends a running trial. Value and state come together, because readers keep what they saw of a finished trial.
pub(super) fn end(
    connection: &mut dyn Connection,
    trial: i64,
    state: State,
    value: Option<f64>,
) -> Result<bool, Trouble> {
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

pub(super) fn last_report(connection: &mut dyn Connection, trial: i64) -> Result<Option<f64>, Trouble> {
    let select = "SELECT intermediate_value, CAST(intermediate_value_type AS TEXT) FROM trial_intermediate_values \
                  WHERE trial_id = $1 ORDER BY step DESC LIMIT 1";
    let rows = connection.query(select, &[trial.into()])?;
    rows.first().map(|row| decode(row.real(0)?, row.text(1)?)).transpose()
}

/// The piece of work that a trial was last.
pub(super) fn owner(connection: &mut dyn Connection, trial: i64) -> Result<Option<String>, Trouble> {
    let select = "SELECT value_json FROM trial_user_attributes WHERE trial_id = $1 AND \"key\" = $2";
    let rows = connection.query(select, &[trial.into(), WORKER.into()])?;
    rows.first().map(|row| row.text(0).map(str::to_owned)).transpose()
}

/// The running trial that is this piece of work.
pub(super) fn worked_on(connection: &mut dyn Connection, study: i64, worker: &str) -> Result<Option<Claimed>, Trouble> {
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

pub(super) fn claimed(row: &Row) -> Result<Claimed, Trouble> {
    Ok(Claimed { id: row.int(0)?, number: row.int(1)? })
}

/// A text as JSON.
pub(super) fn quoted(text: &str) -> String {
    Json::String(text.to_owned()).to_string()
}
