//! Where on its edge each text goes.
//!
//! A text lies along its edge, in a gap of the line. It may be shifted along the edge: every place has a price, for
//! what it covers, and the texts take turns in choosing the cheapest place until none improves.

use kurbo::{ParamCurveArclen, Point};

use super::curve::{Strip, points};
use super::layout::{Layout, Trouble};

/// Beyond this many edges (more than eight nodes have) the texts cannot all be legible, and the time to shift them
/// grows with the square of the edges.
const MOST_SHIFTED: usize = 60;
const PLACES: usize = 45;
/// Free line before the gap and, with the arrow head, behind it.
const BEFORE: f64 = 14.0;
const BEHIND: f64 = 30.0;

struct Place {
    text: Strip,
    price: f64,
}

/// Chooses a place for every text of the layout, and notes what they still cover.
pub(super) fn place_texts(layout: &mut Layout) {
    const MOST_ROUNDS: usize = 12;
    let count = layout.transfers.len();
    if count > MOST_SHIFTED {
        return;
    }
    let lines = Lines::of(layout);
    let places: Vec<Vec<Place>> = (0..count).map(|edge| places(layout, &lines, edge)).collect();
    for _ in 0..MOST_ROUNDS {
        let mut changed = false;
        for (edge, places) in places.iter().enumerate() {
            let price = |place: &Place| place.price + 100.0 * collisions_of_texts(layout, edge, &place.text.grown(3.0));
            let priced = places.iter().map(|place| (price(place), place));
            if let Some((_, place)) = priced.min_by(|(a, _), (b, _)| a.total_cmp(b)) {
                changed |= (place.text.center - layout.transfers[edge].text.center).length() > 0.5;
                layout.transfers[edge].text = place.text;
            }
        }
        if !changed {
            break;
        }
    }
    layout.trouble = trouble(layout, &lines);
}

/// The lines of a layout as points, which are looked at many times.
struct Lines {
    transfers: Vec<Vec<Point>>,
    labels: Vec<Vec<Point>>,
    means: Vec<Vec<Point>>,
}

impl Lines {
    fn of(layout: &Layout) -> Lines {
        Lines {
            transfers: layout.transfers.iter().map(|edge| points(&edge.curve, 20)).collect(),
            labels: layout.labels.iter().map(|label| points(&label.curve, 1)).collect(),
            means: layout.means.iter().map(|mean| points(mean, 1)).collect(),
        }
    }

    /// The length of other edges beneath the text of an edge.
    fn beneath(&self, edge: usize, text: &Strip) -> f64 {
        let others = self.transfers.iter().enumerate().filter(|(other, _)| *other != edge).map(|(_, line)| line);
        others.chain(&self.labels).map(|line| text.covered(line)).sum()
    }
}

/// All places for the text of an edge.
fn places(layout: &Layout, lines: &Lines, edge: usize) -> Vec<Place> {
    let transfer = &layout.transfers[edge];
    let length = transfer.curve.arclen(0.1);
    let taken = transfer.text.half.x;
    let (first, last) = (BEFORE + taken, length - BEHIND - taken);
    // An edge that is too short for its text: there is only its middle.
    let (first, last) = if first < last { (first, last) } else { (0.5 * length, 0.5 * length) };
    let preferred = first + transfer.preferred * (last - first);
    let place = |i: usize| {
        let at = first + (last - first) * i as f64 / (PLACES - 1) as f64;
        let text = transfer.text_at(at / length);
        let room = text.grown(3.0);
        let mut price = 100.0 * collisions_with_shapes(layout, &room) + 0.06 * (at - preferred).abs();
        price += 3.0 * lines.beneath(edge, &room);
        price += lines.means.iter().map(|line| room.covered(line)).sum::<f64>();
        // An arrow head beneath a text cannot be seen at all.
        let heads = layout.others(edge).filter(|other| room.grown(6.0).contains(other.curve.p2));
        price += 40.0 * heads.count() as f64;
        Place { text, price }
    };
    (0..PLACES).map(place).collect()
}

fn collisions_with_shapes(layout: &Layout, text: &Strip) -> f64 {
    layout.shapes().map(|shape| text.depth(&shape.into())).sum()
}

fn collisions_of_texts(layout: &Layout, edge: usize, text: &Strip) -> f64 {
    layout.others(edge).map(|other| text.depth(&other.text)).sum()
}

fn trouble(layout: &Layout, lines: &Lines) -> Trouble {
    let mut trouble = Trouble::default();
    for (edge, transfer) in layout.transfers.iter().enumerate() {
        let text = &transfer.text;
        trouble.collisions += collisions_with_shapes(layout, text) + collisions_of_texts(layout, edge, text);
        trouble.crossings += lines.beneath(edge, text);
    }
    trouble
}
