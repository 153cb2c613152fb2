//! Kernels in bf16: activations and their gradients have 16 bits and lie `[image][row][column][channel]`; weights, sums and
//! statistics are f32.

#[cfg(target_arch = "x86_64")]
mod amx;
mod correlate;
#[cfg(target_arch = "x86_64")]
mod dot;
mod filters;
mod instructions;
mod kernels;
mod maps;
mod norm;
mod number;
mod peak;
mod pixels;
mod plan;
mod pool;
mod tiles;
mod weights;

pub use maps::EachBf16;
pub use number::{Bf16, halves, halves_mut};

#[cfg(test)]
mod tests;
