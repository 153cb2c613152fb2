//! Max-pool and global average pool.

use crate::Kernels;
use crate::direct::scatter;
use crate::parallel::for_each_piece;
use crate::shape::{Features, LARGEST_BORDERED_POOL, Pool, Result, Window, check_length};
use crate::simd::{Simd, Task, plain};

/// Planes that a task of the global pool handles.
const PLANES: usize = 64;

impl Kernels {
    /// Maximum of every window. NaN counts as largest.
    pub fn max_pool(&self, shape: &Pool, x: &[f32], result: &mut [f32]) -> Result {
        check_length("the input", shape.input_len(), x.len())?;
        check_length("the result", shape.output_len(), result.len())?;
        let [from, to] = shape.plane_lens();
        for_each_piece(result, to, |plane, y| self.compute(max_plane(shape, &x[plane * from..][..from], y)));
        Ok(())
    }

    /// Gradient of the max-pool's input `x`: each result's gradient goes to the first maximum of its window.
    pub fn max_pool_backward(&self, shape: &Pool, x: &[f32], gradient: &[f32], result: &mut [f32]) -> Result {
        check_length("the input", shape.input_len(), x.len())?;
        check_length("the gradient", shape.output_len(), gradient.len())?;
        check_length("the gradient of the input", shape.input_len(), result.len())?;
        let [from, to] = shape.plane_lens();
        for_each_piece(result, from, |plane, dx| {
            let (x, gradient) = (&x[plane * from..][..from], &gradient[plane * to..][..to]);
            self.compute(max_plane_backward(shape, x, gradient, dx));
        });
        Ok(())
    }

    /// Mean over pixels: `[batch, channels]`.
    pub fn global_average_pool(&self, shape: &Features, x: &[f32], result: &mut [f32]) -> Result {
        check_length("the input", shape.len(), x.len())?;
        check_length("the result", shape.batch * shape.channels, result.len())?;
        for_each_piece(result, PLANES, |task, means| {
            let planes = x[task * PLANES * shape.pixels..].chunks_exact(shape.pixels);
            // SAFETY: the task reads its own slice only.
            means.iter_mut().zip(planes).for_each(|(mean, x)| *mean = unsafe { self.run(Mean(x)) });
        });
        Ok(())
    }

    /// Gradient of the global average pool's input.
    pub fn global_average_pool_backward(&self, shape: &Features, gradient: &[f32], result: &mut [f32]) -> Result {
        check_length("the gradient", shape.batch * shape.channels, gradient.len())?;
        check_length("the gradient of the input", shape.len(), result.len())?;
        for_each_piece(result, PLANES * shape.pixels, |task, planes| {
            for (dx, gradient) in planes.chunks_exact_mut(shape.pixels).zip(&gradient[task * PLANES..]) {
                dx.fill(gradient / shape.pixels as f32);
            }
        });
        Ok(())
    }
}

/// The larger of both; NaN counts as largest, and the first of equals stays.
#[inline(always)]
fn larger(a: f32, b: f32) -> f32 {
    if b > a || b.is_nan() { b } else { a }
}

/// The image rows or columns that a window sees.
#[inline(always)]
pub(crate) fn seen(position: usize, window: Window, side: usize) -> std::ops::Range<usize> {
    let start = position * window.stride;
    start.saturating_sub(window.padding)..(start + window.kernel - window.padding).min(side)
}

