//! Forward with output channels side by side in vectors: a tile has neighbouring results of a line. Images are laid out pixel
//! by pixel, and tiles read them from there: no panels are copied, which takes a good part of the time where there are few
//! output channels. Worth it for many results an image, and with channels enough that a tap's values fill cache lines.

use std::ops::Range;

use super::source::{Weights, good_step};
use crate::gemm::{Gemm, ROWS_APART, Segment};
use crate::parallel::{Shared, for_each_piece, parallel, part};
use crate::planes::{Grid, Planes, Read, Write};
use crate::shape::{Conv2d, Window};
use crate::simd::Simd;
use crate::small_maps::gather_weights;
use crate::workspace::{Buffer, buffer};

/// Values of an image that a task lays out, about a quarter of a second-level cache.
const LAID_OUT: usize = 64 << 10;

/// Whether this is the faster way, whatever the batch.
pub(super) fn is_faster(shape: &Conv2d) -> bool {
    let Conv2d { input, output_height, output_width, window: Window { kernel, stride, .. }, .. } = *shape;
    match kernel {
        // Of pixels that no window sees, too many would be laid out.
        1 => input >= if stride > 1 { 256 } else { 16 },
        _ => input >= 16 && output_height * output_width >= 196,
    }
}

/// Result `[batch, output, output_height, output_width]`.
pub(super) fn forward<S: Simd>(shape: &Conv2d, images: &[f32], weights: &Weights, result: &mut [f32]) {
    if shape.output <= S::LANES {
        forward_by::<S, 1>(shape, images, weights, result)
    } else {
        forward_by::<S, 2>(shape, images, weights, result)
    }
}

/// Rows of an image with their border, `[row][column][channel]`, pixels `step` values apart.
struct Pixels {
    rows: Range<usize>,
    columns: usize,
    /// From one pixel to the next.
    step: usize,
}

impl Pixels {
    /// Those that some lines of results see; rows are counted from the border's first.
    fn seen_by<S: Simd>(shape: &Conv2d, lines: Range<usize>) -> Self {
        let Window { kernel, stride, padding } = shape.window;
        let rows = lines.start * stride..(lines.end - 1) * stride + kernel;
        // Whole vectors are written.
        let step = good_step(stride * shape.input.next_multiple_of(S::LANES)).div_ceil(stride);
        Self { rows, columns: shape.width + 2 * padding, step }
    }

    fn len(&self) -> usize {
        self.rows.len() * self.columns * self.step
    }

    /// Lays them out; `image` is `[channel, height, width]`.
    fn lay_out<S: Simd>(&self, shape: &Conv2d, image: &[f32], to: &mut [f32]) {
        let Conv2d { input, height, width, window: Window { padding, .. }, .. } = *shape;
        let row = self.columns * self.step;
        let inside = self.rows.start.max(padding)..self.rows.end.min(padding + height);
        if inside.is_empty() {
            return to.fill(0.0);
        }
        let (above, rest) = to.split_at_mut((inside.start - self.rows.start) * row);
        let (rows, below) = rest.split_at_mut(inside.len() * row);
        above.fill(0.0);
        below.fill(0.0);
        for row in rows.chunks_exact_mut(row) {
            row[..padding * self.step].fill(0.0);
            row[(padding + width) * self.step..].fill(0.0);
        }
        for channel in (0..input).step_by(S::LANES) {
            let planes = Planes {
                start: image[channel * height * width..].as_ptr(),
                stride: height * width,
                channels: S::LANES.min(input - channel),
                width,
            };
            let start = rows[padding * self.step + channel..].as_mut_ptr();
            let to = Grid { start, row_step: self.columns, vector_step: self.step };
            // SAFETY: the rows lie within the image, and there is room for them between the borders.
            unsafe { S::vectorize(Read { planes, rows: inside.start - padding..inside.end - padding, to }) }
        }
    }
}

