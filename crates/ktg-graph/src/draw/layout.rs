//! Where everything in a picture goes.
//!
//! The ensemble node is in the middle and the network nodes on a circle around it, each with its
//! "Label" outside. Transfer edges are bent so that opposite ones do not coincide, and their texts
//! are shifted along them until none covers a node, another text or, if possible, another edge.

use std::f64::consts::{PI, TAU};

use super::curve::{Area, Curve, ORIGIN, Point};
use super::remark;
use crate::gate::Gate;
use crate::graph::{Graph, Transfer};

/// Estimated advance of a character, in parts of the font size. No font is measured, so this is a
/// little more than sans-serif fonts need.
pub(super) const ADVANCE: f64 = 0.58;
pub(super) const NODE_FONT: f64 = 11.5;
pub(super) const EDGE_FONT: f64 = 12.0;
/// Longer architecture names are shortened.
const LONGEST_NAME: usize = 26;
/// Beyond this many edges (more than eight nodes have) the texts cannot all be legible, and the time
/// to shift them grows with the square of the edges.
const MOST_SHIFTED: usize = 60;
/// The parameter along an edge at which its text is best: a little nearer to the source, away from
/// the crossings in the middle.
const PREFERRED: f64 = 0.42;
/// How far the text may be shifted.
const SHIFTS: [f64; 2] = [0.12, 0.88];
const SHIFT_STEPS: usize = 76;

pub(super) struct Layout {
    pub ensemble: Area,
    pub nodes: Vec<Area>,
    pub labels: Vec<LabelEdge>,
    pub transfers: Vec<TransferEdge>,
    /// Thin edges into the ensemble node.
    pub means: Vec<Curve>,
}

/// A "Label" and its edge.
pub(super) struct LabelEdge {
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
    pub text: Area,
}

pub(super) fn shortened(name: &str) -> String {
    if name.chars().count() <= LONGEST_NAME {
        return name.to_owned();
    }
    name.chars().take(LONGEST_NAME - 1).chain(['…']).collect()
}

impl Layout {
    pub fn of(graph: &Graph) -> Layout {
        let m = graph.len();
        let ensemble = Area { centre: ORIGIN, half: Point { x: 54.0, y: 27.0 } };
        let radius = match m {
            0..=2 => 235.0,
            3 => 250.0,
            _ => 62.0 * m as f64 + 30.0,
        };
        // One or two nodes are side by side, more begin at the top.
        let first = if m <= 2 { PI } else { -PI / 2.0 };
        let nodes: Vec<Area> = (0..m)
            .map(|i| {
                let name = shortened(&graph.nodes()[i].architecture);
                let width = name.chars().count() as f64 * ADVANCE * NODE_FONT;
                let height = if remark(graph, i).is_some() { 38.0 } else { 30.0 };
                Area {
                    centre: Point::polar(radius, first + TAU * i as f64 / m as f64),
                    half: Point { x: (width / 2.0 + 12.0).max(46.0), y: height },
                }
            })
            .collect();
        let means =
            nodes.iter().map(|node| Curve::bent(node.centre, ORIGIN, 0.0).between(node, &ensemble, 2.0)).collect();
        let labels = (0..m)
            .filter(|node| !graph.label_gate(*node).is_cut())
            .map(|node| LabelEdge::new(graph.label_gate(node), &nodes[node]))
            .collect();
        let mut layout = Layout { ensemble, labels, transfers: Vec::new(), means, nodes };
        layout.transfers = graph
            .active_transfers()
            .map(|(source, target, transfer)| layout.transfer(source, target, transfer))
            .collect();
        if layout.transfers.len() <= MOST_SHIFTED {
            layout.place_texts();
        }
        layout
    }

    fn transfer(&self, source: usize, target: usize, transfer: Transfer) -> TransferEdge {
        let (from, to) = (&self.nodes[source], &self.nodes[target]);
        let length = (to.centre - from.centre).length();
        let preferred = (0.11 * length).max(34.0);
        // By symmetry the middle of the curve is nearest to the ensemble node; the bend that is
        // nearest to the preferred one and leaves room there is taken.
        let clear = |bend: &f64| {
            let middle = Curve::bent(from.centre, to.centre, *bend).at(0.5);
            !self.ensemble.grown(24.0).ellipse_contains(middle)
        };
        let bend = (8..80)
            .map(|i| 2.0 * f64::from(i))
            .filter(clear)
            .min_by(|a, b| (a - preferred).abs().total_cmp(&(b - preferred).abs()))
            .unwrap_or(preferred);
        let curve = Curve::bent(from.centre, to.centre, bend).between(from, to, 2.0);
        let width = transfer.design.label().len() as f64 * ADVANCE * EDGE_FONT;
        TransferEdge {
            source,
            target,
            transfer,
            curve,
            text: Area { centre: curve.at(PREFERRED), half: Point { x: width / 2.0 + 3.0, y: EDGE_FONT / 2.0 + 2.5 } },
        }
    }