plain! {
    /// Maximum of every window of a plane.
    fn max_plane(shape: &'a Pool, x: &'a [f32], y: &'a mut [f32]) {
        let Pool { window: Window { kernel, stride, padding }, height, width, output_width, .. } = *shape;
        if !is_small(shape) {
            for (i, y) in y.iter_mut().enumerate() {
                *y = x[first_maximum(shape, x, i)];
            }
            return;
        }
        // First the maximum over the window's rows, for all columns at once. A border of -infinity leaves every maximum
        // as it is, and all windows have the same width then.
        let mut columns = vec![f32::NEG_INFINITY; width + 2 * padding];
        for (row, y) in y.chunks_exact_mut(output_width).enumerate() {
            let rows = seen(row, shape.window, height);
            let inside = &mut columns[padding..padding + width];
            inside.copy_from_slice(&x[rows.start * width..][..width]);
            for row in rows.skip(1) {
                let row = &x[row * width..][..width];
                inside.iter_mut().zip(row).for_each(|(most, x)| *most = larger(*most, *x));
            }
            // With the stride known to the compiler, several windows at once.
            match stride {
                1 => most_of_windows(&columns, y, kernel, 1),
                2 => most_of_windows(&columns, y, kernel, 2),
                _ => most_of_windows(&columns, y, kernel, stride),
            }
        }
    }

    /// Every result's gradient goes to the first maximum of its window, row by row.
    fn max_plane_backward(shape: &'a Pool, x: &'a [f32], gradient: &'a [f32], dx: &'a mut [f32]) {
        let Pool { window: Window { kernel, stride, padding }, height, width, output_width, .. } = *shape;
        dx.fill(0.0);
        if !is_small(shape) {
            for (i, gradient) in gradient.iter().enumerate() {
                dx[first_maximum(shape, x, i)] += gradient;
            }
            return;
        }
        // The columns of every row sorted by their remainder by the stride: then each tap of the window reads the values
        // of neighbouring results from neighbouring memory. A border of -infinity is never a maximum.
        let sorted = shape.window.sorted_columns(width, padding);
        let row_len = sorted * stride;
        let mut rows = vec![f32::NEG_INFINITY; height * row_len];
        for (to, from) in rows.chunks_exact_mut(row_len).zip(x.chunks_exact(width)) {
            scatter(from, to, stride, padding, sorted);
        }
        let (mut values, mut taps) = (vec![0.0f32; output_width], vec![0u32; output_width]);
        for (row, gradient) in gradient.chunks_exact(output_width).enumerate() {
            values.fill(f32::NEG_INFINITY);
            taps.fill(NO_TAP);
            for y in seen(row, shape.window, height) {
                for b in 0..kernel {
                    let from = &rows[y * row_len + b % stride * sorted + b / stride..][..output_width];
                    let tap = (y * kernel + b) as u32;
                    for ((value, best), x) in values.iter_mut().zip(&mut taps).zip(from) {
                        let better = comes_before(*x, *value);
                        *value = if better { *x } else { *value };
                        *best = if better { tap } else { *best };
                    }
                }
            }
            for (column, (tap, gradient)) in taps.iter().zip(gradient).enumerate() {
                let place = match *tap {
                    // All values of the window are -infinity.
                    NO_TAP => first_maximum(shape, x, row * output_width + column),
                    tap => tap as usize / kernel * width + column * stride + tap as usize % kernel - padding,
                };
                dx[place] += gradient;
            }
        }
    }
}

/// Maximum of windows of `kernel` values, `stride` apart.
#[inline(always)]
fn most_of_windows(x: &[f32], y: &mut [f32], kernel: usize, stride: usize) {
    y.iter_mut().zip(x.iter().step_by(stride)).for_each(|(y, x)| *y = *x);
    for k in 1..kernel {
        y.iter_mut().zip(x[k..].iter().step_by(stride)).for_each(|(y, x)| *y = larger(*y, *x));
    }
}

const NO_TAP: u32 = u32::MAX;

/// Whether borders are short and rows times taps fit 32 bits: so it is for all but absurd shapes.
fn is_small(shape: &Pool) -> bool {
    shape.window.kernel <= LARGEST_BORDERED_POOL && shape.height < u32::MAX as usize / LARGEST_BORDERED_POOL
}

/// Where the maximum of result `i`'s window comes first.
fn first_maximum(shape: &Pool, x: &[f32], i: usize) -> usize {
    let columns = seen(i % shape.output_width, shape.window, shape.width);
    let rows = seen(i / shape.output_width, shape.window, shape.height);
    let mut best = rows.start * shape.width + columns.start;
    for row in rows {
        for at in row * shape.width + columns.start..row * shape.width + columns.end {
            if comes_before(x[at], x[best]) {
                best = at;
            }
        }
    }
    best
}

/// Whether x is a maximum rather than y, which came first: it is larger, or the only NaN of both. Without branches, which
/// nothing could predict.
#[inline(always)]
pub(crate) fn comes_before(x: f32, y: f32) -> bool {
    (x > y) | (x.is_nan() & !y.is_nan())
}

/// Mean of a plane.
struct Mean<'a>(&'a [f32]);

impl Task for Mean<'_> {
    type Output = f32;

    #[inline(always)]
    unsafe fn run<S: Simd>(self) -> f32 {
        let chunks = self.0.chunks_exact(S::LANES);
        let rest: f32 = chunks.remainder().iter().sum();
        // SAFETY: a chunk is a vector.
        let sum = unsafe {
            let sums = chunks.fold(S::zero(), |sum, x| S::add(sum, S::load(x.as_ptr())));
            S::sum(sums)
        };
        (sum + rest) / self.0.len() as f32
    }
}
