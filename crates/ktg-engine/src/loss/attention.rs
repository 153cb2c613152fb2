//! Losses between attention maps, cropped around the source's peak.

use std::borrow::Cow;

use ktg_graph::Direction;

use super::resize::resize_area;
use super::shown::{Shown, argmax};
use super::transfer::{Loss, gated_mean};
use crate::Map;

/// Squared length below which a crop counts as all zero: it has no direction, is normalized to zero and passes no
/// gradient. (PyTorch's `normalize` uses the same length, 1e-12, but a gradient of 1e12.)
const SHORTEST_SQUARED: f64 = 1e-24;

/// A loss between L2-normalized crops, mean over the crops.
///
/// Where the maps differ in size, the source's is resized by area to the target's before anything else, its peak included
/// ([`resize_area`]). The gradient is at the target's map, which stays as it is, so that there is no way back to take.
pub(super) struct Attention {
    pub direction: Direction,
    /// Sides of the crops, in pixels of the target's map.
    pub crop_sizes: Vec<usize>,
    /// Whether maps may differ in size.
    pub resize: bool,
}

impl Attention {
    /// The loss between two normalized crops; its gradient with respect to the target's takes the target's place.
    fn compare(&self, source: &[f64], target: &mut [f64]) -> f64 {
        match self.direction {
            // Mean squared difference, eq. 3.
            Direction::Closer => {
                let pixels = source.len() as f64;
                let squares = source.iter().zip(&*target).map(|(s, t)| (t - s) * (t - s));
                let loss = squares.sum::<f64>() / pixels;
                target.iter_mut().zip(source).for_each(|(t, s)| *t = 2.0 * (*t - s) / pixels);
                loss
            }
            // Inner product, eq. 4.
            Direction::Apart => {
                let loss = source.iter().zip(&*target).map(|(s, t)| s * t).sum();
                target.copy_from_slice(source);
                loss
            }
        }
    }
}

impl Loss for Attention {
    fn of_batch(&self, source: &Shown, target: &Shown, weights: &[f64], gradient: &mut [f64]) -> f32 {
        gated_mean(weights, gradient, |i, weight, gradient| self.sample(i, source, target, weight, gradient))
    }
}

impl Attention {
    /// The source's map of sample `i`, in the size of the target's.
    fn source_map<'a>(&self, i: usize, source: &'a Shown, target: &Map) -> Cow<'a, [f32]> {
        let (map, sizes) = source.map(i);
        let [from, to] = [sizes, target].map(|map| [map.height, map.width]);
        if from == to {
            return Cow::Borrowed(map);
        }
        assert!(self.resize, "maps of {from:?} and {to:?} pixels on an attention edge that does not resize");
        Cow::Owned(resize_area(map, from, to))
    }

    /// The loss of sample `i`. Adds `weight` times its gradient with respect to the target's map to `gradient`.
    fn sample(&self, i: usize, source: &Shown, target: &Shown, weight: f64, gradient: &mut [f64]) -> f64 {
        let (target, sizes) = target.map(i);
        let source = self.source_map(i, source, sizes);
        let peak = argmax(&source);
        let crops = self.crop_sizes.len() as f64;
        let mut sum = 0.0;
        for &size in &self.crop_sizes {
            let window = Window::around(peak, size, sizes);
            let (source, _) = window.unit(&source);
            let (mut at_unit, length) = window.unit(target);
            let unit = at_unit.clone();
            sum += self.compare(&source, &mut at_unit);
            if length == 0.0 {
                continue;
            }
            // Back through the division by the length.
            let along: f64 = at_unit.iter().zip(&unit).map(|(g, u)| g * u).sum();
            let factor = weight / (length * crops);
            for ((g, u), at) in at_unit.iter().zip(&unit).zip(window.positions()) {
                gradient[at] += factor * (g - along * u);
            }
        }
        sum / crops
    }
}

/// A part of a map.
struct Window {
    row: usize,
    column: usize,
    height: usize,
    width: usize,
    /// Of the whole map.
    map_width: usize,
}

impl Window {
    /// The window of the given side, or as much of it as there is, centered on `peak` and shifted to stay in the map.
    fn around(peak: usize, size: usize, map: &Map) -> Self {
        let (height, width) = (size.min(map.height), size.min(map.width));
        let start = |center: usize, size: usize, side: usize| center.saturating_sub(size / 2).min(side - size);
        Self {
            row: start(peak / map.width, height, map.height),
            column: start(peak % map.width, width, map.width),
            height,
            width,
            map_width: map.width,
        }
    }

    /// Row-major positions in the map.
    fn positions(&self) -> impl Iterator<Item = usize> {
        let first = self.row * self.map_width + self.column;
        let (width, map_width) = (self.width, self.map_width);
        (0..self.height).flat_map(move |y| (0..width).map(move |x| first + y * map_width + x))
    }

    /// The window's values scaled to length 1, and the length they had; both are zero below the shortest length.
    fn unit(&self, map: &[f32]) -> (Vec<f64>, f64) {
        let mut values: Vec<f64> = self.positions().map(|at| f64::from(map[at])).collect();
        let squared: f64 = values.iter().map(|v| v * v).sum();
        // A NaN is no short length and stays.
        let is_zero = squared < SHORTEST_SQUARED;
        let length = if is_zero { 0.0 } else { squared.sqrt() };
        values.iter_mut().for_each(|v| *v = if is_zero { 0.0 } else { *v / length });
        (values, length)
    }
}