    /// Shifts the texts along their edges, one after the other, until none improves.
    fn place_texts(&mut self) {
        const MOST_ROUNDS: usize = 12;
        for _ in 0..MOST_ROUNDS {
            let mut changed = false;
            for i in 0..self.transfers.len() {
                let edge = &self.transfers[i];
                let cost = |t: f64| {
                    let text = Area { centre: edge.curve.at(t), ..edge.text };
                    (self.text_cost(i, &text) + 4.0 * (t - PREFERRED).abs(), text)
                };
                let [lowest, highest] = SHIFTS;
                let step = (highest - lowest) / SHIFT_STEPS as f64;
                let best =
                    (0..=SHIFT_STEPS).map(|k| cost(lowest + step * k as f64)).min_by(|(a, _), (b, _)| a.total_cmp(b));
                if let Some((_, text)) = best {
                    changed |= (text.centre - edge.text.centre).length() > 0.5;
                    self.transfers[i].text = text;
                }
            }
            if !changed {
                return;
            }
        }
    }

    /// How bad a place for the text of edge `i` is.
    fn text_cost(&self, i: usize, text: &Area) -> f64 {
        let room = text.grown(3.0);
        let labels = self.labels.iter().map(|label| &label.area);
        let shapes = self.nodes.iter().chain([&self.ensemble]).chain(labels);
        let covered: f64 = shapes.map(|shape| room.overlap(shape)).sum();
        let mut cost = 100.0 * covered;
        for (j, other) in self.transfers.iter().enumerate() {
            if j != i {
                cost += 100.0 * room.overlap(&other.text);
                cost += 3.0 * inside(&room, &other.curve, 48);
                // The arrow head.
                cost += 20.0 * f64::from(u8::from(room.grown(8.0).contains(other.curve.to)));
            }
        }
        for label in &self.labels {
            cost += 3.0 * inside(&room, &label.curve, 12);
        }
        for mean in &self.means {
            cost += inside(&room, mean, 48);
        }
        cost
    }

    /// The smallest box around everything.
    pub fn bounds(&self) -> Area {
        let labels = self.labels.iter().map(|label| label.area);
        let texts = self.transfers.iter().map(|edge| edge.text);
        let boxes = self.nodes.iter().copied().chain([self.ensemble]);
        let corners =
            boxes.chain(labels).chain(texts).flat_map(|area| [area.centre - area.half, area.centre + area.half]);
        let curves = self.transfers.iter().flat_map(|edge| edge.curve.samples(16));
        let (mut low, mut high) = (ORIGIN, ORIGIN);
        for point in corners.chain(curves) {
            low = Point { x: low.x.min(point.x), y: low.y.min(point.y) };
            high = Point { x: high.x.max(point.x), y: high.y.max(point.y) };
        }
        Area { centre: (low + high) * 0.5, half: (high - low) * 0.5 }
    }
}

impl LabelEdge {
    fn new(gate: Gate, node: &Area) -> LabelEdge {
        let half = Point { x: 24.0, y: 12.0 };
        let outwards = node.centre.unit();
        let shape = Area { centre: node.centre, half };
        let distance = node.ellipse_radius(outwards) + 44.0 + shape.ellipse_radius(outwards);
        let area = Area { centre: node.centre + outwards * distance, half };
        LabelEdge { gate, curve: Curve::bent(area.centre, node.centre, 0.0).between(&area, node, 2.0), area }
    }
}

/// How many of `count` points along a curve are inside a box.
fn inside(area: &Area, curve: &Curve, count: usize) -> f64 {
    curve.samples(count).filter(|p| area.contains(*p)).count() as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::design::Design;
    use crate::presets;

    #[test]
    fn no_text_collides_up_to_six_nodes() {
        for m in 1..=6 {
            for design in Design::ALL {
                let mut graph = presets::dml(m, "abn-resnet-cifar-110");
                for (source, target) in (0..m).flat_map(|s| (0..m).map(move |t| (s, t))) {
                    if source != target {
                        let gate = Gate::Linear;
                        graph.set_transfer(source, target, Some(Transfer { design, gate }));
                    }
                }
                let layout = Layout::of(&graph);
                let texts: Vec<Area> = layout.transfers.iter().map(|edge| edge.text).collect();
                assert_eq!(texts.len(), m * (m - 1));
                let labels = layout.labels.iter().map(|label| label.area);
                let shapes = layout.nodes.iter().copied().chain([layout.ensemble]);
                let shapes: Vec<Area> = shapes.chain(labels).collect();
                for (i, text) in texts.iter().enumerate() {
                    for other in texts[..i].iter().chain(&shapes) {
                        assert_eq!(text.overlap(other), 0.0, "M = {m}, {design}, text {i}");
                    }
                }
            }
        }
    }
}
