//! Trials that wait to be worked on: chosen by a person or a plan, not by a sampler.

use std::collections::{HashMap, HashSet};

use serde_json::Value as Json;

use super::connection::{Connection, Trouble, study_transaction};
use super::rows::{insert_waiting, put_attribute, quoted};
use super::study::Study;
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
        let id = self.id;
        let name = |value: &dyn Fn(&str) -> Option<String>| key.iter().map(|key| value(key)).collect::<Vec<_>>();
        self.storage.run(|connection| {
            study_transaction(connection, id, |connection| {
                let select = "SELECT a.trial_id, a.\"key\", a.value_json FROM trials t \
                              JOIN trial_user_attributes a ON a.trial_id = t.trial_id WHERE t.study_id = $1";
                let mut known: HashMap<i64, HashMap<String, String>> = HashMap::new();
                for row in connection.query(select, &[id.into()])? {
                    let (key, value) = (row.text(1)?.to_owned(), row.text(2)?.to_owned());
                    known.entry(row.int(0)?).or_default().insert(key, value);
                }
                let known = known.values().map(|attributes| name(&|key| attributes.get(key).cloned()));
                let mut known: HashSet<Vec<Option<String>>> = known.collect();
                for trial in trials {
                    let value = |key: &str| {
                        let attribute = trial.attributes.iter().find(|(name, _)| name == key);
                        attribute.map(|(_, value)| value.to_string())
                    };
                    if known.insert(name(&value)) {
                        add(connection, id, trial)?;
                    }
                }
                Ok(known.len())
            })
        })
    }
}

/// Adds a waiting trial; the study must be locked.
fn add(connection: &mut dyn Connection, study: i64, trial: &Enqueued) -> Result<(), Trouble> {
    let key = insert_waiting(connection, study)?.id;
    let fixed = Json::Object(trial.parameters.clone()).to_string();
    put_attribute(connection, "system", key, FIXED_PARAMS, &fixed)?;
    for (name, value) in &trial.attributes {
        put_attribute(connection, "user", key, name, &value.to_string())?;
    }
    // Readers may want the graph before a worker has taken the trial; parameters come when it is taken.
    put_attribute(connection, "user", key, GRAPH, &quoted(&trial.graph))
}
