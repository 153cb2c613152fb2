//! A plot: two axes and marks between them, laid out by `plotters`.

use std::convert::Infallible;

use plotters::chart::ChartBuilder;
use plotters::drawing::{DrawingAreaErrorKind, IntoDrawingArea};
use plotters::element::{BackendCoordOnly, Drawable, PointCollection};
use plotters::style::{Color, IntoFont, TRANSPARENT, TextStyle};
use plotters_backend::{BackendCoord, DrawingErrorKind};

use super::axis::Axis;
use super::pen::{Pen, TENTHS, place, rgb, tenths};
use crate::Error;
use crate::palette::{AXIS, GRID, SOFT_INK};
use crate::svg::{Anchor, Area, Key, MARGIN, SMALL, Sheet, Stroke, TEXT, Type, shortened, width};

/// Space between an axis and its texts.
const GAP: f64 = 8.0;

/// A shape at one or several points, in the units of the axes.
pub(super) struct Mark {
    points: Vec<(f64, f64)>,
    shape: Shape,
}

enum Shape {
    Line(Stroke),
    Dots {
        radius: f64,
        color: &'static str,
        opacity: f64,
    },
    Sign {
        key: Key,
        radius: f64,
        tip: String,
    },
    /// Between two corners, thick enough to be seen.
    Box {
        fill: &'static str,
        opacity: f64,
        tip: String,
    },
    /// Outline between two corners.
    Frame(Stroke),
    /// Short lines downwards.
    Ticks(Stroke),
    /// Moved on the sheet by so much.
    Text {
        style: Type,
        text: String,
        by: (f64, f64),
    },
}

impl Mark {
    pub fn line(points: Vec<(f64, f64)>, stroke: Stroke) -> Self {
        Self { points, shape: Shape::Line(stroke) }
    }

    pub fn dots(points: Vec<(f64, f64)>, radius: f64, color: &'static str, opacity: f64) -> Self {
        Self { points, shape: Shape::Dots { radius, color, opacity } }
    }

    /// A dot, ring or cross, with a text that shows when pointed at.
    pub fn sign(at: (f64, f64), key: Key, radius: f64, tip: String) -> Self {
        Self { points: vec![at], shape: Shape::Sign { key, radius, tip } }
    }

    pub fn bar(from: (f64, f64), to: (f64, f64), fill: &'static str, opacity: f64, tip: String) -> Self {
        Self { points: vec![from, to], shape: Shape::Box { fill, opacity, tip } }
    }

    pub fn frame(from: (f64, f64), to: (f64, f64), stroke: Stroke) -> Self {
        Self { points: vec![from, to], shape: Shape::Frame(stroke) }
    }

    pub fn text(at: (f64, f64), by: (f64, f64), style: Type, text: impl Into<String>) -> Self {
        Self { points: vec![at], shape: Shape::Text { style, text: text.into(), by } }
    }
}

impl<'a> PointCollection<'a, (f64, f64)> for &'a Mark {
    type Point = &'a (f64, f64);
    type IntoIter = std::slice::Iter<'a, (f64, f64)>;

    fn point_iter(self) -> Self::IntoIter {
        self.points.iter()
    }
}

impl Drawable<Pen<'_>> for Mark {
    fn draw<I: Iterator<Item = BackendCoord>>(
        &self,
        points: I,
        pen: &mut Pen<'_>,
        _: (u32, u32),
    ) -> Result<(), DrawingErrorKind<Infallible>> {
        let points: Vec<(f64, f64)> = points.map(place).collect();
        let sheet = &mut *pen.0;
        match (&self.shape, points.as_slice()) {
            (Shape::Line(stroke), points) => sheet.line(points, *stroke),
            (Shape::Dots { radius, color, opacity }, points) => sheet.dots(points, *radius, color, *opacity),
            (Shape::Sign { key, radius, tip }, [at]) => sheet.key(*key, *at, *radius, tip),
            (Shape::Box { fill, opacity, tip }, [from, to]) => {
                sheet.rectangle(between(*from, *to), fill, *opacity, tip)
            }
            (Shape::Frame(stroke), [from, to]) => sheet.frame(between(*from, *to), *stroke),
            (Shape::Ticks(stroke), points) => {
                for (x, y) in points {
                    sheet.line(&[(*x, *y), (*x, y + GAP / 2.0)], *stroke);
                }
            }
            (Shape::Text { style, text, by }, [(x, y)]) => sheet.text(x + by.0, y + by.1, *style, text),
            _ => {}
        }
        Ok(())
    }
}

