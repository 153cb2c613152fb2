//! A choice that trials make: its name in a study, and what it decides of a graph.

use std::fmt;

use ktg_graph::{Design, Gate, Graph, Transfer, edge_name, parse_edge};
use serde::Serialize;

use crate::Error;

/// A kind of choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ParameterKind {
    /// An edge's gate.
    Gate,
    /// A transfer edge's design.
    Design,
    /// A node's architecture.
    Architecture,
}

impl fmt::Display for ParameterKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// What a parameter decides. The order is that of the parts that a mutation chooses from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Slot {
    pub kind: ParameterKind,
    /// The source of the edge, from 0; `None`: the label, or it is about a node.
    pub source: Option<usize>,
    /// The node that the edge teaches, or whose architecture it is, from 0.
    pub target: usize,
}

impl Slot {
    /// The name of the parameter.
    pub fn name(self) -> String {
        format!("{} {}", self.part(), self.kind)
    }

    fn part(self) -> String {
        match self.kind {
            ParameterKind::Architecture => format!("node {}", self.target + 1),
            _ => edge_name(self.source, self.target).replace(' ', ""),
        }
    }

    /// What the parameter of a name decides in a graph of so many nodes.
    fn parse(name: &str, nodes: usize) -> Result<Self, Error> {
        let unknown = || Error::Setting(format!("a parameter is called `{name}`, which says nothing here"));
        let (part, kind) = name.rsplit_once(' ').ok_or_else(unknown)?;
        if let ("architecture", Some(node)) = (kind, part.strip_prefix("node ")) {
            let node = node.parse().ok().filter(|node| (1..=nodes).contains(node)).ok_or_else(unknown)?;
            return Ok(Self { kind: ParameterKind::Architecture, source: None, target: node - 1 });
        }
        let (source, target) = parse_edge(part, nodes)?;
        let kind = match (kind, source) {
            ("gate", _) => ParameterKind::Gate,
            ("design", Some(_)) => ParameterKind::Design,
            _ => return Err(unknown()),
        };
        Ok(Self { kind, source, target })
    }
}

/// What a choice puts into a slot.
#[derive(Clone, Debug, PartialEq)]
enum Content {
    Gate(Gate),
    Design(Design),
    Architecture(String),
}

/// A choice that a trial makes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Parameter {
    /// As dashboards show it, such as `2->1 gate`, `label->1 gate`, `2->1 design` or `node 1 architecture`.
    pub name: String,
    /// What there is to choose from; at least two.
    pub choices: Vec<String>,
    #[serde(skip)]
    pub(crate) slot: Slot,
    /// What each choice puts into the slot.
    #[serde(skip)]
    contents: Vec<Content>,
}

impl Parameter {
    /// The parameter of this name in a graph of so many nodes.
    ///
    /// # Errors
    /// If the name or a choice says nothing, or there are no choices.
    pub(crate) fn new(name: String, choices: Vec<String>, nodes: usize) -> Result<Self, Error> {
        let slot = Slot::parse(&name, nodes)?;
        let content = |choice: &String| -> Result<Content, ktg_graph::Error> {
            Ok(match slot.kind {
                ParameterKind::Gate => Content::Gate(choice.parse()?),
                ParameterKind::Design => Content::Design(choice.parse()?),
                ParameterKind::Architecture => Content::Architecture(choice.clone()),
            })
        };
        let contents = choices.iter().map(content).collect::<Result<Vec<Content>, _>>();
        let contents = contents.map_err(|e| Error::Setting(format!("the parameter `{name}`: {e}")))?;
        if contents.is_empty() {
            return Err(Error::Setting(format!("the parameter `{name}` has no choices")));
        }
        Ok(Self { name, choices, slot, contents })
    }

    /// The gates that it offers.
    pub(crate) fn gates(&self) -> impl Iterator<Item = Gate> {
        self.contents.iter().filter_map(|content| match content {
            Content::Gate(gate) => Some(*gate),
            _ => None,
        })
    }

    /// The designs that it offers.
    pub(crate) fn designs(&self) -> impl Iterator<Item = Design> {
        self.contents.iter().filter_map(|content| match content {
            Content::Design(design) => Some(*design),
            _ => None,
        })
    }

    /// What kind of choice it is.
    pub fn kind(&self) -> ParameterKind {
        self.slot.kind
    }

    /// The edge or node that it is about, such as `2->1`, `label->1` or `node 1`.
    pub fn part(&self) -> String {
        self.slot.part()
    }

    /// Puts a choice into a graph. An edge that is not there stays cut.
    pub(crate) fn put(&self, gene: usize, graph: &mut Graph) {
        let Slot { source, target, .. } = self.slot;
        let edge = source.and_then(|source| Some((source, graph.transfer(source, target)?)));
        match (&self.contents[gene], edge) {
            (Content::Architecture(name), _) => graph.node_mut(target).architecture.clone_from(name),
            (Content::Gate(gate), None) if source.is_none() => graph.set_label_gate(target, *gate),
            (Content::Gate(gate), Some((source, transfer))) => {
                graph.set_transfer(source, target, Some(Transfer { gate: *gate, ..transfer }));
            }
            (Content::Design(design), Some((source, transfer))) => {
                graph.set_transfer(source, target, Some(Transfer { design: *design, ..transfer }));
            }
            (Content::Gate(_) | Content::Design(_), None) => {}
        }
    }

    /// The choice that a graph has made; the design of an edge that it does not have is the first choice.
    pub(crate) fn made_by(&self, graph: &Graph) -> String {
        let Slot { kind, source, target } = self.slot;
        let transfer = source.and_then(|source| graph.transfer(source, target));
        match kind {
            ParameterKind::Architecture => graph.nodes()[target].architecture.clone(),
            ParameterKind::Design => transfer.map_or_else(|| self.choices[0].clone(), |t| t.design.to_string()),
            ParameterKind::Gate if source.is_none() => graph.label_gate(target).to_string(),
            ParameterKind::Gate => transfer.map_or(Gate::Cutoff, |transfer| transfer.gate).to_string(),
        }
    }

    /// A choice as far as it matters in the graph that has made it.
    pub(crate) fn relevant(&self, gene: usize, graph: &Graph) -> Option<usize> {
        match (&self.contents[gene], self.slot.source) {
            (Content::Design(_), Some(source)) => graph.transfer(source, self.slot.target).map(|_| gene),
            (Content::Gate(gate), None) => {
                let same = Content::Gate(gate.on_label());
                self.contents.iter().position(|content| *content == same).or(Some(gene))
            }
            _ => Some(gene),
        }
    }
}
