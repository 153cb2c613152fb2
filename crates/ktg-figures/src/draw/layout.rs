//! What there is in a picture of a graph, and where.

use ktg_graph::{Gate, Transfer};
use kurbo::{ParamCurve, QuadBez, Rect, Shape};

use super::curve::{Strip, direction};

/// Between an edge's end and the rim of a node.
pub(super) const RIM_GAP: f64 = 3.0;

/// A graph around the origin.
pub(super) struct Layout {
    /// Of the circle of nodes.
    pub radius: f64,
    pub ensemble: Rect,
    pub nodes: Vec<NodeShape>,
    pub labels: Vec<LabelEdge>,
    pub transfers: Vec<TransferEdge>,
    /// Thin edges into the ensemble node.
    pub means: Vec<QuadBez>,
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
    pub fn price(&self) -> f64 {
        100.0 * self.collisions + self.crossings
    }
}

/// A node's ellipse and what is written in it.
pub(super) struct NodeShape {
    pub area: Rect,
    /// The architecture in one or two lines, and in full.
    pub name: Vec<String>,
    pub full: String,
    pub remark: Option<&'static str>,
}

/// A "Label" and its edge.
pub(super) struct LabelEdge {
    pub target: usize,
    pub gate: Gate,
    pub area: Rect,
    pub curve: QuadBez,
}

pub(super) struct TransferEdge {
    pub source: usize,
    pub target: usize,
    pub transfer: Transfer,
    pub curve: QuadBez,
    /// Where its text goes.
    pub text: Strip,
    /// Where on the free part of the edge its text is best, 0 to 1.
    pub preferred: f64,
}

impl Layout {
    /// Nodes, "Label" boxes and the ensemble.
    pub fn shapes(&self) -> impl Iterator<Item = Rect> {
        let nodes = self.nodes.iter().map(|node| node.area);
        nodes.chain([self.ensemble]).chain(self.labels.iter().map(|label| label.area))
    }

    /// All transfer edges but one.
    pub fn others(&self, edge: usize) -> impl Iterator<Item = &TransferEdge> {
        self.transfers.iter().enumerate().filter(move |(other, _)| *other != edge).map(|(_, other)| other)
    }

    /// The smallest box around everything.
    pub fn bounds(&self) -> Rect {
        let edges = self.transfers.iter().map(|edge| edge.text.bounds().union(edge.curve.bounding_box()));
        edges.chain(self.shapes()).fold(self.ensemble, |bounds, area| bounds.union(area))
    }
}

impl TransferEdge {
    /// The place of its text if that is at a parameter of its curve; never upside down.
    pub fn text_at(&self, t: f64) -> Strip {
        let direction = direction(&self.curve, t);
        let backwards = if direction.x.abs() < 1e-6 { direction.y > 0.0 } else { direction.x < 0.0 };
        let along = if backwards { -direction } else { direction };
        Strip { center: self.curve.eval(t), along, ..self.text }
    }
}
