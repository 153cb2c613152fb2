//! Graphs in the language of Graphviz.

use super::palette::{self, BACKGROUND, ENSEMBLE, LABEL, MEAN, NODE, TEXT};
use super::remark;
use ktg_graph::Gate;
use ktg_graph::Graph;
use ktg_graph::{Design, Direction};

const FONT: &str = "fontname=\"DejaVu Sans,Helvetica\"";

/// The graph in DOT, for Graphviz and whatever else reads it.
///
/// The gate of an edge is its colour and also its tooltip; a loss that pushes apart is a dashed line with a hollow
/// head.
pub fn dot(graph: &Graph) -> String {
    let name = quoted(graph.name.as_deref().unwrap_or_default());
    let mut lines = vec![
        format!("graph [label={name}, labelloc=t, bgcolor=\"{BACKGROUND}\", fontcolor=\"{TEXT}\", {FONT}];"),
        "graph [nodesep=0.8, ranksep=1.2];".to_owned(),
        format!("node [{FONT}, shape=ellipse, style=filled];"),
        format!("edge [{FONT}, fontsize=11];"),
        format!("ensemble [label=\"Ensemble\", fillcolor=\"{ENSEMBLE}\"];"),
    ];
    if (0..graph.len()).any(|node| !graph.label_gate(node).is_cut()) {
        lines.push(format!("label [label=\"Label\", shape=box, fillcolor=\"{LABEL}\"];"));
    }
    for (i, node) in graph.nodes().iter().enumerate() {
        let mut text = format!("{}\n{}", i + 1, node.architecture);
        if let Some(remark) = remark(graph, i) {
            text += &format!("\n({remark})");
        }
        let style = if node.frozen { "filled,dashed" } else { "filled" };
        lines.push(format!("{} [label={}, style=\"{style}\", fillcolor=\"{NODE}\"];", i + 1, quoted(&text)));
    }
    for target in 0..graph.len() {
        let gate = graph.label_gate(target);
        if !gate.is_cut() {
            lines.push(edge("label", target + 1, gate, None));
        }
    }
    for (source, target, transfer) in graph.active_transfers() {
        lines.push(edge(&(source + 1).to_string(), target + 1, transfer.gate, Some(transfer.design)));
    }
    for node in 1..=graph.len() {
        lines.push(format!("{node} -> ensemble [color=\"{MEAN}\", penwidth=0.6, arrowsize=0.6];"));
    }
    format!("digraph {name} {{\n  {}\n}}\n", lines.join("\n  "))
}

fn edge(source: &str, target: usize, gate: Gate, design: Option<Design>) -> String {
    let colour = palette::gate(gate);
    let label = design.map(|design| format!("label=\"{}\", ", design.label())).unwrap_or_default();
    let apart = design.is_some_and(|design| design.direction() == Direction::Apart);
    let style = if apart { "style=dashed, arrowhead=empty, " } else { "" };
    format!("{source} -> {target} [{label}{style}color=\"{colour}\", fontcolor=\"{colour}\", tooltip=\"{gate}\"];")
}

/// A DOT string with its quotes.
fn quoted(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{}\"", text.replace(['\r', '\n'], "\\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ktg_graph::Node;
    use ktg_graph::presets;

    #[test]
    fn draws_every_edge_that_is_not_cut() {
        let graph = presets::kd(3, "student", Node::new("teacher"));
        let dot = dot(&graph);
        assert_eq!(dot.matches("label ->").count(), 2);
        assert_eq!(dot.matches("Prob closer").count(), 2);
        assert_eq!(dot.matches("-> ensemble").count(), 3);
        assert!(dot.contains("1\\nteacher\\n(frozen)"), "{dot}");
    }

    #[test]
    fn names_are_quoted() {
        let mut graph = presets::independent(1, "a\"b\\c");
        graph.name = Some("x\"; y\n".to_owned());
        let dot = dot(&graph);
        assert!(dot.starts_with("digraph \"x\\\"; y\\n\" {"), "{dot}");
        assert!(dot.contains("1\\na\\\"b\\\\c"), "{dot}");
    }
}
