//! The operations as textbooks define them, in double precision: what the kernels are compared with.
//!
//! Loops here are as plain as their speed allows: the largest networks' layers must take seconds, not minutes, in a
//! build that hardly optimises.

// Every test file is a crate of its own and uses a part of this.
#![allow(dead_code)]

pub mod activations;
pub mod attention;
pub mod convolution;
pub mod depthwise;
pub mod layer_norm;
pub mod norm;
pub mod optimizers;
pub mod pooling;