fn between(a: (f64, f64), b: (f64, f64)) -> Area {
    let (left, top) = (a.0.min(b.0), a.1.min(b.1));
    Area { left, top, width: (a.0 - b.0).abs().max(0.8), height: (a.1 - b.1).abs().max(0.8) }
}

/// How wide the texts at a vertical axis are, the gap included.
pub(super) fn ticks_width(axis: &Axis) -> f64 {
    let widest = axis.ticks.iter().map(|(_, text)| width(text, TEXT, false)).fold(0.0, f64::max);
    if widest > 0.0 { widest + GAP } else { 0.0 }
}

/// How far the texts and the title of a horizontal axis reach below it.
pub(super) fn ticks_height(axis: &Axis) -> f64 {
    let ticks = if axis.ticks.is_empty() { 0.0 } else { GAP + TEXT };
    if axis.title.is_empty() { ticks + 4.0 } else { ticks + GAP + TEXT + 2.0 }
}

/// Draws axes and marks. The area is that between the axes; the caller leaves room for texts left of and below it.
///
/// The title of the vertical axis stands above the plot, where it is read without turning the head.
pub(super) fn plot(sheet: &mut Sheet, area: Area, x: &Axis, y: &Axis, marks: &[Mark]) -> Result<(), Error> {
    if !y.title.is_empty() {
        let title = shortened(&y.title, TEXT, false, sheet.width - 2.0 * MARGIN);
        sheet.text(MARGIN, area.top - 21.0, Type::new(TEXT, SOFT_INK), &title);
    }
    if !x.title.is_empty() {
        let style = Type::new(TEXT, SOFT_INK).anchored(Anchor::Middle);
        let middle = area.left + area.width / 2.0;
        let room = 2.0 * (middle.min(sheet.width - middle) - 4.0);
        let title = shortened(&x.title, TEXT, false, room);
        sheet.text(middle, area.bottom() + ticks_height(x) - TEXT / 2.0, style, &title);
    }
    drawn(sheet, area, x, y, marks)
        .map_err(|reason| Error::Figure { figure: sheet.title().to_owned(), reason: reason.to_string() })
}

/// A plot for which there is no value yet.
pub(super) fn empty_plot(sheet: &mut Sheet, area: Area, words: &str) {
    sheet.frame(area, Stroke::new(GRID, 1.0));
    let style = Type::new(TEXT, SOFT_INK).anchored(Anchor::Middle);
    let words = shortened(words, TEXT, false, area.width - 2.0 * MARGIN);
    sheet.text(area.left + area.width / 2.0, area.top + area.height / 2.0, style, &words);
}

