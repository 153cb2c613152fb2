//! Estimates with their confidence intervals.

use kurbo::Rect;

use super::axis::Axis;
use super::drawable;
use super::plot::{Plot, empty_plots, next_area};
use crate::palette::{AXIS, BAD, GOOD, GRID, INK, SOFT_INK, UNCLEAR};
use crate::svg::{Anchor, Key, MARGIN, SMALL, Sheet, Stroke, Type, WIDTH, widest, width};

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
pub fn forest(figure: &Forest) -> String {
    const PITCH: f64 = 25.0;
    let mut sheet = Sheet::new(WIDTH, &figure.title, "Estimates with confidence intervals");
    let drawn = || figure.rows.iter().filter(|row| drawable(row.estimate));
    let ends = drawn().flat_map(|row| {
        let (low, high) = interval(row).unwrap_or((row.estimate, row.estimate));
        [row.estimate, low, high]
    });
    let x = Axis::from_zero(ends, &figure.x_title, 5);
    let names = widest(figure.rows.iter().map(|row| &row.name), SMALL, false).min(240.0);
    let texts = widest(figure.rows.iter().map(|row| &row.text), SMALL, false);
    let texts = texts.max(width(&figure.heading, SMALL, true)).min(160.0);
    let left = MARGIN + names + 14.0;
    let right = WIDTH - MARGIN - if texts > 0.0 { texts + 14.0 } else { 12.0 };
    let headed = !figure.heading.is_empty() || figure.sides.iter().any(|side| !side.is_empty());
    let y = Axis::bare(0.0, figure.rows.len().max(3) as f64);
    let area = next_area(&mut sheet, &x, (left, right), if headed { 22.0 } else { 6.0 }, PITCH * y.to);
    if drawn().next().is_none() {
        return empty_plots(sheet, &[area], "No estimates yet.");
    }
    side_texts(&mut sheet, figure, area, area.x0 + x.share(0.0) * area.width(), texts);
    let mut plot = Plot::new(&mut sheet, area, &x, &y);
    plot.line(&[(0.0, 0.0), (0.0, y.to)], Stroke::new(AXIS, 1.2));
    for (i, row) in figure.rows.iter().enumerate() {
        let at = y.to - i as f64 - 0.5;
        let name_style = Type::new(SMALL, INK).anchored(Anchor::End).within(names);
        plot.text((x.from, at), (-14.0, 0.0), name_style, &row.name);
        plot.text((x.to, at), (14.0, 0.0), Type::new(SMALL, SOFT_INK).within(texts), &row.text);
        if i > 0 {
            plot.line(&[(x.from, at + 0.5), (x.to, at + 0.5)], Stroke::new(GRID, 0.6));
        }
        draw_effect(&mut plot, row, at);
    }
    sheet.finish()
}

/// What the two sides of zero mean, and the heading of the texts.
fn side_texts(sheet: &mut Sheet, figure: &Forest, area: Rect, zero: f64, texts: f64) {
    let [below, above] = &figure.sides;
    let side = Type::new(SMALL, SOFT_INK);
    let y_text = area.y0 - 11.0;
    if !below.is_empty() && zero - area.x0 > 30.0 {
        let style = side.anchored(Anchor::End).within(zero - area.x0);
        sheet.text(zero - 8.0, y_text, style, &format!("← {below}"));
    }
    if !above.is_empty() && area.x1 - zero > 30.0 {
        sheet.text(zero + 8.0, y_text, side.within(area.x1 - zero), &format!("{above} →"));
    }
    sheet.text(area.x1 + 14.0, y_text, side.bold().within(texts), &figure.heading);
}

fn interval(row: &Effect) -> Option<(f64, f64)> {
    row.interval.filter(|(low, high)| drawable(*low) && drawable(*high) && low <= high)
}

fn draw_effect(plot: &mut Plot, row: &Effect, at: f64) {
    if !drawable(row.estimate) {
        return;
    }
    let color = match interval(row) {
        Some((low, _)) if low > 0.0 => GOOD,
        Some((_, high)) if high < 0.0 => BAD,
        _ => UNCLEAR,
    };
    if let Some((low, high)) = interval(row) {
        plot.line(&[(low, at), (high, at)], Stroke::new(color, 2.0));
    }
    plot.key((row.estimate, at), Key::Dot(color), 5.0, &format!("{}: {}", row.name, row.text));
}
