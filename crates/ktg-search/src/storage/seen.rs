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
    retries: i64,
    last_retry: i64,
}

impl Seen {
    /// Whether there is a trial of the graph of this hash.
    pub fn knows(&self, graph: &str) -> bool {
        self.graphs.contains(&quoted(graph))
    }

    /// The number of trials that repeat others.
    pub fn retries(&self) -> i64 {
        self.retries
    }

    /// Reads the graphs and retries that were added since the last time. Both are only added while the study is locked,
    /// so their keys grow in the order in which they become visible.
    pub fn update(&mut self, connection: &mut Connection, study: i64) -> Answer<()> {
        for (key, graph) in attributes_after(connection, self.last_graph, "user", GRAPH, study)? {
            self.last_graph = self.last_graph.max(key);
            self.graphs.insert(graph);
        }
        for (key, _) in attributes_after(connection, self.last_retry, "system", FAILED_TRIAL, study)? {
            self.last_retry = self.last_retry.max(key);
            self.retries += 1;
        }
        Ok(())
    }

    /// The number of trials but for retries; the study must be locked for it to stay so.
    pub fn trials(&self, connection: &mut Connection, study: i64) -> Answer<i64> {
        Ok(connection.next_number(study)? - self.retries)
    }
}

/// The trials' attributes of this name in the rows of a larger key than `last`, by key.
fn attributes_after(
    connection: &mut Connection,
    last: i64,
    kind: &str,
    name: &str,
    study: i64,
) -> Answer<Vec<(i64, String)>> {
    // The study is asked for row by row, so that the rows are found by their own key and not by the trials'.
    let select = format!(
        "SELECT a.trial_{kind}_attribute_id, a.value_json FROM trial_{kind}_attributes a \
         WHERE a.trial_{kind}_attribute_id > $1 AND a.\"key\" = $2 \
         AND (SELECT t.study_id FROM trials t WHERE t.trial_id = a.trial_id) = $3"
    );
    connection.all(&select, &[last.into(), name.into(), study.into()], |row| Ok((row.int(0)?, row.text(1)?)))
}
