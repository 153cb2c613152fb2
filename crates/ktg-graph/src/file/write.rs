//! Graphs to text, in the form that people would write.

use std::fmt;

use ktg_base::edge_name;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use crate::gate::Gate;
use crate::graph::{Graph, Node};
use crate::transfer::{RESIZE, Transfer};

impl Graph {
    /// The graph as TOML. Edges that are not written are left out; reading it back gives an equal
    /// graph.
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        if let Some(name) = &self.name {
            text += &format!("name = {}\n\n", toml_value(&json!(name)));
        }
        text += "[nodes]\n";
        for (i, node) in self.nodes().iter().enumerate() {
            text += &format!("{} = {}\n", i + 1, toml_value(&json_node(node)));
        }
        text += "\n[edges]\n";
        for (edge, value) in self.edges() {
            text += &format!("\"{edge}\" = \"{value}\"\n");
        }
        text
    }

    /// The graph as indented JSON. Reading it back gives an equal graph.
    pub fn to_json(&self) -> String {
        format!("{:#}\n", self.to_value())
    }

    fn to_value(&self) -> Value {
        let mut root = Map::new();
        if let Some(name) = &self.name {
            root.insert("name".to_owned(), json!(name));
        }
        let numbered = self.nodes().iter().enumerate();
        let nodes: Map<_, _> = numbered.map(|(i, node)| ((i + 1).to_string(), json_node(node))).collect();
        root.insert("nodes".to_owned(), Value::Object(nodes));
        let edges: Map<_, _> = self.edges().map(|(edge, value)| (edge, Value::String(value))).collect();
        root.insert("edges".to_owned(), Value::Object(edges));
        Value::Object(root)
    }

    /// The written edges as keys and values of a file: first the label edges, then the transfers.
    fn edges(&self) -> impl Iterator<Item = (String, String)> + '_ {
        let labels = (0..self.len())
            .map(|target| (target, self.label_gate(target)))
            // For a label edge, written with this gate and not written at all are the same.
            .filter(|(_, gate)| *gate != Gate::Cutoff)
            .map(|(target, gate)| (edge_name(None, target), gate.to_string()));
        let transfers = self
            .written_transfers()
            .map(|(source, target, transfer)| (edge_name(Some(source), target), transfer.to_string()));
        labels.chain(transfers)
    }
}

/// In the same structure as the files.
impl Serialize for Graph {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_value().serialize(serializer)
    }
}

/// As files write it, such as `attention apart, linear` or `attention apart, resize`.
impl fmt::Display for Transfer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.design)?;
        if self.gate != Gate::Through {
            write!(f, ", {}", self.gate)?;
        }
        if self.resize {
            write!(f, ", {RESIZE}")?;
        }
        Ok(())
    }
}

fn json_node(node: &Node) -> Value {
    if node.pretrained.is_none() && !node.frozen && !node.is_tuned() && node.drop_path.is_none() {
        return json!(node.architecture);
    }
    let mut fields = Map::new();
    fields.insert("architecture".to_owned(), json!(node.architecture));
    if let Some(path) = &node.pretrained {
        fields.insert("pretrained".to_owned(), json!(path));
    }
    if node.frozen {
        fields.insert("frozen".to_owned(), json!(true));
    }
    if node.strict {
        fields.insert("strict".to_owned(), json!(true));
    }
    if let Some(freeze) = &node.freeze {
        fields.insert("freeze".to_owned(), json!(freeze));
    }
    if let Some(factor) = node.learning_rate_factor {
        fields.insert("learning_rate_factor".to_owned(), json!(factor));
    }
    if let Some(rate) = node.drop_path {
        fields.insert("drop_path".to_owned(), json!(rate));
    }
    Value::Object(fields)
}

/// A value as TOML has it on one line.
fn toml_value(value: &Value) -> String {
    match value {
        Value::String(text) => toml::Value::from(text.as_str()).to_string(),
        Value::Object(fields) => {
            let fields: Vec<String> =
                fields.iter().map(|(key, value)| format!("{key} = {}", toml_value(value))).collect();
            format!("{{ {} }}", fields.join(", "))
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(toml_value).collect();
            format!("[{}]", items.join(", "))
        }
        other => other.to_string(),
    }
}
