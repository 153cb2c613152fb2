//! The colors of every figure, on light paper and on dark.
//!
//! A figure is drawn in the light colors. Each of them is written the same way everywhere and used for one thing only,
//! so that [`themed`] can replace it by a CSS custom property whose value follows the page.

mod theme;

pub use theme::{css, themed, variable};

use ktg_graph::Gate;

/// Text and whatever must stand out without a color.
pub const INK: &str = "#1d232b";
/// Text that stands back: units, ticks, notes.
pub const SOFT_INK: &str = "#59626e";
/// The background.
pub const PAPER: &str = "#fefefe";
/// Lines of the grid.
pub const GRID: &str = "#e4e8ed";
/// Axes, and lines to measure against.
pub const AXIS: &str = "#8b95a1";
/// A surface that stands off the paper a little.
pub const PANEL: &str = "#f3f5f8";

/// The ensemble.
pub const ENSEMBLE: &str = "#c0182f";
/// Nodes or methods, told apart by color-blind readers as well. The first five differ most.
pub const SERIES: [&str; 8] = ["#1b3f8b", "#bd8600", "#1d8f89", "#8b3fc0", "#4393ee", "#4f2410", "#d4609a", "#586473"];

/// A finished trial.
pub const COMPLETE: &str = "#1a5fa3";
/// A trial that was stopped because others were better.
pub const PRUNED: &str = "#9aa4b0";
/// A trial in progress.
pub const RUNNING: &str = "#c98a12";
/// A trial that broke off.
pub const FAILED: &str = "#a8324f";

/// An effect in the wanted direction, a right answer.
pub const GOOD: &str = "#1f6fb5";
/// An effect in the unwanted direction, a wrong answer.
pub const BAD: &str = "#c2531b";
/// An effect that may be none.
pub const UNCLEAR: &str = "#7d8793";

/// From low to high, for heat maps.
pub const HEAT: [&str; 9] =
    ["#eef4f9", "#cbdfef", "#a7cae5", "#84b5db", "#5fa0d0", "#3b76a6", "#316592", "#1f4e7b", "#0a3560"];
/// Text on the lower five of [`HEAT`].
pub const ON_LOW: &str = "#1a2430";
/// Text on the upper four of [`HEAT`].
pub const ON_HIGH: &str = "#fdfdfe";

/// The ellipse of the ensemble in pictures of graphs.
pub const ENSEMBLE_NODE: &str = "#f0837c";
/// The ellipse of any other node.
pub const NODE: &str = "#dfe1e4";
/// The thin edges into the ensemble.
pub const MEAN: &str = "#b4b9bf";
// Gates differ in lightness too, so that they stay apart for color-blind readers and on paper.
/// Edges with the gate "through".
pub const THROUGH: &str = "#1f6fd6";
/// Edges with the gate "linear".
pub const LINEAR: &str = "#b85a00";
/// Edges with the gate "correct".
pub const CORRECT: &str = "#00452f";

/// Every color of the figures: on light paper, on dark.
pub const PALETTE: &[(&str, &str)] = &[
    (INK, "#e6eaf0"),
    (SOFT_INK, "#a9b3bf"),
    (PAPER, "#15181c"),
    (GRID, "#2a313a"),
    (AXIS, "#6f7b88"),
    (PANEL, "#1c2229"),
    (ENSEMBLE, "#ff6a5e"),
    (SERIES[0], "#3f7bd6"),
    (SERIES[1], "#f2b84b"),
    (SERIES[2], "#5cc9b4"),
    (SERIES[3], "#c27bff"),
    (SERIES[4], "#b4d6ff"),
    (SERIES[5], "#a06a45"),
    (SERIES[6], "#ffc4e0"),
    (SERIES[7], "#8190a1"),
    (COMPLETE, "#62a8ea"),
    (PRUNED, "#6c7885"),
    (RUNNING, "#e8b04a"),
    (FAILED, "#e5708c"),
    (GOOD, "#5fa9e8"),
    (BAD, "#f08b52"),
    (UNCLEAR, "#8f9aa6"),
    (HEAT[0], "#1e2833"),
    (HEAT[1], "#263c51"),
    (HEAT[2], "#2b4c6b"),
    (HEAT[3], "#305e88"),
    (HEAT[4], "#356f9f"),
    (HEAT[5], "#6097c7"),
    (HEAT[6], "#85b1d9"),
    (HEAT[7], "#aacceb"),
    (HEAT[8], "#cfe8fc"),
    (ON_LOW, "#f0f5fa"),
    (ON_HIGH, "#0e1822"),
    (ENSEMBLE_NODE, "#8f3a36"),
    (NODE, "#363b42"),
    (MEAN, "#5c636b"),
    (THROUGH, "#4f9bff"),
    (LINEAR, "#e0852b"),
    (CORRECT, "#b4f0c8"),
];

/// The color of edges with a gate, dark enough for text.
pub(crate) fn gate(gate: Gate) -> &'static str {
    match gate {
        Gate::Through => THROUGH,
        Gate::Linear => LINEAR,
        Gate::Correct => CORRECT,
        // Nothing draws a cut edge; a gate needs a color nevertheless.
        Gate::Cutoff => GRID,
    }
}

/// The color of a share of the scale from 0 to 1, and of text on it.
pub fn heat(share: f64) -> (&'static str, &'static str) {
    let steps = HEAT.len();
    // A share that is no number becomes 0.
    let step = ((share.clamp(0.0, 1.0) * steps as f64) as usize).min(steps - 1);
    (HEAT[step], if step < 5 { ON_LOW } else { ON_HIGH })
}
