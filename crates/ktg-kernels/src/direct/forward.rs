//! Forward: rows are output channels, columns results, the inner dimension all taps of all channels.

use std::ops::Range;

use super::pack::{Pack, Results};
use super::panel;
use super::source::{Matrix, Source};
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

/// Result `[batch, output, output_height, output_width]`.
pub(crate) fn forward<S: Simd>(shape: &Conv2d, images: &[f32], weights: &[f32], result: &mut [f32]) {
    multiply::<S>(shape, images, &Matrix::new(weights, shape.weight_len() / shape.output), result)
}

/// As [`forward`], with the weights `[output, taps]` as a matrix.
pub(super) fn multiply<S: Simd>(shape: &Conv2d, images: &[f32], weights: &Matrix, result: &mut [f32]) {
    let source = Source::new::<S>(shape, images);
    let geometry = source.geometry;
    let results = geometry.results(shape.batch);
    if results.len() <= S::LANES {
        return few_results::<S, 1>(shape, &source, weights, result);
    } else if results.len() <= FEW_PANELS * panel::<S>() {
        return few_results::<S, 2>(shape, &source, weights, result);
    }
    let weights = weights.spread_out();
    let taps = geometry.taps();
    let (output, pixels, width) = (shape.output, results.lines * results.line, panel::<S>());
    let panels = results.len().div_ceil(width);
    let depth = PANEL / width;
    let some = PANELS.min(panels.div_ceil(4 * rayon::current_num_threads()));
    // The panels cover all results, and all output channels are rows of each.
    let y = Shared::new(result);
    parallel(panels.div_ceil(some), |task| {
        let mut packed = buffer(depth.min(taps.len()) * width + S::LANES);
        let mut spill = buffer(some * output * width);
        let mut runs = Vec::with_capacity(width);
        for (chunk, taps_now) in taps.chunks(depth).enumerate() {
            for (i, number) in (task * some..((task + 1) * some).min(panels)).enumerate() {
                let first = number * width;
                results.runs(first, width, &mut runs);
                let (image, at) = (first / pixels, first % pixels);
                // SAFETY: runs and taps stay within the source; a panel's results are this task's own, and
                // lie side by side where it ends within the image where it starts.
                unsafe {
                    let (c, c_row) = if at + width <= pixels {
                        (y.at(image * output * pixels + at), pixels)
                    } else {
                        (spill.as_mut_ptr().add(i * output * width), width)
                    };
                    S::vectorize(Pack {
                        from: source.data.as_ptr(),
                        taps: taps_now,
                        runs: &runs,
                        width,
                        to: packed.as_mut_ptr(),
                    });
                    let a = weights.values.as_ptr().add(chunk * depth);
                    S::vectorize(Gemm::<2, ROWS_APART> {
                        rows: output,
                        segments: &[Segment { a, b: packed.as_ptr(), depth: taps_now.len() }],
                        a_row: weights.step,
                        c,
                        c_row,
                        accumulate: chunk > 0,
                    });
                }
            }
        }
        for (i, number) in (task * some..((task + 1) * some).min(panels)).enumerate() {
            let first = number * width;
            if first % pixels + width > pixels {
                let spill = &spill[i * output * width..][..output * width];
                // SAFETY: a panel's results are this task's own.
                unsafe { move_spill(spill, width, &results, first, 0..output, output, y) };
            }
        }
    });
}

/// Writes the results of a panel from `first` on, `[channel][result]`, of some of all `output` channels, to where they belong.
///
/// # Safety
///
/// Nobody else uses these results.
unsafe fn move_spill(
    spill: &[f32],
    width: usize,
    results: &Results,
    first: usize,
    channels: Range<usize>,
    output: usize,
    y: Shared,
) {
    let pixels = results.lines * results.line;
    for column in 0..width.min(results.len() - first) {
        let (image, at) = ((first + column) / pixels, (first + column) % pixels);
        for (channel, row) in channels.clone().zip(spill.chunks_exact(width)) {
            // SAFETY: the channel exists; the rest is granted by the caller.
            unsafe { *y.at((image * output + channel) * pixels + at) = row[column] };
        }
    }
}

/// Few results: the weights are most of what is read. All panels are laid out first; each task then has some output
/// channels, whose weights are read once.
fn few_results<S: Simd, const NV: usize>(shape: &Conv2d, source: &Source, weights: &Matrix, result: &mut [f32]) {
    let geometry = source.geometry;
    let results = geometry.results(shape.batch);
    let taps = geometry.taps();
    let (output, pixels, width) = (shape.output, results.lines * results.line, NV * S::LANES);
    let (panels, depth) = (results.len().div_ceil(width), PANEL / width);
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
        let mut spill = buffer(channels.len() * width);
        for number in 0..panels {
            let segment = |chunk: usize| Segment {
                a: weights.values[channels.start * weights.step + chunk * depth..].as_ptr(),
                // SAFETY: the chunk exists, and is only read from here on.
                b: unsafe { all.at((number * chunks + chunk) * chunk_len) },
                depth: depth.min(taps.len() - chunk * depth),
            };
            let segments: Vec<Segment> = (0..chunks).map(segment).collect();
            let first = number * width;
            let (image, at) = (first / pixels, first % pixels);
            let is_in_place = at + width <= pixels;
            // SAFETY: each task writes its own channels, in place where the panel's results lie side by side.
            unsafe {
                let (c, c_row) = match is_in_place {
                    true => (y.at((image * output + channels.start) * pixels + at), pixels),
                    false => (spill.as_mut_ptr(), width),
                };
                S::vectorize(Gemm::<NV, ROWS_APART> {
                    rows: channels.len(),
                    segments: &segments,
                    a_row: weights.step,
                    c,
                    c_row,
                    accumulate: false,
                });
                if !is_in_place {
                    move_spill(&spill, width, &results, first, channels.clone(), output, y);
                }
            }
        }
    });
}
