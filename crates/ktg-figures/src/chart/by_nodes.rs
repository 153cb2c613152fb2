//! Accuracy against the number of nodes.

use super::axis::Axis;
use super::plot::{Plot, empty_plots, next_area, ticks_width};
use super::{Role, drawable};
use crate::svg::{Key, MARGIN, Sheet, Stroke, WIDTH, counted, number};

/// Methods compared at several numbers of nodes.
#[derive(Debug, Clone, Default)]
pub struct ByNodes {
    /// Above the chart, may be empty.
    pub title: String,
    /// The measure and its unit, such as "ensemble accuracy in %".
    pub y_title: String,
    /// In the order of the legend.
    pub methods: Vec<Method>,
}

/// One line of [`ByNodes`].
#[derive(Debug, Clone)]
pub struct Method {
    /// In the legend.
    pub name: String,
    /// Decides the color: a method and its reference share one.
    pub role: Role,
    /// Whether the values are not ours but those to compare with: dashed, with hollow points.
    pub reference: bool,
    /// In ascending order of nodes.
    pub levels: Vec<Level>,
}

/// A method at one number of nodes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Level {
    /// The number of nodes.
    pub nodes: u32,
    /// Mean over the runs.
    pub mean: f64,
    /// Standard deviation over the runs, from two runs on.
    pub deviation: Option<f64>,
    /// How many runs.
    pub runs: usize,
}

/// Draws a line for each method with its mean and, as a bar, one standard deviation to both sides.
pub fn by_nodes(figure: &ByNodes) -> String {
    let mut sheet = Sheet::new(WIDTH, &figure.title, "Accuracy against the number of nodes");
    let levels = || figure.methods.iter().flat_map(|method| &method.levels).filter(|level| drawable(level.mean));
    let key = |method: &Method| (Key::Line(stroke(method)), method.name.clone());
    sheet.legend("", &figure.methods.iter().map(key).collect::<Vec<_>>());
    let ends = levels().flat_map(|level| {
        let deviation = deviation(level).unwrap_or(0.0);
        [level.mean - deviation, level.mean + deviation]
    });
    let y = Axis::rounded(ends, &figure.y_title, 5);
    let counts = levels().map(|level| f64::from(level.nodes));
    let mut x = Axis::whole(counts, "number of nodes", 8);
    let sides = (MARGIN + ticks_width(&y), WIDTH - MARGIN - 6.0);
    let area = next_area(&mut sheet, &x, sides, 34.0, 280.0);
    if levels().next().is_none() {
        return empty_plots(sheet, &[area], "No run is finished yet.");
    }
    // Room at both sides, as the points are moved apart a little so that their bars do not hide each other.
    let room = 0.08 * x.span();
    let apart = 9.0 * (x.span() + 2.0 * room) / area.width();
    let shift = |i: usize| (i as f64 - (figure.methods.len().max(1) - 1) as f64 / 2.0) * apart;
    let room = room.max(shift(figure.methods.len()));
    (x.from, x.to) = (x.from - room, x.to + room);
    let mut plot = Plot::new(&mut sheet, area, &x, &y);
    for (i, method) in figure.methods.iter().enumerate() {
        draw_method(&mut plot, method, shift(i), 0.4 * apart);
    }
    sheet.finish()
}

fn deviation(level: &Level) -> Option<f64> {
    level.deviation.filter(|deviation| drawable(*deviation) && *deviation > 0.0)
}

fn stroke(method: &Method) -> Stroke {
    let width = if method.role == Role::Ensemble { 2.6 } else { 1.8 };
    Stroke::new(method.role.color(), width).dashed(method.reference)
}

fn draw_method(plot: &mut Plot, method: &Method, shift: f64, half_cap: f64) {
    let levels: Vec<&Level> = method.levels.iter().filter(|level| drawable(level.mean)).collect();
    let at = |level: &Level| f64::from(level.nodes) + shift;
    let line: Vec<(f64, f64)> = levels.iter().map(|level| (at(level), level.mean)).collect();
    plot.line(&line, stroke(method));
    let color = method.role.color();
    for level in levels {
        let (x, mean) = (at(level), level.mean);
        let mut tip = format!("{}, {}: {}", method.name, counted(level.nodes as usize, "node"), number(mean, 2));
        if let Some(deviation) = deviation(level) {
            let thin = Stroke::new(color, 1.3);
            let (low, high) = (mean - deviation, mean + deviation);
            plot.line(&[(x, low), (x, high)], thin);
            for end in [low, high] {
                plot.line(&[(x - half_cap, end), (x + half_cap, end)], thin);
            }
            tip += &format!(" ± {}", number(deviation, 2));
        }
        if level.runs > 0 {
            tip += &format!(", {}", counted(level.runs, "run"));
        }
        let key = if method.reference { Key::Ring(color) } else { Key::Dot(color) };
        plot.key((x, mean), key, 4.3, &tip);
    }
}
