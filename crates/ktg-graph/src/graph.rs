//! Nodes, edges and the graph.

pub use ktg_base::edge_name;

use crate::error::Error;
use crate::gate::Gate;
use crate::transfer::Transfer;
use crate::tuning::{Factor, Freeze};

/// The most network nodes that a graph file may have; far beyond what is trained in practice, and
/// small enough that every operation on a graph stays quick.
pub const MAX_NODES: usize = 64;

/// A network node.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Node {
    /// Name of the network's architecture, such as `"abn-resnet-18"`.
    pub architecture: String,
    /// File of weights to start from, as written in the graph file (the trainer resolves a relative
    /// path from the directory of that file). `None`: random initial weights.
    pub pretrained: Option<String>,
    /// The node is a teacher that never changes; it may have no incoming edges.
    pub frozen: bool,
    /// All of the file's tensors, and no others, must be the network's; else what fits is taken.
    pub strict: bool,
    /// The part of the network that stays as it starts, if any.
    pub freeze: Option<Freeze>,
    /// Factor on the learning rate of what was loaded; `None`: 1.
    pub learning_rate_factor: Option<Factor>,
    /// How often stochastic depth drops the last residual block of an image, from 0 to below 1; `None`: never.
    pub drop_path: Option<Factor>,
}

impl Node {
    /// A node with random initial weights that is trained.
    pub fn new(architecture: impl Into<String>) -> Node {
        Node {
            architecture: architecture.into(),
            pretrained: None,
            frozen: false,
            strict: false,
            freeze: None,
            learning_rate_factor: None,
            drop_path: None,
        }
    }

    /// The same node, starting from the weights in a file.
    pub fn with_pretrained(self, path: impl Into<String>) -> Node {
        Node { pretrained: Some(path.into()), ..self }
    }

    /// The same node, frozen: a teacher.
    pub fn frozen(self) -> Node {
        Node { frozen: true, ..self }
    }

    /// Whether it says how it learns from given weights.
    pub(crate) fn is_tuned(&self) -> bool {
        self.strict || self.freeze.is_some() || self.learning_rate_factor.is_some()
    }

    /// What contradicts itself, if anything, as "... of node 1" goes on.
    pub(crate) fn contradiction(&self) -> Option<(&'static str, &'static str)> {
        if self.pretrained.is_none() && self.strict {
            Some(("strict", "is about a weights file; name one under \"pretrained\", or leave it out"))
        } else if self.pretrained.is_none() && self.learning_rate_factor.is_some() {
            Some(("learning_rate_factor", "is about loaded weights; name a file under \"pretrained\", or leave it out"))
        } else if self.frozen && self.freeze.is_some() {
            Some(("freeze", "is too much: the whole node is frozen; leave one of them out"))
        } else if self.frozen && self.learning_rate_factor.is_some() {
            Some(("learning_rate_factor", "is too much: the node is frozen and learns nothing; leave one of them out"))
        } else if self.frozen && self.drop_path.is_some() {
            Some(("drop_path", "is too much: the node is frozen and drops nothing; leave one of them out"))
        } else if self.drop_path.is_some_and(|rate| rate.get() >= 1.0) {
            Some(("drop_path", "must be below 1: it is how often the last block is dropped"))
        } else {
            None
        }
    }
}

/// A knowledge transfer graph: network nodes, a label edge into each, and a transfer edge for every
/// ordered pair.
///
/// Nodes are numbered from 0 in code and from 1 in files, messages and pictures. Methods that take a
/// node's index panic if there is no such node, as indexing a slice does.
///
/// Two graphs are `==` if they are written alike. Whether they *mean* the same is a question for
/// [`Graph::canonical`] and [`Graph::hash`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Graph {
    /// A name for people; it has no meaning and is not part of the canonical form.
    pub name: Option<String>,
    nodes: Vec<Node>,
    label_gates: Vec<Gate>,
    /// M x M, row = target, column = source; the diagonal stays `None`.
    transfers: Vec<Option<Transfer>>,
}

impl Graph {
    /// A graph of these nodes in which every edge is cut.
    pub fn new(nodes: Vec<Node>) -> Graph {
        let m = nodes.len();
        Graph { name: None, nodes, label_gates: vec![Gate::Cutoff; m], transfers: vec![None; m * m] }
    }

    /// The network nodes in order.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// One node, to change.
    pub fn node_mut(&mut self, node: usize) -> &mut Node {
        &mut self.nodes[node]
    }

