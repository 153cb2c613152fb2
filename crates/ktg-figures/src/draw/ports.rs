//! Where edges meet the rims of nodes.
//!
//! Edges that arrive close together are moved apart along the rim, so that every arrow head can be seen.

use std::f64::consts::{PI, TAU};

use kurbo::{Point, Rect, Vec2};

use super::curve::ellipse_radius;
use super::layout::{Layout, RIM_GAP};

/// Wanted distance between neighboring ends, in pixels.
const DISTANCE: f64 = 14.0;

/// An end of an edge at a node.
struct End {
    /// Index of the transfer edge; `None` is the thin edge into the ensemble node, which stays where it is.
    edge: Option<usize>,
    is_target: bool,
    /// From the direction of the ensemble node.
    angle: f64,
}

/// Moves the ends of all transfer edges apart.
pub(super) fn spread(layout: &mut Layout) {
    for node in 0..layout.nodes.len() {
        let area = layout.nodes[node].area.inflate(RIM_GAP, RIM_GAP);
        let inwards = (Point::ORIGIN - area.center()).atan2();
        let mut ends = ends(layout, node, &area, inwards);
        move_apart(&mut ends, &area, inwards);
        for end in &ends {
            let Some(edge) = end.edge else { continue };
            let curve = &mut layout.transfers[edge].curve;
            let rim = on_rim(&area, inwards + end.angle);
            if end.is_target {
                curve.p2 = rim;
            } else {
                curve.p0 = rim;
            }
        }
    }
}

/// The ends at a node, in order around it.
fn ends(layout: &Layout, node: usize, area: &Rect, inwards: f64) -> Vec<End> {
    let mut ends = vec![End { edge: None, is_target: false, angle: 0.0 }];
    for (edge, transfer) in layout.transfers.iter().enumerate() {
        for (is_target, at, point) in
            [(false, transfer.source, transfer.curve.p0), (true, transfer.target, transfer.curve.p2)]
        {
            if at == node {
                let angle = ((point - area.center()).atan2() - inwards + PI).rem_euclid(TAU) - PI;
                ends.push(End { edge: Some(edge), is_target, angle });
            }
        }
    }
    ends.sort_by(|a, b| a.angle.total_cmp(&b.angle));
    ends
}

fn move_apart(ends: &mut [End], area: &Rect, inwards: f64) {
    const ROUNDS: usize = 60;
    // Of a node with very many edges the ends share half of the rim.
    let half_rim = PI * (area.width() + area.height()) / 4.0;
    let wanted = DISTANCE.min(half_rim / ends.len() as f64);
    for _ in 0..ROUNDS {
        let mut moved = false;
        for i in 1..ends.len() {
            let (a, b) = (&ends[i - 1], &ends[i]);
            let distance = (on_rim(area, inwards + b.angle) - on_rim(area, inwards + a.angle)).length();
            let lacking = wanted - distance;
            if lacking < 0.2 {
                continue;
            }
            let radius = ellipse_radius(area, Vec2::from_angle(inwards + (a.angle + b.angle) / 2.0));
            let angle = lacking / radius;
            let (first, second) = match (a.edge, b.edge) {
                (None, _) => (0.0, angle),
                (_, None) => (angle, 0.0),
                _ => (angle / 2.0, angle / 2.0),
            };
            ends[i - 1].angle -= first;
            ends[i].angle += second;
            moved = true;
        }
        if !moved {
            return;
        }
    }
}

fn on_rim(area: &Rect, angle: f64) -> Point {
    let direction = Vec2::from_angle(angle);
    area.center() + direction * ellipse_radius(area, direction)
}
