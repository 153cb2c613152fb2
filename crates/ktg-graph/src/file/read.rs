//! The structure of a graph file, whatever its syntax.

use std::collections::BTreeMap;
use std::str::FromStr;

use ktg_base::edge_name;

use super::document::Document;
use super::entry::{Entry, Value};
use crate::design::{Design, comma_between_terms};
use crate::error::Error;
use crate::gate::Gate;
use crate::graph::{Graph, MAX_NODES, Node, frozen_message};
use crate::transfer::{RESIZE, Transfer};
use crate::tuning::{FREEZE_KINDS, Factor, Freeze};

/// Reads a graph and remembers the places of its nodes and edges.
pub(super) fn graph(root: &Entry) -> Result<Document, Error> {
    let [name, nodes, edges] = root.fields("a graph file", ["name", "nodes", "edges"])?;
    let node_entries = nodes.map_or(Ok(&[][..]), |nodes| nodes.table("\"nodes\""))?;
    if node_entries.is_empty() {
        let message = "the graph has no nodes; list them under \"nodes\", such as 1 = \"abn-resnet-18\"";
        return Err(nodes.unwrap_or(root).error(message));
    }
    let node_entries = in_order(node_entries)?;
    let nodes = node_entries.iter().map(|entry| node(entry)).collect::<Result<Vec<Node>, Error>>()?;

    let mut document = Document {
        graph: Graph::new(nodes),
        is_of_authors: false,
        origin: String::new(),
        node_places: node_entries.iter().map(|entry| entry.place.clone()).collect(),
        edge_places: BTreeMap::new(),
    };
    if let Some(name) = name {
        let Value::Text(text) = &name.value else { return Err(name.must_be("\"name\"", "a text in quotes")) };
        document.graph.name = Some(text.clone());
    }
    for entry in edges.map_or(Ok(&[][..]), |edges| edges.table("\"edges\""))? {
        edge(&mut document, entry)?;
    }
    match document.graph.edge_into_frozen() {
        Some((source, target)) => Err(document.edge_error(source, target, frozen_message(source, target))),
        None => Ok(document),
    }
}

/// The nodes in the order of their numbers.
fn in_order(entries: &[Entry]) -> Result<Vec<&Entry>, Error> {
    if let Some(entry) = entries.get(MAX_NODES) {
        return Err(entry.error(format!("a graph can have at most {MAX_NODES} nodes, but this is one more")));
    }
    let mut by_number = BTreeMap::new();
    for entry in entries {
        let number = number(&entry.key).ok_or_else(|| {
            entry.error(format!("a node's key must be its number 1, 2, 3 and so on, not {:?}", entry.key))
        })?;
        by_number.insert(number, entry);
    }
    let missing = (1..=entries.len()).find(|number| !by_number.contains_key(number));
    if let (Some(missing), Some((highest, entry))) = (missing, by_number.last_key_value()) {
        let message =
            format!("nodes must be numbered from 1 without gaps, but there is a node {highest} and no node {missing}");
        return Err(entry.error(message));
    }
    Ok(by_number.into_values().collect())
}

/// A number from 1 in its only spelling: `"1"`, but not `"01"` or `"+1"`.
fn number(text: &str) -> Option<usize> {
    let number: usize = text.parse().ok()?;
    (number >= 1 && number.to_string() == text).then_some(number)
}

