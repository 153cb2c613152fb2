//! Horizontal bars.

use super::axis::Axis;
use super::plot::{Mark, empty_plot, plot, ticks_height};
use super::{Role, drawable};
use crate::Error;
use crate::palette::{AXIS, INK, SOFT_INK};
use crate::svg::{Anchor, Area, Key, MARGIN, SMALL, Sheet, Stroke, TEXT, Type, WIDTH, shortened, width};

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
    /// A confidence interval.
    pub interval: Option<(f64, f64)>,
    /// At its end, such as "0.32" or "p = 0.01".
    pub note: String,
}

/// Lets the lines of intervals show on the bars.
const OPACITY: f64 = 0.6;

/// Draws horizontal bars from zero.
pub fn bars(figure: &Bars) -> Result<String, Error> {
    let mut sheet = Sheet::new(WIDTH, &figure.title, "Bars");
    let several = figure.kinds.len() > 1;
    if several {
        let key = |(i, name): (usize, &String)| (Key::Square(Role::Series(i).color(), OPACITY), name.clone());
        let keys: Vec<(Key, String)> = figure.kinds.iter().enumerate().map(key).collect();
        sheet.legend("", &keys);
    }
    let kinds = figure.rows.iter().map(|row| row.bars.len()).fold(figure.kinds.len(), usize::max).max(1);
    let drawn = || figure.rows.iter().flat_map(|row| &row.bars).flatten().filter(|bar| drawable(bar.value));
    let ends = drawn().flat_map(|bar| {
        let (low, high) = interval(bar).unwrap_or((bar.value, bar.value));
        [bar.value, low, high]
    });
    let x = Axis::from_zero(ends, &figure.x_title, 5);
    let names = figure.rows.iter().map(|row| width(&row.name, TEXT, false)).fold(0.0, f64::max).min(220.0);
    let notes = drawn().map(|bar| width(&bar.note, SMALL, false)).fold(0.0, f64::max).min(130.0);
    let left = MARGIN + names + 10.0;
    // A bar, its notes and the distance to the next row.
    let thick = if kinds > 1 { 13.0 } else { 16.0 };
    let pitch = kinds as f64 * thick + 12.0;
    let rows = figure.rows.len();
    let area = Area {
        left,
        top: sheet.top + 6.0,
        width: WIDTH - MARGIN - notes - if notes > 0.0 { 10.0 } else { 14.0 } - left,
        height: pitch * rows.max(3) as f64,
    };
    sheet.height = area.bottom() + ticks_height(&x) + MARGIN;
    if drawn().next().is_none() {
        empty_plot(&mut sheet, area, "No values yet.");
        return Ok(sheet.finish());
    }
    let y = Axis::bare(0.0, rows.max(3) as f64 * pitch);
    let mut marks = vec![];
    for (i, row) in figure.rows.iter().enumerate() {
        let top = y.to - i as f64 * pitch;
        let name = shortened(&row.name, TEXT, false, names);
        let style = Type::new(TEXT, INK).anchored(Anchor::End);
        marks.push(Mark::text((x.from, top - pitch / 2.0), (-10.0, 0.0), style, name));
        for (kind, bar) in row.bars.iter().enumerate() {
            let Some(bar) = bar.as_ref().filter(|bar| drawable(bar.value)) else { continue };
            let middle = top - 6.0 - (kind as f64 + 0.5) * thick;
            marks.extend(one(bar, middle, thick, kind, &row.name));
        }
    }
    marks.push(Mark::line(vec![(0.0, 0.0), (0.0, y.to)], Stroke::new(AXIS, 1.0)));
    plot(&mut sheet, area, &x, &y, &marks)?;
    Ok(sheet.finish())
}

fn interval(bar: &Bar) -> Option<(f64, f64)> {
    bar.interval.filter(|(low, high)| drawable(*low) && drawable(*high) && low <= high)
}

fn one(bar: &Bar, middle: f64, thick: f64, kind: usize, name: &str) -> Vec<Mark> {
    let half = thick / 2.0 - 1.0;
    let tip = if bar.note.is_empty() { name.to_owned() } else { format!("{name}: {}", bar.note) };
    let color = Role::Series(kind).color();
    let mut marks = vec![Mark::bar((0.0, middle - half), (bar.value, middle + half), color, OPACITY, tip)];
    let mut end = bar.value.max(0.0);
    if let Some((low, high)) = interval(bar) {
        end = end.max(high);
        let stroke = Stroke::new(INK, 1.3);
        let cap = |at: f64| Mark::line(vec![(at, middle - 3.0), (at, middle + 3.0)], stroke);
        marks.extend([Mark::line(vec![(low, middle), (high, middle)], stroke), cap(low), cap(high)]);
    }
    let note = shortened(&bar.note, SMALL, false, 130.0);
    marks.push(Mark::text((end, middle), (6.0, 0.0), Type::new(SMALL, SOFT_INK).halo(), note));
    marks
}
