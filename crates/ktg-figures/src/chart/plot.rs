//! A plot: two axes and marks between them.

use kurbo::Rect;

use super::axis::Axis;
use crate::palette::{AXIS, GRID, SOFT_INK};
use crate::svg::{Anchor, Key, MARGIN, Sheet, Stroke, TEXT, Type, widest};

/// Space between an axis and its texts.
const GAP: f64 = 8.0;

/// The area between two axes, on which marks are placed in the units of the axes.
pub(super) struct Plot<'a> {
    sheet: &'a mut Sheet,
    area: Rect,
    x: &'a Axis,
    y: &'a Axis,
}

impl<'a> Plot<'a> {
    /// Draws the axes. The area is that between them; the caller leaves room for texts left of and below it.
    ///
    /// The title of the vertical axis stands above the plot, where it is read without turning the head.
    pub fn new(sheet: &'a mut Sheet, area: Rect, x: &'a Axis, y: &'a Axis) -> Self {
        let mut plot = Self { sheet, area, x, y };
        plot.titles();
        plot.grid();
        plot.ticks();
        plot
    }

    fn titles(&mut self) {
        let (sheet, area) = (&mut *self.sheet, self.area);
        let style = Type::new(TEXT, SOFT_INK);
        sheet.text(MARGIN, area.y0 - 21.0, style.within(sheet.width - 2.0 * MARGIN), &self.y.title);
        let middle = area.center().x;
        let room = 2.0 * (middle.min(sheet.width - middle) - 4.0);
        let below = area.y1 + ticks_height(self.x) - TEXT / 2.0;
        sheet.text(middle, below, style.anchored(Anchor::Middle).within(room), &self.x.title);
    }

    fn grid(&mut self) {
        let (x, y) = (self.x, self.y);
        let stroke = Stroke::new(GRID, 1.0);
        for (value, _) in x.ticks.iter().filter(|_| x.grid) {
            self.line(&[(*value, y.from), (*value, y.to)], stroke);
        }
        for (value, _) in y.ticks.iter().filter(|_| y.grid) {
            self.line(&[(x.from, *value), (x.to, *value)], stroke);
        }
    }

    fn ticks(&mut self) {
        let (x, y) = (self.x, self.y);
        let style = Type::new(TEXT, SOFT_INK);
        for (value, text) in &y.ticks {
            self.text((x.from, *value), (-GAP, 0.0), style.anchored(Anchor::End), text);
        }
        let stroke = Stroke::new(AXIS, 1.0);
        self.line(&[(x.from, y.from), (x.to, y.from)], stroke);
        for (value, text) in &x.ticks {
            let (left, top) = self.place((*value, y.from));
            self.sheet.line(&[(left, top), (left, top + GAP / 2.0)], stroke);
            self.text((*value, y.from), (0.0, GAP + TEXT / 2.0), style.anchored(Anchor::Middle), text);
        }
    }

    /// Where values are on the sheet.
    fn place(&self, (x, y): (f64, f64)) -> (f64, f64) {
        let area = self.area;
        (area.x0 + self.x.share(x) * area.width(), area.y1 - self.y.share(y) * area.height())
    }

    fn places(&self, points: &[(f64, f64)]) -> Vec<(f64, f64)> {
        points.iter().map(|point| self.place(*point)).collect()
    }

    pub fn line(&mut self, points: &[(f64, f64)], stroke: Stroke) {
        self.sheet.line(&self.places(points), stroke);
    }

    pub fn dots(&mut self, points: &[(f64, f64)], radius: f64, color: &str, opacity: f64) {
        self.sheet.dots(&self.places(points), radius, color, opacity);
    }

    /// A dot, ring or cross, with a text that shows when pointed at.
    pub fn key(&mut self, at: (f64, f64), key: Key, radius: f64, tip: &str) {
        self.sheet.key(key, self.place(at), radius, tip);
    }

    /// A filled rectangle between two corners, thick enough to be seen.
    pub fn bar(&mut self, from: (f64, f64), to: (f64, f64), fill: &str, opacity: f64, tip: &str) {
        self.sheet.rectangle(self.between(from, to), fill, opacity, tip);
    }

