//! Import of the authors' `config.json`.
//!
//! The part of it that is a graph: `models[0]` is the ensemble node and `models[1..]` are the
//! networks; `losses[target][source]` is the loss of an edge, where the diagonal holds the label
//! edges.

use std::collections::BTreeMap;

use super::Document;
use super::item::{Field, Item, Value, get};
use crate::design::{Design, Direction};
use crate::error::Error;
use crate::gate::Gate;
use crate::graph::{Graph, MAX_NODES, Node, Transfer};
use crate::words;

/// The depths of the residual networks for 224 and for 32 pixels; the authors name both alike.
const DEPTHS: [&str; 3] = ["18", "34", "50"];
const CIFAR_DEPTHS: [&str; 5] = ["20", "32", "44", "56", "110"];

/// Whether this looks like the authors' file rather than a graph of ours.
pub(super) fn is_authors_config(root: &Item) -> bool {
    match &root.value {
        Value::Table(fields) => get(fields, "models").is_some() && get(fields, "losses").is_some(),
        _ => false,
    }
}

pub(super) fn graph(root: &Item, origin: &str) -> Result<Document, Error> {
    let import = Import { origin };
    let fields = root.table(origin, "the configuration")?;
    let models = import.get(root, fields, "models")?.list(origin, "\"models\"")?;
    let [ensemble, models @ ..] = models else {
        return Err(import.error(root, "\"models\" is empty; its first entry is the ensemble node"));
    };
    if import.name(ensemble)? != "Ensemble" {
        let message = "the first entry of \"models\" must be named \"Ensemble\"";
        return Err(import.error(ensemble, message));
    }
    if !(1..=MAX_NODES).contains(&models.len()) {
        let message =
            format!("\"models\" must list 1 to {MAX_NODES} networks after the ensemble node, not {}", models.len());
        return Err(import.error(ensemble, message));
    }
    let mut nodes = Vec::with_capacity(models.len());
    for model in models {
        nodes.push(import.node(model)?);
    }

    let mut document = Document {
        graph: Graph::new(nodes),
        origin: origin.to_owned(),
        node_lines: models.iter().map(|model| model.line).collect(),
        edge_lines: BTreeMap::new(),
    };
    let losses = import.get(root, fields, "losses")?;
    let rows = import.square(losses, losses, models.len() + 1)?;
    for (target, row) in rows.iter().enumerate() {
        let row = import.square(losses, row, models.len() + 1)?;
        for (source, loss) in row.iter().enumerate() {
            import.edge(&mut document, source, target, loss)?;
        }
    }
    Ok(document)
}

struct Import<'a> {
    origin: &'a str,
}

