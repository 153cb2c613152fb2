//! Forward: rows are output channels, columns results, the inner dimension all taps of all channels.

use super::pack::Pack;
use super::panel;
use super::source::Source;
use crate::gemm::{Gemm, ROWS_APART, Segment};
use crate::parallel::{Shared, parallel};
use crate::shape::Conv2d;
use crate::simd::Simd;
use crate::workspace::buffer;

/// Values of a panel: it stays in the first-level cache.
const PANEL: usize = 4096;
/// Panels that a task computes: the weights of a panel's taps are read from the second-level cache for all but the first.
const PANELS: usize = 8;

/// Result `[batch, output, output_height, output_width]`.
pub(crate) fn forward<S: Simd>(shape: &Conv2d, images: &[f32], weights: &[f32], result: &mut [f32]) {
    let source = Source::new(shape, images);
    let geometry = source.geometry;
    let results = geometry.results(shape.batch);
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
                        to: packed.as_mut_ptr(),
                    });
                    let a = weights.as_ptr().add(chunk * depth);
                    S::vectorize(Gemm::<2, ROWS_APART> {
                        rows: output,
                        segments: &[Segment { a, b: packed.as_ptr(), depth: taps_now.len() }],
                        a_row: taps.len(),
                        c,
                        c_row,
                        accumulate: chunk > 0,
                    });
                }
            }
        }
        for (i, number) in (task * some..((task + 1) * some).min(panels)).enumerate() {
            let first = number * width;
            if first % pixels + width <= pixels {
                continue;
            }
            let spill = &spill[i * output * width..][..output * width];
            for column in 0..width.min(results.len() - first) {
                let (image, at) = ((first + column) / pixels, (first + column) % pixels);
                for (channel, row) in spill.chunks_exact(width).enumerate() {
                    // SAFETY: as above.
                    unsafe { *y.at((image * output + channel) * pixels + at) = row[column] };
                }
            }
        }
    });
}
