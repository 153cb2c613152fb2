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
    let Conv2d { input, output, output_height, output_width, window: Window { kernel, padding, .. }, .. } = *shape;
    let least = match (kernel, padding) {
        (1, 0) => RESULTS,
        // A border of zeros is multiplied by panels and left out here, which infinite weights would show.
        (1, _) => return false,
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
    let Window { kernel, stride, padding } = shape.window;
    if (kernel, padding) == (1, 0) && stride > 1 {
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

/// Where a tap reads.
#[derive(Clone, Copy)]
struct Tap {
    /// Row or column of the window.
    number: usize,
    /// Row of the maps, or column with their border, that the first pixel sees.
    at: usize,
}

/// Pixels of a line of the result, `pixel_step` apart, that see the maps through the same columns of the window.
struct Phase {
    first: usize,
    count: usize,
    columns: Vec<Tap>,
}

/// Which pixel of the result sees which pixels of the maps.
struct Lines {
    shape: Conv2d,
    backward: bool,
    /// Channels, height and width of the maps that are read, and of the result.
    from: [usize; 3],
    to: [usize; 3],
    /// Columns of zeros before and behind a row of the maps.
    border: [usize; 2],
    /// By line of the result, the rows of the window that lie within the maps.
    rows: Vec<Vec<Tap>>,
    phases: Vec<Phase>,
    /// From one pixel of a phase to the next, and between what these see.
    pixel_step: usize,
    seen_step: usize,
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
        let Conv2d { input, output, height, width, output_height, output_width, .. } = *shape;
        let Window { kernel, stride, padding } = shape.window;
        let rows_of = |line: usize| {
            let at = |number: usize| (line * stride + number).checked_sub(padding).filter(|row| *row < height);
            (0..kernel).filter_map(|number| Some(Tap { number, at: at(number)? })).collect()
        };
        let columns = (0..kernel).map(|number| Tap { number, at: number }).collect();
        Self {
            shape: *shape,
            backward: false,
            from: [input, height, width],
            to: [output, output_height, output_width],
            border: [padding, padding],
            rows: (0..output_height).map(rows_of).collect(),
            phases: vec![Phase { first: 0, count: output_width, columns }],
            pixel_step: 1,
            seen_step: stride,
        }
    }

    /// A result at `y` sees row `y * stride + a - padding` of the image through row `a` of the window; columns likewise.
    fn backward(shape: &Conv2d) -> Self {
        let Conv2d { input, output, height, width, output_height, output_width, .. } = *shape;
        let Window { kernel, stride, padding } = shape.window;
        let rows_of = |row: usize| {
            let at = |number: usize| {
                let at = (row + padding).checked_sub(number).filter(|at| at.is_multiple_of(stride))?;
                Some(at / stride).filter(|line| *line < output_height)
            };
            (0..kernel).filter_map(|number| Some(Tap { number, at: at(number)? })).collect()
        };
        // The first pixel of a phase may see columns before the first, the last one columns behind the last.
        let before = (kernel - 1).saturating_sub(padding).div_ceil(stride);
        let phase = |first: usize| {
            let at = |number: usize| {
                let at = (first + padding + before * stride).checked_sub(number)?;
                at.is_multiple_of(stride).then_some(at / stride)
            };
            let columns = (0..kernel).filter_map(|number| Some(Tap { number, at: at(number)? })).collect();
            Phase { first, count: (width - first).div_ceil(stride), columns }
        };
        let phases: Vec<Phase> = (0..stride.min(width)).map(phase).collect();
        let end = |phase: &Phase| phase.columns.iter().map(|tap| tap.at + phase.count).max().unwrap_or(0);
        let columns = phases.iter().map(end).max().unwrap_or(0);
        Self {
            shape: *shape,
            backward: true,
            from: [output, output_height, output_width],
            to: [input, height, width],
            border: [before, columns.saturating_sub(before + output_width)],
            rows: (0..height).map(rows_of).collect(),
            phases,
            pixel_step: stride,
            seen_step: 1,
        }
    }

    fn compute<S: Simd>(&self, maps: &[f32], weights: &[f32], result: &mut [f32]) {
        if self.to[0] <= S::LANES {
            self.compute_by::<S, 1>(maps, weights, result)
        } else {
            self.compute_by::<S, 2>(maps, weights, result)
        }
    }

    fn compute_by<S: Simd, const NV: usize>(&self, maps: &[f32], weights: &[f32], result: &mut [f32]) {
        let ([channels, map_height, map_width], [_, height, width]) = (self.from, self.to);
        let Conv2d { batch, window: Window { kernel, .. }, .. } = self.shape;
        let (block, map_len) = (NV * S::LANES, channels * map_height * map_width);
        let weights = weights_by_blocks::<S, NV>(&self.shape, weights, self.backward);
        let columns = self.border[0] + map_width + self.border[1];
        // Whole vectors are written. Pixels that a tile reads are `seen_step` apart.
        let step = good_step(self.seen_step * channels.next_multiple_of(S::LANES)).div_ceil(self.seen_step);
        // Lines of the result that a task computes.
        let at_a_time = (LAID_OUT / (map_height * columns * step).div_ceil(height)).max(1);
        let enough = (4 * rayon::current_num_threads()).div_ceil(batch);
        let parts = height.div_ceil(at_a_time).max(enough).min(height);
        let y = Shared::new(result);
        parallel(batch * parts, |task| {
            let (image, lines) = (task / parts, part(height, task % parts, parts));
            let rows = self.rows_seen(lines.clone());
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
        let (channels, width, block) = (self.from[0], self.to[2], NV * S::LANES);
        let kernel = self.shape.window.kernel;
        // Lines that follow each other, and so does what they see, are one long line.
        let at_once = if self.shape.window == Window::PIXEL { lines.len() } else { 1 };
        let mut segments = Vec::with_capacity(kernel * kernel);
        for (sums, line) in sums.chunks_exact_mut(at_once * width * block).zip(lines.step_by(at_once)) {
            for phase in &self.phases {
                segments.clear();
                for row in &self.rows[line] {
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
                        a_apart: self.seen_step * pixels.step,
                        b_apart: 0,
                        c: sums.as_mut_ptr().add(phase.first * block),
                        c_row: self.pixel_step * block,
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
        let ([channels, height, width], block) = (self.to, NV * S::LANES);
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

    /// The rows of the maps that some lines of the result see.
    fn rows_seen(&self, lines: Range<usize>) -> Range<usize> {
        let rows = self.rows[lines].iter().flatten().map(|tap| tap.at);
        let (first, last) = rows.fold((usize::MAX, 0), |(first, last), row| (row.min(first), row.max(last)));
        if first > last { 0..0 } else { first..last + 1 }
    }

    /// Lays out some rows of a map `[channel, height, width]` as `[row][column with border][channel]`, pixels `step` values apart.
    fn lay_out<S: Simd>(&self, map: &[f32], rows: Range<usize>, step: usize, to: &mut [f32]) {
        let ([_, _, width], [before, behind]) = (self.from, self.border);
        let columns = before + width + behind;
        for row in to.chunks_exact_mut(columns * step) {
            row[..before * step].fill(0.0);
            row[(before + width) * step..].fill(0.0);
        }
        let start = to.as_mut_ptr().wrapping_add(before * step);
        let grid = Grid { start, row_step: columns, vector_step: step };
        // SAFETY: the rows lie within the map, and there is room for them between the borders.
        unsafe { interleave::<S>(map, self.from, rows, grid) }
    }
}
