//! Charts. Each is a function from plain numbers to an SVG text in the colors of [`crate::palette`].
//!
//! Values that are not finite, or beyond any measure of ours (10¹²), are left out. A chart without values says so.

mod axis;
mod bars;
mod by_nodes;
mod curves;
mod forest;
mod history;
mod matrix;
mod pictures;
mod plot;
mod reliability;
mod rungs;

pub use bars::{Bar, BarRow, Bars, bars};
pub use by_nodes::{ByNodes, Level, Method, by_nodes};
pub use curves::{Curve, Curves, curves};
pub use forest::{Effect, Forest, forest};
pub use history::{History, State, Trial, history};
pub use matrix::{Matrix, matrix};
pub use pictures::{Picture, PictureRow, Pictures, pictures};
pub use reliability::{Reliability, reliability};
pub use rungs::{Rung, Rungs, rungs};

use crate::palette;

/// Whose values a line or bar shows, which decides its color.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The ensemble.
    Ensemble,
    /// One of several nodes, methods or kinds, counted from 0.
    Series(usize),
}

impl Role {
    fn color(self) -> &'static str {
        match self {
            Self::Ensemble => palette::ENSEMBLE,
            Self::Series(index) => palette::SERIES[index % palette::SERIES.len()],
        }
    }
}

/// Whether a value can be drawn at all. Beyond 10¹² a scale has no digits left for differences.
fn drawable(value: f64) -> bool {
    value.is_finite() && value.abs() <= 1e12
}
