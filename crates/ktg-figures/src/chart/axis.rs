//! Axes: a range and where its ticks are.

use super::drawable;
use crate::svg::number;

/// One axis of a plot.
#[derive(Debug, Clone)]
pub(super) struct Axis {
    /// The value at the left or at the bottom.
    pub from: f64,
    /// The value at the right or at the top, always larger.
    pub to: f64,
    /// Values with the texts at them.
    pub ticks: Vec<(f64, String)>,
    /// What it measures, with the unit.
    pub title: String,
    /// Whether there are lines across the plot.
    pub grid: bool,
}

impl Axis {
    /// With ticks at the multiples of a step.
    fn new(from: f64, to: f64, step: f64, title: &str, grid: bool) -> Self {
        Self { from, to, ticks: ticks(from, to, step), title: title.to_owned(), grid }
    }

    /// Just wide enough for the values.
    pub fn around(values: impl IntoIterator<Item = f64>, title: &str, about: usize) -> Self {
        let (from, to) = extent(values);
        Self::new(from, to, step(to - from, about), title, true)
    }

    /// Widened to ticks at both ends.
    pub fn rounded(values: impl IntoIterator<Item = f64>, title: &str, about: usize) -> Self {
        let (from, to) = extent(values);
        let step = step(to - from, about);
        Self::new((from / step).floor() * step, (to / step).ceil() * step, step, title, true)
    }

    /// From 0 (or below, or up to it) to a tick beyond the values.
    pub fn from_zero(values: impl IntoIterator<Item = f64>, title: &str, about: usize) -> Self {
        let values: Vec<f64> = values.into_iter().filter(|value| drawable(*value)).collect();
        // All zero: the axis has no scale to take.
        let top = if values.iter().all(|value| *value == 0.0) { Some(1.0) } else { None };
        Self::rounded(values.into_iter().chain([0.0]).chain(top), title, about)
    }

    /// Ticks at whole numbers only.
    pub fn whole(values: impl IntoIterator<Item = f64>, title: &str, about: usize) -> Self {
        let (from, to) = extent(values);
        Self::new(from, to, step(to - from, about).max(1.0), title, false)
    }

    /// Places 0, 1, 2, … with a text each.
    pub fn named(names: Vec<String>, title: &str) -> Self {
        let to = names.len().max(1) as f64 - 0.5;
        let ticks = names.into_iter().enumerate().map(|(i, name)| (i as f64, name)).collect();
        Self { ticks, title: title.to_owned(), ..Self::bare(-0.5, to) }
    }

    /// The axis without texts or lines.
    pub fn bare(from: f64, to: f64) -> Self {
        Self { from, to, ticks: Vec::new(), title: String::new(), grid: false }
    }

    /// The length of the axis in its unit.
    pub fn span(&self) -> f64 {
        self.to - self.from
    }

    /// How far along the axis a value is, from 0 to 1, also where it lies beyond the ends.
    pub fn share(&self, value: f64) -> f64 {
        ((value - self.from) / self.span()).clamp(0.0, 1.0)
    }
}

/// The least and the largest value, some distance apart in any case.
fn extent(values: impl IntoIterator<Item = f64>) -> (f64, f64) {
    let values = values.into_iter().filter(|value| drawable(*value));
    let (from, to) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(from, to), v| (from.min(v), to.max(v)));
    if from > to {
        return (0.0, 1.0);
    }
    let largest = from.abs().max(to.abs());
    if to - from > 1e-9 * largest && to - from > 1e-12 {
        return (from, to);
    }
    let around = if largest > 1e-9 { 0.05 * largest } else { 1.0 };
    (from - around, to + around)
}

/// The distance between ticks: 1, 2 or 5 times a power of ten.
fn step(span: f64, about: usize) -> f64 {
    let raw = span / about.max(1) as f64;
    let power = 10f64.powf(raw.log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0].into_iter().find(|factor| factor * power >= raw * 0.999);
    factor.unwrap_or(10.0) * power
}

/// The multiples of a step, with their texts.
fn ticks(from: f64, to: f64, step: f64) -> Vec<(f64, String)> {
    let decimals = (-(step.log10() + 1e-9).floor()).clamp(0.0, 12.0) as usize;
    let tolerance = step * 1e-6;
    let (first, last) = (((from - tolerance) / step).ceil(), ((to + tolerance) / step).floor());
    let count = (last - first).clamp(-1.0, 100.0) + 1.0;
    let values = (0..count as usize).map(|i| (first + i as f64) * step);
    values.map(|value| (value, number(value, decimals))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|(_, text)| text.as_str()).collect()
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(
            texts(&Axis::rounded([0.13, 0.38], "", 5)),
            ["0.10", "0.15", "0.20", "0.25", "0.30", "0.35", "0.40"]
        );
        assert_eq!(texts(&Axis::whole([1.0, 300.0], "", 6)), ["50", "100", "150", "200", "250", "300"]);
        assert_eq!(texts(&Axis::whole([2.0, 5.0], "", 6)), ["2", "3", "4", "5"]);
        assert_eq!(texts(&Axis::from_zero([-3.0, 12000.0], "", 3)), ["−5,000", "0", "5,000", "10,000", "15,000"]);
    }

    #[test]
    fn any_values_make_an_axis() {
        let cases: [&[f64]; 9] = [
            &[],
            &[f64::NAN, f64::INFINITY],
            &[0.0],
            &[71.3],
            &[-5.0, -5.0],
            &[1e300, 3.0],
            &[1e-300, 2e-300],
            &[-1e12, 1e12],
            &[1.0, 1.0 + 1e-15],
        ];
        for values in cases {
            for axis in [
                Axis::around(values.iter().copied(), "", 5),
                Axis::rounded(values.iter().copied(), "", 5),
                Axis::from_zero(values.iter().copied(), "", 5),
                Axis::whole(values.iter().copied(), "", 5),
            ] {
                assert!(axis.from < axis.to && axis.span().is_finite(), "{values:?}: {axis:?}");
                assert!(axis.ticks.len() < 20, "{values:?}: {axis:?}");
                assert!(axis.ticks.windows(2).all(|pair| pair[0].0 < pair[1].0));
                for value in values.iter().filter(|value| drawable(**value)) {
                    assert!((axis.from..=axis.to).contains(value), "{value} in {axis:?}");
                }
            }
        }
    }
}
