//! Forward with fewer images than would fill the vectors: output channels lie side by side instead, and images are the rows of
//! the products. Every result is the same sum in the same order as with many images, hence the same to the last bit.

use super::{Meeting, Meetings};
use crate::gemm::{Gemm, ROWS_APART, Segment};
use crate::parallel::{Shared, for_each_piece, parallel};
use crate::planes::{Grid, Planes, Write, interleave};
use crate::rows::gather_weights;
use crate::shape::Conv2d;
use crate::simd::Simd;
use crate::workspace::{Buffer, buffer};

/// Images up to which this is the faster way.
pub(super) const fn most<S: Simd>() -> usize {
    S::LANES / 2
}

/// Result `[batch, output, output_height, output_width]`.
pub(super) fn forward<S: Simd>(shape: &Conv2d, images: &[f32], weights: &[f32], result: &mut [f32]) {
    if shape.output <= S::LANES {
        forward_by::<S, 1>(shape, images, weights, result)
    } else {
        forward_by::<S, 2>(shape, images, weights, result)
    }
}

/// Images `[batch, channels, pixels]` as `[image][pixel][channel]`, the channels filled up to whole vectors.
fn channels_inside<S: Simd>(images: &[f32], channels: usize, pixels: usize) -> Buffer {
    let row = channels.next_multiple_of(S::LANES);
    let batch = images.len() / (channels * pixels);
    let mut values = buffer(batch * pixels * row);
    for_each_piece(&mut values, pixels * row, |number, to| {
        let image = &images[number * channels * pixels..][..channels * pixels];
        let to = Grid { start: to.as_mut_ptr(), row_step: 0, vector_step: row };
        // SAFETY: an image is one row of pixels here, and there is room for its vectors.
        unsafe { interleave::<S>(image, [channels, 1, pixels], 0..1, to) }
    });
    values
}

fn forward_by<S: Simd, const NV: usize>(shape: &Conv2d, images: &[f32], weights: &[f32], result: &mut [f32]) {
    let Conv2d { batch, input, output, height, width, .. } = *shape;
    let (block, meetings) = (NV * S::LANES, Meetings::new(shape));
    let taps = meetings.taps();
    let row = input.next_multiple_of(S::LANES);
    let x = channels_inside::<S>(images, input, height * width);
    let pixels = shape.output_height * shape.output_width;
    let meetings: Vec<Vec<Meeting>> = (0..pixels).map(|result| meetings.of_result(result)).collect();
    let y = Shared::new(result);
    parallel(output.div_ceil(block), |task| {
        let own = task * block..((task + 1) * block).min(output);
        let mut own_weights = buffer(taps * input * block);
        gather_weights::<S, NV>(shape, weights, own.clone(), &mut own_weights);
        // [image][pixel][output of the block]
        let mut sums = buffer(batch * pixels * block);
        let mut segments = Vec::new();
        for (pixel, meetings) in meetings.iter().enumerate() {
            let segment = |meeting: &Meeting| Segment {
                a: x[meeting.other * row..].as_ptr(),
                b: own_weights[meeting.tap * input * block..].as_ptr(),
                depth: input,
            };
            segments.clear();
            segments.extend(meetings.iter().map(segment));
            // SAFETY: a row of A is an image's pixel, of B an input channel's weights; there is room for the sums.
            unsafe {
                S::vectorize(Gemm::<NV, ROWS_APART> {
                    rows: batch,
                    segments: &segments,
                    a_apart: height * width * row,
                    b_apart: 0,
                    c: sums.as_mut_ptr().add(pixel * block),
                    c_row: pixels * block,
                    accumulate: false,
                });
            }
        }
        for image in 0..batch {
            for first in own.clone().step_by(S::LANES) {
                let channels = (own.end - first).min(S::LANES);
                let sums = sums[image * pixels * block + first - own.start..].as_ptr();
                // SAFETY: each task has its own channels.
                unsafe {
                    let start = y.at((image * output + first) * pixels);
                    let planes = Planes { start, stride: pixels, channels, width: pixels };
                    let from = Grid { start: sums, row_step: 0, vector_step: block };
                    S::vectorize(Write { planes, rows: 0..1, from });
                }
            }
        }
    });
}