fn node(entry: &Entry) -> Result<Node, Error> {
    let what = format!("node {}", entry.key);
    match &entry.value {
        Value::Text(_) => return Ok(Node::new(entry.text(&what)?)),
        Value::Table(_) => {}
        _ => {
            let example = "{ architecture = \"abn-resnet-18\", frozen = true }";
            return Err(entry.must_be(&what, &format!("the name of an architecture or a table such as {example}")));
        }
    }
    let keys = ["architecture", "pretrained", "frozen", "strict", "freeze", "learning_rate_factor", "drop_path"];
    let fields = entry.fields(&what, keys)?;
    let [architecture, pretrained, frozen, strict, freeze, factor, drop_path] = fields;
    let Some(architecture) = architecture else {
        return Err(entry.error(format!("{what} has no \"architecture\", such as \"abn-resnet-18\"")));
    };
    let mut node = Node::new(architecture.text(&format!("\"architecture\" of {what}"))?);
    if let Some(pretrained) = pretrained {
        node.pretrained = Some(pretrained.text(&format!("\"pretrained\" of {what}"))?.to_owned());
    }
    if let Some(frozen) = frozen {
        node.frozen = truth(frozen, &format!("\"frozen\" of {what}"))?;
    }
    if let Some(strict) = strict {
        node.strict = truth(strict, &format!("\"strict\" of {what}"))?;
    }
    if let Some(freeze) = freeze {
        node.freeze = Some(freeze_of(freeze, &format!("\"freeze\" of {what}"))?);
    }
    if let Some(factor) = factor {
        node.learning_rate_factor = Some(factor_of(factor, &format!("\"learning_rate_factor\" of {what}"))?);
    }
    if let Some(rate) = drop_path {
        node.drop_path = Some(factor_of(rate, &format!("\"drop_path\" of {what}"))?);
    }
    match node.contradiction() {
        Some((key, problem)) => {
            let place = keys.iter().zip(fields).find(|(other, _)| **other == key).and_then(|(_, field)| field);
            Err(place.unwrap_or(entry).error(format!("\"{key}\" of {what} {problem}")))
        }
        None => Ok(node),
    }
}

fn truth(entry: &Entry, what: &str) -> Result<bool, Error> {
    match entry.value {
        Value::Bool(value) => Ok(value),
        _ => Err(entry.must_be(what, "true or false")),
    }
}

fn freeze_of(entry: &Entry, what: &str) -> Result<Freeze, Error> {
    let freeze = match &entry.value {
        Value::Text(text) => Freeze::text(text),
        Value::List(items) => {
            let names = items.iter().map(|item| Ok(item.text(&format!("a stage in {what}"))?.to_owned()));
            Freeze::stages(names.collect::<Result<Vec<String>, Error>>()?)
        }
        _ => return Err(entry.must_be(what, FREEZE_KINDS)),
    };
    freeze.map_err(|reason| entry.error(format!("{what} {reason}")))
}

fn factor_of(entry: &Entry, what: &str) -> Result<Factor, Error> {
    let Value::Number(number) = entry.value else { return Err(entry.must_be(what, "a number from 0 up")) };
    Factor::new(number).ok_or_else(|| entry.error(format!("{what} must be a number from 0 up, not {number}")))
}

/// Reads one edge into the document.
fn edge(document: &mut Document, entry: &Entry) -> Result<(), Error> {
    let (source, target) = parse_edge(&entry.key, document.graph.len()).map_err(|error| error.at(&entry.place))?;
    if let Some(first) = document.edge_places.get(&(source, target)) {
        let first = first.line().map(|line| format!(", first on line {line}")).unwrap_or_default();
        return Err(entry.error(format!("edge \"{}\" is written twice{first}; remove one", edge_name(source, target))));
    }
    match source {
        None => document.graph.set_label_gate(target, label_gate(entry)?),
        Some(source) => document.graph.set_transfer(source, target, Some(transfer(entry)?)),
    }
    document.edge_places.insert((source, target), entry.place.clone());
    Ok(())
}