/// The weights of all output channels, `[block][tap][input][output of the block]`.
fn gather<S: Simd, const NV: usize>(shape: &Conv2d, weights: &Weights) -> Buffer {
    let Conv2d { input, output, window: Window { kernel, .. }, .. } = *shape;
    let block = NV * S::LANES;
    let len = kernel * kernel * input * block;
    let mut gathered = buffer(output.div_ceil(block) * len);
    for_each_piece(&mut gathered, len, |number, to| {
        let own = number * block..((number + 1) * block).min(output);
        match weights {
            Weights::Given(weights) => gather_weights::<S, NV>(shape, weights, own, to),
            Weights::Transposed(weights) => {
                for (to, from) in to.chunks_exact_mut(block).zip(weights.chunks_exact(output)) {
                    to[..own.len()].copy_from_slice(&from[own.clone()]);
                    to[own.len()..].fill(0.0);
                }
            }
        }
    });
    gathered
}

fn forward_by<S: Simd, const NV: usize>(shape: &Conv2d, images: &[f32], weights: &Weights, result: &mut [f32]) {
    let Conv2d { batch, input, output, output_height: lines, output_width: line, .. } = *shape;
    let Window { kernel, stride, .. } = shape.window;
    let (block, taps) = (NV * S::LANES, kernel * kernel);
    let weights = gather::<S, NV>(shape, weights);
    let image_len = input * shape.height * shape.width;
    let one_line = Pixels::seen_by::<S>(shape, 0..1);
    let at_a_time = (LAID_OUT / (stride * one_line.columns * one_line.step)).max(1);
    let enough = (4 * rayon::current_num_threads()).div_ceil(batch);
    let parts = lines.div_ceil(at_a_time).max(enough).min(lines);
    let y = Shared::new(result);
    parallel(batch * parts, |task| {
        let (image, lines_now) = (task / parts, part(lines, task % parts, parts));
        let pixels = Pixels::seen_by::<S>(shape, lines_now.clone());
        let mut x = buffer(pixels.len());
        pixels.lay_out::<S>(shape, &images[image * image_len..][..image_len], &mut x);
        // [line][result][output of the block]
        let mut sums = buffer(lines_now.len() * line * block);
        // Where results see pixels that follow each other from line to line, they are one long line.
        let rows = if shape.window == Window::PIXEL { lines_now.len() * line } else { line };
        let mut segments = Vec::with_capacity(taps);
        for (weights, channel) in weights.chunks_exact(taps * input * block).zip((0..output).step_by(block)) {
            for (y, sums) in sums.chunks_exact_mut(rows * block).enumerate() {
                let segment = |tap: usize| Segment {
                    a: x[((y * stride + tap / kernel) * pixels.columns + tap % kernel) * pixels.step..].as_ptr(),
                    b: weights[tap * input * block..].as_ptr(),
                    depth: input,
                };
                segments.clear();
                segments.extend((0..taps).map(segment));
                // SAFETY: a row of A is a pixel that a result of the line sees, of B one input channel's weights.
                unsafe {
                    S::vectorize(Gemm::<NV, ROWS_APART> {
                        rows,
                        segments: &segments,
                        a_row: stride * pixels.step,
                        c: sums.as_mut_ptr(),
                        c_row: block,
                        accumulate: false,
                    });
                }
            }
            for (half, channel) in (channel..output.min(channel + block)).step_by(S::LANES).enumerate() {
                // SAFETY: each task writes its own lines.
                unsafe {
                    let start = y.at((image * output + channel) * lines * line + lines_now.start * line);
                    let channels = S::LANES.min(output - channel);
                    let planes = Planes { start, stride: lines * line, channels, width: line };
                    let from = Grid { start: sums[half * S::LANES..].as_ptr(), row_step: line, vector_step: block };
                    S::vectorize(Write { planes, rows: 0..lines_now.len(), from });
                }
            }
        }
    });
}