    /// The outline of a rectangle between two corners.
    pub fn frame(&mut self, from: (f64, f64), to: (f64, f64), stroke: Stroke) {
        self.sheet.frame(self.between(from, to), stroke);
    }

    fn between(&self, from: (f64, f64), to: (f64, f64)) -> Rect {
        let area = Rect::from_points(self.place(from), self.place(to));
        area.with_size((area.width().max(0.8), area.height().max(0.8)))
    }

    /// A text at a point, moved on the sheet by so much.
    pub fn text(&mut self, at: (f64, f64), (dx, dy): (f64, f64), style: Type, text: &str) {
        let (x, y) = self.place(at);
        self.sheet.text(x + dx, y + dy, style, text);
    }
}

/// How wide the texts at a vertical axis are, the gap included.
pub(super) fn ticks_width(axis: &Axis) -> f64 {
    let width = widest(axis.ticks.iter().map(|(_, text)| text), TEXT, false);
    if width > 0.0 { width + GAP } else { 0.0 }
}

/// How far the texts and the title of a horizontal axis reach below it.
fn ticks_height(axis: &Axis) -> f64 {
    let ticks = if axis.ticks.is_empty() { 0.0 } else { GAP + TEXT };
    if axis.title.is_empty() { ticks + 4.0 } else { ticks + GAP + TEXT + 2.0 }
}

/// The next area of a plot, `gap` below what is there; the sheet becomes as high as the texts below it need.
pub(super) fn next_area(sheet: &mut Sheet, x: &Axis, (left, right): (f64, f64), gap: f64, height: f64) -> Rect {
    let top = sheet.top + gap;
    sheet.top = top + height + ticks_height(x);
    sheet.height = sheet.top + MARGIN;
    Rect::new(left, top, right, top + height)
}

/// The finished sheet with plots for which there is no value yet, and words about that in the first of them.
pub(super) fn empty_plots(mut sheet: Sheet, areas: &[Rect], words: &str) -> String {
    for (i, area) in areas.iter().enumerate() {
        sheet.frame(*area, Stroke::new(GRID, 1.0));
        let style = Type::new(TEXT, SOFT_INK).anchored(Anchor::Middle).within(area.width() - 2.0 * MARGIN);
        sheet.text(area.center().x, area.center().y, style, if i == 0 { words } else { "" });
    }
    sheet.finish()
}

/// Where texts go so that they stand at their values, in ascending order, as nearly as a gap between them allows.
pub(super) fn spread(values: &[f64], gap: f64, from: f64, to: f64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    // Texts that only ever give way upwards, and texts that only ever give way downwards: the means of both keep the gap.
    let mut places = vec![0.0; values.len()];
    let mut lowest = from;
    for (below, index) in order.iter().enumerate() {
        let room_above = (values.len() - 1 - below) as f64 * gap;
        let place = values[*index].min(to - room_above).max(lowest);
        places[*index] += place / 2.0;
        lowest = place + gap;
    }
    let mut highest = to;
    for (above, index) in order.iter().rev().enumerate() {
        let room_below = (values.len() - 1 - above) as f64 * gap;
        let place = values[*index].max(from + room_below).min(highest);
        places[*index] += place / 2.0;
        highest = place - gap;
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_keep_their_distance() {
        let values = [5.0, 1.0, 5.1, 4.9, 9.9, 5.0];
        let places = spread(&values, 1.0, 0.0, 10.0);
        let mut sorted = places.clone();
        sorted.sort_by(f64::total_cmp);
        assert!(sorted.windows(2).all(|pair| pair[1] - pair[0] >= 1.0 - 1e-9), "{places:?}");
        assert_eq!(places[1], 1.0);
        assert_eq!(places[4], 9.9);
        assert!(places[3] < places[0] && places[0] < places[2]);
        assert!(sorted[0] >= 0.0 && sorted[5] <= 10.0);
        assert!(spread(&[], 1.0, 0.0, 1.0).is_empty());
    }

    #[test]
    fn texts_stay_inside() {
        let places = spread(&[9.8, 9.9, 10.0], 1.0, 0.0, 10.0);
        assert_eq!(places, [8.0, 9.0, 10.0]);
        let places = spread(&[0.0, 0.0], 1.0, 0.0, 10.0);
        assert_eq!(places, [0.0, 1.0]);
    }
}
