//! What the colours and lines of pictures mean.

use super::curve::{Curve, Point};
use super::shapes::{EDGE_WIDTH, Look, text};
use super::{lettering, palette};
use ktg_graph::Direction;
use ktg_graph::Gate;
use ktg_graph::Graph;

const FONT: f64 = 12.0;
const LINE_HEIGHT: f64 = 22.0;
const SAMPLE: f64 = 38.0;
const GAP: f64 = 8.0;
const BETWEEN_ENTRIES: f64 = 22.0;
const BETWEEN_PARTS: f64 = 44.0;

/// A heading and some samples of edges.
struct Part {
    heading: &'static str,
    entries: Vec<(&'static str, Look)>,
}

/// The explanation of what some graphs use.
pub(super) struct Legend {
    /// Parts that are written side by side.
    rows: Vec<Vec<Part>>,
}

impl Legend {
    /// The legend of some graphs, in as many rows as it needs to be no wider than `width`.
    pub fn of(graphs: &[&Graph], width: f64) -> Legend {
        let parts: Vec<Part> = [gates(graphs), designs(graphs)].into_iter().filter(|p| !p.entries.is_empty()).collect();
        if row_width(&parts) <= width {
            return Legend { rows: vec![parts] };
        }
        Legend { rows: parts.into_iter().map(|part| vec![part]).collect() }
    }

    pub fn width(&self) -> f64 {
        self.rows.iter().map(|row| row_width(row)).fold(0.0, f64::max)
    }

    pub fn height(&self) -> f64 {
        self.rows.len() as f64 * LINE_HEIGHT
    }

    /// Its elements; `top` is the middle of its upper side.
    pub fn svg(&self, top: Point) -> String {
        let mut svg = String::new();
        for (i, row) in self.rows.iter().enumerate() {
            let middle = top + Point { x: 0.0, y: (i as f64 + 0.5) * LINE_HEIGHT };
            let mut x = middle.x - row_width(row) / 2.0;
            for part in row {
                svg += &part.svg(Point { x, y: middle.y });
                x += part.width() + BETWEEN_PARTS;
            }
        }
        svg
    }
}

fn row_width(parts: &[Part]) -> f64 {
    parts.iter().map(Part::width).sum::<f64>() + BETWEEN_PARTS * parts.len().saturating_sub(1) as f64
}

impl Part {
    fn heading_width(&self) -> f64 {
        1.12 * FONT * lettering::width(self.heading) + GAP
    }

    fn width(&self) -> f64 {
        let entries = self.entries.iter().map(|(name, _)| entry_width(name)).sum::<f64>();
        self.heading_width() + entries + BETWEEN_ENTRIES * self.entries.len().saturating_sub(1) as f64
    }

    fn svg(&self, left: Point) -> String {
        let at = |x: f64| left + Point { x, y: 0.0 };
        let bold = " text-anchor=\"start\" font-weight=\"bold\"";
        let mut svg = text(left, FONT, palette::TEXT, bold, self.heading);
        let mut x = self.heading_width();
        for (name, look) in &self.entries {
            let sample = Curve::bent(at(x), at(x + SAMPLE), 0.0);
            svg += &look.line(&sample, true);
            svg += &look.arrow_head(&sample);
            svg += &text(at(x + SAMPLE + GAP), FONT, look.colour, " text-anchor=\"start\"", name);
            x += entry_width(name) + BETWEEN_ENTRIES;
        }
        svg
    }
}

fn entry_width(name: &str) -> f64 {
    SAMPLE + GAP + FONT * lettering::width(name)
}

/// The gates that the graphs use, in their usual order.
fn gates(graphs: &[&Graph]) -> Part {
    let labels = graphs.iter().flat_map(|graph| (0..graph.len()).map(|target| graph.label_gate(target)));
    let transfers = graphs.iter().flat_map(|graph| graph.active_transfers().map(|(_, _, transfer)| transfer.gate));
    let used: Vec<Gate> = labels.chain(transfers).collect();
    let shown = Gate::ALL.into_iter().filter(|gate| !gate.is_cut() && used.contains(gate));
    let look = |gate| Look { colour: palette::gate(gate), width: EDGE_WIDTH, direction: Direction::Closer };
    Part { heading: "Gate", entries: shown.map(|gate| (gate.name(), look(gate))).collect() }
}

/// The directions of designs that the graphs use.
fn designs(graphs: &[&Graph]) -> Part {
    let transfers = graphs.iter().flat_map(|graph| graph.active_transfers());
    let used: Vec<Direction> = transfers.map(|(_, _, transfer)| transfer.design.direction()).collect();
    let all = [("closer", Direction::Closer), ("apart", Direction::Apart)];
    let look = |direction| Look { colour: palette::TEXT, width: EDGE_WIDTH, direction };
    let shown = all.into_iter().filter(|(_, direction)| used.contains(direction));
    Part { heading: "Design", entries: shown.map(|(name, direction)| (name, look(direction))).collect() }
}
