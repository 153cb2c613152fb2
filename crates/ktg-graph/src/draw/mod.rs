//! Pictures of graphs, in the manner of figure 2 of the thesis.
//!
//! The ensemble node is red and network nodes are grey, each with its number and architecture and,
//! where it applies, "frozen", "not trained" or "pretrained". The colour of an edge is its gate, the
//! text on it the design. Cut edges are left out.

mod curve;
mod dot;
mod layout;
mod svg;

pub use dot::dot;
pub use svg::svg;

use crate::graph::Graph;

const ENSEMBLE_COLOUR: &str = "#e8837e";
const NODE_COLOUR: &str = "#dcdcdc";
/// Of the thin edges into the ensemble node.
const MEAN_COLOUR: &str = "#b4b4b4";

/// What is special about a node, if anything.
fn remark(graph: &Graph, index: usize) -> Option<&'static str> {
    let node = &graph.nodes()[index];
    if node.frozen {
        Some("frozen")
    } else if !graph.is_trained(index) {
        Some("not trained")
    } else {
        node.pretrained.as_ref().map(|_| "pretrained")
    }
}
