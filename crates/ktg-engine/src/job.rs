//! What each node of a graph has to compute in a training step, so that nothing else is.

use ktg_graph::{Graph, Output};
use ktg_net::{Network, Value};

/// Which optional outputs a forward pass computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The attention branch's logits.
    pub attention_logits: bool,
    /// The attention map. (An attention branch always needs its own.)
    pub attention_map: bool,
}

impl Wanted {
    /// Everything.
    pub const ALL: Wanted = Wanted { attention_logits: true, attention_map: true };
    /// The map but not the attention branch's logits.
    pub const MAP: Wanted = Wanted { attention_logits: false, attention_map: true };

    /// The outputs of `network` that are computed.
    pub(crate) fn outputs(self, network: &Network) -> Vec<Value> {
        let attention_logits = network.attention_logits.filter(|_| self.attention_logits);
        let attention_map = self.attention_map.then_some(network.attention_map);
        [Some(network.logits), attention_logits, attention_map].into_iter().flatten().collect()
    }
}

/// The work of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Job {
    /// Its weights change: it runs in training mode.
    pub trained: bool,
    /// Someone needs its outputs in a training step: it is trained, or the source of an edge to a trained node.
    pub needed: bool,
    /// Outputs beyond the logits.
    pub wanted: Wanted,
    /// Some loss has a gradient at the logits. Where none has, the layers behind them are left alone, weight decay
    /// included.
    pub logits_learn: bool,
    /// Some loss has a gradient at the attention map. The attention branch's logits learn wherever they are wanted.
    pub map_learns: bool,
}

impl Job {
    /// Of a network that only answers.
    pub const INFERENCE: Job =
        Job { trained: false, needed: true, wanted: Wanted::MAP, logits_learn: false, map_learns: false };

    /// Of a network whose outputs all have gradients.
    pub const TRAINING: Job =
        Job { trained: true, needed: true, wanted: Wanted::ALL, logits_learn: true, map_learns: true };

    /// The work of every node of `graph`.
    pub fn of_graph(graph: &Graph) -> Vec<Job> {
        (0..graph.len()).map(|node| Job::of_node(graph, node)).collect()
    }

    fn of_node(graph: &Graph, m: usize) -> Job {
        let edges = || graph.active_transfers().filter(move |&(source, target, _)| source == m || target == m);
        let leaving = || edges().filter(move |&(source, _, _)| source == m);
        let arriving = || edges().filter(move |&(_, target, _)| target == m);
        let trained = graph.is_trained(m);
        let has_label = !graph.label_gate(m).is_cut();
        Job {
            logits_learn: trained
                && (has_label || arriving().any(|(_, _, transfer)| transfer.design.reads(Output::Logits))),
            map_learns: trained && arriving().any(|(_, _, transfer)| transfer.design.reads(Output::AttentionMap)),
            trained,
            needed: trained || leaving().next().is_some(),
            wanted: Wanted {
                attention_logits: trained && has_label,
                attention_map: edges().any(|(_, _, transfer)| transfer.design.reads(Output::AttentionMap)),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use ktg_graph::{Design, Gate, Node, Transfer, presets};

    use super::*;

    #[test]
    fn independent_nodes_compute_no_maps() {
        for job in Job::of_graph(&presets::independent(3, "resnet-18")) {
            let wanted = Wanted { attention_logits: true, attention_map: false };
            assert_eq!(job, Job { trained: true, needed: true, wanted, logits_learn: true, map_learns: false });
        }
    }

    #[test]
    fn a_cut_off_node_does_nothing_and_a_source_only_what_its_edge_needs() {
        let mut graph = Graph::new(vec![Node::new("resnet-18"); 3]);
        graph.set_label_gate(1, Gate::Through);
        graph.set_transfer(0, 1, Some(Transfer::new(Design::ATTENTION_APART, Gate::Correct)));
        graph.set_transfer(2, 1, Some(Transfer::new(Design::BOTH_CLOSER, Gate::Cutoff)));
        let jobs = Job::of_graph(&graph);
        assert_eq!(jobs[0], Job::INFERENCE);
        assert_eq!(jobs[1], Job::TRAINING);
        assert!(!jobs[2].needed && !jobs[2].trained);
    }
}
