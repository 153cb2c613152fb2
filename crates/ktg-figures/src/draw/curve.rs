//! Points, boxes, ellipses and the curves between them, in pixels with y downwards.

use std::ops::{Add, Mul, Sub};

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Point {
    pub x: f64,
    pub y: f64,
}

pub(super) const ORIGIN: Point = Point { x: 0.0, y: 0.0 };

impl From<Point> for (f64, f64) {
    fn from(point: Point) -> (f64, f64) {
        (point.x, point.y)
    }
}

impl Point {
    pub fn polar(radius: f64, angle: f64) -> Point {
        Point { x: radius * angle.cos(), y: radius * angle.sin() }
    }

    pub fn dot(self, other: Point) -> f64 {
        self.x * other.x + self.y * other.y
    }

    pub fn length(self) -> f64 {
        self.x.hypot(self.y)
    }

    /// The vector of length 1 in the same direction (any direction for the zero vector).
    pub fn unit(self) -> Point {
        let length = self.length();
        if length == 0.0 {
            return Point { x: 1.0, y: 0.0 };
        }
        self * (1.0 / length)
    }

    /// The vector turned by a quarter.
    pub fn normal(self) -> Point {
        Point { x: -self.y, y: self.x }
    }
}

impl Add for Point {
    type Output = Point;
    fn add(self, other: Point) -> Point {
        Point { x: self.x + other.x, y: self.y + other.y }
    }
}

impl Sub for Point {
    type Output = Point;
    fn sub(self, other: Point) -> Point {
        self + other * -1.0
    }
}

impl Mul<f64> for Point {
    type Output = Point;
    fn mul(self, factor: f64) -> Point {
        Point { x: self.x * factor, y: self.y * factor }
    }
}

/// An upright box around a center.
#[derive(Debug, Clone, Copy)]
pub(super) struct Area {
    pub center: Point,
    /// Half its width and height.
    pub half: Point,
}

impl Area {
    /// The smallest box around some points; a box of no size if there are none.
    pub fn around(points: impl IntoIterator<Item = Point>) -> Area {
        let mut points = points.into_iter();
        let first = points.next().unwrap_or(ORIGIN);
        let (low, high) = points.fold((first, first), |(low, high), point| {
            let low = Point { x: low.x.min(point.x), y: low.y.min(point.y) };
            (low, Point { x: high.x.max(point.x), y: high.y.max(point.y) })
        });
        Area { center: (low + high) * 0.5, half: (high - low) * 0.5 }
    }

    pub fn grown(&self, by: f64) -> Area {
        Area { half: self.half + Point { x: by, y: by }, ..*self }
    }

    /// Whether a point is inside the ellipse that fills the box.
    pub fn ellipse_contains(&self, point: Point) -> bool {
        let d = point - self.center;
        (d.x / self.half.x).powi(2) + (d.y / self.half.y).powi(2) < 1.0
    }

    /// Distance from the center to the rim of that ellipse in a direction of length 1.
    pub fn ellipse_radius(&self, direction: Point) -> f64 {
        1.0 / (direction.x / self.half.x).hypot(direction.y / self.half.y)
    }
}

/// A box that is turned, such as the place of a text along an edge.
#[derive(Debug, Clone, Copy)]
pub(super) struct Strip {
    pub center: Point,
    /// Half its length and breadth.
    pub half: Point,
    /// The direction of its length, of length 1.
    pub along: Point,
}

impl From<Area> for Strip {
    fn from(area: Area) -> Strip {
        Strip { center: area.center, half: area.half, along: Point { x: 1.0, y: 0.0 } }
    }
}

impl Strip {
    pub fn grown(&self, by: f64) -> Strip {
        Strip { half: self.half + Point { x: by, y: by }, ..*self }
    }

    pub fn corners(&self) -> [Point; 4] {
        let (length, breadth) = (self.along * self.half.x, self.along.normal() * self.half.y);
        [length + breadth, length - breadth, breadth - length, (length + breadth) * -1.0].map(|d| self.center + d)
    }

    /// How far two boxes would have to move to be apart; 0 if they are.
    pub fn depth(&self, other: &Strip) -> f64 {
        let d = other.center - self.center;
        let reach = self.half.length() + other.half.length();
        if d.dot(d) >= reach * reach {
            return 0.0;
        }
        // Boxes are apart if and only if they are so along one of their sides.
        let axes = [self.along, self.along.normal(), other.along, other.along.normal()];
        let shared = axes.map(|axis| self.extent(axis) + other.extent(axis) - d.dot(axis).abs());
        shared.into_iter().fold(f64::INFINITY, f64::min).max(0.0)
    }

    /// Half its extent along an axis.
    fn extent(&self, axis: Point) -> f64 {
        self.half.x * self.along.dot(axis).abs() + self.half.y * self.along.normal().dot(axis).abs()
    }

    /// A point as seen from the box: along it and across.
    fn seen(&self, point: Point) -> Point {
        let d = point - self.center;
        Point { x: d.dot(self.along), y: d.dot(self.along.normal()) }
    }

    pub fn contains(&self, point: Point) -> bool {
        let seen = self.seen(point);
        seen.x.abs() < self.half.x && seen.y.abs() < self.half.y
    }

    /// The length of a line from point to point that is inside.
    pub fn covered(&self, line: &[Point]) -> f64 {
        let mut sum = 0.0;
        let mut points = line.iter().map(|point| self.seen(*point));
        let Some(mut from) = points.next() else { return 0.0 };
        for to in points {
            sum += self.clipped(from, to);
            from = to;
        }
        sum
    }

