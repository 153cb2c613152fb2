//! From the bytes of an image file to pixels.

mod image;
pub(crate) mod jpeg;
mod panics;

pub(crate) use image::luma;
pub use image::{Image, MAX_PIXELS};
