//! Well-known graphs, and graphs to start from.

use crate::design::Design;
use crate::error::Error;
use crate::gate::Gate;
use crate::graph::{Graph, MAX_NODES, Node};
use crate::transfer::Transfer;
use crate::words;

/// The names that [`by_name`] knows.
pub const NAMES: [&str; 4] = ["independent", "dml", "kd", "diverse"];

/// M networks that learn from the labels only: the plain ensemble.
pub fn independent(m: usize, architecture: &str) -> Graph {
    let mut graph = Graph::new(vec![Node::new(architecture); m]);
    graph.name = Some(format!("independent-{m}"));
    for node in 0..m {
        graph.set_label_gate(node, Gate::Through);
    }
    graph
}

/// Deep mutual learning (Zhang et al., CVPR 2018): M networks learn from the labels, and each from
/// the class probabilities of all others.
pub fn dml(m: usize, architecture: &str) -> Graph {
    let mut graph = independent(m, architecture);
    graph.name = Some(format!("dml-{m}"));
    for source in 0..m {
        for target in (0..m).filter(|target| *target != source) {
            connect(&mut graph, source, target, Design::PROBABILITY_CLOSER, Gate::Through);
        }
    }
    graph
}

/// Knowledge distillation (Hinton et al., 2015): node 1 is the given teacher, frozen; nodes 2 to M
/// are students that learn from the labels and from the class probabilities of the teacher.
pub fn kd(m: usize, architecture: &str, teacher: Node) -> Graph {
    let mut graph = independent(m, architecture);
    graph.name = Some(format!("kd-{m}"));
    if m > 0 {
        *graph.node_mut(0) = teacher.frozen();
        graph.set_label_gate(0, Gate::Cutoff);
    }
    for student in 1..m {
        connect(&mut graph, 0, student, Design::PROBABILITY_CLOSER, Gate::Through);
    }
    graph
}

/// Graphs for diverse ensembles, made by hand from the idea of the thesis, for M = 2 and 3. They are
/// a place to start from and to compare with, not the graphs that the thesis found by search.
///
/// The idea: members should look at different parts of an image, without becoming worse each. So
/// every network learns from the labels all the time, what is pushed apart is attention maps, never
/// probabilities (which would push towards wrong answers), and it is so from the first iteration,
/// since maps that have settled on the same part are hard to part later.
///
/// - M = 2: both push their attention map away from the other's.
/// - M = 3: attention is pushed apart around the circle 1 -> 2 -> 3 -> 1. In the other direction
///   probabilities are brought closer, so that each network also gains from a network whose map is
///   not its own. A neighbour knows little at first: two of these edges grow with time (linear),
///   and the third passes on only what the source gets right (correct).
pub fn diverse(m: usize, architecture: &str) -> Option<Graph> {
    const ATTENTION_APART: Design = Design::ATTENTION_APART;
    const PROBABILITY_CLOSER: Design = Design::PROBABILITY_CLOSER;
    let edges: &[(usize, usize, Design, Gate)] = match m {
        2 => &[(0, 1, ATTENTION_APART, Gate::Through), (1, 0, ATTENTION_APART, Gate::Through)],
        3 => &[
            (0, 1, ATTENTION_APART, Gate::Through),
            (1, 2, ATTENTION_APART, Gate::Through),
            (2, 0, ATTENTION_APART, Gate::Through),
            (1, 0, PROBABILITY_CLOSER, Gate::Linear),
            (2, 1, PROBABILITY_CLOSER, Gate::Linear),
            (0, 2, PROBABILITY_CLOSER, Gate::Correct),
        ],
        _ => return None,
    };
    let mut graph = independent(m, architecture);
    graph.name = Some(format!("diverse-{m}"));
    for (source, target, design, gate) in edges {
        connect(&mut graph, *source, *target, *design, *gate);
    }
    Some(graph)
}

/// A preset of M nodes by its name, one of [`NAMES`].
///
/// The teacher of `kd` has the same architecture as the students and no weights yet: set
/// [`Node::pretrained`] of node 1, or write it into the file.
///
/// # Errors
/// If there is no such preset, or none with this number of nodes.
pub fn by_name(name: &str, m: usize, architecture: &str) -> Result<Graph, Error> {
    if !NAMES.contains(&name) {
        return Err(words::unknown("preset", name, NAMES));
    }
    if !(1..=MAX_NODES).contains(&m) {
        return Err(Error::new(format!("a graph needs 1 to {MAX_NODES} nodes, not {m}")));
    }
    match name {
        "independent" => Ok(independent(m, architecture)),
        "dml" => Ok(dml(m, architecture)),
        "kd" if m == 1 => Err(Error::new("preset \"kd\" needs at least 2 nodes, a teacher and a student")),
        "kd" => Ok(kd(m, architecture, Node::new(architecture))),
        _ => diverse(m, architecture).ok_or_else(|| {
            Error::new(format!("preset \"diverse\" exists for 2 and 3 nodes, not for {m}; search for a graph instead"))
        }),
    }
}

fn connect(graph: &mut Graph, source: usize, target: usize, design: Design, gate: Gate) {
    graph.set_transfer(source, target, Some(Transfer::new(design, gate)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_valid_and_every_student_is_trained() {
        for name in NAMES {
            for m in 1..=6 {
                let Ok(graph) = by_name(name, m, "abn-resnet-18") else {
                    assert!(["kd", "diverse"].contains(&name), "{name} {m}");
                    continue;
                };
                assert_eq!(graph.len(), m);
                assert_eq!(graph.name, Some(format!("{name}-{m}")));
                assert_eq!(graph.check(), Ok(()));
                for (i, node) in graph.nodes().iter().enumerate() {
                    assert_eq!(graph.is_trained(i), !node.frozen, "{name} {m}: {i}");
                }
            }
        }
    }

    #[test]
    fn edges_of_the_presets() {
        assert_eq!(independent(3, "a").active_transfers().count(), 0);
        assert_eq!(dml(4, "a").active_transfers().count(), 12);
        let kd = kd(3, "a", Node::new("teacher").with_pretrained("t.safetensors"));
        assert!(kd.nodes()[0].frozen);
        assert_eq!(kd.label_gate(0), Gate::Cutoff);
        let edges: Vec<_> = kd.active_transfers().map(|(s, t, _)| (s, t)).collect();
        assert_eq!(edges, [(0, 1), (0, 2)]);
        let diverse = diverse(3, "a").expect("exists");
        assert_eq!(diverse.active_transfers().count(), 6);
    }

    #[test]
    fn impossible_presets_say_why() {
        let message = |name, m| by_name(name, m, "a").unwrap_err().to_string();
        assert_eq!(
            message("dlm", 2),
            "unknown preset \"dlm\"; did you mean \"dml\"? valid presets: independent, dml, kd, diverse"
        );
        assert_eq!(message("dml", 0), "a graph needs 1 to 64 nodes, not 0");
        assert_eq!(message("kd", 1), "preset \"kd\" needs at least 2 nodes, a teacher and a student");
        assert_eq!(
            message("diverse", 5),
            "preset \"diverse\" exists for 2 and 3 nodes, not for 5; search for a graph instead"
        );
    }
}
