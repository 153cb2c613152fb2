//! The structure of a graph file, whatever its syntax.

use std::collections::BTreeMap;
use std::str::FromStr;

use super::Document;
use super::item::{Field, Item, Value, check_keys, check_unique, get};
use crate::design::Design;
use crate::error::Error;
use crate::gate::Gate;
use crate::graph::{Graph, MAX_NODES, Node, Transfer, edge_name, frozen_message};

/// Reads a graph and remembers the lines of its nodes and edges.
pub(super) fn graph(root: &Item, origin: &str) -> Result<Document, Error> {
    let fields = root.table(origin, "a graph file")?;
    check_keys(fields, origin, &["name", "nodes", "edges"])?;

    let nodes_item = get(fields, "nodes");
    let node_fields = match nodes_item {
        Some(item) => item.table(origin, "\"nodes\"")?,
        None => &[],
    };
    if node_fields.is_empty() {
        let line = nodes_item.map_or(root.line, |item| item.line);
        let message = "the graph has no nodes; list them under \"nodes\", such as 1 = \"abn-resnet-18\"";
        return Err(Error::new(message).at(origin, line));
    }
    let (nodes, node_lines) = nodes(node_fields, origin)?;

    let mut document =
        Document { graph: Graph::new(nodes), origin: origin.to_owned(), node_lines, edge_lines: BTreeMap::new() };
    if let Some(name) = get(fields, "name") {
        let Value::Text(text) = &name.value else {
            let message = format!("\"name\" must be a text in quotes, not {}", name.kind());
            return Err(Error::new(message).at(origin, name.line));
        };
        document.graph.name = Some(text.clone());
    }
    if let Some(edges) = get(fields, "edges") {
        for field in edges.table(origin, "\"edges\"")? {
            edge(&mut document, field)?;
        }
    }
    document.check_frozen()?;
    Ok(document)
}

impl Document {
    /// Fails if an edge would train a frozen node, at the line of the edge.
    pub(super) fn check_frozen(&self) -> Result<(), Error> {
        match self.graph.edge_into_frozen() {
            Some((source, target)) => Err(self.edge_error(source, target, frozen_message(source, target))),
            None => Ok(()),
        }
    }
}

/// The nodes in the order of their numbers, and their lines.
fn nodes(fields: &[Field], origin: &str) -> Result<(Vec<Node>, Vec<Option<usize>>), Error> {
    if let Some(field) = fields.get(MAX_NODES) {
        let message = format!("a graph can have at most {MAX_NODES} nodes, but this is one more");
        return Err(Error::new(message).at(origin, field.line));
    }
    check_unique(fields, origin)?;
    let m = fields.len();
    let mut by_number = BTreeMap::new();
    for field in fields {
        let Some(number) = number(&field.key) else {
            let message = format!("a node's key must be its number 1, 2, 3 and so on, not {:?}", field.key);
            return Err(Error::new(message).at(origin, field.line));
        };
        by_number.insert(number, field);
    }
    if let Some((highest, field)) = by_number.last_key_value()
        && *highest > m
    {
        let missing = (1..=m).find(|number| !by_number.contains_key(number));
        let message = format!(
            "nodes must be numbered from 1 without gaps, but there is a node {highest} and no node {}",
            missing.unwrap_or(m)
        );
        return Err(Error::new(message).at(origin, field.line));
    }
    let mut nodes = Vec::with_capacity(m);
    for field in by_number.values() {
        nodes.push(node(field, origin)?);
    }
    let lines = by_number.values().map(|field| field.line).collect();
    Ok((nodes, lines))
}

/// A number from 1 in its only spelling: `"1"`, but not `"01"` or `"+1"`.
fn number(text: &str) -> Option<usize> {
    let number: usize = text.parse().ok()?;
    (number >= 1 && number.to_string() == text).then_some(number)
}