    /// M, the number of network nodes.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are no nodes at all (a file cannot say that).
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The gate of the label edge into `target`.
    pub fn label_gate(&self, target: usize) -> Gate {
        self.label_gates[target]
    }

    /// Sets the gate of the label edge into `target`; [`Gate::Cutoff`] cuts it.
    pub fn set_label_gate(&mut self, target: usize, gate: Gate) {
        self.label_gates[target] = gate;
    }

    /// The transfer edge from `source` to `target`.
    ///
    /// `None` is an edge that is not written, and so cut. An edge may also be written with
    /// [`Gate::Cutoff`]; see [`Graph::active_transfers`] for the edges that do something. There is
    /// never an edge from a node to itself.
    pub fn transfer(&self, source: usize, target: usize) -> Option<Transfer> {
        self.transfers[self.index(source, target)]
    }

    /// Sets or, with `None`, removes the transfer edge from `source` to `target`.
    ///
    /// # Panics
    /// If `source` is `target`: a node cannot teach itself.
    pub fn set_transfer(&mut self, source: usize, target: usize, transfer: Option<Transfer>) {
        assert_ne!(source, target, "a node cannot teach itself");
        let index = self.index(source, target);
        self.transfers[index] = transfer;
    }

    fn index(&self, source: usize, target: usize) -> usize {
        let m = self.len();
        assert!(
            source < m && target < m,
            "no transfer edge from node {source} to node {target} in a graph of {m} nodes"
        );
        target * m + source
    }

    /// All written transfer edges, cut or not, as (source, target, transfer), target by target.
    pub fn written_transfers(&self) -> impl Iterator<Item = (usize, usize, Transfer)> + '_ {
        let m = self.len();
        self.transfers
            .iter()
            .enumerate()
            .filter_map(move |(i, transfer)| transfer.map(|transfer| (i % m, i / m, transfer)))
    }

    /// The transfer edges that are not cut, as (source, target, transfer), target by target.
    pub fn active_transfers(&self) -> impl Iterator<Item = (usize, usize, Transfer)> + '_ {
        self.written_transfers().filter(|(_, _, transfer)| !transfer.gate.is_cut())
    }

    /// Whether training changes this node: it is not frozen and some incoming edge is not cut.
    pub fn is_trained(&self, node: usize) -> bool {
        !self.nodes[node].frozen && self.first_incoming(node).is_some()
    }

    /// Whether this node learns something or knows something: one that is neither trained nor pretrained answers by chance.
    pub fn is_useful(&self, node: usize) -> bool {
        self.is_trained(node) || self.nodes[node].pretrained.is_some()
    }

    /// The first incoming edge that is not cut: `Some(None)` is the label edge.
    fn first_incoming(&self, target: usize) -> Option<Option<usize>> {
        if !self.label_gates[target].is_cut() {
            return Some(None);
        }
        self.active_transfers().find(|(_, t, _)| *t == target).map(|(source, _, _)| Some(source))
    }

    /// Gives every node, teachers included, the same architecture.
    pub fn set_architecture(&mut self, architecture: &str) {
        for node in &mut self.nodes {
            node.architecture = architecture.to_owned();
        }
    }

    /// Checks the rules that every graph file must meet, for a graph made in code.
    ///
    /// # Errors
    /// If there are no nodes or more than [`MAX_NODES`], a node has no architecture or an empty path or contradicts itself, an
    /// edge resizes attention maps but reads none, or a frozen node has an incoming edge that is not cut.
    pub fn check(&self) -> Result<(), Error> {
        if self.is_empty() || self.len() > MAX_NODES {
            return Err(Error::new(format!("a graph needs 1 to {MAX_NODES} nodes, but this one has {}", self.len())));
        }
        let blank = |text: &str| text.trim().is_empty();
        for (i, node) in self.nodes.iter().enumerate() {
            if blank(&node.architecture) {
                return Err(Error::new(format!("node {} has no architecture", i + 1)));
            }
            if node.pretrained.as_deref().is_some_and(blank) {
                let message = format!("the pretrained path of node {} is empty", i + 1);
                return Err(Error::new(message));
            }
            if let Some((key, problem)) = node.contradiction() {
                return Err(Error::new(format!("\"{key}\" of node {} {problem}", i + 1)));
            }
        }
        for (source, target, transfer) in self.written_transfers() {
            let name = edge_name(Some(source), target);
            transfer.checked().map_err(|error| Error::new(format!("edge \"{name}\": {error}")))?;
        }
        match self.edge_into_frozen() {
            Some((source, target)) => Err(Error::new(frozen_message(source, target))),
            None => Ok(()),
        }
    }

    /// An edge that is not cut although its target is frozen, as (source, target); the label is
    /// source `None`.
    pub(crate) fn edge_into_frozen(&self) -> Option<(Option<usize>, usize)> {
        (0..self.len())
            .filter(|target| self.nodes[*target].frozen)
            .find_map(|target| Some((self.first_incoming(target)?, target)))
    }

    /// The graph with its nodes in another order: node `i` of the result is node `order[i]` of
    /// `self`.
    pub(crate) fn reordered(&self, order: &[usize]) -> Graph {
        let nodes = order.iter().map(|old| self.nodes[*old].clone()).collect();
        let mut graph = Graph::new(nodes);
        graph.name.clone_from(&self.name);
        for (target, old_target) in order.iter().enumerate() {
            graph.label_gates[target] = self.label_gates[*old_target];
            for (source, old_source) in order.iter().enumerate() {
                let index = graph.index(source, target);
                graph.transfers[index] = self.transfer(*old_source, *old_target);
            }
        }
        graph
    }
}

