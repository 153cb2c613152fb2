//! Single statements about trials, for the transactions of the other modules.

use serde_json::Value as Json;

use super::connection::{Answer, Connection, Row, Trouble, Value};
use super::encoding::{State, encode};
use crate::attributes::{PAUSED, WORKER};

/// A trial that is this worker's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// Key in the database.
    pub id: i64,
    /// Number in the study, from 0.
    pub number: i64,
}

impl Claimed {
    /// From the columns `trial_id, number`.
    pub(super) fn read(row: &Row) -> Answer<Self> {
        Ok(Self { id: row.int(0)?, number: row.int(1)? })
    }
}

/// So many rows are added by one statement: databases limit the values of a statement.
const ROWS: usize = 100;

/// What a trial has chosen.
pub(super) const PARAMETER_COLUMNS: [&str; 4] = ["trial_id", "param_name", "param_value", "distribution_json"];

impl Connection {
    /// Adds rows to a table; `on_conflict` ends the statement.
    pub(super) fn insert_rows(
        &mut self,
        table: &str,
        columns: &[&str],
        rows: &[Vec<Value>],
        on_conflict: &str,
    ) -> Answer<()> {
        for some in rows.chunks(ROWS) {
            let mark = |row: usize| {
                let marks: Vec<String> = (1..=columns.len()).map(|i| format!("${}", row * columns.len() + i)).collect();
                format!("({})", marks.join(", "))
            };
            let marks: Vec<String> = (0..some.len()).map(mark).collect();
            let (columns, marks) = (columns.join(", "), marks.join(", "));
            self.run(&format!("INSERT INTO {table} ({columns}) VALUES {marks} {on_conflict}"), &some.concat())?;
        }
        Ok(())
    }

    /// Numbers are 0, 1, 2, ... in the order of the keys; the study must be locked.
    pub(super) fn next_number(&mut self, study: i64) -> Answer<i64> {
        // Optuna counts the trials before its own: where some were deleted, its numbers are old ones.
        let last = "SELECT number FROM (SELECT number, trial_id FROM trials WHERE study_id = $1 \
                    ORDER BY trial_id DESC LIMIT 100) AS newest ORDER BY number DESC LIMIT 1";
        let Some(last) = self.first(last, &[study.into()], |row| row.int(0))? else { return Ok(0) };
        // More is no INTEGER of PostgreSQL, and none of ours.
        match u32::try_from(last) {
            Ok(last) => Ok(i64::from(last) + 1),
            Err(_) => Err(Trouble::Lasting(format!("a trial has the number {last}; the study is damaged"))),
        }
    }

    /// Adds a trial without parameters, running from now on or waiting; the study must be locked.
    pub(super) fn insert_trial(&mut self, study: i64, state: State) -> Answer<Claimed> {
        let number = self.next_number(study)?;
        let started = if state == State::Running { self.dialect().now } else { "NULL" };
        let insert = format!(
            "INSERT INTO trials (number, study_id, state, datetime_start) \
             SELECT $1, study_id, '{state}', {started} FROM studies WHERE study_id = $2 RETURNING trial_id, number"
        );
        let inserted = self.first(&insert, &[number.into(), study.into()], Claimed::read)?;
        inserted.ok_or_else(|| Trouble::Lasting("the study was deleted".to_owned()))
    }

    /// Makes a running trial the piece of work `worker`: from now on it has a heartbeat.
    pub(super) fn assign(&mut self, trial: i64, worker: &str) -> Answer<()> {
        self.put_attribute("user", trial, WORKER, &quoted(worker))?;
        self.beat(trial).map(drop)
    }

    /// The piece of work that a trial was last.
    pub(super) fn worker_of(&mut self, trial: i64) -> Answer<Option<String>> {
        let select = "SELECT value_json FROM trial_user_attributes WHERE trial_id = $1 AND \"key\" = $2";
        self.first(select, &[trial.into(), WORKER.into()], |row| row.text(0))
    }

