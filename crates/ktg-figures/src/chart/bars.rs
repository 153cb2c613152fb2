//! Horizontal bars.

use super::axis::Axis;
use super::plot::{Plot, empty_plots, next_area};
use super::{Role, drawable};
use crate::palette::{AXIS, INK, SOFT_INK};
use crate::svg::{Anchor, Key, MARGIN, SMALL, Sheet, Stroke, TEXT, Type, WIDTH, widest};

/// Bars with names, one or several for each name.
#[derive(Debug, Clone, Default)]
pub struct Bars {
    /// Above the chart, may be empty.
    pub title: String,
    /// The measure and its unit, below the bars.
    pub x_title: String,
    /// What the bars of a row are, in their order: several names make a legend.
    pub kinds: Vec<String>,
    /// From top to bottom.
    pub rows: Vec<BarRow>,
}

/// One row of [`Bars`].
#[derive(Debug, Clone, Default)]
pub struct BarRow {
    /// Left of the bars.
    pub name: String,
    /// One for each kind; a missing one leaves its place free.
    pub bars: Vec<Option<Bar>>,
}

/// One bar.
#[derive(Debug, Clone, Default)]
pub struct Bar {
    /// Its length.
    pub value: f64,
    /// At its end, such as "0.32" or "p = 0.01".
    pub note: String,
}

const OPACITY: f64 = 0.6;

/// Draws horizontal bars from zero.
pub fn bars(figure: &Bars) -> String {
    let mut sheet = Sheet::new(WIDTH, &figure.title, "Bars");
    if figure.kinds.len() > 1 {
        let key = |(i, name): (usize, &String)| (Key::Square(Role::Series(i).color(), OPACITY), name.clone());
        let keys: Vec<(Key, String)> = figure.kinds.iter().enumerate().map(key).collect();
        sheet.legend("", &keys);
    }
    let kinds = figure.rows.iter().map(|row| row.bars.len()).fold(figure.kinds.len(), usize::max).max(1);
    let drawn = || figure.rows.iter().flat_map(|row| &row.bars).flatten().filter(|bar| drawable(bar.value));
    let x = Axis::from_zero(drawn().map(|bar| bar.value), &figure.x_title, 5);
    let names = widest(figure.rows.iter().map(|row| &row.name), TEXT, false).min(220.0);
    let notes = widest(drawn().map(|bar| &bar.note), SMALL, false).min(130.0);
    // A bar, its notes and the distance to the next row.
    let thick = if kinds > 1 { 13.0 } else { 16.0 };
    let pitch = kinds as f64 * thick + 12.0;
    let rows = figure.rows.len();
    let y = Axis::bare(0.0, rows.max(3) as f64 * pitch);
    let right = WIDTH - MARGIN - notes - if notes > 0.0 { 10.0 } else { 14.0 };
    let area = next_area(&mut sheet, &x, (MARGIN + names + 10.0, right), 6.0, y.to);
    if drawn().next().is_none() {
        return empty_plots(sheet, &[area], "No values yet.");
    }
    let mut plot = Plot::new(&mut sheet, area, &x, &y);
    for (i, row) in figure.rows.iter().enumerate() {
        let top = y.to - i as f64 * pitch;
        let style = Type::new(TEXT, INK).anchored(Anchor::End).within(names);
        plot.text((x.from, top - pitch / 2.0), (-10.0, 0.0), style, &row.name);
        for (kind, bar) in row.bars.iter().enumerate() {
            let Some(bar) = bar.as_ref().filter(|bar| drawable(bar.value)) else { continue };
            let middle = top - 6.0 - (kind as f64 + 0.5) * thick;
            draw_bar(&mut plot, bar, middle, thick / 2.0 - 1.0, kind, &row.name);
        }
    }
    plot.line(&[(0.0, 0.0), (0.0, y.to)], Stroke::new(AXIS, 1.0));
    sheet.finish()
}

fn draw_bar(plot: &mut Plot, bar: &Bar, middle: f64, half: f64, kind: usize, name: &str) {
    let tip = if bar.note.is_empty() { name.to_owned() } else { format!("{name}: {}", bar.note) };
    plot.bar((0.0, middle - half), (bar.value, middle + half), Role::Series(kind).color(), OPACITY, &tip);
    let style = Type::new(SMALL, SOFT_INK).halo().within(130.0);
    plot.text((bar.value.max(0.0), middle), (6.0, 0.0), style, &bar.note);
}
