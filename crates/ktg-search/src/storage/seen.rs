//! What a worker knows of the trials of a study, so that it only reads news.

use std::collections::HashSet;

use super::connection::{Answer, Connection};
use super::rows::quoted;
use crate::attributes::{FAILED_TRIAL, GRAPH};

/// The graphs of a study, and how many of its trials repeat others.
#[derive(Default)]
pub(super) struct Seen {
    graphs: HashSet<String>,
    last_graph: i64,
    /// How many trials repeat others.
    pub retries: i64,
    last_retry: i64,
}

impl Seen {
    /// Whether there is a trial of the graph of this hash.
    pub fn knows(&self, graph: &str) -> bool {
        self.graphs.contains(&quoted(graph))
    }

    /// Reads the graphs and retries that were added since the last time. Both are only added while the study is locked,
    /// so their keys grow in the order in which they become visible.
    pub fn update(&mut self, connection: &mut Connection, study: i64) -> Answer<()> {
        for row in connection.query(&newer("user"), &[self.last_graph.into(), GRAPH.into(), study.into()])? {
            self.last_graph = self.last_graph.max(row.int(0)?);
            self.graphs.insert(row.text(1)?);
        }
        for row in connection.query(&newer("system"), &[self.last_retry.into(), FAILED_TRIAL.into(), study.into()])? {
            self.last_retry = self.last_retry.max(row.int(0)?);
            self.retries += 1;
        }
        Ok(())
    }

    /// The number of trials but for retries; the study must be locked for it to stay so.
    pub fn trials(&self, connection: &mut Connection, study: i64) -> Answer<i64> {
        Ok(connection.next_number(study)? - self.retries)
    }
}

/// Selects key and value of the trials' attributes of this kind with a larger key than `$1`, of the name `$2`, in the study
/// `$3`. The study is asked for row by row, so that the rows are found by their own key and not by the trials'.
fn newer(kind: &str) -> String {
    format!(
        "SELECT a.trial_{kind}_attribute_id, a.value_json FROM trial_{kind}_attributes a \
         WHERE a.trial_{kind}_attribute_id > $1 AND a.\"key\" = $2 \
         AND (SELECT t.study_id FROM trials t WHERE t.trial_id = a.trial_id) = $3"
    )
}
