//! What can go wrong.

use thiserror::Error;

/// Why there is no figure, table or page.
#[derive(Debug, Error)]
pub enum Error {
    /// A figure cannot be made of what it was given.
    #[error("cannot draw the figure \"{figure}\": {reason}")]
    Figure {
        /// Its title.
        figure: String,
        /// What is wrong with that.
        reason: String,
    },
    /// An SVG could not be turned into pixels.
    #[error("cannot turn the figure into a picture of pixels: {0}")]
    Pixels(String),
}
