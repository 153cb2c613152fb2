//! Backward to the weights of windows with several taps, input channels side by side in vectors: rows are output channels,
//! whose gradients are read as they were given; the inner dimension is all results. Images are laid out pixel by pixel.

use super::matrix::good_step;
use crate::gemm::{BOTH_APART, Gemm, Segment};
use crate::parallel::{Shared, parallel, part};
use crate::planes::{Grid, interleave};
use crate::shape::{Conv2d, Window};
use crate::simd::Simd;
use crate::workspace::buffer;

/// Tasks there should be at least. Where there are fewer blocks of channels, parts of the batch have their own sums.
/// (Not the number of threads, on which results must not depend.)
pub(super) const TASKS: usize = 16;
/// Input channels from which on vectors are filled well enough.
const CHANNELS: usize = 16;

/// Whether this is the faster way.
pub(super) fn is_faster(shape: &Conv2d) -> bool {
    shape.window.kernel > 1 && shape.input >= CHANNELS
}

/// Gradient of the weights.
pub(super) fn backward_weights<S: Simd>(shape: &Conv2d, images: &[f32], gradient: &[f32], result: &mut [f32]) {
    if shape.input <= S::LANES {
        by_blocks::<S, 1>(shape, images, gradient, result)
    } else {
        by_blocks::<S, 2>(shape, images, gradient, result)
    }
}

fn by_blocks<S: Simd, const NV: usize>(shape: &Conv2d, images: &[f32], gradient: &[f32], result: &mut [f32]) {
    let Conv2d { batch, input, output, height, width, output_height: lines, output_width: line, .. } = *shape;
    let Window { kernel, stride, padding } = shape.window;
    let (taps, image_len, results) = (kernel * kernel, input * height * width, lines * line);
    let block = NV * S::LANES;
    let blocks = input.div_ceil(block);
    // A block's channels of an image: rows and columns with their border of zeros, pixels `step` values apart.
    let (step, columns) = (good_step(block), padding + width + shape.after);
    let laid_out_len = (padding + height + shape.after) * columns * step;
    let parts = TASKS.div_ceil(blocks).min(batch);
    let sums_len = taps * output * block;
    let mut sums = buffer(blocks * parts * sums_len);
    let sums = Shared::new(&mut sums);

    parallel(blocks * parts, |task| {
        let channel = task / parts * block;
        let channels = block.min(input - channel);
        let mut pixels = buffer(laid_out_len);
        pixels.fill(0.0);
        let mut segments = Vec::with_capacity(lines);
        for (done, image) in part(batch, task % parts, parts).enumerate() {
            let map = &images[image * image_len + channel * height * width..];
            let start = pixels.as_mut_ptr().wrapping_add((padding * columns + padding) * step);
            let inside = Grid { start, row_step: columns, vector_step: step };
            // SAFETY: the image has these channels, and there is room for their rows inside the border.
            unsafe { interleave::<S>(map, [channels, height, width], 0..height, inside) }
            let gradient = &gradient[image * output * results..];
            for tap in 0..taps {
                segments.clear();
                segments.extend((0..lines).map(|y| Segment {
                    a: gradient[y * line..].as_ptr(),
                    b: pixels[((y * stride + tap / kernel) * columns + tap % kernel) * step..].as_ptr(),
                    depth: line,
                }));
                // SAFETY: A is the image's gradient, of B every tap's pixels are laid out; each task has its own sums.
                unsafe {
                    S::vectorize(Gemm::<NV, BOTH_APART> {
                        rows: output,
                        segments: &segments,
                        a_apart: results,
                        b_apart: stride * step,
                        c: sums.at(task * sums_len + tap * output * block),
                        c_row: block,
                        accumulate: done > 0,
                    });
                }
            }
        }
    });

    let weights = Shared::new(result);
    parallel(blocks, |b| {
        // SAFETY: each task reads and writes its own block's sums.
        let total = unsafe { sums.add_up(b * parts * sums_len, sums_len, sums_len, parts) };
        for o in 0..output {
            for c in 0..block.min(input - b * block) {
                for tap in 0..taps {
                    // SAFETY: the weights are those of the task's own input channels.
                    unsafe {
                        *weights.at((o * input + b * block + c) * taps + tap) = total[(tap * output + o) * block + c];
                    }
                }
            }
        }
    });
}
