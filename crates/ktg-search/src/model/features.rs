//! What a graph is made of, whatever the numbers of its nodes.

use std::collections::BTreeMap;

use ktg_graph::{Graph, edge_name};

/// How often a graph has each of its parts: label gates, transfer edges and their terms, and which of them meet at a node or
/// answer each other. Two graphs that differ only in the numbering of like nodes have the same.
pub(crate) fn features(graph: &Graph) -> BTreeMap<String, f64> {
    let mut counts = BTreeMap::new();
    let mut count = |part: String| *counts.entry(part).or_insert(0.0) += 1.0;
    let kinds = kinds(graph);
    for (node, kind) in kinds.iter().enumerate() {
        let of_graph = &graph.nodes()[node];
        count(format!("{kind} is {}", of_graph.architecture));
        count(format!("label -> {kind} {}", graph.label_gate(node)));
    }
    for (source, target, transfer) in graph.active_transfers() {
        let edge = edge_name(Some(kinds[source]), kinds[target]);
        let label = graph.label_gate(target);
        count(format!("{edge} {}", transfer.gate));
        count(format!("{edge} {}, {}", transfer.design, transfer.gate));
        for term in transfer.design.terms() {
            count(format!("{edge} {term}"));
            count(format!("{edge} {term}, {}", transfer.gate));
            count(format!("{edge} {term}; label {label}"));
        }
        // Of an edge each way, once.
        let back = graph.transfer(target, source).filter(|back| source < target && !back.gate.is_cut());
        for back in back.into_iter().flat_map(|back| back.design.terms()) {
            for term in transfer.design.terms() {
                let mut both =
                    [format!("{edge} {term}"), format!("{} {back}", edge_name(Some(kinds[target]), kinds[source]))];
                both.sort();
                count(both.join("; "));
            }
        }
    }
    counts
}

/// For each node, the first that is like it.
fn kinds(graph: &Graph) -> Vec<usize> {
    let nodes = graph.nodes();
    // Which architecture a node has may be searched; what else it is makes its kind.
    let is_like =
        |a: usize, b: usize| (&nodes[a].pretrained, nodes[a].frozen) == (&nodes[b].pretrained, nodes[b].frozen);
    (0..nodes.len()).map(|node| (0..node).find(|other| is_like(*other, node)).unwrap_or(node)).collect()
}

/// The parts that tell graphs apart, each a column of a regression, standardized: mean 0, variance 1 over the graphs that it
/// was made from.
pub(crate) struct Columns {
    /// Name, mean and standard deviation.
    columns: Vec<(String, f64, f64)>,
}

impl Columns {
    /// Those of some graphs, given their features.
    pub fn of(graphs: &[BTreeMap<String, f64>]) -> Self {
        let mut sums: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
        for (name, value) in graphs.iter().flatten() {
            let (sum, squares) = sums.entry(name).or_default();
            *sum += value;
            *squares += value * value;
        }
        let n = graphs.len() as f64;
        let column = |(name, (sum, squares)): (&str, (f64, f64))| {
            let mean = sum / n;
            let variance = squares / n - mean * mean;
            // What all have says nothing.
            (variance > 1e-9).then(|| (name.to_owned(), mean, variance.sqrt()))
        };
        Self { columns: sums.into_iter().filter_map(column).collect() }
    }

    /// The values of a graph in these columns.
    pub fn values(&self, features: &BTreeMap<String, f64>) -> Vec<f64> {
        let value = |(name, mean, deviation): &(String, f64, f64)| {
            (features.get(name).copied().unwrap_or(0.0) - mean) / deviation
        };
        self.columns.iter().map(value).collect()
    }
}

#[cfg(test)]
mod tests {
    use ktg_graph::{Design, Gate, Node, Transfer};

    use super::*;

    fn graph(order: [usize; 3]) -> Graph {
        let mut graph = Graph::new(vec![Node::new("a"); 3]);
        graph.set_label_gate(order[0], Gate::Linear);
        graph.set_transfer(order[0], order[1], Some(Transfer::new(Design::BOTH_CLOSER, Gate::Through)));
        graph.set_transfer(order[1], order[0], Some(Transfer::new(Design::ATTENTION_APART, Gate::Correct)));
        graph.set_transfer(order[2], order[0], Some(Transfer::new(Design::ATTENTION_APART, Gate::Correct)));
        graph
    }

    #[test]
    fn the_numbers_of_like_nodes_do_not_matter() {
        let expected = features(&graph([0, 1, 2]));
        for order in [[0, 2, 1], [1, 0, 2], [2, 0, 1]] {
            assert_eq!(features(&graph(order)), expected);
        }
        assert_eq!(expected["1 -> 1 attention apart"], 2.0);
        assert_eq!(expected["1 -> 1 attention apart; 1 -> 1 probability closer"], 1.0);
    }

    #[test]
    fn a_frozen_teacher_is_another_kind_of_node() {
        let mut graph = Graph::new(vec![Node::new("a").with_pretrained("w").frozen(), Node::new("a"), Node::new("a")]);
        graph.set_transfer(0, 1, Some(Transfer::new(Design::BOTH_CLOSER, Gate::Through)));
        assert!(features(&graph).contains_key("1 -> 2 both closer, through"));
    }

    #[test]
    fn columns_are_standardized_and_leave_out_what_all_have() {
        let all = [graph([0, 1, 2]), Graph::new(vec![Node::new("a"); 3])].map(|graph| features(&graph));
        let columns = Columns::of(&all);
        let [one, other] = [&all[0], &all[1]].map(|features| columns.values(features));
        assert!(one.iter().zip(&other).all(|(a, b)| (a.abs() - 1.0).abs() < 1e-9 && (a + b).abs() < 1e-9));
        assert!(!columns.columns.iter().any(|(name, ..)| name.contains(" is ")));
    }
}
