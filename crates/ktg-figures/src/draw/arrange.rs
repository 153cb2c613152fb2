//! Where everything in a picture goes.
//!
//! The ensemble node is in the middle and the network nodes are on a circle around it, clockwise by their numbers, each
//! with its "Label" outside. Two opposite edges are bent apart, an edge without an opposite is straight. The circle is
//! as small as it can be without texts on lines.

use std::f64::consts::{PI, TAU};

use ktg_graph::{Gate, Graph, Transfer};
use kurbo::{ParamCurve, Point, Rect, Vec2};

use super::curve::{Strip, bent, between, ellipse_contains, ellipse_radius};
use super::layout::{LabelEdge, Layout, NodeShape, RIM_GAP, TransferEdge, Trouble};
use super::place::place_texts;
use super::{ports, remark};
use crate::svg::{widest, wrapped};

pub(super) const NUMBER_FONT: f64 = 16.0;
pub(super) const NODE_FONT: f64 = 11.5;
pub(super) const EDGE_FONT: f64 = 12.0;
/// From one line of an edge's text to the next.
pub(super) const EDGE_LINE: f64 = 13.5;
/// Architecture names that are wider are broken into two lines.
const NAME_WIDTH: f64 = 90.0;
/// Circles to try where every text has one line, in parts of the smallest.
const CIRCLES: [f64; 6] = [1.0, 1.08, 1.17, 1.27, 1.38, 1.5];
/// Circles to try where a text has several lines.
const LARGER_CIRCLES: [f64; 7] = [1.17, 1.27, 1.38, 1.5, 1.65, 1.8, 2.0];

/// The best of some circles: the smallest without texts on other things, or else the one with least of that.
pub(super) fn arranged(graph: &Graph) -> Layout {
    let smallest = smallest_radius(graph);
    let has_one_line = |(_, _, transfer): (usize, usize, Transfer)| transfer.design.labels().len() == 1;
    let circles: &[f64] = if graph.active_transfers().all(has_one_line) { &CIRCLES } else { &LARGER_CIRCLES };
    let mut best = on_circle(graph, smallest * circles[0]);
    for factor in &circles[1..] {
        if best.trouble.price() == 0.0 {
            break;
        }
        let larger = on_circle(graph, smallest * factor);
        if larger.trouble.price() < best.trouble.price() {
            best = larger;
        }
    }
    best
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

/// The graph with its nodes on a circle of a radius.
pub(super) fn on_circle(graph: &Graph, radius: f64) -> Layout {
    let m = graph.len();
    // The first node is at the top; of two both are at the same height.
    let first = if m == 2 { PI } else { -PI / 2.0 };
    let ensemble = Rect::from_center_size(Point::ORIGIN, (86.0, 86.0));
    let place = |i: usize| Point::ORIGIN + radius * Vec2::from_angle(first + TAU * i as f64 / m as f64);
    let nodes: Vec<NodeShape> = (0..m).map(|i| node_shape(graph, i, place(i))).collect();
    let mean = |node: &NodeShape| between(&bent(node.area.center(), Point::ORIGIN, 0.0), &node.area, &ensemble, 2.0);
    let means = nodes.iter().map(mean).collect();
    let labeled = (0..m).filter(|node| !graph.label_gate(*node).is_cut());
    let labels = labeled.map(|node| label_edge(node, graph.label_gate(node), &nodes[node].area)).collect();
    let trouble = Trouble::default();
    let mut layout = Layout { radius, ensemble, nodes, labels, transfers: Vec::new(), means, trouble };
    let edge = |(source, target, transfer)| {
        let back = graph.transfer(target, source).is_some_and(|back| !back.gate.is_cut());
        transfer_edge(&layout, source, target, transfer, back)
    };
    layout.transfers = graph.active_transfers().map(edge).collect();
    ports::spread(&mut layout);
    place_texts(&mut layout);
    layout
}

fn node_shape(graph: &Graph, index: usize, center: Point) -> NodeShape {
    let full = graph.nodes()[index].architecture.clone();
    let name = wrapped(&full, NODE_FONT, false, NAME_WIDTH, 2);
    let remark = remark(graph, index);
    let lines = name.len() + usize::from(remark.is_some());
    let size = ((widest(&name, NODE_FONT, false) + 26.0).max(96.0), 44.0 + 16.0 * lines as f64);
    NodeShape { area: Rect::from_center_size(center, size), name, full, remark }
}

fn label_edge(target: usize, gate: Gate, node: &Rect) -> LabelEdge {
    const SIZE: (f64, f64) = (48.0, 24.0);
    let outwards = (node.center() - Point::ORIGIN).normalize();
    let shape = Rect::from_center_size(node.center(), SIZE);
    let distance = ellipse_radius(node, outwards) + 40.0 + ellipse_radius(&shape, outwards);
    let area = Rect::from_center_size(node.center() + outwards * distance, SIZE);
    let curve = between(&bent(area.center(), node.center(), 0.0), &area, node, RIM_GAP);
    LabelEdge { target, gate, curve, area }
}

fn transfer_edge(layout: &Layout, source: usize, target: usize, transfer: Transfer, back: bool) -> TransferEdge {
    let (from, to) = (&layout.nodes[source].area, &layout.nodes[target].area);
    let lines = transfer.design.labels();
    let height = 15.0 + EDGE_LINE * (lines.len() - 1) as f64;
    let size = (widest(&lines, EDGE_FONT, false) + 8.0, height);
    let bend = bend(layout, source, target, back, height / 2.0);
    let curve = between(&bent(from.center(), to.center(), bend), from, to, RIM_GAP);
    let text = Strip::from(Rect::from_center_size(Point::ORIGIN, size));
    // Of two opposite edges that are close together each has its text nearer to its source.
    let preferred = if back && bend < 22.0 { 0.25 } else { 0.5 };
    let mut edge = TransferEdge { source, target, transfer, curve, text, preferred };
    edge.text = edge.text_at(0.42);
    edge
}

/// How much an edge is bent to its side: little, but enough to be apart from the edge back and to pass the ensemble
/// node with its text, which takes `beside` pixels to either side of the line.
fn bend(layout: &Layout, source: usize, target: usize, back: bool, beside: f64) -> f64 {
    let (start, end) = (layout.nodes[source].area.center(), layout.nodes[target].area.center());
    let m = layout.nodes.len();
    let hops = source.abs_diff(target).min(m - source.abs_diff(target));
    // At every node the lines to two neighboring nodes of the circle enclose this angle.
    let angle = 180.0 / m as f64;
    let share = if hops == 1 { 0.26 } else { 0.19 };
    let length = (end - start).length();
    let preferred =
        if back { (length / 4.0 * (share * angle + 2.0).to_radians().tan()).max(7.5 + beside) } else { 0.0 };
    // By symmetry the middle of the curve is nearest to the ensemble node.
    let clear = |bend: f64| {
        let middle = bent(start, end, bend).eval(0.5);
        !ellipse_contains(&layout.ensemble.inflate(9.5 + beside, 9.5 + beside), middle)
    };
    // From the nearest to the preferred one.
    (0..100)
        .flat_map(|i| [preferred + f64::from(i), preferred - f64::from(i)])
        .find(|bend| (!back || *bend >= 12.0) && clear(*bend))
        .unwrap_or(preferred)
}
