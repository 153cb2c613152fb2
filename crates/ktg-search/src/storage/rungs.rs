//! What pruners ask of a study: the values of its trials at rungs and steps.

use std::collections::BTreeMap;

use super::connection::{Answer, Connection};
use crate::attributes::{COMPLETED_RUNG, FAILED_TRIAL};

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
    pub values: BTreeMap<i64, RungValue>,
    /// Retries that were known when the values were read: a retry takes values over.
    retries: i64,
}

/// With several writers at a time, a row may become visible after one with a larger key: so many of the last are read
/// again.
const LATE: i64 = 200;

impl RungCache {
    /// Reads the values that were added since the last time; `retries`: how many trials repeat others by now.
    pub fn update(&mut self, connection: &mut Connection, study: i64, retries: i64) -> Answer<()> {
        if retries != std::mem::replace(&mut self.retries, retries) {
            self.values.clear();
        }
        let late = if connection.dialect().row_locks { LATE } else { 0 };
        let from = self.values.last_key_value().map_or(0, |(key, _)| key - late);
        // The study is asked for row by row, so that the rows are found by their own key and not by the trials'.
        let select = format!(
            "SELECT a.trial_system_attribute_id, a.trial_id, \
             (SELECT t.number FROM trials t WHERE t.trial_id = a.trial_id), a.\"key\", a.value_json, \
             (SELECT f.value_json FROM trial_system_attributes f \
              WHERE f.trial_id = a.trial_id AND f.\"key\" = '{FAILED_TRIAL}') \
             FROM trial_system_attributes a \
             WHERE a.trial_system_attribute_id > $1 AND a.\"key\" LIKE '{COMPLETED_RUNG}%' \
             AND (SELECT t.study_id FROM trials t WHERE t.trial_id = a.trial_id) = $2"
        );
        for row in connection.query(&select, &[from.into(), study.into()])? {
            let rung = row.text(3)?.strip_prefix(COMPLETED_RUNG).and_then(|rung| rung.parse().ok());
            // Optuna stops whoever reports NaN before it has a value at a rung.
            let value = row.text(4)?.trim().parse().ok().filter(|value: &f64| !value.is_nan());
            if let (Some(rung), Some(value)) = (rung, value) {
                let first = row.optional_text(5)?.and_then(|first| first.parse().ok());
                let number = first.map_or_else(|| row.int(2), Ok)?;
                self.values.insert(row.int(0)?, RungValue { id: row.int(1)?, number, rung, value });
            }
        }
        Ok(())
    }
}
