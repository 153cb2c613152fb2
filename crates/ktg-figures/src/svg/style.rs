//! How lines and texts look, and where they are.

use kurbo::Rect;

use super::text::short;

/// A rectangle as attributes of an SVG element.
pub(crate) fn attributes(area: Rect) -> String {
    // Nothing may be narrower than nothing, whatever the rounding.
    let size = [area.width().max(0.0), area.height().max(0.0)];
    let [width, height] = size.map(short);
    format!("x=\"{}\" y=\"{}\" width=\"{width}\" height=\"{height}\"", short(area.x0), short(area.y0))
}

/// What a line consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pattern {
    Solid,
    Dashed,
    /// Dashes and dots in turn.
    DashDotted,
}

/// How a line looks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stroke {
    pub color: &'static str,
    pub width: f64,
    pub pattern: Pattern,
    pub opacity: f64,
}

impl Stroke {
    pub fn new(color: &'static str, width: f64) -> Self {
        Self { color, width, pattern: Pattern::Solid, opacity: 1.0 }
    }

    pub fn dashed(self, dashed: bool) -> Self {
        self.with(if dashed { Pattern::Dashed } else { Pattern::Solid })
    }

    pub fn with(self, pattern: Pattern) -> Self {
        Self { pattern, ..self }
    }

    /// Whether an arrow head at its end is an outline only.
    pub fn has_hollow_head(&self) -> bool {
        self.pattern == Pattern::Dashed
    }

    /// How long an arrow head at its end is.
    pub fn head(&self) -> f64 {
        6.0 + 2.7 * self.width
    }

    /// As attributes of an SVG element.
    pub fn attributes(&self) -> String {
        let mut attributes = format!("stroke=\"{}\" stroke-width=\"{}\"", self.color, short(self.width));
        attributes += match self.pattern {
            Pattern::Solid => "",
            Pattern::Dashed => " stroke-dasharray=\"6 4\"",
            Pattern::DashDotted => " stroke-dasharray=\"9 3 2 3\"",
        };
        if self.opacity < 1.0 {
            attributes += &format!(" stroke-opacity=\"{}\"", self.opacity);
        }
        attributes
    }
}

/// Which point of a text its place means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

/// How a text looks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Type {
    pub size: f64,
    pub color: &'static str,
    pub bold: bool,
    pub anchor: Anchor,
    /// Whether paper shows around the letters, where they lie on lines.
    pub halo: bool,
    /// A wider text is shortened.
    pub room: f64,
}

impl Type {
    pub fn new(size: f64, color: &'static str) -> Self {
        Self { size, color, bold: false, anchor: Anchor::Start, halo: false, room: f64::INFINITY }
    }

    pub fn bold(self) -> Self {
        Self { bold: true, ..self }
    }

    pub fn anchored(self, anchor: Anchor) -> Self {
        Self { anchor, ..self }
    }

    pub fn halo(self) -> Self {
        Self { halo: true, ..self }
    }

    pub fn within(self, room: f64) -> Self {
        Self { room, ..self }
    }
}

/// What stands for a series in a legend, or for a value in a plot.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Key {
    Line(Stroke),
    Arrow(Stroke),
    Dot(&'static str),
    Ring(&'static str),
    Cross(&'static str),
    /// Filled, with its opacity.
    Square(&'static str, f64),
    /// An empty rectangle.
    Frame(&'static str),
}
