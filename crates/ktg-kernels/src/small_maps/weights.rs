//! Backward to the weights: for each tap, the product over all images and all pairs of pixels that meet there.

use super::lanes::{Gather, Rows, Scatter};
use super::maps::ByPixel;
use super::{Meetings, add_up, vectors_of};
use crate::gemm::{ROWS, Segment};
use crate::parallel::{Shared, for_each_piece, parallel};
use crate::shape::Conv2d;
use crate::simd::Simd;
use crate::workspace::{Buffer, buffer};

/// Input channels of a task: its sums stay in the second-level cache.
const SOME_INPUTS: usize = 64;

/// Gradient of the weights.
pub(crate) fn backward_weights<S: Simd>(shape: &Conv2d, images: &[f32], gradient: &[f32], result: &mut [f32]) {
    match vectors_of(shape.batch, S::LANES) {
        1 => by_blocks::<S, 1>(shape, images, gradient, result),
        _ => by_blocks::<S, 2>(shape, images, gradient, result),
    }
}

fn by_blocks<S: Simd, const NV: usize>(shape: &Conv2d, images: &[f32], gradient: &[f32], result: &mut [f32]) {
    let Conv2d { batch, input, output, height, width, .. } = *shape;
    let (block, meetings) = (NV * S::LANES, Meetings::new(shape));
    let (taps, pixels) = (meetings.taps(), shape.output_height * shape.output_width);
    let pairs: Vec<Vec<[usize; 2]>> = (0..taps).map(|tap| meetings.of_tap(tap)).collect();
    let x = ByPixel::new::<S, NV>(images, batch, input, height * width);
    let g = by_image::<S, NV>(gradient, batch, output, pixels);
    let inputs = input.div_ceil(SOME_INPUTS);
    let dw = Shared::new(result);
    parallel(output.div_ceil(block) * inputs, |task| {
        let outputs = task / inputs * block..((task / inputs + 1) * block).min(output);
        let g = &g[task / inputs * pixels * batch * block..];
        let own = task % inputs * SOME_INPUTS..((task % inputs + 1) * SOME_INPUTS).min(input);
        // [tap][input of the task][output of the block]
        let mut sums = buffer(taps * own.len() * block);
        let mut segments = Vec::new();
        for (sums, pairs) in sums.chunks_exact_mut(own.len() * block).zip(&pairs) {
            segments.clear();
            for [result, seen] in pairs {
                for images in 0..batch.div_ceil(block) {
                    segments.push(Segment {
                        a: x.at(images, *seen, own.start),
                        b: g[(result * batch + images * block) * block..].as_ptr(),
                        depth: block.min(batch - images * block),
                    });
                }
            }
            // SAFETY: a row of A are the images' values of one input channel, a row of B one image's of the outputs.
            unsafe { add_up::<S, NV, ROWS>(&segments, own.len(), sums) }
        }
        for half in 0..NV {
            let first = outputs.start + half * S::LANES;
            let count = outputs.end.saturating_sub(first).min(S::LANES);
            if count == 0 {
                break;
            }
            // SAFETY: each task has its own output and input channels.
            unsafe {
                S::vectorize(Scatter(Rows {
                    rows: dw.at((first * input + own.start) * taps),
                    stride: input * taps,
                    count,
                    len: own.len() * taps,
                    group: taps,
                    vectors: sums.as_ptr().add(half * S::LANES),
                    group_step: own.len() * block,
                    vector_step: block,
                }));
            }
        }
    });
}

/// Maps `[batch, channels, pixels]` as `[block of channels][pixel][image][channel of the block]`.
fn by_image<S: Simd, const NV: usize>(maps: &[f32], batch: usize, channels: usize, pixels: usize) -> Buffer {
    let block = NV * S::LANES;
    let len = pixels * batch * block;
    let mut values = buffer(channels.div_ceil(block) * len);
    for_each_piece(&mut values, len, |number, values| {
        for image in 0..batch {
            for half in 0..NV {
                let first = number * block + half * S::LANES;
                // SAFETY: the planes of these channels are there, and the room for their vectors.
                unsafe {
                    S::vectorize(Gather(Rows {
                        rows: maps.as_ptr().wrapping_add((image * channels + first) * pixels),
                        stride: pixels,
                        count: channels.saturating_sub(first).min(S::LANES),
                        len: pixels,
                        group: pixels,
                        vectors: values.as_mut_ptr().add(image * block + half * S::LANES),
                        group_step: batch * block,
                        vector_step: 0,
                    }));
                }
            }
        }
    });
    values
}