/// The source (`None`: the label) and target of an edge as files write it, such as `1 -> 2`, in a graph of `m` nodes.
///
/// # Errors
/// If it is not written so, or such a graph cannot have this edge.
pub fn parse_edge(key: &str, m: usize) -> Result<(Option<usize>, usize), Error> {
    let parts: Vec<&str> = key.split("->").map(str::trim).collect();
    let [source, target] = parts[..] else {
        return Err(Error::new(format!("an edge is written \"1 -> 2\" or \"label -> 1\", not {key:?}")));
    };
    if [source, target].contains(&"ensemble") {
        return Err(Error::new(
            "the ensemble node is implied and averages all nodes, so edges of it are not written; \
             remove this edge",
        ));
    }
    if target == "label" {
        return Err(Error::new(format!(
            "an edge cannot end at the label, which learns nothing; did you mean \"label -> {source}\"?"
        )));
    }
    let node = |text: &str| match number(text) {
        Some(number) if number <= m => Ok(number - 1),
        Some(number) => Err(Error::new(format!(
            "there is no node {number} in edge {key:?}; the graph has {}",
            if m == 1 { "only node 1".to_owned() } else { format!("nodes 1 to {m}") }
        ))),
        None => Err(Error::new(format!(
            "{text:?} in edge {key:?} is not a node; use a node's number, or \"label\" as the source"
        ))),
    };
    let target = node(target)?;
    if source == "label" {
        return Ok((None, target));
    }
    let source = node(source)?;
    if source == target {
        return Err(Error::new(format!(
            "edge {key:?} would make a node teach itself; an edge needs two different nodes"
        )));
    }
    Ok((Some(source), target))
}

/// The gate of a label edge: `"through"` or `{ gate = "through" }`.
fn label_gate(entry: &Entry) -> Result<Gate, Error> {
    let what = "the gate of a label edge";
    let gate = match entry.value {
        Value::Table(_) => entry.fields(what, ["gate"])?[0].unwrap_or(entry),
        _ => entry,
    };
    gate.parsed(what, label_gate_of)
}

fn label_gate_of(text: &str) -> Result<Gate, Error> {
    let begins_with_design = text.split(',').next().unwrap_or_default().parse::<Design>().is_ok();
    text.parse().map_err(|error| match begins_with_design {
        true => Error::new(format!("a label edge has a gate but no design; write \"through\" instead of {text:?}")),
        false => error,
    })
}

/// A transfer: `"attention apart, linear, resize"` or `{ design = "attention apart", gate = "linear", resize = true }`;
/// gate and resize may be left out.
fn transfer(entry: &Entry) -> Result<Transfer, Error> {
    let what = "a transfer edge";
    if !matches!(entry.value, Value::Table(_)) {
        return entry.parsed(what, str::parse);
    }
    let [design_entry, gate, resize] = entry.fields(what, ["design", "gate", RESIZE])?;
    let Some(design_entry) = design_entry else {
        return Err(entry.error(format!("edge {:?} has no \"design\", such as \"probability closer\"", entry.key)));
    };
    let design = design_entry.parsed("\"design\"", design)?;
    let gate = gate.map_or(Ok(Gate::Through), |gate| gate.parsed("\"gate\"", str::parse))?;
    let transfer = Transfer::new(design, gate);
    match resize {
        Some(resize) if truth(resize, "\"resize\"")? => {
            transfer.resized().checked().map_err(|error| error.at(&resize.place))
        }
        _ => Ok(transfer),
    }
}

impl FromStr for Transfer {
    type Err = Error;

    /// Reads a transfer as files write it, such as `attention apart, linear, resize`; the gate and `resize` may be left out.
    fn from_str(text: &str) -> Result<Transfer, Error> {
        if let Some(error) = comma_between_terms(text) {
            return Err(error);
        }
        let (text, resize) = match text.rsplit_once(',') {
            Some((rest, word)) if word.trim().eq_ignore_ascii_case(RESIZE) => (rest, true),
            _ => (text, false),
        };
        let (design_text, gate) = match text.split_once(',') {
            Some((design, gate)) => (design, Some(gate)),
            None => (text, None),
        };
        let gate = gate.map_or(Ok(Gate::Through), str::parse);
        Transfer { design: design(design_text)?, gate: gate?, resize }.checked()
    }
}

fn design(text: &str) -> Result<Design, Error> {
    text.parse().map_err(|error| match text.parse::<Gate>() {
        Ok(gate) => Error::new(format!(
            "a transfer edge needs a design before its gate, such as \"probability closer, {gate}\"; \
             leave the edge out to cut it"
        )),
        Err(_) => error,
    })
}
