//! Backward to the weights: rows are input channels as one tap sees them, columns output channels, the inner dimension
//! all results.

use super::matrix::good_step;
use super::source::{Data, Geometry, Source};
use crate::gemm::{COLUMNS_APART, Gemm, ROWS_APART, Segment};
use crate::parallel::{Shared, parallel, part};
use crate::planes::{Grid, Planes, Read, interleave};
use crate::shape::{Conv2d, Window};
use crate::simd::Simd;
use crate::workspace::{Buffer, buffer};

/// Results multiplied at a time: their gradients, channels side by side, stay in the first-level cache.
const RESULTS: usize = 384;
/// Tasks there should be at least. Where there are fewer blocks of output channels, parts of the batch have their own
/// sums. (Not the number of threads, on which results must not depend.)
const TASKS: usize = 16;

/// Input channels from which on a pixel's fill cache lines.
const CHANNELS: usize = 16;
/// Blocks of output channels up to which images are laid out pixel by pixel, once a block, which costs less than reading
/// planes from afar does. Measured for both vector lengths.
const BLOCKS: usize = 4;

/// Gradient of the weights.
pub(crate) fn backward_weights<S: Simd>(shape: &Conv2d, images: &[f32], gradient: &[f32], result: &mut [f32]) {
    let Conv2d { input, output, window, .. } = *shape;
    let blocks = output.div_ceil(2 * S::LANES);
    let by_pixels = window.kernel > 1 && input >= CHANNELS && blocks <= BLOCKS;
    match (output <= S::LANES, by_pixels) {
        (true, true) => by_blocks::<S, 1, COLUMNS_APART>(shape, images, gradient, result),
        (true, false) => by_blocks::<S, 1, ROWS_APART>(shape, images, gradient, result),
        (false, true) => by_blocks::<S, 2, COLUMNS_APART>(shape, images, gradient, result),
        (false, false) => by_blocks::<S, 2, ROWS_APART>(shape, images, gradient, result),
    }
}

/// Where in an image that is laid out, by planes (`ROWS_APART`) or pixel by pixel (`COLUMNS_APART`), taps see what they see.
struct Layout {
    /// By tap, what it sees of the first channel for the first result.
    taps: Vec<usize>,
    /// From one line of results to the next, and from one result to the next.
    line_step: usize,
    result_step: usize,
    /// From one channel to the next by planes, from one result to the next by pixels.
    apart: usize,
    image_len: usize,
}

impl Layout {
    fn planes(geometry: &Geometry) -> Self {
        let Geometry { line_step, plane_len, image_len, window: Window { kernel, .. }, .. } = *geometry;
        let taps = (0..kernel * kernel).map(|tap| geometry.tap(tap / kernel, tap % kernel)).collect();
        Self { taps, line_step, result_step: 1, apart: plane_len, image_len }
    }

    /// `[row][column][channel]` with a border of zeros.
    fn pixels<S: Simd>(shape: &Conv2d) -> Self {
        let Window { kernel, stride, padding } = shape.window;
        let (pixel, columns) = (pixel_len::<S>(shape), shape.width + 2 * padding);
        let taps = (0..kernel * kernel).map(|tap| (tap / kernel * columns + tap % kernel) * pixel).collect();
        let image_len = (shape.height + 2 * padding) * columns * pixel;
        let apart = stride * pixel;
        Self { taps, line_step: stride * columns * pixel, result_step: apart, apart, image_len }
    }
}

/// Values of a pixel that is laid out: whole vectors.
fn pixel_len<S: Simd>(shape: &Conv2d) -> usize {
    good_step(shape.input.next_multiple_of(S::LANES))
}

/// An image of the batch pixel by pixel, as [`Layout::pixels`] says.
fn pixels_of<S: Simd>(shape: &Conv2d, images: &[f32], number: usize) -> Buffer {
    let Conv2d { input, height, width, window: Window { padding, .. }, .. } = *shape;
    let image = &images[number * input * height * width..];
    let (pixel, columns) = (pixel_len::<S>(shape), width + 2 * padding);
    let mut result = buffer((height + 2 * padding) * columns * pixel);
    let (above, rest) = result.split_at_mut(padding * columns * pixel);
    let (rows, below) = rest.split_at_mut(height * columns * pixel);
    above.fill(0.0);
    below.fill(0.0);
    for row in rows.chunks_exact_mut(columns * pixel) {
        row[..padding * pixel].fill(0.0);
        row[(padding + width) * pixel..].fill(0.0);
    }
    let start = rows.as_mut_ptr().wrapping_add(padding * pixel);
    // SAFETY: the rows have room for the image's, between their borders.
    unsafe {
        interleave::<S>(image, [input, height, width], 0..height, Grid { start, row_step: columns, vector_step: pixel })
    }
    result
}

fn by_blocks<S: Simd, const NV: usize, const A: u8>(
    shape: &Conv2d,
    images: &[f32],
    gradient: &[f32],
    result: &mut [f32],
) {
    let geometry = Geometry::new(shape);
    let Conv2d { batch, input, output, window, .. } = *shape;
    let taps = window.kernel * window.kernel;
    let layout = if A == ROWS_APART { Layout::planes(&geometry) } else { Layout::pixels::<S>(shape) };
    let block = NV * S::LANES;
    let blocks = output.div_ceil(block);
    // Many blocks read the same planes; a single one's tasks lay out the images of their part themselves, and read from near.
    let of_batch = A == ROWS_APART && (blocks > 1 || window == Window::PIXEL);
    let all = of_batch.then(|| Source::new::<S>(shape, images));
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
            let own;
            let seen = match &all {
                Some(all) => &all.data[image * layout.image_len..][..layout.image_len],
                None => {
                    own = match A {
                        ROWS_APART => Source::of_image::<S>(shape, images, image).data,
                        _ => Data::Made(pixels_of::<S>(shape, images, image)),
                    };
                    &own
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
                    let start = first_line * layout.line_step + first * layout.result_step;
                    for (tap, offset) in layout.taps.iter().enumerate() {
                        segments.clear();
                        segments.extend((0..lines_now).map(|y| Segment {
                            a: seen[start + offset + y * layout.line_step..].as_ptr(),
                            b: columns.as_ptr().wrapping_add(y * now * block),
                            depth: now,
                        }));
                        // SAFETY: every tap's pixels are within the source.
                        unsafe {
                            S::vectorize(Gemm::<NV, A> {
                                rows: input,
                                segments: &segments,
                                a_apart: layout.apart,
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
