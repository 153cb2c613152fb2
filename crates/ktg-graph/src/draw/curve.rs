//! Points, boxes, ellipses and the curves between them, in pixels with y downwards.

use std::ops::{Add, Mul, Sub};

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Point {
    pub x: f64,
    pub y: f64,
}

pub(super) const ORIGIN: Point = Point { x: 0.0, y: 0.0 };

impl Point {
    pub fn polar(radius: f64, angle: f64) -> Point {
        Point { x: radius * angle.cos(), y: radius * angle.sin() }
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

/// A box around a centre.
#[derive(Debug, Clone, Copy)]
pub(super) struct Area {
    pub centre: Point,
    /// Half its width and height.
    pub half: Point,
}

impl Area {
    pub fn contains(&self, point: Point) -> bool {
        let d = point - self.centre;
        d.x.abs() < self.half.x && d.y.abs() < self.half.y
    }

    /// How much of it another box covers, in square pixels.
    pub fn overlap(&self, other: &Area) -> f64 {
        let d = other.centre - self.centre;
        let width = self.half.x + other.half.x - d.x.abs();
        let height = self.half.y + other.half.y - d.y.abs();
        width.max(0.0) * height.max(0.0)
    }

    pub fn grown(&self, by: f64) -> Area {
        Area { half: self.half + Point { x: by, y: by }, ..*self }
    }

    /// Whether a point is inside the ellipse that fills the box.
    pub fn ellipse_contains(&self, point: Point) -> bool {
        let d = point - self.centre;
        (d.x / self.half.x).powi(2) + (d.y / self.half.y).powi(2) < 1.0
    }

    /// Distance from the centre to the rim of that ellipse in a direction of length 1.
    pub fn ellipse_radius(&self, direction: Point) -> f64 {
        1.0 / (direction.x / self.half.x).hypot(direction.y / self.half.y)
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

    /// The part between two parameters.
    pub fn part(&self, start: f64, end: f64) -> Curve {
        let control = self.from * ((1.0 - start) * (1.0 - end))
            + self.control * (start * (1.0 - end) + end * (1.0 - start))
            + self.to * (start * end);
        Curve { from: self.at(start), control, to: self.at(end) }
    }

    /// The part outside the ellipses at its two ends, less `gap` pixels at either.
    pub fn between(&self, from: &Area, to: &Area, gap: f64) -> Curve {
        let (from, to) = (from.grown(gap), to.grown(gap));
        const STEPS: usize = 400;
        let parameter = |i: usize| i as f64 / STEPS as f64;
        let start = (0..=STEPS).find(|i| !from.ellipse_contains(self.at(parameter(*i))));
        let end = (0..=STEPS).rfind(|i| !to.ellipse_contains(self.at(parameter(*i))));
        match (start, end) {
            (Some(start), Some(end)) if start < end => self.part(parameter(start), parameter(end)),
            _ => *self,
        }
    }

    /// Direction at its end, of length 1.
    pub fn final_direction(&self) -> Point {
        (self.to - self.control).unit()
    }

    /// Points along it.
    pub fn samples(&self, count: usize) -> impl Iterator<Item = Point> + '_ {
        (0..=count).map(move |i| self.at(i as f64 / count as f64))
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
}
