//! One form for all graphs that mean the same, and its hash.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::gate::Gate;
use crate::graph::{Graph, Node};
use crate::labelling::canonical_order;
use crate::transfer::Transfer;

/// Identifies what a graph means: equal for graphs that differ only in the numbering of their
/// nodes, in edges that are cut anyway, or in name.
///
/// It is the first half of a SHA-256 and displayed as 32 hexadecimal digits. The value for a graph
/// is the same in every build and on every platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GraphHash([u8; 16]);

impl GraphHash {
    /// The first 12 digits, to name things for people.
    pub fn short(&self) -> String {
        self.to_string()[..12].to_owned()
    }
}

impl fmt::Display for GraphHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Graph {
    /// The form that all graphs of the same meaning share.
    ///
    /// Cut edges are not written, a label edge with gate [`Gate::Correct`] becomes
    /// [`Gate::Through`] (the label is always correct), there is no name, and the nodes are in
    /// canonical order: by architecture, weights and frozenness, then by their edges.
    pub fn canonical(&self) -> Graph {
        let mut graph = Graph::new(self.nodes().to_vec());
        for target in 0..self.len() {
            let gate = self.label_gate(target).on_label();
            let gate = if gate.is_cut() { Gate::Cutoff } else { gate };
            graph.set_label_gate(target, gate);
        }
        for (source, target, transfer) in self.active_transfers() {
            graph.set_transfer(source, target, Some(transfer));
        }
        graph.reordered(&graph.order())
    }

    /// The canonical order of the nodes of a graph that is in canonical form otherwise.
    fn order(&self) -> Vec<usize> {
        let key = |i: usize| (&self.nodes()[i], self.label_gate(i).code());
        let mut keys: Vec<(&Node, u8)> = (0..self.len()).map(key).collect();
        keys.sort();
        let colours: Vec<usize> = (0..self.len()).map(|i| keys.partition_point(|other| *other < key(i))).collect();
        let mut edges = vec![vec![0; self.len()]; self.len()];
        for (source, target, transfer) in self.active_transfers() {
            edges[source][target] = u16::from_be_bytes(transfer.codes());
        }
        canonical_order(&colours, &edges)
    }

    /// Identifies the meaning of the graph; see [`GraphHash`].
    ///
    /// # The hashed bytes, version 1
    /// All integers are little-endian. `ktg-graph 1` and a zero byte; the number of nodes M as u32;
    /// for each node of the canonical form its architecture (length in bytes as u32, then UTF-8),
    /// a byte 1 and the pretrained path in the same way or a byte 0, a byte that is 1 if the node is
    /// frozen and else 0, and the gate of its label edge; for each target and, within it, each other
    /// node as source, the design and the gate of the transfer edge, or two bytes 0 if it is cut.
    /// To the byte of a node that is strict, freezes a part or has a factor on the learning rate, 2 is added, and
    /// three things follow it: a byte 1 if it is strict and else 0; the number of names that it freezes as u32, and each in
    /// the way of the architecture, in their order (the backbone as the name `backbone`); a byte 1 and the factor as f64 or a byte 0.
    /// To the byte of a node with stochastic depth, 4 is added, and its rate as f64 follows that.
    /// Gates are bytes: through 1, cutoff 2, linear 3, correct 4, falling 5; 128 is added where attention maps are resized. Designs are
    /// bytes: probability closer 1, apart 2, attention closer 3, apart 4, both closer 5, apart 6; any other design 16 and a number in base three
    /// with a digit a knowledge (0 without it, 1 closer, 2 apart), that of probability the lowest, then attention, then relation.
    ///
    /// The order of the nodes is part of this: a change to how it is found needs a new version.
    pub fn hash(&self) -> GraphHash {
        let graph = self.canonical();
        let mut bytes = b"ktg-graph 1\0".to_vec();
        bytes.extend(length(graph.len()));
        for (i, node) in graph.nodes().iter().enumerate() {
            push_text(&mut bytes, &node.architecture);
            match &node.pretrained {
                None => bytes.push(0),
                Some(path) => {
                    bytes.push(1);
                    push_text(&mut bytes, path);
                }
            }
            let has_drop_path = node.drop_path.is_some();
            bytes.push(u8::from(node.frozen) + 2 * u8::from(node.is_tuned()) + 4 * u8::from(has_drop_path));
            if node.is_tuned() {
                push_tuning(&mut bytes, node);
            }
            bytes.extend(node.drop_path.into_iter().flat_map(|rate| rate.get().to_le_bytes()));
            bytes.push(graph.label_gate(i).code());
        }
        for target in 0..graph.len() {
            for source in (0..graph.len()).filter(|source| *source != target) {
                let codes = graph.transfer(source, target).map_or([0, 0], Transfer::codes);
                bytes.extend(codes);
            }
        }
        let digest: [u8; 32] = Sha256::digest(&bytes).into();
        let mut half = [0; 16];
        half.copy_from_slice(&digest[..16]);
        GraphHash(half)
    }
}

/// How a node learns that starts from given weights.
fn push_tuning(bytes: &mut Vec<u8>, node: &Node) {
    bytes.push(u8::from(node.strict));
    let frozen = node.freeze.as_ref().map(|freeze| freeze.names()).unwrap_or_default();
    bytes.extend(length(frozen.len()));
    frozen.iter().for_each(|name| push_text(bytes, name));
    match node.learning_rate_factor {
        None => bytes.push(0),
        Some(factor) => {
            bytes.push(1);
            bytes.extend(factor.get().to_le_bytes());
        }
    }
}

fn push_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend(length(text.len()));
    bytes.extend(text.as_bytes());
}

/// A length as the encoding has it. (No text in a graph comes near 4 GiB; if one did, its bytes
/// would still be hashed.)
fn length(count: usize) -> [u8; 4] {
    (count as u32).to_le_bytes()
}
