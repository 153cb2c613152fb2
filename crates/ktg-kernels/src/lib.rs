//! Fast `f32` kernels for training convolutional networks on CPUs.
//!
//! ```
//! use ktg_kernels::{Conv2d, Kernels, Window};
//!
//! let window = Window { kernel: 3, stride: 1, padding: 1 };
//! let shape = Conv2d::new(1, 1, 1, [2, 2], window)?;
//! let mut sum_of_neighbours = [0.0; 4];
//! Kernels::new().conv2d(&shape, &[1.0, 2.0, 3.0, 4.0], &[1.0; 9], &mut sum_of_neighbours)?;
//! assert_eq!(sum_of_neighbours, [10.0; 4]);
//! # Ok::<(), ktg_kernels::ShapeError>(())
//! ```
//!
//! * Convolution forward, backward to the images and to the weights: Winograd F(4x4, 3x3) for 3x3 windows of stride 1,
//!   pixel by pixel for small maps, implicit GEMM for all others ([`Conv2d::algorithm`]). The largest error is
//!   below 1e-4 (Winograd) and 1e-5 (others) of the largest result, which the tests check.
//! * Depthwise convolution forward and both gradients, for any window ([`Depthwise`]).
//! * Batch norm for training and inference, forward and backward, with the residual addition and ReLU that follow it.
//! * 8-bit images to planes of `f32`; files mapped into memory ([`map_file`]).
//! * What ConvNeXt and ViT need: layer norm over channels, GELU, softmax attention among tokens, scales and biases of channels.
//! * Max-pool, global average pool, what attention branches need, sums and activations, one-pass SGD.
//!
//! Instructions are chosen at run time ([`Level`]): AVX-512, AVX2 with FMA, NEON, or what every machine has. Work is
//! shared by as many threads as the current rayon pool has, and no result depends on their number.
//!
//! NaN and infinities spread as the definitions say, with one exception: Winograd's transforms mix the 36 pixels of a
//! tile, so there a value that is not finite may make whole 4x4 tiles of the result (or 3x3 filters of a gradient) NaN or
//! infinite.
//!
//! Scratch memory is kept by each thread and used again; it is bounded by a few times that of the largest operation.

mod adamw;
mod algorithm;
mod attend;
mod attention;
mod bf16;
mod bytes;
mod channels;
mod depthwise;
mod direct;
mod each;
mod exponential;
mod gemm;
mod helpers;
mod kernels;
#[cfg(test)]
mod lanes;
mod layer_norm;
mod map;
mod memory;
mod norm;
mod number;
mod parallel;
mod peak;
mod planes;
mod pool;
mod rows;
mod sgd;
mod shape;
mod simd;
mod small_maps;
mod view;
mod winograd;
mod workspace;

pub use adamw::AdamWStep;
pub use algorithm::Algorithm;
pub use attention::Attention;
pub use bf16::EachBf16;
pub use bytes::ChannelScale;
pub use depthwise::Depthwise;
pub use each::Each;
pub use kernels::Kernels;
pub use map::map_file;
pub use memory::{Arena, keep_freed_memory};
pub use norm::{Affine, BackwardPass, Fused, Moving, NormGradients, Statistics};
pub use number::{Bf16, halves, halves_mut};
pub use sgd::SgdStep;
pub use shape::{Conv2d, Features, Pool, Result, ShapeError, Window};
pub use simd::Level;
