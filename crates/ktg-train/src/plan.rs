//! What each node of a graph has to compute in a training step, so that nothing else is.

use ktg_graph::Graph;
use ktg_nn::Wanted;

/// The work of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NodePlan {
    /// Its weights change: training mode, on the tape.
    pub trained: bool,
    /// Someone needs its outputs in a training step: it is trained, or the source of an edge to a trained node.
    pub needed: bool,
    /// Outputs beyond the logits.
    pub wanted: Wanted,
    /// Some loss has a gradient at the logits. Where none has, the layers behind them are left alone, weight decay
    /// included.
    pub logits_learn: bool,
    /// Some loss has a gradient at the attention map.
    pub map_learns: bool,
}

/// The work of every node.
pub(crate) fn plan(graph: &Graph) -> Vec<NodePlan> {
    let node = |m: usize| {
        let edges = || graph.active_transfers().filter(move |&(source, target, _)| source == m || target == m);
        let leaving = || edges().filter(move |&(source, _, _)| source == m);
        let arriving = || edges().filter(move |&(_, target, _)| target == m);
        let trained = graph.is_trained(m);
        let has_label = !graph.label_gate(m).is_cut();
        NodePlan {
            logits_learn: trained && (has_label || arriving().any(|(_, _, transfer)| transfer.design.probability())),
            map_learns: trained && arriving().any(|(_, _, transfer)| transfer.design.attention()),
            trained,
            needed: trained || leaving().next().is_some(),
            wanted: Wanted {
                attention_logits: trained && has_label,
                attention_map: edges().any(|(_, _, transfer)| transfer.design.attention()),
            },
        }
    };
    (0..graph.len()).map(node).collect()
}

#[cfg(test)]
mod tests {
    use ktg_graph::{Design, Gate, Node, Transfer, presets};

    use super::*;

    #[test]
    fn independent_nodes_compute_no_maps() {
        for node in plan(&presets::independent(3, "resnet-18")) {
            let wanted = Wanted { attention_logits: true, attention_map: false };
            let expected = NodePlan { trained: true, needed: true, wanted, logits_learn: true, map_learns: false };
            assert_eq!(node, expected);
        }
    }

    #[test]
    fn a_cut_off_node_does_nothing_and_a_source_only_what_its_edge_needs() {
        let mut graph = Graph::new(vec![Node::new("resnet-18"); 3]);
        graph.set_label_gate(1, Gate::Through);
        graph.set_transfer(0, 1, Some(Transfer { design: Design::AttentionApart, gate: Gate::Correct }));
        graph.set_transfer(2, 1, Some(Transfer { design: Design::BothCloser, gate: Gate::Cutoff }));
        let plan = plan(&graph);
        let wanted = Wanted { attention_logits: false, attention_map: true };
        let source = NodePlan { trained: false, needed: true, wanted, logits_learn: false, map_learns: false };
        assert_eq!(plan[0], source);
        assert!(plan[1].trained && plan[1].wanted == Wanted::ALL && plan[1].logits_learn && plan[1].map_learns);
        assert!(!plan[2].needed && !plan[2].trained);
    }
}
