//! Whether a network's confidence can be trusted.

use super::axis::Axis;
use super::drawable;
use super::plot::{Plot, empty_plot, ticks_height, ticks_width};
use crate::palette::{BAD, INK, SERIES, SOFT_INK};
use crate::svg::{Anchor, Area, Key, MARGIN, Sheet, Stroke, TEXT, Type, counted, number};

/// A reliability diagram.
#[derive(Debug, Clone, Default)]
pub struct Reliability {
    /// Above the chart, may be empty.
    pub title: String,
    /// In any order; empty ones may be left out.
    pub bins: Vec<Bin>,
    /// Expected calibration error, as a share of 1.
    pub ece: Option<f64>,
}

/// The images whose highest probability lies in one interval. All values are shares of 1.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bin {
    /// Where the interval starts.
    pub from: f64,
    /// Where it ends.
    pub to: f64,
    /// The number of images.
    pub count: u64,
    /// Their mean confidence.
    pub confidence: f64,
    /// The share of them that is classified correctly.
    pub accuracy: f64,
}

const SIDE: f64 = 300.0;
/// Opacity of the bars.
const BAR: f64 = 0.55;
/// Opacity of the gaps.
const GAP: f64 = 0.45;

/// Draws accuracy against confidence, the gap between them, and how many images there are of each confidence.
pub fn reliability(figure: &Reliability) -> String {
    let mut sheet = Sheet::new(400.0, &figure.title, "Reliability of confidence");
    let bins: Vec<Bin> = figure.bins.iter().copied().filter(usable).collect();
    let total: u64 = bins.iter().map(|bin| bin.count).fold(0, u64::saturating_add);
    sheet.legend(
        "",
        &[(Key::Square(SERIES[4], BAR), "accuracy".into()), (Key::Square(BAD, GAP), "gap to the confidence".into())],
    );
    let percent = |title: &str| Axis { grid: true, ..Axis::around([0.0, 100.0], title, 5) };
    let (x, y) = (percent(""), percent("accuracy in %"));
    let counts = bins.iter().map(|bin| 100.0 * bin.count as f64 / total.max(1) as f64);
    let below_y = Axis::from_zero(counts, "images in %", 2);
    let left = MARGIN + ticks_width(&y).max(ticks_width(&below_y));
    let area = Area { left, top: sheet.top + 34.0, width: SIDE, height: SIDE };
    let below_x = percent("confidence in %");
    let below = Area { left, top: area.bottom() + ticks_height(&x) + 34.0, width: SIDE, height: 70.0 };
    sheet.height = below.bottom() + ticks_height(&below_x) + MARGIN;
    if total == 0 {
        empty_plot(&mut sheet, area, "No images yet.");
        empty_plot(&mut sheet, below, "");
        return sheet.finish();
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
    sheet.text(below.right(), below.top - 21.0, style, &counted(usize::try_from(total).unwrap_or(usize::MAX), "image"));
    sheet.finish()
}

fn usable(bin: &Bin) -> bool {
    let shares = [bin.from, bin.to, bin.confidence, bin.accuracy];
    bin.count > 0 && bin.from < bin.to && shares.iter().all(|share| (0.0..=1.0).contains(share))
}

/// Left and right of the bars of a bin, in percent.
fn sides(bin: &Bin) -> (f64, f64) {
    let inset = 0.06 * (bin.to - bin.from);
    (100.0 * (bin.from + inset), 100.0 * (bin.to - inset))
}

/// The accuracy, and from there to the confidence.
fn draw_accuracy(plot: &mut Plot, bin: &Bin) {
    let (from, to) = sides(bin);
    let (accuracy, confidence) = (100.0 * bin.accuracy, 100.0 * bin.confidence);
    let tip = format!(
        "confidence {} to {} %: mean {} %, accuracy {} %, {}",
        number(100.0 * bin.from, 0),
        number(100.0 * bin.to, 0),
        number(confidence, 1),
        number(accuracy, 1),
        counted(usize::try_from(bin.count).unwrap_or(usize::MAX), "image")
    );
    plot.bar((from, 0.0), (to, accuracy), SERIES[4], BAR, &tip);
    plot.bar((from, accuracy), (to, confidence), BAD, GAP, &tip);
    plot.line(&[(from, accuracy), (to, accuracy)], Stroke::new(INK, 1.6));
}

fn draw_count(plot: &mut Plot, bin: &Bin, total: u64) {
    let (from, to) = sides(bin);
    let share = 100.0 * bin.count as f64 / total.max(1) as f64;
    let tip = counted(usize::try_from(bin.count).unwrap_or(usize::MAX), "image");
    plot.bar((from, 0.0), (to, share), SOFT_INK, 0.6, &tip);
}
