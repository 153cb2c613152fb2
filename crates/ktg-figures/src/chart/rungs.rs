//! What successive halving kept and stopped.

use super::axis::Axis;
use super::drawable;
use super::plot::{Plot, empty_plots, next_area, ticks_width};
use crate::palette::{COMPLETE, INK, PRUNED, SOFT_INK};
use crate::svg::{Anchor, Key, MARGIN, SMALL, Sheet, Stroke, Type, WIDTH, counted, number};

/// The rungs of a study.
#[derive(Debug, Clone, Default)]
pub struct Rungs {
    /// Above the chart, may be empty.
    pub title: String,
    /// The objective and its unit, such as "ensemble accuracy in %".
    pub y_title: String,
    /// From the first to the last.
    pub rungs: Vec<Rung>,
}

/// The trials that reached one rung, by their values there.
#[derive(Debug, Clone, Default)]
pub struct Rung {
    /// Epochs at which trials are compared.
    pub epochs: u64,
    /// Of those that went on from here, or finished.
    pub kept: Vec<f64>,
    /// Of those that were stopped here.
    pub stopped: Vec<f64>,
}

/// So many dots of a kind at most; of more, an even choice is shown.
const MOST_DOTS: usize = 200;

/// Draws the values at each rung, and below how many trials reached it.
pub fn rungs(figure: &Rungs) -> String {
    let mut sheet = Sheet::new(WIDTH, &figure.title, "Rungs of a search");
    let rungs: Vec<Rung> = figure.rungs.iter().map(cleaned).collect();
    let all = || rungs.iter().flat_map(|rung| rung.kept.iter().chain(&rung.stopped)).copied();
    let names = rungs.iter().map(|rung| number(rung.epochs as f64, 0)).collect();
    // Room for the number above the highest bar.
    let counts = figure.rungs.iter().map(|rung| 1.2 * (rung.kept.len() + rung.stopped.len()) as f64);
    let below_x = Axis::named(names, "epochs trained when compared");
    let x = Axis::bare(below_x.from, below_x.to);
    let y = Axis::rounded(all(), &figure.y_title, 5);
    let below_y = Axis::from_zero(counts, "trials that got there", 2);
    let keys = [
        (Key::Dot(COMPLETE), "went on or finished".to_owned()),
        (Key::Dot(PRUNED), "stopped here".to_owned()),
        (Key::Line(Stroke::new(INK, 2.4)), "median".to_owned()),
        (Key::Frame(SOFT_INK), "middle half".to_owned()),
    ];
    sheet.legend("", &keys);
    let left = MARGIN + ticks_width(&y).max(ticks_width(&below_y));
    let sides = (left, WIDTH - MARGIN - 6.0);
    let area = next_area(&mut sheet, &x, sides, 34.0, 230.0);
    let below = next_area(&mut sheet, &below_x, sides, 48.0, 80.0);
    if figure.rungs.iter().all(|rung| rung.kept.is_empty() && rung.stopped.is_empty()) {
        return empty_plots(sheet, &[area, below], "No trial has reached a rung yet.");
    }
    if rungs.iter().any(|rung| rung.kept.len().max(rung.stopped.len()) > MOST_DOTS) {
        let text = format!("of many, {MOST_DOTS} evenly chosen dots");
        sheet.text(area.x1, area.y0 - 21.0, Type::new(SMALL, SOFT_INK).anchored(Anchor::End), &text);
    }
    // Points in a column are spread over this share of it.
    let wide = (60.0 * x.span() / area.width()).min(0.62);
    let mut values = Plot::new(&mut sheet, area, &x, &y);
    for (i, rung) in rungs.iter().enumerate() {
        draw_values(&mut values, i as f64, rung, wide / 2.0);
    }
    let mut counts = Plot::new(&mut sheet, below, &below_x, &below_y);
    // Who has no place on the axis of values got there all the same.
    for (i, rung) in figure.rungs.iter().enumerate() {
        draw_count(&mut counts, i as f64, rung, wide / 2.0);
    }
    sheet.finish()
}

/// Values that can be drawn, in ascending order.
fn cleaned(rung: &Rung) -> Rung {
    let sorted = |values: &[f64]| {
        let mut values: Vec<f64> = values.iter().copied().filter(|value| drawable(*value)).collect();
        values.sort_by(f64::total_cmp);
        values
    };
    Rung { epochs: rung.epochs, kept: sorted(&rung.kept), stopped: sorted(&rung.stopped) }
}

fn draw_values(plot: &mut Plot, at: f64, rung: &Rung, half: f64) {
    for (values, color, side) in [(&rung.stopped, PRUNED, -0.5), (&rung.kept, COMPLETE, 0.5)] {
        let opacity = if values.len() > 60 { 0.6 } else { 0.85 };
        // The fractional parts of multiples of the golden ratio never crowd.
        let aside = |i: usize| (side + ((i as f64 * 0.618_034).fract() - 0.5) * 0.8) * half;
        let dots = chosen(values).into_iter().enumerate().map(|(i, value)| (at + aside(i), value));
        plot.dots(&dots.collect::<Vec<_>>(), 2.1, color, opacity);
    }
    let mut all: Vec<f64> = rung.kept.iter().chain(&rung.stopped).copied().collect();
    all.sort_by(f64::total_cmp);
    if let (Some(low), Some(median), Some(high)) = (quantile(&all, 0.25), quantile(&all, 0.5), quantile(&all, 0.75)) {
        if all.len() > 3 {
            plot.frame((at - half, low), (at + half, high), Stroke::new(SOFT_INK, 1.2));
        }
        plot.line(&[(at - half, median), (at + half, median)], Stroke::new(INK, 2.4));
    }
}

/// All values, or an even choice with the least and the largest.
fn chosen(sorted: &[f64]) -> Vec<f64> {
    if sorted.len() <= MOST_DOTS {
        return sorted.to_vec();
    }
    (0..MOST_DOTS).map(|i| sorted[i * (sorted.len() - 1) / (MOST_DOTS - 1)]).collect()
}

/// Interpolated between the two values next to it.
fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let at = share * sorted.len().checked_sub(1)? as f64;
    let (low, high) = (sorted.get(at.floor() as usize)?, sorted.get(at.ceil() as usize)?);
    Some(low + (high - low) * at.fract())
}

fn draw_count(plot: &mut Plot, at: f64, rung: &Rung, half: f64) {
    let (kept, stopped) = (rung.kept.len(), rung.stopped.len());
    let total = (kept + stopped) as f64;
    let style = Type::new(SMALL, INK).anchored(Anchor::Middle);
    let tip = |count: usize, what: &str| format!("{} {what}", counted(count, "trial"));
    if kept > 0 {
        plot.bar((at - half, 0.0), (at + half, kept as f64), COMPLETE, 0.9, &tip(kept, "kept"));
    }
    if stopped > 0 {
        plot.bar((at - half, kept as f64), (at + half, total), PRUNED, 0.8, &tip(stopped, "stopped"));
    }
    plot.text((at, total), (0.0, -10.0), style, &number(total, 0));
}
