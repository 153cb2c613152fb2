//! Ellipses, turned boxes and the curves between them, in pixels with y downwards.

use kurbo::{ParamCurve, ParamCurveDeriv, Point, QuadBez, Rect, Vec2};

/// Whether a point is inside the ellipse that fills a box.
pub(super) fn ellipse_contains(area: &Rect, point: Point) -> bool {
    let d = point - area.center();
    (2.0 * d.x / area.width()).powi(2) + (2.0 * d.y / area.height()).powi(2) < 1.0
}

/// Distance from the center to the rim of that ellipse in a direction of length 1.
pub(super) fn ellipse_radius(area: &Rect, direction: Vec2) -> f64 {
    0.5 / (direction.x / area.width()).hypot(direction.y / area.height())
}

/// A box that is turned, such as the place of a text along an edge.
#[derive(Debug, Clone, Copy)]
pub(super) struct Strip {
    pub center: Point,
    /// Half its length and breadth.
    pub half: Vec2,
    /// The direction of its length, of length 1.
    pub along: Vec2,
}

impl From<Rect> for Strip {
    fn from(area: Rect) -> Strip {
        Strip { center: area.center(), half: area.size().to_vec2() / 2.0, along: Vec2::new(1.0, 0.0) }
    }
}

impl Strip {
    pub fn grown(&self, by: f64) -> Strip {
        Strip { half: self.half + Vec2::new(by, by), ..*self }
    }

    /// The smallest upright box around it.
    pub fn bounds(&self) -> Rect {
        let half = Vec2::new(self.extent(Vec2::new(1.0, 0.0)), self.extent(Vec2::new(0.0, 1.0)));
        Rect::from_points(self.center - half, self.center + half)
    }

    /// How far two boxes would have to move to be apart; 0 if they are.
    pub fn depth(&self, other: &Strip) -> f64 {
        let d = other.center - self.center;
        let reach = self.half.length() + other.half.length();
        if d.length_squared() >= reach * reach {
            return 0.0;
        }
        // Boxes are apart if and only if they are so along one of their sides.
        let axes = [self.along, self.along.turn_90(), other.along, other.along.turn_90()];
        let shared = axes.map(|axis| self.extent(axis) + other.extent(axis) - d.dot(axis).abs());
        shared.into_iter().fold(f64::INFINITY, f64::min).max(0.0)
    }

    /// Half its extent along an axis.
    fn extent(&self, axis: Vec2) -> f64 {
        self.half.x * self.along.dot(axis).abs() + self.half.y * self.along.turn_90().dot(axis).abs()
    }

    /// A point as seen from the box: along it and across.
    fn seen(&self, point: Point) -> Vec2 {
        let d = point - self.center;
        Vec2::new(d.dot(self.along), d.dot(self.along.turn_90()))
    }

    pub fn contains(&self, point: Point) -> bool {
        let seen = self.seen(point);
        seen.x.abs() < self.half.x && seen.y.abs() < self.half.y
    }

    /// The length of a line from point to point that is inside.
    pub fn covered(&self, line: &[Point]) -> f64 {
        line.windows(2).map(|ends| self.clipped(self.seen(ends[0]), self.seen(ends[1]))).sum()
    }

    /// The length inside of the line between two points that are given as seen from the box.
    fn clipped(&self, from: Vec2, to: Vec2) -> f64 {
        let (mut start, mut end) = (0.0_f64, 1.0_f64);
        for (a, b, half) in [(from.y, to.y, self.half.y), (from.x, to.x, self.half.x)] {
            if a.min(b) >= half || a.max(b) <= -half {
                return 0.0;
            }
            if a != b {
                let (first, second) = ((-half - a) / (b - a), (half - a) / (b - a));
                start = start.max(first.min(second));
                end = end.min(first.max(second));
            }
        }
        (end - start).max(0.0) * (to - from).length()
    }
}

/// A curve from one point to another, passing the middle of the line between them at a distance of `bend` to its side.
/// The curve back with an equal `bend` lies on the other side.
pub(super) fn bent(from: Point, to: Point, bend: f64) -> QuadBez {
    let side = (to - from).normalize().turn_90();
    QuadBez::new(from, from.midpoint(to) + side * (2.0 * bend), to)
}

