//! Graph files: reading, writing, and messages that name the place.

mod document;
mod entry;
mod import;
mod read;
mod write;

use std::path::Path;

use serde::{Deserialize, Deserializer, de};

use self::entry::Entry;
use crate::error::{Error, Place};
use crate::graph::Graph;

pub use document::Document;
pub use read::parse_edge;

impl Document {
    /// Reads a graph in TOML. `origin` is the name of the file for messages.
    ///
    /// # Errors
    /// If the text is not valid TOML or not a valid graph.
    pub fn parse_toml(text: &str, origin: &str) -> Result<Document, Error> {
        in_file(read_toml(text), origin)
    }

    /// Reads a graph in JSON, which has the same structure as the TOML. `origin` is the name of the
    /// file for messages.
    ///
    /// # Errors
    /// If the text is not valid JSON or not a valid graph.
    pub fn parse_json(text: &str, origin: &str) -> Result<Document, Error> {
        in_file(read_json(text), origin)
    }

    /// Reads a graph file: TOML if its name ends in `.toml`, JSON if it ends in `.json`. The latter
    /// may also be a `config.json` of the authors' code, which is imported.
    ///
    /// # Errors
    /// If the file cannot be read, has another ending, or is not a valid graph.
    pub fn read(path: &Path) -> Result<Document, Error> {
        in_file(read_file(path), &path.display().to_string())
    }
}

/// A document, or the error in its place, that knows the name of its file.
fn in_file(document: Result<Document, Error>, origin: &str) -> Result<Document, Error> {
    match document {
        Ok(document) => Ok(Document { origin: origin.to_owned(), ..document }),
        Err(error) => Err(error.in_file(origin)),
    }
}

fn read_toml(text: &str) -> Result<Document, Error> {
    read::graph(&Entry::of_toml(text)?)
}

fn read_json(text: &str) -> Result<Document, Error> {
    let table = serde_json::from_str(text).map_err(|error| Error::of_json(&error))?;
    read::graph(&Entry::of_table(&table)?)
}

fn read_file(path: &Path) -> Result<Document, Error> {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default().to_ascii_lowercase();
    if extension != "toml" && extension != "json" {
        return Err(Error::new("the name of a graph file must end in .toml or .json"));
    }
    let bytes = std::fs::read(path).map_err(|error| Error::new(format!("cannot read the file: {error}")))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        Error::new("this is not UTF-8 text; save the file as UTF-8").at(&Place::Line(line))
    })?;
    // Some Windows editors begin a file with a byte order mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    match extension.as_str() {
        "toml" => read_toml(text),
        _ if import::is_authors_config(text) => import::graph(text),
        _ => read_json(text),
    }
}

/// Imports a `config.json` of the authors' published code. `origin` is the name of the file for
/// messages.
///
/// The ensemble node, if there is one, is entry 0 and is dropped, since it is implied here; everything about
/// training and data in the file is ignored.
///
/// # Errors
/// If the text is not valid JSON or not such a file, or if it uses what a [`Graph`] cannot express:
/// an edge of the ensemble node that is not cut, a temperature or loss weight other than 1, an unknown
/// network, loss or gate.
pub fn import_authors_config(text: &str, origin: &str) -> Result<Graph, Error> {
    Ok(in_file(import::graph(text), origin)?.graph)
}

/// In the same structure as the files.
impl<'de> Deserialize<'de> for Graph {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let table = toml::Table::deserialize(deserializer)?;
        let document = Entry::of_table(&table).and_then(|root| read::graph(&root)).map_err(de::Error::custom)?;
        Ok(document.graph)
    }
}
