//! SVG elements.

use super::curve::{Area, Curve, Point, Strip};
use super::palette;
use ktg_graph::Direction;

pub(super) const EDGE_WIDTH: f64 = 1.8;

/// A text whose middle is at the point, with more attributes.
pub(super) fn text(at: Point, size: f64, colour: &str, attributes: &str, text: &str) -> String {
    // Not every renderer knows `dominant-baseline`; capitals are about 0.73 of the font size high.
    let baseline = at.y + 0.36 * size;
    format!(
        "<text x=\"{:.1}\" y=\"{baseline:.1}\" font-size=\"{size}\" fill=\"{colour}\"{attributes}>{}</text>\n",
        at.x,
        escaped(text)
    )
}

/// A text along its strip, with a halo in the colour of the background.
pub(super) fn text_along(strip: &Strip, size: f64, colour: &str, text: &str) -> String {
    let Point { x, y } = strip.centre;
    let angle = strip.along.y.atan2(strip.along.x).to_degrees();
    format!(
        "<text transform=\"translate({x:.1} {y:.1}) rotate({angle:.1})\" y=\"{:.1}\" font-size=\"{size}\" \
         fill=\"{colour}\" stroke=\"{}\" stroke-width=\"4\" stroke-linejoin=\"round\" \
         paint-order=\"stroke\">{}</text>\n",
        0.36 * size,
        palette::BACKGROUND,
        escaped(text)
    )
}

pub(super) fn ellipse(area: &Area, fill: &str, stroke: &str, attributes: &str) -> String {
    format!(
        "<ellipse cx=\"{:.1}\" cy=\"{:.1}\" rx=\"{:.1}\" ry=\"{:.1}\" fill=\"{fill}\" \
         stroke=\"{stroke}\"{attributes}/>\n",
        area.centre.x, area.centre.y, area.half.x, area.half.y
    )
}

pub(super) fn rectangle(area: &Area, fill: &str, attributes: &str) -> String {
    let corner = area.centre - area.half;
    format!(
        "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{fill}\"{attributes}/>\n",
        corner.x,
        corner.y,
        2.0 * area.half.x,
        2.0 * area.half.y
    )
}

/// How an edge looks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    pub colour: &'static str,
    pub width: f64,
    /// Apart is dashed and has a hollow head.
    pub direction: Direction,
}

impl Look {
    /// Length of the arrow head.
    fn head(&self) -> f64 {
        6.0 + 2.7 * self.width
    }

    /// A line, less an arrow head at its end if it has one.
    pub fn line(&self, curve: &Curve, has_head: bool) -> String {
        // The line ends inside the head, so that its blunt end does not show; a hollow head begins earlier.
        let inside = match self.direction {
            Direction::Closer => 0.6,
            Direction::Apart => 0.95,
        };
        let curve = if has_head { curve.part(0.0, curve.around(1.0, inside * self.head()).0) } else { *curve };
        let dash = match self.direction {
            Direction::Closer => "",
            Direction::Apart => " stroke-dasharray=\"7 4\"",
        };
        format!(
            "<path d=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"{}\"{dash}/>\n",
            quadratic(&curve),
            self.colour,
            self.width
        )
    }

    /// The arrow head at the end of a curve.
    pub fn arrow_head(&self, curve: &Curve) -> String {
        let back = curve.at(curve.around(1.0, self.head()).0);
        let direction = (curve.to - back).unit();
        let side = direction.normal() * (0.4 * self.head());
        let (tip, left, right) = (curve.to, back + side, back - side);
        let paint = match self.direction {
            Direction::Closer => format!("fill=\"{}\"", self.colour),
            Direction::Apart => {
                let thin = 0.8 * self.width;
                format!("fill=\"{}\" stroke=\"{}\" stroke-width=\"{thin:.1}\"", palette::BACKGROUND, self.colour)
            }
        };
        format!(
            "<path d=\"M{:.1} {:.1}L{:.1} {:.1}L{:.1} {:.1}Z\" {paint}/>\n",
            tip.x, tip.y, left.x, left.y, right.x, right.y
        )
    }
}

/// A broad line in the colour of the background, which sets a line apart from those that it crosses.
pub(super) fn casing(curve: &Curve) -> String {
    let path = quadratic(curve);
    format!("<path d=\"{path}\" fill=\"none\" stroke=\"{}\" stroke-width=\"5\"/>\n", palette::BACKGROUND)
}

fn quadratic(curve: &Curve) -> String {
    let Curve { from, control, to } = curve;
    format!("M{:.1} {:.1}Q{:.1} {:.1} {:.1} {:.1}", from.x, from.y, control.x, control.y, to.x, to.y)
}

/// A group with a tooltip.
pub(super) fn group(tooltip: &str, content: &str) -> String {
    format!("<g><title>{}</title>\n{content}</g>\n", escaped(tooltip))
}

/// Text for XML, which has no way to write most control characters at all.
pub fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\n' | '\r' | '\t' => escaped.push(' '),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}
