//! Forward, and backward to the images, with the result's channels side by side in vectors: a tile has pixels of a line of the
//! result. Maps are laid out pixel by pixel, and tiles read them from there. Nothing is copied into panels; where the result has few
//! channels, that copying is a good part of the time.

use std::ops::Range;

use super::blocks::weights_by_blocks;
use super::matrix::good_step;
use super::source::Source;
use crate::gemm::{Gemm, ROWS_APART, Segment};
use crate::parallel::{Shared, parallel, part};
use crate::planes::{Grid, Planes, Write, interleave};
use crate::shape::{Conv2d, Window};
use crate::simd::Simd;
use crate::view::View;
use crate::workspace::buffer;

/// Values of a map that a task lays out, a quarter of a second-level cache.
const LAID_OUT: usize = 64 << 10;

/// Channels from which on a pixel's fill cache lines.
const CHANNELS: usize = 16;
/// Channels of the result from which on its vectors are filled well enough.
const RESULT_CHANNELS: usize = 8;
/// Results of an image from which on tiles are full and the weights, which each image needs anew, are used often enough.
const RESULTS: usize = 32;
/// The same for windows with several taps: more than panels are fewest (`forward` says why), and from the second-level cache.
const RESULTS_OF_WINDOWS: usize = 196;

/// Whether this is the faster way forward, whatever the batch.
pub(super) fn is_faster(shape: &Conv2d) -> bool {
    let Conv2d { input, output, output_height, output_width, .. } = *shape;
    let least = match shape.window.kernel {
        1 if shape.is_pointwise() => RESULTS,
        // A border of zeros is multiplied by panels and left out here, which infinite weights would show.
        1 => return false,
        _ => RESULTS_OF_WINDOWS,
    };
    input >= CHANNELS && output >= RESULT_CHANNELS && output_height * output_width >= least
}

/// Whether this is the faster way backward to the images.
pub(super) fn is_faster_backward(shape: &Conv2d) -> bool {
    shape.output >= CHANNELS && shape.input >= RESULT_CHANNELS && shape.height * shape.width >= RESULTS
}

/// Result `[batch, output, output_height, output_width]`.
pub(super) fn forward<S: Simd>(shape: &Conv2d, images: &[f32], weights: &[f32], result: &mut [f32]) {
    if shape.is_pointwise() && !shape.is_pixel() {
        // Only the pixels that are seen need to be laid out.
        let seen = Source::new::<S>(shape, images);
        let [height, width] = shape.output_image();
        let shape = Conv2d { height, width, window: Window::PIXEL, ..*shape };
        return forward::<S>(&shape, &seen.data, weights, result);
    }
    Lines::forward(shape).compute::<S>(images, weights, result)
}

/// Gradient of the images.
pub(super) fn backward_data<S: Simd>(shape: &Conv2d, gradient: &[f32], weights: &[f32], result: &mut [f32]) {
    Lines::backward(shape).compute::<S>(gradient, weights, result)
}

/// Which pixel of the result sees which pixels of the maps, and how many channels both have.
struct Lines {
    shape: Conv2d,
    backward: bool,
    view: View,
    /// Channels of the maps that are read, and of the result.
    from: usize,
    to: usize,
}

/// Rows of a map that are laid out.
struct Pixels<'a> {
    values: &'a [f32],
    first_row: usize,
    columns: usize,
    /// From one pixel to the next.
    step: usize,
}

impl Pixels<'_> {
    fn at(&self, row: usize, column: usize) -> *const f32 {
        self.values[((row - self.first_row) * self.columns + column) * self.step..].as_ptr()
    }
}

impl Lines {
    fn forward(shape: &Conv2d) -> Self {
        let view = View::forward(shape.sides());
        Self { shape: *shape, backward: false, view, from: shape.input, to: shape.output }
    }

    fn backward(shape: &Conv2d) -> Self {
        let view = View::backward(shape.sides());
        Self { shape: *shape, backward: true, view, from: shape.output, to: shape.input }
    }

    fn compute<S: Simd>(&self, maps: &[f32], weights: &[f32], result: &mut [f32]) {
        if self.to <= S::LANES {
            self.compute_by::<S, 1>(maps, weights, result)
        } else {
            self.compute_by::<S, 2>(maps, weights, result)
        }
    }