fn node(field: &Field, origin: &str) -> Result<Node, Error> {
    let what = format!("node {}", field.key);
    let fields = match &field.item.value {
        Value::Table(fields) => fields,
        Value::Text(_) => return Ok(Node::new(field.item.text(origin, &what)?)),
        _ => {
            let message = format!(
                "{what} must be the name of an architecture or a table such as \
                 {{ architecture = \"abn-resnet-18\", frozen = true }}, not {}",
                field.item.kind()
            );
            return Err(Error::new(message).at(origin, field.line));
        }
    };
    check_keys(fields, origin, &["architecture", "pretrained", "frozen"])?;
    let Some(architecture) = get(fields, "architecture") else {
        let message = format!("{what} has no \"architecture\", such as \"abn-resnet-18\"");
        return Err(Error::new(message).at(origin, field.line));
    };
    let mut node = Node::new(architecture.text(origin, &format!("\"architecture\" of {what}"))?);
    if let Some(path) = get(fields, "pretrained") {
        let path = path.text(origin, &format!("\"pretrained\" of {what}"))?;
        node.pretrained = Some(path.to_owned());
    }
    if let Some(frozen) = get(fields, "frozen") {
        node.frozen = frozen.bool(origin, &format!("\"frozen\" of {what}"))?;
    }
    Ok(node)
}

/// Reads one edge into the document.
fn edge(document: &mut Document, field: &Field) -> Result<(), Error> {
    let origin = document.origin.clone();
    let at = |error: Error| error.at(&origin, field.line);
    let (source, target) = parse_edge(&field.key, document.graph.len()).map_err(at)?;
    let key = (source, target);
    if let Some(first) = document.edge_lines.get(&key) {
        let place = first.map_or(String::new(), |line| format!(" on line {line}"));
        let name = edge_name(source, target);
        let message = format!("edge \"{name}\" is written twice, first{place}; remove one");
        return Err(at(Error::new(message)));
    }
    match source {
        None => {
            let gate = label_gate(field, &origin)?;
            document.graph.set_label_gate(target, gate);
        }
        Some(source) => {
            let transfer = transfer(field, &origin)?;
            document.graph.set_transfer(source, target, Some(transfer));
        }
    }
    document.edge_lines.insert(key, field.line);
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
fn label_gate(field: &Field, origin: &str) -> Result<Gate, Error> {
    let gate = match &field.item.value {
        Value::Table(fields) => {
            check_keys(fields, origin, &["gate"])?;
            get(fields, "gate").unwrap_or(&field.item)
        }
        _ => &field.item,
    };
    let text = gate.text(origin, "the gate of a label edge")?;
    text.parse().map_err(|error: Error| {
        let begins_with_design = text.split(',').next().unwrap_or_default().parse::<Design>();
        let error = match begins_with_design {
            Ok(_) => {
                Error::new(format!("a label edge has a gate but no design; write \"through\" instead of {text:?}"))
            }
            Err(_) => error,
        };
        error.at(origin, gate.line)
    })
}

/// A transfer: `"attention apart, linear"` or `{ design = "attention apart", gate = "linear" }`;
/// the gate may be left out.
fn transfer(field: &Field, origin: &str) -> Result<Transfer, Error> {
    let Value::Table(fields) = &field.item.value else {
        let text = field.item.text(origin, "a transfer edge")?;
        return text.parse().map_err(|error: Error| error.at(origin, field.item.line));
    };
    check_keys(fields, origin, &["design", "gate"])?;
    let Some(item) = get(fields, "design") else {
        let message = format!("edge {:?} has no \"design\", such as \"probability closer\"", field.key);
        return Err(Error::new(message).at(origin, field.line));
    };
    let text = item.text(origin, "\"design\"")?;
    let design = design(text).map_err(|error| error.at(origin, item.line))?;
    let gate = match get(fields, "gate") {
        None => Gate::Through,
        Some(item) => {
            let text = item.text(origin, "\"gate\"")?;
            text.parse().map_err(|error: Error| error.at(origin, item.line))?
        }
    };
    Ok(Transfer { design, gate })
}

impl FromStr for Transfer {
    type Err = Error;

    /// Reads a transfer as files write it, such as `attention apart, linear`; the gate may be left out.
    fn from_str(text: &str) -> Result<Transfer, Error> {
        let (design_text, gate) = match text.split_once(',') {
            Some((design, gate)) => (design, Some(gate)),
            None => (text, None),
        };
        Ok(Transfer { design: design(design_text)?, gate: gate.map_or(Ok(Gate::Through), str::parse)? })
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
