//! Estimates with their confidence intervals.

use super::axis::Axis;
use super::drawable;
use super::plot::{Mark, empty_plot, plot, ticks_height};
use crate::Error;
use crate::palette::{AXIS, BAD, GOOD, GRID, INK, SOFT_INK, UNCLEAR};
use crate::svg::{Anchor, Area, Key, MARGIN, SMALL, Sheet, Stroke, Type, WIDTH, shortened, width};

/// Estimated effects, such as what each edge contributes.
#[derive(Debug, Clone, Default)]
pub struct Forest {
    /// Above the chart, may be empty.
    pub title: String,
    /// The effect and its unit, below the plot.
    pub x_title: String,
    /// What effects below and above zero mean, such as "worse" and "better"; may be empty.
    pub sides: [String; 2],
    /// Above the column of texts, may be empty.
    pub heading: String,
    /// From top to bottom.
    pub rows: Vec<Effect>,
}

/// One row of [`Forest`].
#[derive(Debug, Clone, Default)]
pub struct Effect {
    /// Left of the plot.
    pub name: String,
    /// The estimate; the row stays empty if it cannot be drawn.
    pub estimate: f64,
    /// Its confidence interval, if there is one.
    pub interval: Option<(f64, f64)>,
    /// In the column right of the plot, such as "+0.8 (p = 0.01)".
    pub text: String,
}

/// Draws the effects around a line at zero. Only those whose interval excludes zero are colored.
pub fn forest(figure: &Forest) -> Result<String, Error> {
    const PITCH: f64 = 25.0;
    let mut sheet = Sheet::new(WIDTH, &figure.title, "Estimates with confidence intervals");
    let drawn = || figure.rows.iter().filter(|row| drawable(row.estimate));
    let ends = drawn().flat_map(|row| {
        let (low, high) = interval(row).unwrap_or((row.estimate, row.estimate));
        [row.estimate, low, high]
    });
    let x = Axis::from_zero(ends, &figure.x_title, 5);
    let names = figure.rows.iter().map(|row| width(&row.name, SMALL, false)).fold(0.0, f64::max).min(240.0);
    let texts = figure.rows.iter().map(|row| width(&row.text, SMALL, false));
    let texts = texts.chain([width(&figure.heading, SMALL, true)]).fold(0.0, f64::max).min(160.0);
    let left = MARGIN + names + 14.0;
    let right = WIDTH - MARGIN - if texts > 0.0 { texts + 14.0 } else { 12.0 };
    let headed = !figure.heading.is_empty() || figure.sides.iter().any(|side| !side.is_empty());
    let top = sheet.top + if headed { 22.0 } else { 6.0 };
    let rows = figure.rows.len();
    let area = Area { left, top, width: right - left, height: PITCH * rows.max(3) as f64 };
    sheet.height = area.bottom() + ticks_height(&x) + MARGIN;
    if drawn().next().is_none() {
        empty_plot(&mut sheet, area, "No estimates yet.");
        return Ok(sheet.finish());
    }
    let y = Axis::bare(0.0, rows.max(3) as f64);
    let mut marks = vec![Mark::line(vec![(0.0, 0.0), (0.0, y.to)], Stroke::new(AXIS, 1.2))];
    for (i, row) in figure.rows.iter().enumerate() {
        let at = y.to - i as f64 - 0.5;
        let name = shortened(&row.name, SMALL, false, names);
        let text = shortened(&row.text, SMALL, false, texts);
        marks.push(Mark::text((x.from, at), (-14.0, 0.0), Type::new(SMALL, INK).anchored(Anchor::End), name));
        marks.push(Mark::text((x.to, at), (14.0, 0.0), Type::new(SMALL, SOFT_INK), text));
        if i > 0 {
            marks.push(Mark::line(vec![(x.from, at + 0.5), (x.to, at + 0.5)], Stroke::new(GRID, 0.6)));
        }
        marks.extend(one(row, at));
    }
    let [below, above] = &figure.sides;
    let zero = area.left + (0.0 - x.from) / x.span() * area.width;
    let side = Type::new(SMALL, SOFT_INK);
    let y_text = area.top - 11.0;
    if !below.is_empty() && zero - area.left > 30.0 {
        let text = shortened(&format!("← {below}"), SMALL, false, zero - area.left);
        sheet.text(zero - 8.0, y_text, side.anchored(Anchor::End), &text);
    }
    if !above.is_empty() && area.right() - zero > 30.0 {
        let text = shortened(&format!("{above} →"), SMALL, false, area.right() - zero);
        sheet.text(zero + 8.0, y_text, side, &text);
    }
    let heading = shortened(&figure.heading, SMALL, true, texts);
    sheet.text(area.right() + 14.0, y_text, side.bold(), &heading);
    plot(&mut sheet, area, &x, &y, &marks)?;
    Ok(sheet.finish())
}

fn interval(row: &Effect) -> Option<(f64, f64)> {
    row.interval.filter(|(low, high)| drawable(*low) && drawable(*high) && low <= high)
}

fn one(row: &Effect, at: f64) -> Vec<Mark> {
    if !drawable(row.estimate) {
        return Vec::new();
    }
    let color = match interval(row) {
        Some((low, _)) if low > 0.0 => GOOD,
        Some((_, high)) if high < 0.0 => BAD,
        _ => UNCLEAR,
    };
    let mut marks = Vec::new();
    if let Some((low, high)) = interval(row) {
        marks.push(Mark::line(vec![(low, at), (high, at)], Stroke::new(color, 2.0)));
    }
    let tip = format!("{}: {}", row.name, row.text);
    marks.push(Mark::sign((row.estimate, at), Key::Dot(color), 5.0, tip));
    marks
}
