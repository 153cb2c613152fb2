//! The colors of every figure, on light paper and on dark.
//!
//! A figure is drawn in the light colors. Each of them is written the same way everywhere and used for one thing only,
//! so that [`themed`] can replace it by a CSS custom property whose value follows the page.

mod theme;

pub use theme::{css, themed, variable};

use ktg_graph::Gate;

/// Defines colors and scales of several, each with its pair on dark paper, and [`PALETTE`], which lists them all.
macro_rules! palette {
    (
        colors { $($(#[$color_doc:meta])* $color:ident: $light:literal, $dark:literal;)* }
        scales { $($(#[$scale_doc:meta])* $scale:ident: [$($scale_light:literal, $scale_dark:literal;)*];)* }
    ) => {
        $($(#[$color_doc])* pub const $color: &str = $light;)*
        $($(#[$scale_doc])* pub const $scale: [&str; [$($scale_light),*].len()] = [$($scale_light),*];)*

        /// Every color of the figures: on light paper, on dark.
        pub const PALETTE: &[(&str, &str)] = &[$(($light, $dark),)* $($(($scale_light, $scale_dark),)*)*];
    };
}

palette! {
    colors {
        /// Text and whatever must stand out without a color.
        INK: "#1d232b", "#e6eaf0";
        /// Text that stands back: units, ticks, notes.
        SOFT_INK: "#59626e", "#a9b3bf";
        /// The background.
        PAPER: "#fefefe", "#15181c";
        /// Lines of the grid.
        GRID: "#e4e8ed", "#2a313a";
        /// Axes, and lines to measure against.
        AXIS: "#8b95a1", "#6f7b88";
        /// A surface that stands off the paper a little.
        PANEL: "#f3f5f8", "#1c2229";

        /// The ensemble.
        ENSEMBLE: "#c0182f", "#ff6a5e";

        /// A finished trial.
        COMPLETE: "#1a5fa3", "#62a8ea";
        /// A trial that was stopped because others were better.
        PRUNED: "#9aa4b0", "#6c7885";
        /// A trial in progress.
        RUNNING: "#c98a12", "#e8b04a";
        /// A trial that broke off.
        FAILED: "#a8324f", "#e5708c";

        /// An effect in the wanted direction, a right answer.
        GOOD: "#1f6fb5", "#5fa9e8";
        /// An effect in the unwanted direction, a wrong answer.
        BAD: "#c2531b", "#f08b52";
        /// An effect that may be none.
        UNCLEAR: "#7d8793", "#8f9aa6";

        /// Text on the lower five of [`HEAT`].
        ON_LOW: "#1a2430", "#f0f5fa";
        /// Text on the upper four of [`HEAT`].
        ON_HIGH: "#fdfdfe", "#0e1822";

        /// The ellipse of the ensemble in pictures of graphs.
        ENSEMBLE_NODE: "#f0837c", "#8f3a36";
        /// The ellipse of any other node.
        NODE: "#dfe1e4", "#363b42";
        /// The thin edges into the ensemble.
        MEAN: "#b4b9bf", "#5c636b";
        // Gates differ in lightness too, so that they stay apart for color-blind readers and on paper.
        /// Edges with the gate "through".
        THROUGH: "#1f6fd6", "#4f9bff";
        /// Edges with the gate "linear".
        LINEAR: "#b85a00", "#e0852b";
        /// Edges with the gate "correct".
        CORRECT: "#00452f", "#b4f0c8";
        /// Edges with the gate "falling".
        FALLING: "#8f3399", "#f6a3ff";
    }
    scales {
        /// Nodes or methods, told apart by color-blind readers as well. The first five differ most.
        SERIES: [
            "#1b3f8b", "#3f7bd6";
            "#bd8600", "#f2b84b";
            "#1d8f89", "#5cc9b4";
            "#8b3fc0", "#c27bff";
            "#4393ee", "#b4d6ff";
            "#4f2410", "#a06a45";
            "#d4609a", "#ffc4e0";
            "#586473", "#8190a1";
        ];
        /// From low to high, for heat maps.
        HEAT: [
            "#eef4f9", "#1e2833";
            "#cbdfef", "#263c51";
            "#a7cae5", "#2b4c6b";
            "#84b5db", "#305e88";
            "#5fa0d0", "#356f9f";
            "#3b76a6", "#6097c7";
            "#316592", "#85b1d9";
            "#1f4e7b", "#aacceb";
            "#0a3560", "#cfe8fc";
        ];
    }
}

/// The color of edges with a gate, dark enough for text.
pub(crate) fn gate(gate: Gate) -> &'static str {
    match gate {
        Gate::Through => THROUGH,
        Gate::Linear => LINEAR,
        Gate::Correct => CORRECT,
        Gate::Falling => FALLING,
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