/// The part of a curve between the ellipses at its two ends, less `gap` pixels at either.
pub(super) fn between(curve: &QuadBez, from: &Rect, to: &Rect, gap: f64) -> QuadBez {
    const STEPS: usize = 400;
    let (from, to) = (from.inflate(gap, gap), to.inflate(gap, gap));
    let parameter = |i: usize| i as f64 / STEPS as f64;
    let start = (0..=STEPS / 2).rfind(|i| ellipse_contains(&from, curve.eval(parameter(*i))));
    let end = (STEPS / 2..=STEPS).find(|i| ellipse_contains(&to, curve.eval(parameter(*i))));
    curve.subsegment(start.map_or(0.0, parameter)..end.map_or(1.0, parameter))
}

/// Direction of travel, of length 1.
pub(super) fn direction(curve: &QuadBez, t: f64) -> Vec2 {
    curve.deriv().eval(t).to_vec2().normalize()
}

/// The parameter at about this distance before the end, which is short against the whole.
pub(super) fn before_end(curve: &QuadBez, distance: f64) -> f64 {
    let speed = 2.0 * (curve.p2 - curve.p1).length();
    if speed > distance { 1.0 - distance / speed } else { 0.0 }
}

/// Points along a curve, both ends included.
pub(super) fn points(curve: &QuadBez, pieces: usize) -> Vec<Point> {
    (0..=pieces).map(|i| curve.eval(i as f64 / pieces as f64)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn antiparallel_curves_are_apart() {
        let (a, b) = (Point::ORIGIN, Point::new(100.0, 0.0));
        let there = bent(a, b, 20.0).eval(0.5);
        let back = bent(b, a, 20.0).eval(0.5);
        assert!(((there - back).length() - 40.0).abs() < 1e-9);
    }

    #[test]
    fn a_curve_between_ellipses_touches_their_rims() {
        let area = |x: f64| Rect::from_center_size((x, 0.0), (40.0, 20.0));
        let curve = bent(Point::new(0.0, 0.0), Point::new(200.0, 0.0), 0.0);
        let between = between(&curve, &area(0.0), &area(200.0), 2.0);
        assert!((between.p0.x - 22.0).abs() < 0.6 && (between.p2.x - 178.0).abs() < 0.6, "{between:?}");
    }

    #[test]
    fn before_end_is_about_so_far_away() {
        let curve = bent(Point::ORIGIN, Point::new(100.0, 0.0), 10.0);
        let distance = (curve.eval(before_end(&curve, 12.0)) - curve.p2).length();
        assert!((11.0..13.0).contains(&distance), "{distance}");
        assert_eq!(before_end(&bent(Point::ORIGIN, Point::ORIGIN, 0.0), 12.0), 0.0);
    }

    #[test]
    fn turned_boxes_overlap_where_upright_ones_would_not() {
        let slanted = Vec2::new(1.0, 1.0).normalize();
        let long = Strip { center: Point::ORIGIN, half: Vec2::new(50.0, 5.0), along: slanted };
        let at = |x: f64, y: f64| Strip::from(Rect::from_center_size((x, y), (8.0, 8.0)));
        assert!(long.depth(&at(30.0, 30.0)) > 0.0);
        assert_eq!(long.depth(&at(30.0, -30.0)), 0.0);
        assert_eq!(long.depth(&at(30.0, 14.0)), 0.0);
        assert!(long.depth(&at(30.0, 20.0)) > 0.0);
    }

    #[test]
    fn covered_is_the_length_inside() {
        let strip = Strip { center: Point::ORIGIN, half: Vec2::new(50.0, 5.0), along: Vec2::new(0.0, 1.0) };
        let across = [Point::new(-20.0, 10.0), Point::new(20.0, 10.0)];
        assert!((strip.covered(&across) - 10.0).abs() < 1e-9);
        let beside = [Point::new(6.0, -90.0), Point::new(6.0, 90.0)];
        assert_eq!(strip.covered(&beside), 0.0);
        let inside = [Point::new(0.0, -90.0), Point::ORIGIN, Point::new(1.0, 20.0)];
        assert!((strip.covered(&inside) - 70.0).abs() < 0.1);
    }
}
