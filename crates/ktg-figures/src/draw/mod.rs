//! Pictures of graphs, in the manner of figure 2 of the thesis.
//!
//! The ensemble node is red and network nodes are gray, each with its number and architecture and,
//! where it applies, "frozen", "not trained" or "pretrained". The color of an edge is its gate, the
//! text on it the design, a line for each term where it has no name of its own. A loss that pushes
//! apart is a dashed line with a hollow head, one of which some terms pull closer and others push apart
//! a line of dashes and dots. Cut edges are left out.

mod arrange;
mod curve;
mod dot;
mod layout;
mod picture;
mod place;
mod ports;
#[cfg(test)]
mod tests;

pub use dot::dot;
pub use picture::{sheet, svg};

use ktg_graph::Graph;

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