fn drawn(
    sheet: &mut Sheet,
    area: Area,
    x: &Axis,
    y: &Axis,
    marks: &[Mark],
) -> Result<(), DrawingAreaErrorKind<Infallible>> {
    let (width, height) = (sheet.width, sheet.height);
    // Room for texts at the axes, as much of it as there is: nothing is cut off at its edge.
    let (below, before) = (24.0f64.min(height - area.bottom()), 40.0f64.min(area.left));
    let root = Pen(sheet).into_drawing_area();
    let mut chart = ChartBuilder::on(&root)
        .margin_top(tenths(area.top))
        .margin_right(tenths(width - area.right()))
        .margin_bottom(tenths(height - area.bottom() - below))
        .margin_left(tenths(area.left - before))
        .x_label_area_size(tenths(below))
        .y_label_area_size(tenths(before))
        .build_cartesian_2d(x.clone(), y.clone())?;
    let soft = rgb(SOFT_INK);
    let mut mesh = chart.configure_mesh();
    // The mesh has no way to draw the horizontal axis alone.
    mesh.bold_line_style(rgb(GRID).stroke_width(tenths(1.0).unsigned_abs()))
        .axis_style(TRANSPARENT)
        .label_style(TextStyle::from(("DejaVu Sans", TEXT * TENTHS).into_font()).color(&soft))
        .set_all_tick_mark_size(tenths(GAP / 2.0));
    if !x.grid {
        mesh.disable_x_mesh();
    }
    if !y.grid {
        mesh.disable_y_mesh();
    }
    mesh.draw()?;
    chart.draw_series::<BackendCoordOnly, Mark, _, _>(&horizontal_axis(x, y))?;
    chart.draw_series::<BackendCoordOnly, Mark, _, _>(marks)?;
    Ok(())
}

fn horizontal_axis(x: &Axis, y: &Axis) -> [Mark; 2] {
    let stroke = Stroke::new(AXIS, 1.0);
    let ticks = x.ticks.iter().map(|(value, _)| (*value, y.from)).collect();
    [Mark::line(vec![(x.from, y.from), (x.to, y.from)], stroke), Mark { points: ticks, shape: Shape::Ticks(stroke) }]
}

/// Where texts go so that they stand at their values, in ascending order, as nearly as a gap between them allows.
pub(super) fn spread(values: &[f64], gap: f64, from: f64, to: f64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    // Groups of texts that touch: the sum of where each would like the group to start, and their number.
    let mut groups: Vec<(f64, usize)> = Vec::new();
    let start = |(sum, count): (f64, usize)| {
        let length = (count - 1) as f64 * gap;
        (sum / count as f64).min(to - length).max(from)
    };
    for index in &order {
        let mut group = (values[*index], 1);
        while let Some(last) = groups.last().copied() {
            if start(last) + last.1 as f64 * gap <= start(group) {
                break;
            }
            groups.pop();
            // In the joined group the later texts stand that much above the start.
            let above = last.1 as f64 * gap * group.1 as f64;
            group = (last.0 + group.0 - above, last.1 + group.1);
        }
        groups.push(group);
    }
    let mut places = vec![0.0; values.len()];
    let mut next = order.into_iter();
    for group in groups {
        for i in 0..group.1 {
            if let Some(index) = next.next() {
                places[index] = start(group) + i as f64 * gap;
            }
        }
    }
    places
}

/// Small grey text in a plot.
pub(super) fn note_style() -> Type {
    Type::new(SMALL, SOFT_INK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_keep_their_distance() {
        let values = [5.0, 1.0, 5.1, 4.9, 9.9, 5.0];
        let places = spread(&values, 1.0, 0.0, 10.0);
        let mut sorted = places.clone();
        sorted.sort_by(f64::total_cmp);
        assert!(sorted.windows(2).all(|pair| pair[1] - pair[0] >= 1.0 - 1e-9), "{places:?}");
        assert_eq!(places[1], 1.0);
        assert_eq!(places[4], 9.9);
        assert!(places[3] < places[0] && places[0] < places[2]);
        assert!(sorted[0] >= 0.0 && sorted[5] <= 10.0);
        assert!(spread(&[], 1.0, 0.0, 1.0).is_empty());
    }

    #[test]
    fn texts_stay_inside() {
        let places = spread(&[9.8, 9.9, 10.0], 1.0, 0.0, 10.0);
        assert_eq!(places, [8.0, 9.0, 10.0]);
        let places = spread(&[0.0, 0.0], 1.0, 0.0, 10.0);
        assert_eq!(places, [0.0, 1.0]);
    }
}