    /// The length inside of the line between two points that are given as seen from the box.
    fn clipped(&self, from: Point, to: Point) -> f64 {
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

/// A quadratic Bézier curve.
#[derive(Debug, Clone, Copy)]
pub(super) struct Curve {
    pub from: Point,
    pub control: Point,
    pub to: Point,
}

impl Curve {
    /// From one point to another, passing the middle of the line between them at a distance of
    /// `bend` to its side. The curve back with an equal `bend` lies on the other side.
    pub fn bent(from: Point, to: Point, bend: f64) -> Curve {
        let middle = (from + to) * 0.5;
        Curve { from, control: middle + (to - from).unit().normal() * (2.0 * bend), to }
    }

    pub fn at(&self, t: f64) -> Point {
        let u = 1.0 - t;
        self.from * (u * u) + self.control * (2.0 * u * t) + self.to * (t * t)
    }

    /// Direction of travel, of length 1.
    pub fn direction(&self, t: f64) -> Point {
        ((self.control - self.from) * (1.0 - t) + (self.to - self.control) * t).unit()
    }

    /// The part between two parameters.
    pub fn part(&self, start: f64, end: f64) -> Curve {
        let control = self.from * ((1.0 - start) * (1.0 - end))
            + self.control * (start * (1.0 - end) + end * (1.0 - start))
            + self.to * (start * end);
        Curve { from: self.at(start), control, to: self.at(end) }
    }

    /// The part between the ellipses at its two ends, less `gap` pixels at either.
    pub fn between(&self, from: &Area, to: &Area, gap: f64) -> Curve {
        let (from, to) = (from.grown(gap), to.grown(gap));
        const STEPS: usize = 400;
        let parameter = |i: usize| i as f64 / STEPS as f64;
        let start = (0..=STEPS / 2).rfind(|i| from.ellipse_contains(self.at(parameter(*i))));
        let end = (STEPS / 2..=STEPS).find(|i| to.ellipse_contains(self.at(parameter(*i))));
        self.part(start.map_or(0.0, parameter), end.map_or(1.0, parameter))
    }

    /// The parameter at about this distance before the end, which is short against the whole.
    pub fn before_end(&self, distance: f64) -> f64 {
        let speed = 2.0 * (self.to - self.control).length();
        if speed > distance { 1.0 - distance / speed } else { 0.0 }
    }

    /// About how long it is.
    pub fn length(&self) -> f64 {
        let points = self.points(16);
        points.windows(2).map(|pair| (pair[1] - pair[0]).length()).sum()
    }

    /// Points along it, both ends included.
    pub fn points(&self, pieces: usize) -> Vec<Point> {
        (0..=pieces).map(|i| self.at(i as f64 / pieces as f64)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_lies_on_the_curve() {
        let curve = Curve::bent(ORIGIN, Point { x: 100.0, y: 40.0 }, 30.0);
        let part = curve.part(0.2, 0.7);
        let d = part.at(0.5) - curve.at(0.45);
        assert!(d.length() < 1e-9);
    }

    #[test]
    fn antiparallel_curves_are_apart() {
        let (a, b) = (ORIGIN, Point { x: 100.0, y: 0.0 });
        let there = Curve::bent(a, b, 20.0).at(0.5);
        let back = Curve::bent(b, a, 20.0).at(0.5);
        assert!(((there - back).length() - 40.0).abs() < 1e-9);
    }

    #[test]
    fn a_curve_between_ellipses_touches_their_rims() {
        let area = |x: f64| Area { center: Point { x, y: 0.0 }, half: Point { x: 20.0, y: 10.0 } };
        let curve = Curve::bent(Point { x: 0.0, y: 0.0 }, Point { x: 200.0, y: 0.0 }, 0.0);
        let between = curve.between(&area(0.0), &area(200.0), 2.0);
        assert!((between.from.x - 22.0).abs() < 0.6 && (between.to.x - 178.0).abs() < 0.6, "{between:?}");
    }

    #[test]
    fn before_end_is_about_so_far_away() {
        let curve = Curve::bent(ORIGIN, Point { x: 100.0, y: 0.0 }, 10.0);
        let distance = (curve.at(curve.before_end(12.0)) - curve.to).length();
        assert!((11.0..13.0).contains(&distance), "{distance}");
        assert_eq!(Curve::bent(ORIGIN, ORIGIN, 0.0).before_end(12.0), 0.0);
    }

    #[test]
    fn turned_boxes_overlap_where_upright_ones_would_not() {
        let slanted = Point { x: 1.0, y: 1.0 }.unit();
        let long = Strip { center: ORIGIN, half: Point { x: 50.0, y: 5.0 }, along: slanted };
        let at = |x: f64, y: f64| Strip::from(Area { center: Point { x, y }, half: Point { x: 4.0, y: 4.0 } });
        assert!(long.depth(&at(30.0, 30.0)) > 0.0);
        assert_eq!(long.depth(&at(30.0, -30.0)), 0.0);
        assert_eq!(long.depth(&at(30.0, 14.0)), 0.0);
        assert!(long.depth(&at(30.0, 20.0)) > 0.0);
    }

    #[test]
    fn covered_is_the_length_inside() {
        let strip = Strip { center: ORIGIN, half: Point { x: 50.0, y: 5.0 }, along: Point { x: 0.0, y: 1.0 } };
        let across = [Point { x: -20.0, y: 10.0 }, Point { x: 20.0, y: 10.0 }];
        assert!((strip.covered(&across) - 10.0).abs() < 1e-9);
        let beside = [Point { x: 6.0, y: -90.0 }, Point { x: 6.0, y: 90.0 }];
        assert_eq!(strip.covered(&beside), 0.0);
        let inside = [Point { x: 0.0, y: -90.0 }, ORIGIN, Point { x: 1.0, y: 20.0 }];
        assert!((strip.covered(&inside) - 70.0).abs() < 0.1);
    }
}
