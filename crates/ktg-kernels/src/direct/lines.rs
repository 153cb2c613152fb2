//! Forward, and backward to the images, with the result's channels side by side in vectors: a tile has pixels of a line of the
//! result. Maps are laid out pixel by pixel, and tiles read them from there: no panels are copied, which takes a good part of
//! the time where the result has few channels.

use std::ops::Range;

use super::blocks::gather;
use super::source::{Source, good_step};
use crate::gemm::{Gemm, ROWS_APART, Segment};
use crate::parallel::{Shared, parallel, part};
use crate::planes::{Grid, Planes, Read, Write};
use crate::shape::{Conv2d, Window};
use crate::simd::Simd;
use crate::workspace::buffer;

/// Values of a map that a task lays out, about a quarter of a second-level cache.
const LAID_OUT: usize = 64 << 10;

/// Whether this is the faster way forward, whatever the batch.
pub(super) fn is_faster(shape: &Conv2d) -> bool {
    let Conv2d { input, output_height, output_width, window, .. } = *shape;
    input >= 16 && (window.kernel == 1 || output_height * output_width >= 196)
}

/// Whether it is backward.
pub(super) fn is_faster_backward(shape: &Conv2d) -> bool {
    shape.output >= 16
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
        let ([from, map_height, map_width], [to, height, width]) = (self.from, self.to);
        let Conv2d { batch, window: Window { kernel, .. }, .. } = self.shape;
        let (block, map_len) = (NV * S::LANES, from * map_height * map_width);
        let block_len = kernel * kernel * from * block;
        let weights = gather::<S, NV>(&self.shape, weights, self.backward);
        let columns = self.border[0] + map_width + self.border[1];
        // From one pixel to the next. Whole vectors are written.
        let step = good_step(self.seen_step * from.next_multiple_of(S::LANES)).div_ceil(self.seen_step);
        // Lines of the result that a task computes.
        let at_a_time = (LAID_OUT * height / (map_height * columns * step)).max(1);
        let enough = (4 * rayon::current_num_threads()).div_ceil(batch);
        let parts = height.div_ceil(at_a_time).max(enough).min(height);
        let y = Shared::new(result);
        parallel(batch * parts, |task| {
            let (image, lines) = (task / parts, part(height, task % parts, parts));
            let rows = self.rows_seen(lines.clone());
            let mut x = buffer(rows.len() * columns * step);
            self.lay_out::<S>(&maps[image * map_len..][..map_len], rows.clone(), step, &mut x);
            // Lines that follow each other, and so does what they see, are one long line.
            let at_once = if self.shape.window == Window::PIXEL { lines.len() } else { 1 };
            // [line][pixel][channel of the block]
            let mut sums = buffer(lines.len() * width * block);
            let mut segments = Vec::with_capacity(kernel * kernel);
            for (number, weights) in weights.chunks_exact(block_len).enumerate() {
                for (i, sums) in sums.chunks_exact_mut(at_once * width * block).enumerate() {
                    let line = lines.start + i * at_once;
                    for phase in &self.phases {
                        segments.clear();
                        for row in &self.rows[line] {
                            for column in &phase.columns {
                                segments.push(Segment {
                                    a: x[((row.at - rows.start) * columns + column.at) * step..].as_ptr(),
                                    b: weights[(row.number * kernel + column.number) * from * block..].as_ptr(),
                                    depth: from,
                                });
                            }
                        }
                        // SAFETY: a row of A is a pixel that one of the phase sees, of B one channel's weights; there is
                        // room for the sums.
                        unsafe {
                            S::vectorize(Gemm::<NV, ROWS_APART> {
                                rows: at_once * phase.count,
                                segments: &segments,
                                a_row: self.seen_step * step,
                                c: sums.as_mut_ptr().add(phase.first * block),
                                c_row: self.pixel_step * block,
                                accumulate: false,
                            });
                        }
                    }
                }
                for (half, channel) in (number * block..to.min((number + 1) * block)).step_by(S::LANES).enumerate() {
                    // SAFETY: each task writes its own lines.
                    unsafe {
                        let start = y.at(((image * to + channel) * height + lines.start) * width);
                        let channels = S::LANES.min(to - channel);
                        let planes = Planes { start, stride: height * width, channels, width };
                        let from =
                            Grid { start: sums[half * S::LANES..].as_ptr(), row_step: width, vector_step: block };
                        S::vectorize(Write { planes, rows: 0..lines.len(), from });
                    }
                }
            }
        });
    }

    /// The rows of the maps that some lines of the result see.
    fn rows_seen(&self, lines: Range<usize>) -> Range<usize> {
        let rows = self.rows[lines].iter().flatten().map(|tap| tap.at);
        let (first, last) = rows.fold((usize::MAX, 0), |(first, last), row| (row.min(first), row.max(last)));
        if first > last { 0..0 } else { first..last + 1 }
    }

    /// Lays out some rows of a map `[channel, height, width]` as `[row][column with border][channel]`, pixels `step` values apart.
    fn lay_out<S: Simd>(&self, map: &[f32], rows: Range<usize>, step: usize, to: &mut [f32]) {
        let ([channels, height, width], [before, behind]) = (self.from, self.border);
        let columns = before + width + behind;
        for row in to.chunks_exact_mut(columns * step) {
            row[..before * step].fill(0.0);
            row[(before + width) * step..].fill(0.0);
        }
        for channel in (0..channels).step_by(S::LANES) {
            let planes = Planes {
                start: map[channel * height * width..].as_ptr(),
                stride: height * width,
                channels: S::LANES.min(channels - channel),
                width,
            };
            // SAFETY: the rows lie within the map, and there is room for them between the borders.
            unsafe {
                let start = to.as_mut_ptr().wrapping_add(before * step + channel);
                S::vectorize(Read {
                    planes,
                    rows: rows.clone(),
                    to: Grid { start, row_step: columns, vector_step: step },
                })
            }
        }
    }
}
