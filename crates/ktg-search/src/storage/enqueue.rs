//! Trials that wait to be worked on: chosen by a person or a plan, not by a sampler.

use serde_json::Value as Json;

use super::connection::study_transaction;
use super::rows::{next_number, put_attribute, quoted};
use super::study::{GRAPH, Study};
use crate::Error;

/// System attribute of an enqueued trial: choices by name. Optuna's name.
pub(crate) const FIXED_PARAMS: &str = "fixed_params";

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
    /// Adds trials for any worker to take, in this order, unless the study has trials already: however many workers do
    /// this at the same time, they are there once. Returns how many were added.
    pub fn enqueue_first(&mut self, trials: &[Enqueued]) -> Result<usize, Error> {
        let id = self.id;
        self.storage.run(|connection| {
            study_transaction(connection, id, |connection| {
                let any = "SELECT 1 FROM trials WHERE study_id = $1 LIMIT 1";
                if !connection.query(any, &[id.into()])?.is_empty() {
                    return Ok(0);
                }
                let insert =
                    "INSERT INTO trials (number, study_id, state) VALUES ($1, $2, 'WAITING') RETURNING trial_id";
                for trial in trials {
                    let number = next_number(connection, id)?;
                    let rows = connection.query(insert, &[number.into(), id.into()])?;
                    let Some(row) = rows.first() else { continue };
                    let key = row.int(0)?;
                    let fixed = Json::Object(trial.parameters.clone()).to_string();
                    put_attribute(connection, "system", key, FIXED_PARAMS, &fixed)?;
                    for (name, value) in &trial.attributes {
                        put_attribute(connection, "user", key, name, &value.to_string())?;
                    }
                    // Readers may want the graph before a worker has taken the trial; parameters come when it is taken.
                    put_attribute(connection, "user", key, GRAPH, &quoted(&trial.graph))?;
                }
                Ok(trials.len())
            })
        })
    }
}
