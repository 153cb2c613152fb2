//! Trials that wait, paused, for their continuation.

use super::connection::{Connection, Row, Trouble, study_transaction, transaction};
use super::encoding::State;
use super::rows::Claimed;
use super::rows::{beat, claimed, end, hold, last_report, owner, put_attribute, stop_beating, take};
use super::study::Study;
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
        self.claim(worker, |connection| {
            study_transaction(connection, id, |connection| {
                let paused = unpause(connection, trial)?;
                let select = "SELECT trial_id, number FROM trials WHERE trial_id = $1 AND state = 'RUNNING'";
                let rows = connection.query(select, &[trial.into()])?;
                match rows.first() {
                    Some(row) if paused => {
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
                if !unpause(connection, trial)? {
                    return Ok(false);
                }
                let value = last_report(connection, trial)?;
                end(connection, trial, State::Pruned, value)
            })
        })
    }
}

/// Takes the mark of a paused trial away; `false` if it has none.
fn unpause(connection: &mut dyn Connection, trial: i64) -> Result<bool, Trouble> {
    let delete = "DELETE FROM trial_user_attributes WHERE trial_id = $1 AND \"key\" = $2 RETURNING 1";
    Ok(!connection.query(delete, &[trial.into(), PAUSED.into()])?.is_empty())
}
