//! Import of the authors' `config.json`.
//!
//! The part of it that is a graph: `models` are the networks, after the ensemble node if there is one (their code DCL has
//! none); `losses[target][source]` is the loss of an edge, where the diagonal holds the label edges.

use std::collections::BTreeMap;

use serde_json::Value;

use super::document::Document;
use crate::authors::{self, TransferLoss};
use crate::design::{Design, Direction};
use crate::error::{Error, Place};
use crate::graph::{Graph, MAX_NODES, Node};
use crate::transfer::Transfer;

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
    let has_ensemble = models.first().is_some_and(|model| authors::is_ensemble(name(model)));
    let first_network = usize::from(has_ensemble);
    let networks = size - first_network;
    if !(1..=MAX_NODES).contains(&networks) {
        let after = if has_ensemble { " after the ensemble node" } else { "" };
        return Err(Error::new(format!("\"models\" must list 1 to {MAX_NODES} networks{after}, not {networks}")));
    }
    let mut nodes = Vec::new();
    let mut node_places = Vec::new();
    for (index, model) in models.iter().enumerate().skip(first_network) {
        let place = Place::Path(format!("models[{index}]"));
        nodes.push(node(model).map_err(|error| error.at(&place))?);
        node_places.push(place);
    }

    let (graph, origin, edge_places) = (Graph::new(nodes), String::new(), BTreeMap::new());
    let mut document = Document { graph, is_of_authors: true, origin, node_places, edge_places };
    for (target, row) in losses_of(&config["losses"], size, "\"losses\"")?.iter().enumerate() {
        for (source, loss) in losses_of(row, size, &format!("losses[{target}]"))?.iter().enumerate() {
            let place = Place::Path(format!("losses[{target}][{source}]"));
            let ends = (source.checked_sub(first_network), target.checked_sub(first_network));
            edge(&mut document, has_ensemble, ends, loss, &place).map_err(|error| error.at(&place))?;
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
    let architecture = authors::architecture(name(model))?;
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

/// Reads the loss of one edge into the document. An end that is `None` is the ensemble node.
fn edge(
    document: &mut Document,
    has_ensemble: bool,
    ends: (Option<usize>, Option<usize>),
    loss: &Value,
    place: &Place,
) -> Result<(), Error> {
    let gate = authors::gate(name(&loss["args"]["gate"]))?;
    if gate.is_cut() {
        return Ok(());
    }
    let (Some(source), Some(target)) = ends else {
        let message = "an edge of the ensemble node is not supported here; cut it with gate \"CutoffGate\"";
        return Err(Error::new(message));
    };
    check_factors(loss)?;
    if source != target {
        let transfer = Transfer::new(design(loss, has_ensemble)?, gate);
        document.graph.set_transfer(source, target, Some(transfer));
        document.edge_places.insert((Some(source), target), place.clone());
    } else if authors::is_label_loss(name(loss)) {
        document.graph.set_label_gate(target, gate);
        document.edge_places.insert((None, target), place.clone());
    } else {
        let (node, name) = (target + 1, name(loss));
        return Err(Error::new(format!("the label edge of node {node} must be \"IndependentLoss\", not {name:?}")));
    }
    Ok(())
}

/// An edge has no temperature and no weight of its own here.
fn check_factors(loss: &Value) -> Result<(), Error> {
    let is_one = |factor: &Value| factor.is_null() || factor.as_f64() == Some(1.0);
    let (temperature, weight) = (&loss["args"]["T"], &loss["args"]["loss_weight"]);
    // The authors' code reads some of these numbers and does not use them.
    let loss_name = name(loss);
    if !is_one(temperature) {
        let reason = match authors::is_label_loss(loss_name) || loss_name == "AttLoss" {
            true => format!(", which the authors' code ignores for {loss_name:?}; write 1 for what it does"),
            false => "; write 1, and `temperature` under [loss] of the experiment file, which is that of all edges"
                .to_owned(),
        };
        return Err(Error::new(format!("\"T\" must be 1, not {temperature}{reason}")));
    }
    if !is_one(weight) {
        let reason = match loss_name {
            "KLLoss" => "which the authors' code ignores for a \"KLLoss\"; write 1 for what it does",
            _ => "and only a gate can weigh an edge here",
        };
        return Err(Error::new(format!("\"loss_weight\" must be 1, not {weight}, {reason}")));
    }
    Ok(())
}

fn design(loss: &Value, has_ensemble: bool) -> Result<Design, Error> {
    let kind = TransferLoss::of_config(name(loss))?;
    kind.design(|key| {
        let flag = &loss["args"][key];
        match (flag.as_bool(), flag.as_f64()) {
            (Some(true), _) | (_, Some(1.0)) => Ok(Direction::Closer),
            (Some(false), _) | (_, Some(0.0)) => Ok(Direction::Apart),
            // DCL, which has no ensemble node, has no other.
            _ if flag.is_null() && kind.name == "KLLoss" && !has_ensemble => Ok(Direction::Closer),
            _ => Err(Error::new(format!("{key:?} must be 1 (closer) or 0 (apart), not {flag}"))),
        }
    })
}
