//! Training curves.

use super::axis::Axis;
use super::plot::{Plot, empty_plots, next_area, spread, ticks_width};
use super::{Role, drawable};
use crate::palette::SOFT_INK;
use crate::svg::{Key, MARGIN, SMALL, Sheet, Stroke, Type, WIDTH, width};

/// A measure of nodes and ensemble over the epochs.
#[derive(Debug, Clone, Default)]
pub struct Curves {
    /// Above the chart, may be empty.
    pub title: String,
    /// The measure and its unit, such as "accuracy in %".
    pub y_title: String,
    /// In the order of the legend.
    pub lines: Vec<Curve>,
    /// What solid and dashed lines mean, such as "held-out images" and "training images"; shown if both kinds appear.
    pub kinds: [String; 2],
}

/// One line of [`Curves`].
#[derive(Debug, Clone)]
pub struct Curve {
    /// Stands at the end of a solid line.
    pub name: String,
    /// Epochs with the values after them; a gap where a value cannot be drawn.
    pub points: Vec<(f64, f64)>,
    /// Decides color and width.
    pub role: Role,
    /// For the secondary measure of the same node, which gets no name of its own.
    pub dashed: bool,
}

const HEIGHT: f64 = 270.0;
const LABEL_GAP: f64 = 15.5;

/// Draws training curves: nodes thin, the ensemble thick, each with its name at its end.
pub fn curves(figure: &Curves) -> String {
    let mut sheet = Sheet::new(WIDTH, &figure.title, "Training curves");
    let points = || figure.lines.iter().flat_map(|line| &line.points).filter(|(x, y)| drawable(*x) && drawable(*y));
    let x = Axis::whole(points().map(|point| point.0), "epoch", 7);
    let y = Axis::rounded(points().map(|point| point.1), &figure.y_title, 5);
    if figure.lines.iter().any(|line| line.dashed) && figure.lines.iter().any(|line| !line.dashed) {
        let key = |dashed| Key::Line(Stroke::new(SOFT_INK, 1.6).dashed(dashed));
        let [solid, dashed] = figure.kinds.clone();
        sheet.legend("", &[(key(false), solid), (key(true), dashed)]);
    }
    let names = named(figure);
    let widest = names.iter().map(|(line, _)| width(&line.name, SMALL, bold(line.role))).fold(0.0, f64::max);
    let names_width = widest.min(150.0);
    let right = sheet.width - MARGIN - if names.is_empty() { 10.0 } else { names_width + 10.0 };
    let area = next_area(&mut sheet, &x, (MARGIN + ticks_width(&y), right), 34.0, HEIGHT);
    if points().next().is_none() {
        return empty_plots(sheet, &[area], "No epoch is finished yet.");
    }
    let mut plot = Plot::new(&mut sheet, area, &x, &y);
    // The ensemble comes last, above the nodes.
    for ensemble in [false, true] {
        for line in figure.lines.iter().filter(|line| (line.role == Role::Ensemble) == ensemble) {
            let segments = line.points.split(|(x, y)| !drawable(*x) || !drawable(*y));
            segments.for_each(|points| draw_segment(&mut plot, line, points));
        }
    }
    let gap = LABEL_GAP * y.span() / HEIGHT;
    let ends: Vec<f64> = names.iter().map(|(_, end)| *end).collect();
    for ((line, _), at) in names.iter().zip(spread(&ends, gap, y.from, y.to)) {
        let style = Type { bold: bold(line.role), ..Type::new(SMALL, line.role.color()) };
        plot.text((x.to, at), (9.0, 0.0), style.within(names_width), &line.name);
    }
    sheet.finish()
}

fn bold(role: Role) -> bool {
    role == Role::Ensemble
}

/// The lines that get a name, with their last values: as many as have room, the ensemble in any case.
fn named(figure: &Curves) -> Vec<(&Curve, f64)> {
    let last = |line: &Curve| line.points.iter().rev().find(|(x, y)| drawable(*x) && drawable(*y)).map(|point| point.1);
    let solid = figure.lines.iter().filter(|line| !line.dashed);
    let mut named: Vec<(&Curve, f64)> = solid.filter_map(|line| Some((line, last(line)?))).collect();
    named.sort_by_key(|(line, _)| line.role != Role::Ensemble);
    named.truncate((HEIGHT / LABEL_GAP) as usize);
    named
}

/// Draws points between two gaps.
fn draw_segment(plot: &mut Plot, line: &Curve, points: &[(f64, f64)]) {
    let color = line.role.color();
    let (thick, radius) = if line.role == Role::Ensemble { (2.8, 4.0) } else { (1.5, 3.0) };
    match points {
        [point] => plot.key(*point, if line.dashed { Key::Ring(color) } else { Key::Dot(color) }, radius, ""),
        _ if line.dashed => plot.line(points, Stroke { opacity: 0.75, ..Stroke::new(color, thick * 0.8).dashed(true) }),
        _ => plot.line(points, Stroke::new(color, thick)),
    }
}
