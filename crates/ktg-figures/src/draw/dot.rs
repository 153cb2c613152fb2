//! Graphs in the language of Graphviz.

use ktg_graph::{Design, Direction, Gate, Graph};

use super::remark;
use crate::palette::{self, ENSEMBLE_NODE, INK, MEAN, NODE, PANEL, PAPER};

const FONT: &str = "fontname=\"DejaVu Sans,Helvetica\"";

/// The graph in DOT, for Graphviz and whatever else reads it.
///
/// The gate of an edge is its color and also its tooltip; a loss that pushes apart is a dashed line with a hollow
/// head, a mixed one a dotted line (Graphviz has none of dashes and dots).
pub fn dot(graph: &Graph) -> String {
    let name = quoted(graph.name.as_deref().unwrap_or_default());
    let mut lines = vec![
        format!("graph [label={name}, labelloc=t, bgcolor=\"{PAPER}\", fontcolor=\"{INK}\", {FONT}];"),
        "graph [nodesep=0.8, ranksep=1.2];".to_owned(),
        format!("node [{FONT}, shape=ellipse, style=filled];"),
        format!("edge [{FONT}, fontsize=11];"),
        format!("ensemble [label=\"Ensemble\", fillcolor=\"{ENSEMBLE_NODE}\"];"),
    ];
    let labeled: Vec<usize> = (0..graph.len()).filter(|node| !graph.label_gate(*node).is_cut()).collect();
    if !labeled.is_empty() {
        lines.push(format!("label [label=\"Label\", shape=box, fillcolor=\"{PANEL}\"];"));
    }
    for (i, node) in graph.nodes().iter().enumerate() {
        let mut text = format!("{}\n{}", i + 1, node.architecture);
        if let Some(remark) = remark(graph, i) {
            text += &format!("\n({remark})");
        }
        let style = if node.frozen { "filled,dashed" } else { "filled" };
        lines.push(format!("{} [label={}, style=\"{style}\", fillcolor=\"{NODE}\"];", i + 1, quoted(&text)));
    }
    lines.extend(labeled.into_iter().map(|target| edge("label", target + 1, graph.label_gate(target), None)));
    for (source, target, transfer) in graph.active_transfers() {
        lines.push(edge(&(source + 1).to_string(), target + 1, transfer.gate, Some(transfer.design)));
    }
    for node in 1..=graph.len() {
        lines.push(format!("{node} -> ensemble [color=\"{MEAN}\", penwidth=0.6, arrowsize=0.6];"));
    }
    format!("digraph {name} {{\n  {}\n}}\n", lines.join("\n  "))
}

fn edge(source: &str, target: usize, gate: Gate, design: Option<Design>) -> String {
    let color = palette::gate(gate);
    let label = design.map(|design| format!("label={}, ", quoted(&design.labels().join("\n")))).unwrap_or_default();
    let style = match design.map(Design::direction) {
        None | Some(Some(Direction::Closer)) => "",
        Some(Some(Direction::Apart)) => "style=dashed, arrowhead=empty, ",
        Some(None) => "style=dotted, ",
    };
    format!("{source} -> {target} [{label}{style}color=\"{color}\", fontcolor=\"{color}\", tooltip=\"{gate}\"];")
}

/// A DOT string with its quotes.
fn quoted(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{}\"", text.replace(['\r', '\n'], "\\n"))
}
