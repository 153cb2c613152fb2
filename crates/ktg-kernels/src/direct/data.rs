//! Backward to the images, where `lines` is not the faster way: what each result's gradient sends through each tap, then the sum
//! over taps at every pixel.

use super::fold::Fold;
use super::forward::{are_few, multiply};
use super::matrix::Matrix;
use super::pack::Pack;
use super::source::Geometry;
use super::{lines, panel};
use crate::gemm::{Gemm, ROWS_APART, Segment};
use crate::parallel::{Shared, parallel};
use crate::shape::{Conv2d, Window};
use crate::simd::Simd;
use crate::workspace::buffer;

/// Results that a task handles at least, so that the last panel's empty columns do not count.
const RESULTS: usize = 192;
/// Bytes of the taps' contributions that exist at a time, a quarter of a second-level cache.
const CONTRIBUTIONS: usize = 256 << 10;

/// Gradient of the images.
pub(crate) fn backward_data<S: Simd>(shape: &Conv2d, gradient: &[f32], weights: &[f32], result: &mut [f32]) {
    if !are_few::<S>(shape) && lines::is_faster_backward(shape) {
        return lines::backward_data::<S>(shape, gradient, weights, result);
    }
    let weights = Matrix::transposed::<S>(weights, shape.output);
    if shape.is_pixel() {
        let transposed = Conv2d { input: shape.output, output: shape.input, ..*shape };
        return multiply::<S>(&transposed, gradient, &weights, result);
    }
    let Conv2d { batch, input, output, window: Window { kernel, .. }, .. } = *shape;
    let width = panel::<S>();
    let result_pixels = shape.output_height * shape.output_width;
    let taps = kernel * kernel;
    let (gradients, bordered) = (Geometry::pointwise(output, result_pixels), Geometry::bordered(shape));

    let threads = rayon::current_num_threads();
    let images = RESULTS.div_ceil(result_pixels).clamp(1, batch.div_ceil(threads));
    let groups = batch.div_ceil(images);
    let row = (images * result_pixels).next_multiple_of(width);
    // Input channels at a time, and, where there are few images, in how many tasks.
    let channels = (CONTRIBUTIONS / (taps * row * size_of::<f32>())).clamp(1, input);
    let parts = (4 * threads).div_ceil(groups).min(input.div_ceil(channels));
    let rows_of_gradient = gradients.taps();

    let dx = Shared::new(result);
    parallel(groups * parts, |task| {
        let (group, part) = (task / parts, crate::parallel::part(input, task % parts, parts));
        let first_image = group * images;
        let results = gradients.results(images.min(batch - first_image));
        let panels = results.len().div_ceil(width);
        let mut packed = buffer(panels * output * width + S::LANES);
        let mut contributions = buffer(channels * taps * row);
        let mut scratch = buffer(bordered.plane_len);
        let mut runs = Vec::with_capacity(width);
        for number in 0..panels {
            results.runs(number * width, width, &mut runs);
            // SAFETY: runs and rows stay within the gradient of the task's images; each panel has its place.
            unsafe {
                S::vectorize(Pack {
                    from: gradient.as_ptr().add(first_image * gradients.image_len),
                    taps: &rows_of_gradient,
                    runs: &runs,
                    width,
                    to: packed.as_mut_ptr().add(number * output * width),
                });
            }
        }
        for first in part.clone().step_by(channels) {
            let some = channels.min(part.end - first);
            for number in 0..panels {
                // SAFETY: the panel, the rows of the weights and the room for contributions exist.
                unsafe {
                    let a = weights.values.as_ptr().add(first * taps * weights.step);
                    let b = packed.as_ptr().add(number * output * width);
                    S::vectorize(Gemm::<2, ROWS_APART> {
                        rows: some * taps,
                        segments: &[Segment { a, b, depth: output }],
                        a_apart: weights.step,
                        b_apart: 0,
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
                    // SAFETY: each task writes its own images and channels.
                    unsafe {
                        let image = dx.piece(plane, shape.height * shape.width);
                        let (geometry, scratch, width) = (&bordered, &mut scratch, shape.width);
                        S::vectorize(Fold { geometry, taps, step: row, scratch, image, width });
                    }
                }
            }
        }
    });
}