impl Import<'_> {
    fn error(&self, item: &Item, message: impl Into<String>) -> Error {
        Error::new(message).at(self.origin, item.line)
    }

    fn get<'a>(&self, item: &Item, fields: &'a [Field], key: &str) -> Result<&'a Item, Error> {
        get(fields, key).ok_or_else(|| self.error(item, format!("{key:?} is missing here")))
    }

    /// The `name` of a model, loss or gate.
    fn name<'a>(&self, item: &'a Item) -> Result<&'a str, Error> {
        let fields = item.table(self.origin, "a model, loss or gate")?;
        self.get(item, fields, "name")?.text(self.origin, "\"name\"")
    }

    fn square<'a>(&self, losses: &Item, item: &'a Item, size: usize) -> Result<&'a [Item], Error> {
        let list = item.list(self.origin, "a row of \"losses\"")?;
        if list.len() == size {
            return Ok(list);
        }
        let what = if std::ptr::eq(losses, item) { "rows" } else { "entries in this row" };
        let message =
            format!("\"losses\" has {} {what}, but {size} are needed, one for each of \"models\"", list.len());
        Err(self.error(item, message))
    }

    fn node(&self, model: &Item) -> Result<Node, Error> {
        let fields = model.table(self.origin, "a model")?;
        let name = self.name(model)?;
        let Some(architecture) = architecture(name) else {
            let known = DEPTHS.into_iter().chain(CIFAR_DEPTHS);
            let known: Vec<String> =
                known.flat_map(|depth| [format!("resnet{depth}_abn"), format!("resnet{depth}")]).collect();
            let error = words::unknown("network", name, known.iter().map(String::as_str));
            let line = get(fields, "name").and_then(|name| name.line);
            return Err(error.at(self.origin, line));
        };
        let mut node = Node::new(architecture);
        if let Some(Value::Table(args)) = get(fields, "args").map(|item| &item.value) {
            for key in ["pre_ABN", "pre_ResNet"] {
                if let Some(item) = get(args, key).filter(|i| matches!(i.value, Value::Bool(true))) {
                    let message = format!(
                        "{key:?} asks for weights that come with the authors' code, which is not \
                         supported; set it to false and give a file as the \"path\" of \"load_weight\""
                    );
                    return Err(self.error(item, message));
                }
            }
        }
        if let Some(Value::Table(load)) = get(fields, "load_weight").map(|item| &item.value)
            && let Some(path) = get(load, "path").filter(|i| !matches!(i.value, Value::Null))
        {
            node.pretrained = Some(path.text(self.origin, "\"path\"")?.to_owned());
        }
        Ok(node)
    }

    /// Reads the loss of one edge into the document. Node 0 is the ensemble node.
    fn edge(&self, document: &mut Document, source: usize, target: usize, loss: &Item) -> Result<(), Error> {
        let name = self.name(loss)?;
        let fields = loss.table(self.origin, "a loss")?;
        let args_item = self.get(loss, fields, "args")?;
        let args = args_item.table(self.origin, "\"args\"")?;
        let gate = self.gate(self.get(args_item, args, "gate")?)?;
        if gate.is_cut() {
            return Ok(());
        }
        let place = format!("losses[{target}][{source}]");
        if source == 0 || target == 0 {
            let message = format!(
                "{place} is an edge of the ensemble node, which is not supported here; \
                 cut it with gate \"CutoffGate\""
            );
            return Err(self.error(loss, message));
        }
        for key in ["T", "loss_weight"] {
            match get(args, key) {
                None => {}
                Some(item) if matches!(item.value, Value::Number(1.0)) => {}
                Some(item) => {
                    let message = format!("{key:?} of {place} must be 1; nothing else is supported");
                    return Err(self.error(item, message));
                }
            }
        }
        let (source, target) = (source - 1, target - 1);
        if source == target {
            if name != "IndependentLoss" {
                let message = format!(
                    "{place} is the label edge of node {} and must be \"IndependentLoss\", not {name:?}",
                    target + 1
                );
                return Err(self.error(loss, message));
            }
            document.graph.set_label_gate(target, gate);
            document.edge_lines.insert((None, target), loss.line);
            return Ok(());
        }
        let flag = |key| self.flag(args_item, args, key);
        let (probability, attention) = match name {
            "KLLoss" => (Some(flag("soft_loss_positive")?), None),
            "AttLoss" => (None, Some(flag("att_loss_positive")?)),
            "KL_AttLoss" => (Some(flag("soft_loss_positive")?), Some(flag("att_loss_positive")?)),
            _ => {
                let known = ["KLLoss", "AttLoss", "KL_AttLoss"];
                let error = words::unknown("loss name", name, known);
                return Err(error.at(self.origin, loss.line));
            }
        };
        if let (Some(probability), Some(attention)) = (probability, attention)
            && probability != attention
        {
            let message = format!(
                "{place} brings one knowledge closer and pushes the other apart, which is not \
                 supported; \"soft_loss_positive\" and \"att_loss_positive\" must be equal"
            );
            return Err(self.error(loss, message));
        }
        let design = probability
            .or(attention)
            .and_then(|direction| Design::of(probability.is_some(), attention.is_some(), direction));
        if let Some(design) = design {
            let transfer = Transfer { design, gate };
            document.graph.set_transfer(source, target, Some(transfer));
            let key = (Some(source), target);
            document.edge_lines.insert(key, loss.line);
        }
        Ok(())
    }

    /// The authors call a gate "LinearGate" that we call "linear", and so on.
    fn gate(&self, item: &Item) -> Result<Gate, Error> {
        let name = self.name(item)?;
        let gate = name.strip_suffix("Gate").and_then(|short| short.parse().ok());
        gate.ok_or_else(|| {
            let known = Gate::ALL.map(|gate| {
                let (first, rest) = gate.name().split_at(1);
                format!("{}{rest}Gate", first.to_uppercase())
            });
            words::unknown("gate", name, known.iter().map(String::as_str)).at(self.origin, item.line)
        })
    }

    fn flag(&self, args_item: &Item, args: &[Field], key: &str) -> Result<Direction, Error> {
        let item = self.get(args_item, args, key)?;
        match item.value {
            Value::Number(1.0) | Value::Bool(true) => Ok(Direction::Closer),
            Value::Number(0.0) | Value::Bool(false) => Ok(Direction::Apart),
            _ => Err(self.error(item, format!("{key:?} must be 1 (closer) or 0 (apart)"))),
        }
    }
}

/// Our name of one of the authors' networks.
fn architecture(name: &str) -> Option<String> {
    let (name, attention_branch) = match name.strip_suffix("_abn") {
        Some(name) => (name, "abn-"),
        None => (name, ""),
    };
    let depth = name.strip_prefix("resnet")?;
    if DEPTHS.contains(&depth) {
        Some(format!("{attention_branch}resnet-{depth}"))
    } else if CIFAR_DEPTHS.contains(&depth) {
        Some(format!("{attention_branch}resnet-cifar-{depth}"))
    } else {
        None
    }
}
