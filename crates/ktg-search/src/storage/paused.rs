//! Trials that wait, paused, for their continuation.

use super::Study;
use super::connection::{Answer, Connection, Transaction};
use super::encoding::{State, decode};
use super::rows::Claimed;
use crate::Error;
use crate::attributes::PAUSED;

/// A trial that waits for its continuation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PausedTrial {
    /// Key in the database.
    pub id: i64,
    /// The rung at which it was stopped.
    pub rung: u32,
}

impl Study {
    /// Pauses a running trial at a rung, until it belongs to the top of that rung or the study ends.
    ///
    /// It stays RUNNING, but without a heartbeat: a finished state would be final to all readers, a waiting one would be
    /// taken by any Optuna, and a running trial without a heartbeat is neither taken nor ever thought dead. `false`: it is
    /// not this worker's any more.
    pub fn pause(&mut self, trial: i64, rung: u32) -> Result<bool, Error> {
        self.storage.leave(trial, Transaction::Plain, |connection| {
            let is_running = connection.beat(trial)?;
            if is_running {
                connection.stop_beating(trial)?;
                connection.put_attribute("user", trial, PAUSED, &rung.to_string())?;
            }
            Ok(is_running)
        })
    }

    /// The paused trials.
    pub fn paused(&mut self) -> Result<Vec<PausedTrial>, Error> {
        let select = "SELECT t.trial_id, a.value_json FROM trials t \
                      JOIN trial_user_attributes a ON a.trial_id = t.trial_id \
                      WHERE t.study_id = $1 AND t.state = 'RUNNING' AND a.\"key\" = $2";
        let paused = self.storage.run(|connection| {
            connection.all(select, &[self.id.into(), PAUSED.into()], |row| Ok((row.int(0)?, row.text(1)?.parse().ok())))
        })?;
        Ok(paused.into_iter().filter_map(|(id, rung)| Some(PausedTrial { id, rung: rung? })).collect())
    }

    /// Takes a paused trial, unless another worker was faster.
    pub fn claim_paused(&mut self, trial: i64, worker: &str) -> Result<Option<Claimed>, Error> {
        self.storage.claim(self.id, worker, |connection| {
            // Another program may be about to delete it.
            connection.lock_trial(trial)?;
            let is_paused = unpause(connection, trial)?;
            let select = "SELECT trial_id, number FROM trials WHERE trial_id = $1 AND state = 'RUNNING'";
            Ok(connection.first(select, &[trial.into()], Claimed::read)?.filter(|_| is_paused))
        })
    }

    /// Prunes a paused trial, with its last report as its value. `false`: it is not paused any more.
    pub fn prune_paused(&mut self, trial: i64) -> Result<bool, Error> {
        // There may be thousands; if a power cut takes some back, the next worker prunes them.
        self.storage.transaction(Transaction::Plain, |connection| {
            if !unpause(connection, trial)? {
                return Ok(false);
            }
            let last = "SELECT intermediate_value, CAST(intermediate_value_type AS TEXT) \
                        FROM trial_intermediate_values WHERE trial_id = $1 ORDER BY step DESC LIMIT 1";
            let value = connection.first(last, &[trial.into()], |row| decode(row.real(0)?, &row.text(1)?))?;
            connection.end(trial, State::Pruned, value)
        })
    }
}

/// Takes the mark of a paused trial away; `false` if it has none.
fn unpause(connection: &mut Connection, trial: i64) -> Answer<bool> {
    let delete = "DELETE FROM trial_user_attributes WHERE trial_id = $1 AND \"key\" = $2 RETURNING 1";
    connection.any(delete, &[trial.into(), PAUSED.into()])
}
