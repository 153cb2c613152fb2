//! Import of the authors' `config.json`.
//!
//! The part of it that is a graph: `models[0]` is the ensemble node and `models[1..]` are the
//! networks; `losses[target][source]` is the loss of an edge, where the diagonal holds the label
//! edges.

use std::collections::BTreeMap;

use serde_json::Value;

use super::document::Document;
use crate::design::Design;
use crate::error::{Error, Place};
use crate::gate::Gate;
use crate::graph::{Graph, MAX_NODES, Node, Transfer};
use crate::words;

const GATES: [(&str, Gate); 4] = [
    ("ThroughGate", Gate::Through),
    ("CutoffGate", Gate::Cutoff),
    ("LinearGate", Gate::Linear),
    ("CorrectGate", Gate::Correct),
];

/// The losses of transfer edges: the design if all of the flags are 1. If they are 0, it is the flipped one.
const LOSSES: [(&str, (Design, &[&str])); 3] = [
    ("KLLoss", (Design::PROBABILITY_CLOSER, &["soft_loss_positive"])),
    ("AttLoss", (Design::ATTENTION_CLOSER, &["att_loss_positive"])),
    ("KL_AttLoss", (Design::BOTH_CLOSER, &["soft_loss_positive", "att_loss_positive"])),
];

/// The networks and our names of them. Those for 224 and for 32 pixels have different depths, but one name.
fn networks() -> Vec<(String, String)> {
    let large = ["18", "34", "50"].map(|depth| (depth, "resnet"));
    let small = ["20", "32", "44", "56", "110"].map(|depth| (depth, "resnet-cifar"));
    let mut networks = Vec::new();
    for (depth, family) in large.into_iter().chain(small) {
        networks.push((format!("resnet{depth}_abn"), format!("abn-{family}-{depth}")));
        networks.push((format!("resnet{depth}"), format!("{family}-{depth}")));
    }
    networks
}

/// What stands in a table for the `name` of a model, loss or gate.
fn look_up<T: Clone>(kind: &str, item: &Value, table: &[(impl AsRef<str>, T)]) -> Result<T, Error> {
    let name = name(item);
    let row = table.iter().find(|(known, _)| known.as_ref() == name);
    row.map(|(_, value)| value.clone())
        .ok_or_else(|| words::unknown(kind, name, table.iter().map(|(known, _)| known.as_ref())))
}

fn name(item: &Value) -> &str {
    item["name"].as_str().unwrap_or_default()
}

/// Whether this looks like the authors' file rather than a graph of ours.
pub(super) fn is_authors_config(text: &str) -> bool {
    let file: Value = serde_json::from_str(text).unwrap_or_default();
    file.get("models").is_some() && file.get("losses").is_some()
}

pub(super) fn graph(text: &str) -> Result<Document, Error> {
    let config: Value = serde_json::from_str(text).map_err(|error| Error::of_json(&error))?;
    let models = config["models"].as_array().map(Vec::as_slice).unwrap_or_default();
    let size = models.len();
    if models.first().map(name) != Some("Ensemble") {
        return Err(Error::new("\"models\" must be a list that begins with the ensemble node, named \"Ensemble\""));
    }
    if !(1..=MAX_NODES).contains(&(size - 1)) {
        let count = size - 1;
        let message = format!("\"models\" must list 1 to {MAX_NODES} networks after the ensemble node, not {count}");
        return Err(Error::new(message));
    }
    let mut nodes = Vec::new();
    let mut node_places = Vec::new();
    for (index, model) in models.iter().enumerate().skip(1) {
        let place = Place::Path(format!("models[{index}]"));
        nodes.push(node(model).map_err(|error| error.at(&place))?);
        node_places.push(place);
    }

    let mut document =
        Document { graph: Graph::new(nodes), origin: String::new(), node_places, edge_places: BTreeMap::new() };
    for (target, row) in losses_of(&config["losses"], size, "\"losses\"")?.iter().enumerate() {
        for (source, loss) in losses_of(row, size, &format!("losses[{target}]"))?.iter().enumerate() {
            let place = Place::Path(format!("losses[{target}][{source}]"));
            edge(&mut document, source, target, loss, &place).map_err(|error| error.at(&place))?;
        }
    }
    Ok(document)
}

/// The matrix of losses, or one row of it.
fn losses_of<'a>(list: &'a Value, size: usize, what: &str) -> Result<&'a [Value], Error> {
    match list.as_array() {
        Some(list) if list.len() == size => Ok(list),
        _ => Err(Error::new(format!("{what} must be a list of {size}, one for each of \"models\""))),
    }
}

fn node(model: &Value) -> Result<Node, Error> {
    let architecture = look_up("network", model, &networks())?;
    for key in ["pre_ABN", "pre_ResNet"] {
        if model["args"][key] == true {
            return Err(Error::new(format!(
                "{key:?} asks for weights that come with the authors' code, which is not \
                 supported; set it to false and give a file as the \"path\" of \"load_weight\""
            )));
        }
    }
    let pretrained = match &model["load_weight"]["path"] {
        Value::Null => None,
        Value::String(path) if !path.trim().is_empty() => Some(path.clone()),
        path => return Err(Error::new(format!("\"path\" must be the name of a file or null, not {path}"))),
    };
    Ok(Node { pretrained, ..Node::new(architecture) })
}

/// Reads the loss of one edge into the document. Here, node 0 is the ensemble node.
fn edge(document: &mut Document, source: usize, target: usize, loss: &Value, place: &Place) -> Result<(), Error> {
    let args = &loss["args"];
    let gate = look_up("gate", &args["gate"], &GATES)?;
    if gate.is_cut() {
        return Ok(());
    }
    let (Some(source), Some(target)) = (source.checked_sub(1), target.checked_sub(1)) else {
        let message = "an edge of the ensemble node is not supported here; cut it with gate \"CutoffGate\"";
        return Err(Error::new(message));
    };
    for key in ["T", "loss_weight"] {
        let factor = &args[key];
        if !factor.is_null() && factor.as_f64() != Some(1.0) {
            return Err(Error::new(format!("{key:?} must be 1, not {factor}; nothing else is supported")));
        }
    }
    if source != target {
        let transfer = Transfer { design: design(loss)?, gate };
        document.graph.set_transfer(source, target, Some(transfer));
        document.edge_places.insert((Some(source), target), place.clone());
    } else if name(loss) == "IndependentLoss" {
        document.graph.set_label_gate(target, gate);
        document.edge_places.insert((None, target), place.clone());
    } else {
        let (node, name) = (target + 1, name(loss));
        return Err(Error::new(format!("the label edge of node {node} must be \"IndependentLoss\", not {name:?}")));
    }
    Ok(())
}

fn design(loss: &Value) -> Result<Design, Error> {
    let (closer, keys) = look_up("loss name", loss, &LOSSES)?;
    let mut designs = Vec::new();
    for key in keys {
        let flag = &loss["args"][key];
        designs.push(match (flag.as_bool(), flag.as_f64()) {
            (Some(true), _) | (_, Some(1.0)) => closer,
            (Some(false), _) | (_, Some(0.0)) => closer.flipped(),
            _ => return Err(Error::new(format!("{key:?} must be 1 (closer) or 0 (apart), not {flag}"))),
        });
    }
    if designs.iter().any(|design| *design != designs[0]) {
        return Err(Error::new(
            "this brings one knowledge closer and pushes the other apart, which is not \
             supported; \"soft_loss_positive\" and \"att_loss_positive\" must be equal",
        ));
    }
    Ok(designs[0])
}
