//! A graph and where each of its parts is written.

use std::collections::BTreeMap;

use crate::error::{Error, Place};
use crate::graph::Graph;

/// A parsed graph file: the graph, and where each node and edge is written.
///
/// Later checks, such as whether an architecture exists, can so report their errors at the right
/// place with [`Document::node_error`] and [`Document::edge_error`]: at the line in TOML, at the key in JSON.
#[derive(Debug, Clone)]
pub struct Document {
    /// The graph.
    pub graph: Graph,
    /// Whether the file is a `config.json` of the authors' code.
    pub is_of_authors: bool,
    /// The name of the file.
    pub(super) origin: String,
    pub(super) node_places: Vec<Place>,
    /// By (source, target); the source `None` is the label.
    pub(super) edge_places: BTreeMap<(Option<usize>, usize), Place>,
}

impl Document {
    /// An error about a node (counted from 0), at the place of that node.
    pub fn node_error(&self, node: usize, message: impl Into<String>) -> Error {
        let error = Error::new(message).in_file(&self.origin);
        match self.node_places.get(node) {
            Some(place) => error.at(place),
            None => error,
        }
    }

    /// An error about an edge, at the place of that edge; for an edge that is not written, at the
    /// place of its target. Nodes are counted from 0, and the source `None` is the label.
    pub fn edge_error(&self, source: Option<usize>, target: usize, message: impl Into<String>) -> Error {
        match self.edge_places.get(&(source, target)) {
            Some(place) => Error::new(message).in_file(&self.origin).at(place),
            None => self.node_error(target, message),
        }
    }
}
