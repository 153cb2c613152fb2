//! Where everything in a picture goes.
//!
//! The ensemble node is in the middle and the network nodes are on a circle around it, clockwise by their numbers, each
//! with its "Label" outside. Two opposite edges are bent apart, an edge without an opposite is straight. The circle is
//! as small as it can be without texts on lines.

use std::f64::consts::{PI, TAU};

use super::curve::{Area, Curve, ORIGIN, Point, Strip};
use super::place::{Trouble, place_texts};
use super::{lettering, ports, remark};
use ktg_graph::Gate;
use ktg_graph::{Graph, Transfer};

pub(super) const NUMBER_FONT: f64 = 16.0;
pub(super) const NODE_FONT: f64 = 11.5;
pub(super) const REMARK_FONT: f64 = 11.0;
pub(super) const EDGE_FONT: f64 = 12.0;
/// Between an edge's end and the rim of a node.
pub(super) const RIM_GAP: f64 = 3.0;
/// Circles to try, in parts of the smallest.
const CIRCLES: [f64; 6] = [1.0, 1.08, 1.17, 1.27, 1.38, 1.5];

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
    /// The best of some circles: the smallest without texts on other things, or else the one with least of that.
    pub fn of(graph: &Graph) -> Layout {
        let smallest = smallest_radius(graph);
        let mut best = Layout::on_circle(graph, smallest);
        for factor in &CIRCLES[1..] {
            if best.trouble.none() {
                break;
            }
            let larger = Layout::on_circle(graph, smallest * factor);
            if larger.trouble.price() < best.trouble.price() {
                best = larger;
            }
        }
        best
    }

    /// The layout on a circle of nodes of a given radius.
    pub fn on_circle(graph: &Graph, radius: f64) -> Layout {
        let m = graph.len();
        // One or two nodes are side by side, more begin at the top.
        let first = if m <= 2 { PI } else { -PI / 2.0 };
        let ensemble = Area { centre: ORIGIN, half: Point { x: 43.0, y: 43.0 } };
        let place = |i: usize| Point::polar(radius, first + TAU * i as f64 / m as f64);
        let nodes: Vec<NodeShape> = (0..m).map(|i| NodeShape::new(graph, i, place(i))).collect();
        let mean = |node: &NodeShape| Curve::bent(node.area.centre, ORIGIN, 0.0).between(&node.area, &ensemble, 2.0);
        let means = nodes.iter().map(mean).collect();
        let labels = (0..m)
            .filter(|node| !graph.label_gate(*node).is_cut())
            .map(|node| LabelEdge::new(node, graph.label_gate(node), &nodes[node].area))
            .collect();
        let trouble = Trouble { collisions: 0.0, crossings: 0.0 };
        let mut layout = Layout { radius, ensemble, nodes, labels, transfers: Vec::new(), means, trouble };
        layout.transfers = graph
            .active_transfers()
            .map(|(source, target, transfer)| {
                let back = graph.transfer(target, source).is_some_and(|back| !back.gate.is_cut());
                layout.transfer(source, target, transfer, back)
            })
            .collect();
        ports::spread(&mut layout);
        layout.trouble = place_texts(&mut layout);
        layout
    }

    fn transfer(&self, source: usize, target: usize, transfer: Transfer, back: bool) -> TransferEdge {
        let (from, to) = (&self.nodes[source].area, &self.nodes[target].area);
        let bend = self.bend(source, target, back);
        let curve = Curve::bent(from.centre, to.centre, bend).between(from, to, RIM_GAP);
        let half = lettering::width(transfer.design.label()) * EDGE_FONT / 2.0;
        let text = Strip { centre: ORIGIN, half: Point { x: half + 2.0, y: 7.5 }, along: Point { x: 1.0, y: 0.0 } };
        // Of two opposite edges that are close together each has its text nearer to its source.
        let preferred = if back && bend < 22.0 { 0.25 } else { 0.5 };
        let mut edge = TransferEdge { source, target, transfer, curve, text, preferred };
        edge.text = edge.text_at(0.42);
        edge
    }

    /// How much an edge is bent to its side: little, but enough to be apart from the edge back and to pass the ensemble
    /// node.
    fn bend(&self, source: usize, target: usize, back: bool) -> f64 {
        let (start, end) = (self.nodes[source].area.centre, self.nodes[target].area.centre);
        let m = self.nodes.len();
        let hops = source.abs_diff(target).min(m - source.abs_diff(target));
        // At every node the lines to two neighbouring nodes of the circle enclose this angle.
        let angle = 180.0 / m as f64;
        let share = if hops == 1 { 0.26 } else { 0.19 };
        let length = (end - start).length();
        let preferred = if back { (length / 4.0 * (share * angle + 2.0).to_radians().tan()).max(15.0) } else { 0.0 };
        // By symmetry the middle of the curve is nearest to the ensemble node.
        let clear = |bend: &f64| {
            let middle = Curve::bent(start, end, *bend).at(0.5);
            !self.ensemble.grown(17.0).ellipse_contains(middle)
        };
        let distance = |bend: f64| (bend - preferred).abs();
        (0..100)
            .flat_map(|i| [preferred + f64::from(i), preferred - f64::from(i)])
            .filter(|bend| !back || *bend >= 12.0)
            .filter(clear)
            .min_by(|a, b| distance(*a).total_cmp(&distance(*b)))
            .unwrap_or(preferred)
    }

    /// The smallest box around everything.
    pub fn bounds(&self) -> Area {
        let labels = self.labels.iter().map(|label| label.area);
        let areas = self.nodes.iter().map(|node| node.area).chain([self.ensemble]).chain(labels);
        let corners = areas.flat_map(|area| Strip::from(area).corners());
        let texts = self.transfers.iter().flat_map(|edge| edge.text.corners());
        let curves = self.transfers.iter().flat_map(|edge| edge.curve.points(16));
        Area::around(corners.chain(texts).chain(curves))
    }
}

