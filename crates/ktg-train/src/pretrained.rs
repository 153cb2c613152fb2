//! The weights files of a graph.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use ktg_graph::{Document, Graph};
use ktg_net::{Network, WeightsError, WeightsFile, weights};

use crate::Error;
use crate::checkpoint;
use crate::start::Start;

/// Folder of a run directory that weights files are copied to, as `pretrained/SHA256.safetensors` or `pretrained/SHA256.pth`.
pub(crate) const PRETRAINED: &str = "pretrained";

/// A file, read once.
struct File {
    weights: WeightsFile,
    /// What a run directory calls it.
    name: String,
}

/// Names the weights files in a graph by their content; returns what each node starts from, and what the user should know of it, a
/// sentence each. `document` is what the graph was read from, if anything; `find` says where a file lies that it names.
///
/// # Errors
///
/// If a file cannot be read or does not fit its node's network, or a node freezes what its network does not have.
pub(crate) fn open_weights(
    graph: &mut Graph,
    networks: &[Network],
    document: Option<&Document>,
    find: &dyn Fn(&str) -> Option<PathBuf>,
) -> Result<(Vec<Start>, Vec<String>), Error> {
    let mut files: HashMap<PathBuf, File> = HashMap::new();
    let mut starts = Vec::new();
    let mut notes = Vec::new();
    for (m, network) in networks.iter().enumerate() {
        let wrong = |message: String| node_error(document, m, message);
        let learns = graph.is_trained(m);
        let node = graph.node_mut(m);
        let path = node.pretrained.as_ref().and_then(|path| find(path));
        let mut start = Start::of_node(node, network, learns, path).map_err(wrong)?;
        if let Some(path) = &start.path {
            let origin = path.display().to_string();
            let file = match files.get(path) {
                Some(file) => file,
                None => files.entry(path.clone()).or_insert(read(path, &origin).map_err(wrong)?),
            };
            let fit = start.fit(network, &file.weights, &origin).map_err(|e| wrong(e.to_string()))?;
            node.pretrained = Some(file.name.clone());
            let changes = (!file.weights.changes.is_empty()).then(|| file.weights.changes.join(", and "));
            let summary = fit.summary().map(|summary| format!("for {}, {summary}", node.architecture));
            for sentence in changes.into_iter().chain(summary) {
                let sentence = format!("{origin}: {sentence}");
                if !notes.contains(&sentence) {
                    notes.push(sentence);
                }
            }
            start.loaded = fit.arrays.into_keys().collect();
        }
        let odd = start.random_and_frozen(network);
        if !odd.is_empty() {
            notes.push(format!("node {} freezes what starts at random: {}", m + 1, odd.join(", ")));
        }
        starts.push(start);
    }
    Ok((starts, notes))
}

/// Where a file lies: at the first of `bases` at which it does, or else where it should be.
pub(crate) fn found(path: &str, bases: &[PathBuf]) -> Option<PathBuf> {
    let places = || bases.iter().map(|base| base.join(path));
    places().find(|path| path.exists()).or_else(|| places().next())
}

fn read(path: &Path, origin: &str) -> Result<File, String> {
    let bytes = std::fs::read(path).map_err(|e| format!("cannot read the weights file {origin}: {e}"))?;
    let weights = weights::from_bytes(&bytes, origin).map_err(|e: WeightsError| e.to_string())?;
    Ok(File { weights, name: name_of(&bytes) })
}

/// What a run directory calls a file of this content.
pub(crate) fn name_of(bytes: &[u8]) -> String {
    format!("{PRETRAINED}/{}.{}", checkpoint::checksum(bytes), weights::extension(bytes))
}

/// An error about node `m` of a graph, which may come from a file.
pub(crate) fn node_error(document: Option<&Document>, m: usize, message: String) -> Error {
    match document {
        Some(document) => document.node_error(m, message).into(),
        None => Error::Setting(format!("graph, node {}: {message}", m + 1)),
    }
}