/// Why an edge into a frozen node is wrong, and what to do.
pub(crate) fn frozen_message(source: Option<usize>, target: usize) -> String {
    let edge = edge_name(source, target);
    let node = target + 1;
    format!("edge \"{edge}\" would train node {node}, which is frozen; remove the edge or \"frozen\" of node {node}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::design::Design;

    fn transfer(gate: Gate) -> Option<Transfer> {
        Some(Transfer::new(Design::ATTENTION_APART, gate))
    }

    #[test]
    fn edges_are_kept_by_direction_and_listed_by_target() {
        let mut graph = Graph::new(vec![Node::new("a"), Node::new("b"), Node::new("c")]);
        assert_eq!(graph.active_transfers().count(), 0);
        graph.set_transfer(0, 2, transfer(Gate::Linear));
        graph.set_transfer(2, 0, transfer(Gate::Through));
        graph.set_transfer(1, 0, transfer(Gate::Correct));
        graph.set_transfer(2, 1, transfer(Gate::Cutoff));
        assert_eq!(graph.transfer(0, 2), transfer(Gate::Linear));
        assert_eq!(graph.transfer(1, 2), None);
        assert_eq!(graph.transfer(2, 1), transfer(Gate::Cutoff));
        let edges: Vec<_> = graph.active_transfers().map(|(s, t, _)| (s, t)).collect();
        assert_eq!(edges, [(1, 0), (2, 0), (0, 2)]);
    }

    #[test]
    fn a_node_is_trained_if_an_edge_reaches_it_and_it_is_not_frozen() {
        let mut graph = Graph::new(vec![Node::new("a").frozen(), Node::new("b"), Node::new("c")]);
        graph.set_label_gate(0, Gate::Through);
        graph.set_transfer(0, 1, transfer(Gate::Linear));
        graph.set_transfer(0, 2, transfer(Gate::Cutoff));
        assert!(!graph.is_trained(0));
        assert!(graph.is_trained(1));
        assert!(!graph.is_trained(2));
        assert_eq!(
            graph.check().unwrap_err().to_string(),
            "edge \"label -> 1\" would train node 1, which is frozen; \
             remove the edge or \"frozen\" of node 1"
        );
        graph.set_label_gate(0, Gate::Cutoff);
        assert_eq!(graph.check(), Ok(()));
    }

    #[test]
    fn graphs_made_in_code_are_checked_too() {
        let message = |graph: &Graph| graph.check().unwrap_err().to_string();
        assert_eq!(message(&Graph::new(vec![])), "a graph needs 1 to 64 nodes, but this one has 0");
        assert_eq!(message(&Graph::new(vec![Node::new("")])), "node 1 has no architecture");
        let mut graph = Graph::new(vec![Node::new("a"), Node::new("b")]);
        graph.set_transfer(0, 1, transfer(Gate::Linear).map(Transfer::resized));
        assert_eq!(graph.check(), Ok(()));
        graph.set_transfer(0, 1, Some(Transfer::new(Design::PROBABILITY_CLOSER, Gate::Linear).resized()));
        assert_eq!(
            message(&graph),
            "edge \"1 -> 2\": \"resize\" is about attention maps, which \"probability closer\" does not read; leave it out"
        );
    }

    #[test]
    #[should_panic(expected = "teach itself")]
    fn no_edge_to_itself() {
        Graph::new(vec![Node::new("a")]).set_transfer(0, 0, None);
    }
}
