//! Forward: rows are output channels, columns results, the inner dimension all taps of all channels.

use std::ops::Range;

use super::matrix::Matrix;
use super::pack::{Pack, Results};
use super::source::Source;
use super::{lines, panel};
use crate::gemm::{Gemm, ROWS_APART, Segment};
use crate::parallel::{Shared, parallel};
use crate::shape::Conv2d;
use crate::simd::Simd;
use crate::workspace::buffer;

/// Values of a panel. Half of it would leave room in the first-level cache, but results would be added to twice as often.
const PANEL: usize = 8192;
/// Panels that a task computes: the weights of a panel's taps are read from the second-level cache for all but the first.
const PANELS: usize = 8;

/// Panels up to which all of them are laid out first.
const FEW_PANELS: usize = 4;
/// Tasks there are then, if there are channels enough.
const TASKS: usize = 16;

/// Result `[batch, output, output_height, output_width]`. However many images there are, an image's results are the same sums in
/// the same order.
pub(crate) fn forward<S: Simd>(shape: &Conv2d, images: &[f32], weights: &[f32], result: &mut [f32]) {
    // `lines` sums taps first, panels channels first: for windows with several taps the choice must not depend on the batch.
    if lines::is_faster(shape) && (shape.window.kernel > 1 || !are_few::<S>(shape)) {
        return lines::forward::<S>(shape, images, weights, result);
    }
    multiply::<S>(shape, images, &Matrix::new(weights, weights.len() / shape.output), result)
}

/// Whether there are so few results that the weights are most of what is read.
pub(super) fn are_few<S: Simd>(shape: &Conv2d) -> bool {
    shape.batch * shape.output_height * shape.output_width <= FEW_PANELS * panel::<S>()
}

/// The weights `[output, taps]` times the panels of all results.
pub(super) fn multiply<S: Simd>(shape: &Conv2d, images: &[f32], weights: &Matrix, result: &mut [f32]) {
    if shape.batch * shape.output_height * shape.output_width <= S::LANES {
        few_results::<S, 1>(shape, images, weights, result)
    } else if are_few::<S>(shape) {
        few_results::<S, 2>(shape, images, weights, result)
    } else {
        by_panels::<S>(shape, images, weights, result)
    }
}

/// Many results: a task lays out some panels and multiplies them with the weights of all output channels.
fn by_panels<S: Simd>(shape: &Conv2d, images: &[f32], weights: &Matrix, result: &mut [f32]) {
    let source = Source::new::<S>(shape, images);
    let geometry = source.geometry;
    let results = geometry.results(shape.batch);
    let taps = geometry.taps();
    let (output, width) = (shape.output, panel::<S>());
    let panels = results.len().div_ceil(width);
    let depth = even_depth(taps.len(), width);
    let some = PANELS.min(panels.div_ceil(4 * rayon::current_num_threads()));
    // The panels cover all results, and all output channels are rows of each.
    let y = Shared::new(result);
    parallel(panels.div_ceil(some), |task| {
        let panels = task * some..((task + 1) * some).min(panels);
        let row = panels.len() * width;
        let mut packed = buffer(depth * width + S::LANES);
        // [channel][result]
        let mut sums = buffer(output * row);
        let mut runs = Vec::with_capacity(width);
        for (chunk, taps_now) in taps.chunks(depth).enumerate() {
            for (i, number) in panels.clone().enumerate() {
                results.runs(number * width, width, &mut runs);
                // SAFETY: runs and taps stay within the source; there is room for the panel and its sums.
                unsafe {
                    S::vectorize(Pack {
                        from: source.data.as_ptr(),
                        taps: taps_now,
                        runs: &runs,
                        width,
                        to: packed.as_mut_ptr(),
                    });
                    S::vectorize(Gemm::<2, ROWS_APART> {
                        rows: output,
                        segments: &[Segment {
                            a: weights.values.as_ptr().add(chunk * depth),
                            b: packed.as_ptr(),
                            depth: taps_now.len(),
                        }],
                        a_apart: weights.step,
                        b_apart: 0,
                        c: sums.as_mut_ptr().add(i * width),
                        c_row: row,
                        accumulate: chunk > 0,
                    });
                }
            }
        }
        // SAFETY: the panels' results are this task's own.
        unsafe { write(&sums, row, &results, panels.start * width, 0..output, output, y) }
    });
}

