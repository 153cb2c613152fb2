//! Backward to the images: what each result's gradient sends through each tap, then the sum over taps at every pixel.

use super::pack::{Pack, Results};
use super::source::{Fold, Folding, transposed};
use super::{forward::forward, panel};
use crate::gemm::{Gemm, ROWS_APART, Segment};
use crate::parallel::{Shared, parallel};
use crate::shape::{Conv2d, Window};
use crate::simd::{Compiled, Simd};
use crate::workspace::buffer;

/// Results that a task handles at least, so that the last panel's empty columns do not count.
const RESULTS: usize = 192;
/// Bytes of the taps' contributions that exist at a time, half a second-level cache.
const CONTRIBUTIONS: usize = 256 << 10;

/// Gradient of the images.
pub(crate) fn backward_data<S: Simd>(shape: &Conv2d, gradient: &[f32], weights: &[f32], result: &mut [f32]) {
    let transposed = transposed(weights, shape.output);
    let weights: &[f32] = &transposed;
    if shape.window == (Window { kernel: 1, stride: 1, padding: 0 }) {
        return forward::<S>(&Conv2d { input: shape.output, output: shape.input, ..*shape }, gradient, weights, result);
    }
    let Conv2d { batch, input, output, window: Window { kernel, .. }, .. } = *shape;
    let width = panel::<S>();
    let result_pixels = shape.output_height * shape.output_width;
    let image_pixels = shape.height * shape.width;
    let taps = kernel * kernel;
    let folding = Folding::new(shape);

    let threads = rayon::current_num_threads();
    let images = RESULTS.div_ceil(result_pixels).clamp(1, batch.div_ceil(threads));
    let groups = batch.div_ceil(images);
    let row = (images * result_pixels).next_multiple_of(width);
    // Input channels at a time, and, where there are few images, in how many tasks.
    let channels = (CONTRIBUTIONS / (taps * row * size_of::<f32>())).clamp(1, input);
    let parts = (4 * threads).div_ceil(groups).min(input.div_ceil(channels));
    let rows_of_gradient: Vec<usize> = (0..output).map(|channel| channel * result_pixels).collect();

    let dx = Shared::new(result);
    parallel(groups * parts, |task| {
        let (group, part) = (task / parts, crate::parallel::part(input, task % parts, parts));
        let first_image = group * images;
        let results = Results {
            images: images.min(batch - first_image),
            image_len: output * result_pixels,
            lines: 1,
            line: result_pixels,
            line_step: 0,
        };
        let panels = results.len().div_ceil(width);
        let mut packed = buffer(panels * output * width + S::LANES);
        let mut contributions = buffer(channels * taps * row);
        let mut scratch = buffer(folding.scratch_len());
        let mut runs = Vec::with_capacity(width);
        for number in 0..panels {
            results.runs(number * width, width, &mut runs);
            // SAFETY: runs and rows stay within the gradient of the task's images; each panel has its place.
            unsafe {
                S::vectorize(Pack {
                    from: gradient.as_ptr().add(first_image * output * result_pixels),
                    taps: &rows_of_gradient,
                    runs: &runs,
                    to: packed.as_mut_ptr().add(number * output * width),
                });
            }
        }
        for first in part.clone().step_by(channels) {
            let some = channels.min(part.end - first);
            for number in 0..panels {
                // SAFETY: the panel, the rows of the weights and the room for contributions exist.
                unsafe {
                    let a = weights.as_ptr().add(first * taps * output);
                    let b = packed.as_ptr().add(number * output * width);
                    S::vectorize(Gemm::<2, ROWS_APART> {
                        rows: some * taps,
                        segments: &[Segment { a, b, depth: output }],
                        a_row: output,
                        c: contributions.as_mut_ptr().add(number * width),
                        c_row: row,
                        accumulate: false,
                    });
                }
            }
            for image in 0..results.images {
                for channel in 0..some {
                    let taps = &contributions[channel * taps * row + image * result_pixels..];
                    let plane = (first_image + image) * input + first + channel;
                    let (folding, scratch, output) = (&folding, &mut scratch[..], shape.output_image());
                    // SAFETY: each task writes its own images and channels.
                    unsafe {
                        let image = dx.piece(plane, image_pixels);
                        S::vectorize(Compiled(Fold { folding, taps, step: row, output, scratch, image }));
                    }
                }
            }
        }
    });
}
