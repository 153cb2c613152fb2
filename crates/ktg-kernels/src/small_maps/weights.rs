//! Backward to the weights: for each tap, the product over all images and all pairs of pixels that meet there.

use super::maps::ByPixel;
use super::{Meetings, add_up, vectors_of};
use crate::gemm::{ROWS, Segment};
use crate::parallel::{Shared, parallel};
use crate::rows::{Gather, Rows, Scatter};
use crate::shape::Conv2d;
use crate::simd::Simd;
use crate::workspace::{Buffer, buffer};

/// Input channels of a task, at most: its sums stay in the second-level cache.
const SOME_INPUTS: usize = 64;
/// Results whose pixels are read by one tap after the other, from the second-level cache.
const SOME_RESULTS: usize = 16;

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
    // Fewer channels a task where there would be too few tasks.
    let enough = (4 * rayon::current_num_threads()).div_ceil(output.div_ceil(block));
    let some = input.div_ceil(enough).clamp(SOME_INPUTS / 8, SOME_INPUTS);
    let inputs = input.div_ceil(some);
    let dw = Shared::new(result);
    parallel(output.div_ceil(block) * inputs, |task| {
        let outputs = task / inputs * block..((task / inputs + 1) * block).min(output);
        let g = &g[task / inputs * pixels * batch * block..];
        let own = task % inputs * some..((task % inputs + 1) * some).min(input);
        // [tap][input of the task][output of the block]
        let mut sums = buffer(taps * own.len() * block);
        sums.fill(0.0);
        let mut segments = Vec::new();
        for first in (0..pixels).step_by(SOME_RESULTS) {
            let results = first..(first + SOME_RESULTS).min(pixels);
            for (sums, pairs) in sums.chunks_exact_mut(own.len() * block).zip(&pairs) {
                segments.clear();
                let start = pairs.partition_point(|[result, _]| *result < results.start);
                for [result, seen] in pairs[start..].iter().take_while(|[result, _]| *result < results.end) {
                    for images in 0..batch.div_ceil(block) {
                        segments.push(Segment {
                            a: x.at(images, *seen, own.start),
                            b: g[(result * batch + images * block) * block..].as_ptr(),
                            depth: block.min(batch - images * block),
                        });
                    }
                }
                // SAFETY: a row of A are the images' values of one input channel, a row of B one image's of the outputs.
                unsafe { add_up::<S, NV, ROWS>(&segments, own.len(), sums, true) }
            }
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
    let mut values = buffer(channels.div_ceil(block) * pixels * batch * block);
    let all = Shared::new(&mut values);
    parallel(channels.div_ceil(S::LANES) * batch, |task| {
        let (first, image) = (task / batch * S::LANES, task % batch);
        // SAFETY: the planes of these channels are there; each task writes vectors of its own.
        unsafe {
            S::vectorize(Gather(Rows {
                rows: maps.as_ptr().wrapping_add((image * channels + first) * pixels),
                stride: pixels,
                count: (channels - first).min(S::LANES),
                len: pixels,
                group: pixels,
                vectors: all.at((first / block * pixels * batch + image) * block + first % block),
                group_step: batch * block,
                vector_step: 0,
            }));
        }
    });
    // The second vector of the last block, where there are no channels for it.
    if !channels.div_ceil(S::LANES).is_multiple_of(NV) {
        let last = values.len() - pixels * batch * block;
        values[last..].chunks_exact_mut(block).for_each(|channels| channels[S::LANES..].fill(0.0));
    }
    values
}
