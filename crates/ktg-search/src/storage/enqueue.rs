//! Trials that wait to be worked on: chosen by a person or a plan, not by a sampler.

use std::collections::{HashMap, HashSet};

use serde_json::Value as Json;

use super::Study;
use super::connection::{Answer, Connection, Transaction};
use super::encoding::State;
use super::rows::quoted;
use crate::Error;
use crate::attributes::{FIXED_PARAMS, GRAPH};

/// A trial to enqueue.
#[derive(Clone, Debug, PartialEq)]
pub struct Enqueued {
    /// The choice of each parameter, by name.
    pub parameters: serde_json::Map<String, Json>,
    /// Canonical hash of the graph.
    pub graph: String,
    /// What else is to be known of it, as user attributes.
    pub attributes: Vec<(String, Json)>,
}

impl Study {
    /// Adds those trials, for any worker to take, that the study has not: it has one if one of its trials has the same
    /// values of the attributes `key`. However many do this at the same time, each is there once. Returns how many
    /// different ones there are now, those that were there before included.
    pub fn enqueue_missing(&mut self, trials: &[Enqueued], key: &[&str]) -> Result<usize, Error> {
        let values = |attributes: &HashMap<String, String>| -> Vec<Option<String>> {
            key.iter().map(|name| attributes.get(*name).cloned()).collect()
        };
        self.storage.transaction(Transaction::OfStudy(self.id), |connection| {
            let select = "SELECT a.trial_id, a.\"key\", a.value_json FROM trials t \
                          JOIN trial_user_attributes a ON a.trial_id = t.trial_id WHERE t.study_id = $1";
            let mut there: HashMap<i64, HashMap<String, String>> = HashMap::new();
            for row in connection.query(select, &[self.id.into()])? {
                there.entry(row.int(0)?).or_default().insert(row.text(1)?, row.text(2)?);
            }
            let mut known: HashSet<Vec<Option<String>>> = there.values().map(values).collect();
            for trial in trials {
                let attributes = trial.attributes.iter().map(|(name, value)| (name.clone(), value.to_string()));
                if known.insert(values(&attributes.collect())) {
                    add(connection, self.id, trial)?;
                }
            }
            Ok(known.len())
        })
    }
}

/// Adds a waiting trial; the study must be locked.
fn add(connection: &mut Connection, study: i64, trial: &Enqueued) -> Answer<()> {
    let key = connection.insert_trial(study, State::Waiting)?.id;
    let fixed = Json::Object(trial.parameters.clone()).to_string();
    connection.put_attribute("system", key, FIXED_PARAMS, &fixed)?;
    for (name, value) in &trial.attributes {
        connection.put_attribute("user", key, name, &value.to_string())?;
    }
    // Readers may want the graph before a worker has taken the trial; parameters come when it is taken.
    connection.put_attribute("user", key, GRAPH, &quoted(&trial.graph))
}
