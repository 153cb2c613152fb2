//! What charts and pictures of graphs are drawn with: an SVG as it grows, how lines and texts look, how wide texts are.

mod sheet;
mod style;
mod text;

pub(crate) use sheet::{MARGIN, SMALL, Sheet, TEXT, WIDTH};
pub(crate) use style::{Anchor, Key, Pattern, Stroke, Type, attributes};
pub(crate) use text::{counted, escaped, number, point, short, shortened, widest, width, wrapped};
