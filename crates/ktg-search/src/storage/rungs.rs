//! What pruners ask of a study: the values of its trials at rungs and steps.

use std::collections::BTreeMap;

use super::connection::{Connection, Trouble, durable_transaction};
use super::encoding::{decode, number_of_json, number_to_json};
use super::rows::put_running_attribute;
use super::study::Study;
use crate::Error;

/// A trial's value at a rung.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RungValue {
    /// Key of the trial in the database.
    pub id: i64,
    /// Its number; of a retry, that of the trial it repeats.
    pub number: i64,
    /// The rung.
    pub rung: u32,
    /// The value.
    pub value: f64,
}

/// All values at rungs that were seen, by the key of their row.
#[derive(Default)]
pub(super) struct RungCache {
    values: BTreeMap<i64, RungValue>,
    /// Retries that were known when the values were read: a retry takes values over.
    retries: i64,
}

/// With several writers at a time, a row may become visible after one with a larger key: so many of the last are read
/// again.
const LATE: i64 = 200;

impl RungCache {
    fn update(&mut self, connection: &mut dyn Connection, study: i64, retries: i64) -> Result<(), Trouble> {
        if retries != std::mem::replace(&mut self.retries, retries) {
            self.values.clear();
        }
        let late = if connection.dialect().row_locks { LATE } else { 0 };
        let from = self.values.last_key_value().map_or(0, |(key, _)| key - late);
        // The study is asked for row by row, so that the rows are found by their own key and not by the trials'.
        let select = "SELECT a.trial_system_attribute_id, a.trial_id, \
                      (SELECT t.number FROM trials t WHERE t.trial_id = a.trial_id), a.\"key\", a.value_json, \
                      (SELECT f.value_json FROM trial_system_attributes f \
                       WHERE f.trial_id = a.trial_id AND f.\"key\" = 'failed_trial') \
                      FROM trial_system_attributes a \
                      WHERE a.trial_system_attribute_id > $1 AND a.\"key\" LIKE 'completed_rung_%' \
                      AND (SELECT t.study_id FROM trials t WHERE t.trial_id = a.trial_id) = $2";
        for row in connection.query(select, &[from.into(), study.into()])? {
            let rung = row.text(3)?.rsplit('_').next().and_then(|k| k.parse().ok());
            if let (Some(rung), Some(value)) = (rung, number_of_json(row.text(4)?)) {
                let number = match row.optional_text(5)?.and_then(|first| first.parse().ok()) {
                    Some(first) => first,
                    None => row.int(2)?,
                };
                self.values.insert(row.int(0)?, RungValue { id: row.int(1)?, number, rung, value });
            }
        }
        Ok(())
    }
}

impl Study {
    /// Notes the value of a running trial at a rung, under Optuna's name for it. Nothing is noted of one that was taken
    /// from its worker: its values are its retry's now.
    pub fn complete_rung(&mut self, trial: i64, rung: u32, value: f64) -> Result<(), Error> {
        let (key, value) = (format!("completed_rung_{rung}"), number_to_json(value));
        self.storage.run(|connection| match connection.dialect().row_locks {
            // The worker outlives a crash of its server, which must not leave a gap: later rungs would be counted wrong.
            true => durable_transaction(connection, |c| put_running_attribute(c, "system", trial, &key, &value)),
            false => put_running_attribute(connection, "system", trial, &key, &value),
        })
    }

    /// The values of all trials at a rung, or at all rungs, in no order. Trials of every state count, as in Optuna.
    pub fn rungs(&mut self, rung: Option<u32>) -> Result<Vec<RungValue>, Error> {
        let (study, cache, retries) = (self.id, &mut self.rungs, self.seen.retries());
        self.storage.run(|connection| cache.update(connection, study, retries))?;
        let wanted = |value: &&RungValue| rung.is_none_or(|rung| value.rung == rung);
        Ok(self.rungs.values.values().filter(wanted).copied().collect())
    }

    /// The values that complete trials reported at a step, and the number of complete trials.
    pub fn complete_at(&mut self, step: i64) -> Result<(Vec<f64>, usize), Error> {
        let id = self.id;
        self.storage.run(|connection| {
            let count = "SELECT count(*) FROM trials WHERE study_id = $1 AND state = 'COMPLETE'";
            let count = connection.query(count, &[id.into()])?.first().map_or(Ok(0), |row| row.int(0))?;
            let select = "SELECT v.intermediate_value, CAST(v.intermediate_value_type AS TEXT) FROM trials t \
                          JOIN trial_intermediate_values v ON v.trial_id = t.trial_id \
                          WHERE t.study_id = $1 AND t.state = 'COMPLETE' AND v.step = $2";
            let rows = connection.query(select, &[id.into(), step.into()])?;
            let values = rows.iter().map(|row| decode(row.real(0)?, row.text(1)?));
            Ok((values.collect::<Result<_, _>>()?, count as usize))
        })
    }
}
