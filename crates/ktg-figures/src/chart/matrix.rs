//! Measures between all pairs, of nodes or of classes.

use kurbo::Rect;

use super::drawable;
use crate::palette::{GRID, HEAT, INK, SOFT_INK, heat};
use crate::svg::{Anchor, MARGIN, SMALL, Sheet, Stroke, TEXT, Type, WIDTH, number, shortened, widest, width};

/// A measure for each pair, such as how often two nodes disagree, or one class is taken for another.
#[derive(Debug, Clone, Default)]
pub struct Matrix {
    /// Above the chart, may be empty.
    pub title: String,
    /// For both sides.
    pub names: Vec<String>,
    /// Row by row; cells without a value stay empty.
    pub values: Vec<Vec<Option<f64>>>,
    /// The values of the lightest and the darkest color: the same for matrices that are compared.
    pub range: (f64, f64),
    /// Of the values in the cells.
    pub decimals: usize,
    /// The measure and its unit, below the chart.
    pub measure: String,
    /// As wide as a column, for many names; otherwise narrow enough to stand beside another.
    pub wide: bool,
    /// Leaves the number out of cells in which it is 0: where most are, the others stand out.
    pub hides_zeros: bool,
}

/// Draws a heat map with the value in each cell.
pub fn matrix(figure: &Matrix) -> String {
    const NARROW: f64 = 340.0;
    let (sheet_width, names_limit) = if figure.wide { (WIDTH, 160.0) } else { (NARROW, 110.0) };
    let nodes = figure.names.len();
    let mut sheet = Sheet::new(sheet_width, &figure.title, "A measure between pairs");
    let longest = widest(&figure.names, SMALL, false);
    let names_width = longest.min(names_limit);
    let left = MARGIN + names_width + 8.0;
    let side = ((sheet_width - MARGIN - left) / nodes.max(1) as f64).min(92.0);
    let upright = longest > side - 4.0;
    let top = sheet.top + if upright { names_width + 8.0 } else { SMALL + 10.0 };
    let name_style = Type::new(SMALL, INK).within(names_width);
    for (i, name) in figure.names.iter().enumerate() {
        let middle = (i as f64 + 0.5) * side;
        sheet.text(left - 8.0, top + middle, name_style.anchored(Anchor::End), name);
        if upright {
            let (x, y) = (left + middle, top - 7.0);
            sheet.begin_group(&format!("rotate(-90 {x:.2} {y:.2})"), "");
            sheet.text(x, y, name_style, name);
            sheet.end_group();
        } else {
            sheet.text(left + middle, top - 11.0, name_style.anchored(Anchor::Middle), name);
        }
    }
    for row in 0..nodes {
        for column in 0..nodes {
            let value = figure.values.get(row).and_then(|values| values.get(column).copied().flatten());
            let value = value.filter(|value| drawable(*value));
            let (x, y) = (left + column as f64 * side, top + row as f64 * side);
            let area = Rect::new(x, y, x + side, y + side).inflate(-0.75, -0.75);
            cell(&mut sheet, area, value, figure, &format!("{}, {}", figure.names[row], figure.names[column]));
        }
    }
    sheet.top = top + nodes as f64 * side + 12.0;
    if nodes == 0 {
        sheet.note("Nothing to compare.");
    } else {
        scale(&mut sheet, left, figure);
    }
    sheet.height = sheet.top + MARGIN;
    sheet.finish()
}

fn cell(sheet: &mut Sheet, area: Rect, value: Option<f64>, figure: &Matrix, pair: &str) {
    let middle = area.center();
    let Some(value) = value else {
        sheet.frame(area, Stroke::new(GRID, 1.0));
        sheet.text(middle.x, middle.y, Type::new(SMALL, SOFT_INK).anchored(Anchor::Middle), "–");
        return;
    };
    let (low, high) = figure.range;
    let share = if high > low { (value - low) / (high - low) } else { 0.5 };
    let (fill, ink) = heat(share);
    let text = number(value, figure.decimals.min(6));
    sheet.rectangle(area, fill, 1.0, &format!("{pair}: {text}"));
    // As large as fits; in tiny cells the color must do.
    let size = (SMALL * (area.width() - 4.0) / width(&text, SMALL, false)).min(TEXT);
    if size >= 6.0 && !(figure.hides_zeros && value == 0.0) {
        sheet.text(middle.x, middle.y, Type::new(size, ink).anchored(Anchor::Middle), &text);
    }
}

/// The colors with their ends' values and the measure.
fn scale(sheet: &mut Sheet, left: f64, figure: &Matrix) {
    const STEP: f64 = 14.0;
    let (low, high) = figure.range;
    let text = |value: f64| {
        let value = drawable(value).then(|| number(value, figure.decimals.min(6)));
        shortened(&value.unwrap_or_default(), SMALL, false, 60.0)
    };
    let (low, high) = (text(low), text(high));
    let style = Type::new(SMALL, SOFT_INK);
    let y = sheet.top + 5.0;
    let needed = width(&low, SMALL, false) + HEAT.len() as f64 * STEP + width(&high, SMALL, false) + 12.0;
    let left = left.min(sheet.width - MARGIN - needed);
    let start = left + width(&low, SMALL, false) + 6.0;
    sheet.text(left, y, style, &low);
    for (i, color) in HEAT.into_iter().enumerate() {
        let x = start + i as f64 * STEP;
        sheet.rectangle(Rect::new(x, y - 5.0, x + STEP, y + 5.0), color, 1.0, "");
    }
    sheet.text(start + HEAT.len() as f64 * STEP + 6.0, y, style, &high);
    sheet.top += 18.0;
    sheet.note(&figure.measure);
}
