//! Whether a network's confidence can be trusted.

use super::axis::Axis;
use super::drawable;
use super::plot::{Plot, empty_plots, next_area, ticks_width};
use crate::palette::{BAD, INK, SERIES, SOFT_INK};
use crate::stats::ReliabilityBin;
use crate::svg::{Anchor, Key, MARGIN, Sheet, Stroke, TEXT, Type, counted, number};

/// A reliability diagram.
#[derive(Debug, Clone, Default)]
pub struct Reliability {
    /// Above the chart, may be empty.
    pub title: String,
    /// In any order; empty ones may be left out.
    pub bins: Vec<ReliabilityBin>,
    /// Expected calibration error, as a share of 1.
    pub ece: Option<f64>,
}

const SIDE: f64 = 300.0;
/// Opacity of the bars.
const BAR: f64 = 0.55;
/// Opacity of the gaps.
const GAP: f64 = 0.45;

/// Draws accuracy against confidence, the gap between them, and how many images there are of each confidence.
pub fn reliability(figure: &Reliability) -> String {
    let mut sheet = Sheet::new(400.0, &figure.title, "Reliability of confidence");
    let bins: Vec<Bin> = figure.bins.iter().filter_map(Bin::of).collect();
    let total: usize = bins.iter().map(|bin| bin.images).sum();
    let accuracy = (Key::Square(SERIES[4], BAR), "accuracy".to_owned());
    let gap = (Key::Square(BAD, GAP), "gap to the confidence".to_owned());
    sheet.legend("", &[accuracy, gap]);
    let percent = |title: &str| Axis { grid: true, ..Axis::around([0.0, 100.0], title, 5) };
    let (x, y) = (percent(""), percent("accuracy in %"));
    let counts = bins.iter().map(|bin| 100.0 * bin.images as f64 / total as f64);
    let below_y = Axis::from_zero(counts, "images in %", 2);
    let left = MARGIN + ticks_width(&y).max(ticks_width(&below_y));
    let area = next_area(&mut sheet, &x, (left, left + SIDE), 34.0, SIDE);
    let below_x = percent("confidence in %");
    let below = next_area(&mut sheet, &below_x, (left, left + SIDE), 34.0, 70.0);
    if total == 0 {
        return empty_plots(sheet, &[area, below], "No images yet.");
    }
    let mut plot = Plot::new(&mut sheet, area, &x, &y);
    bins.iter().for_each(|bin| draw_accuracy(&mut plot, bin));
    plot.line(&[(0.0, 0.0), (100.0, 100.0)], Stroke::new(SOFT_INK, 1.2).dashed(true));
    if let Some(ece) = figure.ece.filter(|ece| drawable(*ece)) {
        let style = Type::new(TEXT, INK).bold().halo();
        plot.text((0.0, 100.0), (10.0, 16.0), style, &format!("ECE {} %", number(100.0 * ece, 1)));
    }
    let mut plot = Plot::new(&mut sheet, below, &below_x, &below_y);
    bins.iter().for_each(|bin| draw_count(&mut plot, bin, total));
    let style = Type::new(TEXT, SOFT_INK).anchored(Anchor::End);
    sheet.text(below.x1, below.y0 - 21.0, style, &counted(total, "image"));
    sheet.finish()
}

/// A bin that can be drawn: it has images. All values are in percent.
struct Bin {
    from: f64,
    to: f64,
    images: usize,
    confidence: f64,
    accuracy: f64,
}

impl Bin {
    fn of(bin: &ReliabilityBin) -> Option<Bin> {
        let shares = [bin.low, bin.high, bin.confidence?, bin.accuracy?];
        let usable = bin.n > 0 && bin.low < bin.high && shares.iter().all(|share| (0.0..=1.0).contains(share));
        let [from, to, confidence, accuracy] = shares.map(|share| 100.0 * share);
        usable.then_some(Bin { from, to, images: bin.n, confidence, accuracy })
    }

    /// Left and right of its bars.
    fn sides(&self) -> (f64, f64) {
        let inset = 0.06 * (self.to - self.from);
        (self.from + inset, self.to - inset)
    }
}

/// The accuracy, and from there to the confidence.
fn draw_accuracy(plot: &mut Plot, bin: &Bin) {
    let (from, to) = bin.sides();
    let tip = format!(
        "confidence {} to {} %: mean {} %, accuracy {} %, {}",
        number(bin.from, 0),
        number(bin.to, 0),
        number(bin.confidence, 1),
        number(bin.accuracy, 1),
        counted(bin.images, "image")
    );
    plot.bar((from, 0.0), (to, bin.accuracy), SERIES[4], BAR, &tip);
    plot.bar((from, bin.accuracy), (to, bin.confidence), BAD, GAP, &tip);
    plot.line(&[(from, bin.accuracy), (to, bin.accuracy)], Stroke::new(INK, 1.6));
}

fn draw_count(plot: &mut Plot, bin: &Bin, total: usize) {
    let (from, to) = bin.sides();
    let share = 100.0 * bin.images as f64 / total as f64;
    plot.bar((from, 0.0), (to, share), SOFT_INK, 0.6, &counted(bin.images, "image"));
}