/// Writes sums of some of all `output` channels, rows of `row` results from `first` on, to where they belong.
///
/// # Safety
///
/// Nobody else uses these results.
unsafe fn write(
    sums: &[f32],
    row: usize,
    results: &Results,
    first: usize,
    channels: Range<usize>,
    output: usize,
    y: Shared,
) {
    let pixels = results.lines * results.line;
    let end = (first + row).min(results.len());
    for (channel, row) in channels.zip(sums.chunks_exact(row)) {
        let mut at = first;
        while at < end {
            let (image, pixel) = (at / pixels, at % pixels);
            let len = (pixels - pixel).min(end - at);
            // SAFETY: the channel exists; the rest is granted by the caller.
            unsafe {
                let to = y.at((image * output + channel) * pixels + pixel);
                std::ptr::copy_nonoverlapping(row[at - first..][..len].as_ptr(), to, len);
            }
            at += len;
        }
    }
}

/// Taps of a panel of so many columns: nearly as many in each, as few panels as hold all.
fn even_depth(taps: usize, width: usize) -> usize {
    taps.div_ceil(taps.div_ceil(PANEL / width))
}

/// Few results: the weights are most of what is read. All panels are laid out first; each task then has some output
/// channels, whose weights are read once.
fn few_results<S: Simd, const NV: usize>(shape: &Conv2d, images: &[f32], weights: &Matrix, result: &mut [f32]) {
    let source = Source::new::<S>(shape, images);
    let geometry = source.geometry;
    let results = geometry.results(shape.batch);
    let taps = geometry.taps();
    let (output, width) = (shape.output, NV * S::LANES);
    let (panels, depth) = (results.len().div_ceil(width), even_depth(taps.len(), width));
    let chunks = taps.len().div_ceil(depth);
    // What is copied may spill over into one vector more.
    let chunk_len = depth * width + S::LANES;
    let mut packed = buffer(panels * chunks * chunk_len);
    let all = Shared::new(&mut packed);
    parallel(panels * chunks, |task| {
        let (number, chunk) = (task / chunks, task % chunks);
        let mut runs = Vec::with_capacity(width);
        results.runs(number * width, width, &mut runs);
        // SAFETY: runs and taps stay within the source; each task has its own chunk.
        unsafe {
            S::vectorize(Pack {
                from: source.data.as_ptr(),
                taps: &taps[chunk * depth..((chunk + 1) * depth).min(taps.len())],
                runs: &runs,
                width,
                to: all.at(task * chunk_len),
            });
        }
    });
    let y = Shared::new(result);
    let rows = output.div_ceil(TASKS).next_multiple_of(S::ROWS);
    parallel(output.div_ceil(rows), |task| {
        let channels = task * rows..((task + 1) * rows).min(output);
        let row = panels * width;
        let mut sums = buffer(channels.len() * row);
        for number in 0..panels {
            let segment = |chunk: usize| Segment {
                a: weights.values[channels.start * weights.step + chunk * depth..].as_ptr(),
                // SAFETY: the chunk exists, and is only read from here on.
                b: unsafe { all.at((number * chunks + chunk) * chunk_len) },
                depth: depth.min(taps.len() - chunk * depth),
            };
            let segments: Vec<Segment> = (0..chunks).map(segment).collect();
            // SAFETY: the weights and the panels are there, and room for the sums.
            unsafe {
                S::vectorize(Gemm::<NV, ROWS_APART> {
                    rows: channels.len(),
                    segments: &segments,
                    a_apart: weights.step,
                    b_apart: 0,
                    c: sums.as_mut_ptr().add(number * width),
                    c_row: row,
                    accumulate: false,
                });
            }
        }
        // SAFETY: each task writes its own channels.
        unsafe { write(&sums, row, &results, 0, channels, output, y) }
    });
}
