//! Trials of workers that died: found by their silence, ended, and repeated.

use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use super::connection::{Connection, Trouble, study_transaction};
use super::encoding::{State, json};
use super::rows::{Claimed, insert_waiting, put_attribute, set_state};
use super::study::Study;
use crate::Error;
use crate::attributes::{COMPLETED_RUNG, FAILED_TRIAL, PAUSED, REASON, RETRY_HISTORY, WORKER};

/// A trial whose worker fell silent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reaped {
    /// Its number.
    pub number: i64,
    /// The trial that repeats it; `None` if it was repeated often enough.
    pub retry: Option<i64>,
}

impl Study {
    /// Ends the running trials without a heartbeat for `silence` (that the storage could have been told of one is the
    /// caller's concern), and adds a waiting trial for each, which has the
    /// parameters, attributes and reports of the dead one, up to `retries` times for one graph.
    ///
    /// The values at rungs move to the new trial: it continues where the dead one was, and each graph counts once in each
    /// rung. The dead trial is final from now on, so its worker, should it only have slept, can write nothing more.
    pub fn reap(&mut self, silence: Duration, retries: usize) -> Result<Vec<Reaped>, Error> {
        let study = self.id;
        let seconds = silence.as_secs_f64().ceil() as i64;
        let asked = Instant::now();
        let silent = self.storage.run(|connection| {
            let ago = connection.dialect().seconds_ago;
            let select = format!(
                "SELECT t.trial_id, t.number FROM trials t JOIN trial_heartbeats h ON h.trial_id = t.trial_id \
                 WHERE t.study_id = $1 AND t.state = 'RUNNING' AND h.heartbeat < {ago} \
                 ORDER BY t.trial_id"
            );
            connection.query(&select, &[study.into(), seconds.into()])
        })?;
        if asked.elapsed() > silence / 2 {
            // The storage was away: the living could not be heard either.
            return Ok(Vec::new());
        }
        self.storage.run(|connection| {
            let ago = connection.dialect().seconds_ago;
            let mut reaped = Vec::new();
            for row in &silent {
                let (trial, number) = (row.int(0)?, row.int(1)?);
                let retry = study_transaction(connection, study, |connection| {
                    // While this waited for the study, the worker may have spoken up.
                    let still =
                        format!("SELECT 1 FROM trial_heartbeats h WHERE h.trial_id = $1 AND h.heartbeat < {ago}");
                    if connection.query(&still, &[trial.into(), seconds.into()])?.is_empty() {
                        return Ok(None);
                    }
                    match set_state(connection, trial, State::Fail)? {
                        true => repeat(connection, study, trial, number, retries).map(Some),
                        false => Ok(None),
                    }
                })?;
                reaped.extend(retry.map(|retry| Reaped { number, retry }));
            }
            Ok(reaped)
        })
    }
}

/// Adds the trial that repeats one; the study must be locked.
fn repeat(
    connection: &mut dyn Connection,
    study: i64,
    dead: i64,
    number: i64,
    retries: usize,
) -> Result<Option<i64>, Trouble> {
    let select = "SELECT value_json FROM trial_system_attributes WHERE trial_id = $1 AND \"key\" = $2";
    let rows = connection.query(select, &[dead.into(), RETRY_HISTORY.into()])?;
    let history = rows.first().map(|row| row.text(0).map(json)).transpose()?;
    let mut history: Vec<i64> = history.and_then(|h| serde_json::from_value(h).ok()).unwrap_or_default();
    history.push(number);
    let reason = match history.len() > retries {
        true => {
            format!("its worker fell silent, as in {} trials of this graph before; not repeated", history.len() - 1)
        }
        false => "its worker fell silent; repeated by a later trial".to_owned(),
    };
    put_attribute(connection, "user", dead, REASON, &json!(reason).to_string())?;
    if history.len() > retries {
        return Ok(None);
    }
    let Claimed { id: new, number: new_number } = insert_waiting(connection, study)?;
    let copies = [
        "INSERT INTO trial_params (trial_id, param_name, param_value, distribution_json) \
         SELECT CAST($1 AS INTEGER), param_name, param_value, distribution_json FROM trial_params WHERE trial_id = $2",
        "INSERT INTO trial_intermediate_values (trial_id, step, intermediate_value, intermediate_value_type) \
         SELECT CAST($1 AS INTEGER), step, intermediate_value, intermediate_value_type \
         FROM trial_intermediate_values WHERE trial_id = $2",
        &format!(
            "UPDATE trial_system_attributes SET trial_id = $1 \
             WHERE trial_id = $2 AND \"key\" LIKE '{COMPLETED_RUNG}%'"
        ),
        "INSERT INTO trial_system_attributes (trial_id, \"key\", value_json) \
         SELECT CAST($1 AS INTEGER), \"key\", value_json FROM trial_system_attributes WHERE trial_id = $2",
    ];
    for copy in copies {
        connection.query(copy, &[new.into(), dead.into()])?;
    }
    let attributes = "INSERT INTO trial_user_attributes (trial_id, \"key\", value_json) \
                      SELECT CAST($1 AS INTEGER), \"key\", value_json FROM trial_user_attributes \
                      WHERE trial_id = $2 AND \"key\" NOT IN ($3, $4, $5)";
    connection.query(attributes, &[new.into(), dead.into(), WORKER.into(), PAUSED.into(), REASON.into()])?;
    let first = history.first().copied().unwrap_or(number);
    put_attribute(connection, "system", new, FAILED_TRIAL, &json!(first).to_string())?;
    put_attribute(connection, "system", new, RETRY_HISTORY, &Json::from(history).to_string())?;
    Ok(Some(new_number))
}
