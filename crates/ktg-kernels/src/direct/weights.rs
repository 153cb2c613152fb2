//! Backward to the weights: rows are input channels as one tap sees them, columns output channels, the inner dimension
//! all results.

use super::source::{Geometry, Source};
use super::weights_by_pixels::{self, TASKS};
use crate::gemm::{Gemm, ROWS_APART, Segment};
use crate::parallel::{Shared, parallel, part};
use crate::planes::{Grid, Planes, Read};
use crate::shape::Conv2d;
use crate::simd::Simd;
use crate::workspace::buffer;

/// Results multiplied at a time: their gradients, channels side by side, stay in the first-level cache.
const RESULTS: usize = 384;

/// Gradient of the weights.
pub(crate) fn backward_weights<S: Simd>(shape: &Conv2d, images: &[f32], gradient: &[f32], result: &mut [f32]) {
    if weights_by_pixels::is_faster(shape) {
        weights_by_pixels::backward_weights::<S>(shape, images, gradient, result)
    } else if shape.output <= S::LANES {
        by_blocks::<S, 1>(shape, images, gradient, result)
    } else {
        by_blocks::<S, 2>(shape, images, gradient, result)
    }
}

fn by_blocks<S: Simd, const NV: usize>(shape: &Conv2d, images: &[f32], gradient: &[f32], result: &mut [f32]) {
    let geometry = Geometry::new(shape);
    let Conv2d { batch, input, output, window, .. } = *shape;
    let (kernel, taps) = (window.kernel, window.kernel * window.kernel);
    let block = NV * S::LANES;
    let blocks = output.div_ceil(block);
    // A single block's tasks lay out the images of their part themselves: they are read from near.
    let all = (blocks > 1 || shape.is_pixel()).then(|| Source::new::<S>(shape, images));
    let parts = TASKS.div_ceil(blocks).min(batch);
    let sums_len = taps * input * block;
    let mut sums = buffer(blocks * parts * sums_len);
    let sums = Shared::new(&mut sums);
    let (lines, line, pixels) = (geometry.lines, geometry.line, geometry.lines * geometry.line);
    // Pieces of the results: some lines, or part of a long one.
    let (some_lines, some) = ((RESULTS / line).clamp(1, lines), line.min(RESULTS));

    parallel(blocks * parts, |task| {
        let channel = task / parts * block;
        let mut columns = buffer(some_lines * some * block);
        let mut segments = Vec::with_capacity(some_lines);
        let own_images = part(batch, task % parts, parts);
        let sums = |tap: usize| {
            // SAFETY: each task has its own sums.
            unsafe { sums.at(task * sums_len + tap * input * block) }
        };
        let mut accumulate = false;
        for image in own_images {
            let one;
            let (source, start) = match &all {
                Some(all) => (all, image * geometry.image_len),
                None => {
                    one = Source::of_image::<S>(shape, images, image);
                    (&one, 0)
                }
            };
            for first_line in (0..lines).step_by(some_lines) {
                let lines_now = some_lines.min(lines - first_line);
                for first in (0..line).step_by(some) {
                    let now = some.min(line - first);
                    for half in 0..NV {
                        let channel = channel + half * S::LANES;
                        let channels = output.saturating_sub(channel).min(S::LANES);
                        let start = gradient
                            .as_ptr()
                            .wrapping_add((image * output + channel) * pixels + first_line * line + first);
                        // Lines of a piece follow each other; a piece of a line is a line of its own.
                        let planes = Planes { start, stride: pixels, channels, width: now };
                        // SAFETY: the pieces are within the gradient's planes, the columns have room.
                        unsafe {
                            let start = columns.as_mut_ptr().add(half * S::LANES);
                            let to = Grid { start, row_step: now, vector_step: block };
                            S::vectorize(Read { planes, rows: 0..lines_now, to });
                        }
                    }
                    let pixels_start = start + first_line * geometry.line_step + first;
                    for tap in 0..taps {
                        let offset = pixels_start + geometry.tap(tap / kernel, tap % kernel);
                        segments.clear();
                        segments.extend((0..lines_now).map(|y| Segment {
                            a: source.data.as_ptr().wrapping_add(offset + y * geometry.line_step),
                            b: columns.as_ptr().wrapping_add(y * now * block),
                            depth: now,
                        }));
                        // SAFETY: every tap's pixels are within the source.
                        unsafe {
                            S::vectorize(Gemm::<NV, ROWS_APART> {
                                rows: input,
                                segments: &segments,
                                a_apart: geometry.plane_len,
                                b_apart: 0,
                                c: sums(tap),
                                c_row: block,
                                accumulate,
                            });
                        }
                    }
                    accumulate = true;
                }
            }
        }
    });

    let weights = Shared::new(result);
    parallel(blocks, |b| {
        // SAFETY: each task reads and writes its own block's sums.
        let total = unsafe { sums.add_up(b * parts * sums_len, sums_len, sums_len, parts) };
        for o in 0..block.min(output - b * block) {
            for c in 0..input {
                for tap in 0..taps {
                    // SAFETY: the weights are those of the task's own output channels.
                    unsafe {
                        *weights.at(((b * block + o) * input + c) * taps + tap) = total[(tap * input + c) * block + o];
                    }
                }
            }
        }
    });
}