fn smallest_radius(graph: &Graph) -> f64 {
    match graph.len() {
        0..=2 => 180.0,
        3 => 190.0,
        4 => 215.0,
        5 => 260.0,
        6 => 310.0,
        m => 62.0 * m as f64 + 30.0,
    }
}

impl NodeShape {
    fn new(graph: &Graph, index: usize, centre: Point) -> NodeShape {
        let full = graph.nodes()[index].architecture.clone();
        let name = lettering::lines(&full);
        let remark = remark(graph, index);
        let widest = name.iter().map(|line| lettering::width(line) * NODE_FONT).fold(0.0, f64::max);
        let lines = name.len() + usize::from(remark.is_some());
        let half = Point { x: (widest / 2.0 + 13.0).max(48.0), y: 22.0 + 8.0 * lines as f64 };
        NodeShape { area: Area { centre, half }, name, full, remark }
    }
}

impl LabelEdge {
    fn new(target: usize, gate: Gate, node: &Area) -> LabelEdge {
        let half = Point { x: 24.0, y: 12.0 };
        let outwards = node.centre.unit();
        let shape = Area { centre: node.centre, half };
        let distance = node.ellipse_radius(outwards) + 40.0 + shape.ellipse_radius(outwards);
        let area = Area { centre: node.centre + outwards * distance, half };
        LabelEdge {
            target,
            gate,
            curve: Curve::bent(area.centre, node.centre, 0.0).between(&area, node, RIM_GAP),
            area,
        }
    }
}

impl TransferEdge {
    /// The place of its text if that is at a parameter of its curve; never upside down.
    pub fn text_at(&self, t: f64) -> Strip {
        let direction = self.curve.direction(t);
        let backwards = if direction.x.abs() < 1e-6 { direction.y > 0.0 } else { direction.x < 0.0 };
        let along = if backwards { direction * -1.0 } else { direction };
        Strip { centre: self.curve.at(t), along, ..self.text }
    }

    /// The parts of its line before and behind the text.
    pub fn pieces(&self) -> [Curve; 2] {
        // The text's centre is on the curve: look for its parameter.
        let far = |t: f64| (self.curve.at(t) - self.text.centre).length();
        let t = (0..=400).map(|i| f64::from(i) / 400.0).min_by(|a, b| far(*a).total_cmp(&far(*b))).unwrap_or(0.5);
        let (before, behind) = self.curve.around(t, self.text.half.x + 2.0);
        [self.curve.part(0.0, before), self.curve.part(behind, 1.0)]
    }
}
