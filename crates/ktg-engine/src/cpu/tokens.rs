//! Tokens: maps `[channels, 1, tokens]`. What is done with them besides attention moves memory or adds, a plane or an image a task.

use ktg_net::Shape;
use rayon::prelude::*;

/// Multiplies the values of each image.
pub(crate) fn scale_images(factors: &[f32], values: &mut [f32]) {
    let len = values.len() / factors.len();
    let images = values.par_chunks_exact_mut(len).zip(factors);
    images.for_each(|(image, factor)| image.iter_mut().for_each(|value| *value *= factor));
}

/// Planes of `channels` channels that a task handles.
const PLANES: usize = 64;

/// The pixels of maps of a shape, behind the class token, `[channels]`.
pub(crate) fn with_class(x: &[f32], token: &[f32], shape: Shape, y: &mut [f32]) {
    let pixels = shape.pixels();
    let planes = y.par_chunks_exact_mut(1 + pixels).zip(x.par_chunks_exact(pixels)).enumerate();
    planes.with_min_len(PLANES).for_each(|(plane, (y, x))| {
        y[0] = token[plane % shape.channels];
        y[1..].copy_from_slice(x);
    });
}

/// From gradients of tokens to those of the pixels of maps of a shape.
pub(crate) fn without_class(g: &[f32], shape: Shape, dx: &mut [f32]) {
    let pixels = shape.pixels();
    let planes = dx.par_chunks_exact_mut(pixels).zip(g.par_chunks_exact(1 + pixels));
    planes.with_min_len(PLANES).for_each(|(dx, g)| dx.copy_from_slice(&g[1..]));
}

/// The gradient of the class token, `[channels]`, where the pixels of maps of a shape are the other tokens.
pub(crate) fn class_sums(g: &[f32], shape: Shape, of_token: &mut [f32]) {
    let tokens = 1 + shape.pixels();
    of_token.fill(0.0);
    for image in g.chunks_exact(shape.channels * tokens) {
        of_token.iter_mut().zip(image.iter().step_by(tokens)).for_each(|(sum, g)| *sum += g);
    }
}

/// Tokens of a shape and the embeddings of their positions, `[tokens, channels]`, added.
pub(crate) fn add_positions(x: &[f32], positions: &[f32], shape: Shape, y: &mut [f32]) {
    let (channels, tokens) = (shape.channels, shape.pixels());
    let embedding = |i: usize| positions[i % tokens * channels + i / tokens];
    let by_channel: Vec<f32> = (0..shape.len()).map(embedding).collect();
    let images = y.par_chunks_exact_mut(shape.len()).zip(x.par_chunks_exact(shape.len()));
    images.for_each(|(y, x)| {
        y.iter_mut().zip(x).zip(&by_channel).for_each(|((y, x), position)| *y = x + position);
    });
}

/// The gradient of the embeddings of positions, `[tokens, channels]`.
pub(crate) fn position_sums(g: &[f32], shape: Shape, of_positions: &mut [f32]) {
    let (channels, tokens) = (shape.channels, shape.pixels());
    let mut sums = vec![0.0; shape.len()];
    for image in g.chunks_exact(shape.len()) {
        sums.iter_mut().zip(image).for_each(|(sum, g)| *sum += g);
    }
    for (i, sum) in sums.into_iter().enumerate() {
        of_positions[i % tokens * channels + i / tokens] = sum;
    }
}

/// The first of the tokens of a shape.
pub(crate) fn first(x: &[f32], shape: Shape, y: &mut [f32]) {
    y.iter_mut().zip(x.iter().step_by(shape.pixels())).for_each(|(y, x)| *y = *x);
}

/// From its gradient to that of the tokens.
pub(crate) fn first_backward(g: &[f32], shape: Shape, dx: &mut [f32]) {
    dx.fill(0.0);
    dx.iter_mut().step_by(shape.pixels()).zip(g).for_each(|(dx, g)| *dx = *g);
}