    fn compute_by<S: Simd, const NV: usize>(&self, maps: &[f32], weights: &[f32], result: &mut [f32]) {
        let (channels, [map_height, map_width], [height, width]) = (self.from, self.view.from, self.view.to);
        let Conv2d { batch, window: Window { kernel, .. }, .. } = self.shape;
        let (block, map_len) = (NV * S::LANES, channels * map_height * map_width);
        let weights = weights_by_blocks::<S, NV>(&self.shape, weights, self.backward);
        let (columns, seen_step) = (self.view.columns(), self.view.seen_step);
        // Whole vectors are written. Pixels that a tile reads are `seen_step` apart.
        let step = good_step(seen_step * channels.next_multiple_of(S::LANES)).div_ceil(seen_step);
        // Lines of the result that a task computes.
        let at_a_time = (LAID_OUT / (map_height * columns * step).div_ceil(height)).max(1);
        let enough = (4 * rayon::current_num_threads()).div_ceil(batch);
        let parts = height.div_ceil(at_a_time).max(enough).min(height);
        let y = Shared::new(result);
        parallel(batch * parts, |task| {
            let (image, lines) = (task / parts, part(height, task % parts, parts));
            let rows = self.view.rows_seen(lines.clone());
            let mut values = buffer(rows.len() * columns * step);
            self.lay_out::<S>(&maps[image * map_len..][..map_len], rows.clone(), step, &mut values);
            let pixels = Pixels { values: &values, first_row: rows.start, columns, step };
            // [line][pixel][channel of the block]
            let mut sums = buffer(lines.len() * width * block);
            for (number, weights) in weights.chunks_exact(kernel * kernel * channels * block).enumerate() {
                self.multiply::<S, NV>(&pixels, weights, lines.clone(), &mut sums);
                // SAFETY: each task writes its own lines.
                unsafe { self.write::<S, NV>(&sums, image, number, lines.clone(), y) }
            }
        });
    }

    /// Some lines of a block of channels of the result, `[line][pixel][channel of the block]`.
    fn multiply<S: Simd, const NV: usize>(
        &self,
        pixels: &Pixels,
        weights: &[f32],
        lines: Range<usize>,
        sums: &mut [f32],
    ) {
        let (view, channels, block) = (&self.view, self.from, NV * S::LANES);
        let width = view.to[1];
        let kernel = self.shape.window.kernel;
        // Lines that follow each other, and so does what they see, are one long line.
        let at_once = if self.shape.is_pixel() { lines.len() } else { 1 };
        let mut segments = Vec::with_capacity(kernel * kernel);
        for (sums, line) in sums.chunks_exact_mut(at_once * width * block).zip(lines.step_by(at_once)) {
            for phase in &view.phases {
                segments.clear();
                for row in &view.rows[line] {
                    for column in &phase.columns {
                        let tap = row.number * kernel + column.number;
                        segments.push(Segment {
                            a: pixels.at(row.at, column.at),
                            b: weights[tap * channels * block..].as_ptr(),
                            depth: channels,
                        });
                    }
                }
                // SAFETY: a row of A is a pixel that one of the phase sees, of B one channel's weights; there is room for
                // the sums.
                unsafe {
                    S::vectorize(Gemm::<NV, ROWS_APART> {
                        rows: at_once * phase.count,
                        segments: &segments,
                        a_apart: view.seen_step * pixels.step,
                        b_apart: 0,
                        c: sums.as_mut_ptr().add(phase.first * block),
                        c_row: view.pixel_step * block,
                        accumulate: false,
                    });
                }
            }
        }
    }

    /// Writes lines of a block of channels of an image.
    ///
    /// # Safety
    ///
    /// Nobody else uses these lines of `y`.
    unsafe fn write<S: Simd, const NV: usize>(
        &self,
        sums: &[f32],
        image: usize,
        number: usize,
        lines: Range<usize>,
        y: Shared,
    ) {
        let (channels, [height, width], block) = (self.to, self.view.to, NV * S::LANES);
        let own = number * block..channels.min((number + 1) * block);
        for (half, channel) in own.step_by(S::LANES).enumerate() {
            // SAFETY: the channel is there; the rest is granted by the caller.
            unsafe {
                let start = y.at(((image * channels + channel) * height + lines.start) * width);
                let some = S::LANES.min(channels - channel);
                let planes = Planes { start, stride: height * width, channels: some, width };
                let from = Grid { start: sums[half * S::LANES..].as_ptr(), row_step: width, vector_step: block };
                S::vectorize(Write { planes, rows: 0..lines.len(), from });
            }
        }
    }

    /// Lays out some rows of a map `[channel, height, width]` as `[row][column with border][channel]`, pixels `step` values apart.
    fn lay_out<S: Simd>(&self, map: &[f32], rows: Range<usize>, step: usize, to: &mut [f32]) {
        let ([height, width], [before, _]) = (self.view.from, self.view.border);
        let columns = self.view.columns();
        for row in to.chunks_exact_mut(columns * step) {
            row[..before * step].fill(0.0);
            row[(before + width) * step..].fill(0.0);
        }
        let start = to.as_mut_ptr().wrapping_add(before * step);
        let grid = Grid { start, row_step: columns, vector_step: step };
        // SAFETY: the rows lie within the map, and there is room for them between the borders.
        unsafe { interleave::<S>(map, [self.from, height, width], rows, grid) }
    }
}
