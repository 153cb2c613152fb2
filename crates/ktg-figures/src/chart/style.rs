//! How lines and texts look, and where they are.

use super::sheet::short;

/// A rectangle on the sheet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Area {
    pub left: f64,
    pub top: f64,
    pub width: f64,
    pub height: f64,
}

impl Area {
    pub fn right(&self) -> f64 {
        self.left + self.width
    }

    pub fn bottom(&self) -> f64 {
        self.top + self.height
    }
}

/// How a line looks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stroke {
    pub colour: &'static str,
    pub width: f64,
    pub dashed: bool,
    pub opacity: f64,
}

impl Stroke {
    pub fn new(colour: &'static str, width: f64) -> Self {
        Self { colour, width, dashed: false, opacity: 1.0 }
    }

    pub fn dashed(self, dashed: bool) -> Self {
        Self { dashed, ..self }
    }

    pub fn faint(self, opacity: f64) -> Self {
        Self { opacity, ..self }
    }

    /// As attributes of an SVG element.
    pub fn attributes(&self) -> String {
        let mut attributes = format!("stroke=\"{}\" stroke-width=\"{}\"", self.colour, short(self.width));
        if self.dashed {
            attributes += " stroke-dasharray=\"5 4\"";
        }
        if self.opacity < 1.0 {
            attributes += &format!(" stroke-opacity=\"{}\"", self.opacity);
        }
        attributes
    }
}

/// Which point of a text its place means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// How a text looks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Type {
    pub size: f64,
    pub colour: &'static str,
    pub bold: bool,
    pub anchor: Anchor,
    /// Whether paper shows around the letters, where they lie on lines.
    pub halo: bool,
}

impl Type {
    pub fn new(size: f64, colour: &'static str) -> Self {
        Self { size, colour, bold: false, anchor: Anchor::Start, halo: false }
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
}

/// What stands for a series in a legend.
#[derive(Debug, Clone, Copy)]
pub(super) enum Key {
    Line(Stroke),
    Dot(&'static str),
    Ring(&'static str),
    Cross(&'static str),
    /// Filled, with its opacity.
    Square(&'static str, f64),
    /// An empty rectangle.
    Frame(&'static str),
}
