//! Graph files: reading, writing, and messages that name the line.

mod import;
mod item;
mod read;
mod syntax;
mod write;

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Deserializer, de};

use crate::error::Error;
use crate::graph::Graph;

pub use read::parse_edge;

/// A parsed graph file: the graph, and on which line each node and edge is written.
///
/// Later checks, such as whether an architecture exists, can so report their errors at the right
/// place with [`Document::node_error`] and [`Document::edge_error`].
#[derive(Debug, Clone)]
pub struct Document {
    /// The graph.
    pub graph: Graph,
    origin: String,
    node_lines: Vec<Option<usize>>,
    /// By (source, target); the source `None` is the label.
    edge_lines: BTreeMap<(Option<usize>, usize), Option<usize>>,
}

impl Document {
    /// Reads a graph in TOML. `origin` is the name of the file for messages.
    ///
    /// # Errors
    /// If the text is not valid TOML or not a valid graph.
    pub fn parse_toml(text: &str, origin: &str) -> Result<Document, Error> {
        read::graph(&syntax::toml(text, origin)?, origin)
    }

    /// Reads a graph in JSON, which has the same structure as the TOML. `origin` is the name of the
    /// file for messages.
    ///
    /// # Errors
    /// If the text is not valid JSON or not a valid graph.
    pub fn parse_json(text: &str, origin: &str) -> Result<Document, Error> {
        read::graph(&syntax::json(text, origin)?, origin)
    }

    /// Reads a graph file: TOML if its name ends in `.toml`, JSON if it ends in `.json`. The latter
    /// may also be a `config.json` of the authors' code, which is imported.
    ///
    /// # Errors
    /// If the file cannot be read, has another ending, or is not a valid graph.
    pub fn read(path: &Path) -> Result<Document, Error> {
        let origin = path.display().to_string();
        let origin = origin.as_str();
        let extension = path.extension().and_then(|extension| extension.to_str());
        let extension = extension.unwrap_or_default().to_ascii_lowercase();
        if extension != "toml" && extension != "json" {
            let message = "the name of a graph file must end in .toml or .json";
            return Err(Error::new(message).at(origin, None));
        }
        let bytes = std::fs::read(path)
            .map_err(|error| Error::new(format!("cannot read the file: {error}")).at(origin, None))?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
            Error::new("this is not UTF-8 text; save the file as UTF-8").at(origin, Some(line))
        })?;
        // Some Windows editors begin a file with a byte order mark.
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        if extension == "toml" {
            return Document::parse_toml(text, origin);
        }
        let root = syntax::json(text, origin)?;
        if import::is_authors_config(&root) { import::graph(&root, origin) } else { read::graph(&root, origin) }
    }

    /// The name of the file, as given to the parser.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// An error about a node (counted from 0), at the line of that node.
    pub fn node_error(&self, node: usize, message: impl Into<String>) -> Error {
        let line = self.node_lines.get(node).copied().flatten();
        Error::new(message).at(&self.origin, line)
    }

    /// An error about an edge, at the line of that edge; for an edge that is not written, at the
    /// line of its target. Nodes are counted from 0, and the source `None` is the label.
    pub fn edge_error(&self, source: Option<usize>, target: usize, message: impl Into<String>) -> Error {
        match self.edge_lines.get(&(source, target)) {
            Some(line) => Error::new(message).at(&self.origin, *line),
            None => self.node_error(target, message),
        }
    }
}

/// Imports a `config.json` of the authors' published code. `origin` is the name of the file for
/// messages.
///
/// The ensemble node (entry 0) is dropped, since it is implied here; everything about training and
/// data in the file is ignored.
///
/// # Errors
/// If the text is not valid JSON or not such a file, or if it uses what a [`Graph`] cannot express:
/// an edge of the ensemble node that is not cut, knowledge in mixed directions on one edge, a
/// temperature or loss weight other than 1, an unknown network, loss or gate.
pub fn import_authors_config(text: &str, origin: &str) -> Result<Graph, Error> {
    Ok(import::graph(&syntax::json(text, origin)?, origin)?.graph)
}

/// In the same structure as the files.
impl<'de> Deserialize<'de> for Graph {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let root = item::Item::deserialize(deserializer)?;
        match read::graph(&root, "") {
            Ok(document) => Ok(document.graph),
            // There is no file and no line; the surrounding format adds its own position.
            Err(error) => Err(de::Error::custom(error.message())),
        }
    }
}