    /// The running trial that is this piece of work.
    pub(super) fn trial_of(&mut self, study: i64, worker: &str) -> Answer<Option<Claimed>> {
        let select = "SELECT t.trial_id, t.number FROM trials t \
                      JOIN trial_user_attributes a ON a.trial_id = t.trial_id \
                      WHERE t.study_id = $1 AND t.state = 'RUNNING' AND a.\"key\" = $2 AND a.value_json = $3";
        self.first(select, &[study.into(), WORKER.into(), quoted(worker).as_str().into()], Claimed::read)
    }

    /// Keeps others from changing a trial until the transaction ends, and from seeing what it was before.
    pub(super) fn lock_trial(&mut self, trial: i64) -> Answer<()> {
        match self.dialect().row_locks {
            true => self.run("SELECT 1 FROM trials WHERE trial_id = $1 FOR UPDATE", &[trial.into()]),
            false => Ok(()),
        }
    }

    /// Notes that a trial's worker lives; `false` if it is not running. A paused trial gets no heartbeat, should its
    /// worker's last one come late: it would look dead later.
    pub(super) fn beat(&mut self, trial: i64) -> Answer<bool> {
        let now = self.dialect().now;
        let upsert = format!(
            "INSERT INTO trial_heartbeats (trial_id, heartbeat) \
             SELECT trial_id, {now} FROM trials WHERE trial_id = $1 AND state = 'RUNNING' AND NOT EXISTS \
             (SELECT 1 FROM trial_user_attributes WHERE trial_id = $1 AND \"key\" = '{PAUSED}') \
             ON CONFLICT (trial_id) DO UPDATE SET heartbeat = excluded.heartbeat RETURNING trial_id"
        );
        self.any(&upsert, &[trial.into()])
    }

    pub(super) fn stop_beating(&mut self, trial: i64) -> Answer<()> {
        self.run("DELETE FROM trial_heartbeats WHERE trial_id = $1", &[trial.into()])
    }

    /// Ends a trial, if it is running. Value and state come together, because readers keep what they saw of a finished
    /// trial.
    pub(super) fn end(&mut self, trial: i64, state: State, value: Option<f64>) -> Answer<bool> {
        let now = self.dialect().now;
        let update = format!(
            "UPDATE trials SET state = '{state}', datetime_complete = {now} \
             WHERE trial_id = $1 AND state = 'RUNNING' RETURNING trial_id"
        );
        let ended = self.any(&update, &[trial.into()])?;
        // A final value cannot be NaN.
        if ended && let Some((value, kind)) = value.filter(|v| !v.is_nan()).map(encode) {
            let insert = format!(
                "INSERT INTO trial_values (trial_id, objective, value, value_type) VALUES ($1, 0, $2, '{kind}') \
                 ON CONFLICT (trial_id, objective) \
                 DO UPDATE SET value = excluded.value, value_type = excluded.value_type"
            );
            self.run(&insert, &[trial.into(), value])?;
        }
        Ok(ended)
    }

    pub(super) fn put_attribute(&mut self, kind: &str, trial: i64, key: &str, value: &str) -> Answer<()> {
        let upsert = format!(
            "INSERT INTO trial_{kind}_attributes (trial_id, \"key\", value_json) VALUES ($1, $2, $3) \
             ON CONFLICT (trial_id, \"key\") DO UPDATE SET value_json = excluded.value_json"
        );
        self.run(&upsert, &[trial.into(), key.into(), value.into()])
    }

    /// The same, if the trial is running.
    pub(super) fn put_running_attribute(&mut self, kind: &str, trial: i64, key: &str, value: &str) -> Answer<()> {
        let upsert = format!(
            "INSERT INTO trial_{kind}_attributes (trial_id, \"key\", value_json) \
             SELECT trial_id, $1, $2 FROM trials WHERE trial_id = $3 AND state = 'RUNNING' {hold} \
             ON CONFLICT (trial_id, \"key\") DO UPDATE SET value_json = excluded.value_json",
            hold = self.dialect().hold
        );
        self.run(&upsert, &[key.into(), value.into(), trial.into()])
    }
}

/// A text as JSON.
pub(super) fn quoted(text: &str) -> String {
    Json::from(text).to_string()
}
