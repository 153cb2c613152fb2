//! Statistics, tables, charts and pages from plain numbers, and pictures of graphs.
//!
//! This crate knows graphs ([`ktg_graph`]), but no runs, studies or tensors: whoever reads those hands the numbers
//! over. It compiles in seconds.
//!
//! Every figure is an SVG text in the light colors of [`palette`]. [`png`] turns it into pixels with a font of its own,
//! so that it looks the same on every machine; [`palette::themed`] makes its colors follow the page that it stands in,
//! light or dark.

pub mod chart;
mod clean;
pub mod draw;
mod error;
pub mod page;
pub mod palette;
pub mod png;
pub mod stats;
mod svg;
pub mod table;

pub use error::Error;
