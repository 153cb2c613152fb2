//! What there is in a picture of a graph, and where.

use ktg_graph::{Gate, Transfer};

use super::curve::{Area, Curve, Strip};

/// Between an edge's end and the rim of a node.
pub(super) const RIM_GAP: f64 = 3.0;

/// A graph around the origin.
pub(super) struct Layout {
    /// Of the circle of nodes.
    pub radius: f64,
    pub ensemble: Area,
    pub nodes: Vec<NodeShape>,
    pub labels: Vec<LabelEdge>,
    pub transfers: Vec<TransferEdge>,
    /// Thin edges into the ensemble node.
    pub means: Vec<Curve>,
    pub trouble: Trouble,
}

/// What the texts of a picture cover, in pixels.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Trouble {
    /// How deep texts are in nodes, "Label" boxes and each other.
    pub collisions: f64,
    /// Length of other edges beneath texts.
    pub crossings: f64,
}

impl Trouble {
    pub fn none(&self) -> bool {
        self.collisions == 0.0 && self.crossings == 0.0
    }

    pub fn price(&self) -> f64 {
        100.0 * self.collisions + self.crossings
    }
}

/// A node's ellipse and what is written in it.
pub(super) struct NodeShape {
    pub area: Area,
    /// The architecture in one or two lines, and in full.
    pub name: Vec<String>,
    pub full: String,
    pub remark: Option<&'static str>,
}

/// A "Label" and its edge.
pub(super) struct LabelEdge {
    pub target: usize,
    pub gate: Gate,
    pub area: Area,
    pub curve: Curve,
}

pub(super) struct TransferEdge {
    pub source: usize,
    pub target: usize,
    pub transfer: Transfer,
    pub curve: Curve,
    /// Where its text goes.
    pub text: Strip,
    /// Where on the free part of the edge its text is best, 0 to 1.
    pub preferred: f64,
}

impl Layout {
    /// Nodes, "Label" boxes and the ensemble.
    pub fn shapes(&self) -> impl Iterator<Item = Area> {
        let nodes = self.nodes.iter().map(|node| node.area);
        nodes.chain([self.ensemble]).chain(self.labels.iter().map(|label| label.area))
    }

    /// The smallest box around everything.
    pub fn bounds(&self) -> Area {
        let corners = self.shapes().flat_map(|area| Strip::from(area).corners());
        let texts = self.transfers.iter().flat_map(|edge| edge.text.corners());
        let curves = self.transfers.iter().flat_map(|edge| edge.curve.points(16));
        Area::around(corners.chain(texts).chain(curves))
    }
}

impl TransferEdge {
    /// The place of its text if that is at a parameter of its curve; never upside down.
    pub fn text_at(&self, t: f64) -> Strip {
        let direction = self.curve.direction(t);
        let backwards = if direction.x.abs() < 1e-6 { direction.y > 0.0 } else { direction.x < 0.0 };
        let along = if backwards { direction * -1.0 } else { direction };
        Strip { center: self.curve.at(t), along, ..self.text }
    }
}
