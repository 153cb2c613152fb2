//! Kernels in bf16: activations and their gradients have 16 bits and lie `[image][row][column][channel]`; weights, sums and
//! statistics are f32.

#[cfg(target_arch = "x86_64")]
mod amx;
mod channels;
mod correlate;
mod depthwise;
#[cfg(target_arch = "x86_64")]
mod dot;
mod filters;
mod instructions;
mod kernels;
#[cfg(test)]
mod lanes;
mod layer_norm;
mod maps;
mod moments;
mod norm;
mod peak;
mod periods;
mod pixels;
mod plan;
mod pool;
mod tiles;
mod weights;

pub use maps::EachBf16;

#[cfg(test)]
mod tests;
