//! Max-pool and global average pool.

use crate::parallel::{Shared, filled, parallel};
use crate::shape::{Features, Pool, Window};
use crate::simd::{Simd, Task};

/// The larger of both; NaN counts as largest, and the first of equals stays.
#[inline(always)]
fn larger(a: f32, b: f32) -> f32 {
    if b > a || b.is_nan() { b } else { a }
}

/// The image rows or columns that a window sees.
#[inline(always)]
fn seen(position: usize, window: Window, side: usize) -> std::ops::Range<usize> {
    let start = position * window.stride;
    start.saturating_sub(window.padding)..(start + window.kernel - window.padding).min(side)
}

/// Maximum of every window: `[planes, output_height, output_width]`.
pub(crate) fn max_pool<S: Simd>(shape: &Pool, x: &[f32]) -> Vec<f32> {
    let (from, to) = (shape.height * shape.width, shape.output_height * shape.output_width);
    let body = |y: Shared| {
        parallel(shape.planes, |plane| {
            // SAFETY: each task writes its own plane.
            let y = unsafe { std::slice::from_raw_parts_mut(y.at(plane * to), to) };
            // SAFETY: safe code compiled for the level's instructions.
            unsafe { S::vectorize(MaxPlane { shape, x: &x[plane * from..][..from], y }) }
        });
    };
    // SAFETY: all planes are written.
    unsafe { filled(shape.output_len(), body) }
}

struct MaxPlane<'a> {
    shape: &'a Pool,
    x: &'a [f32],
    y: &'a mut [f32],
}

impl Task for MaxPlane<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Pool { window, height, width, output_width, .. } = *self.shape;
        // First the maximum over the window's rows, for all columns at once.
        let mut columns = vec![0.0; width];
        for (row, y) in self.y.chunks_exact_mut(output_width).enumerate() {
            let rows = seen(row, window, height);
            columns.copy_from_slice(&self.x[rows.start * width..][..width]);
            for row in rows.skip(1) {
                let row = &self.x[row * width..][..width];
                columns.iter_mut().zip(row).for_each(|(most, x)| *most = larger(*most, *x));
            }
            for (column, y) in y.iter_mut().enumerate() {
                let seen = &columns[seen(column, window, width)];
                *y = seen[1..].iter().fold(seen[0], |most, x| larger(most, *x));
            }
        }
    }
}

/// Gradient of the input: every result's gradient goes to the first maximum of its window, row by row.
pub(crate) fn max_pool_backward<S: Simd>(shape: &Pool, x: &[f32], gradient: &[f32]) -> Vec<f32> {
    let (from, to) = (shape.height * shape.width, shape.output_height * shape.output_width);
    let body = |dx: Shared| {
        parallel(shape.planes, |plane| {
            // SAFETY: each task writes its own plane.
            let dx = unsafe { std::slice::from_raw_parts_mut(dx.at(plane * from), from) };
            let (x, gradient) = (&x[plane * from..][..from], &gradient[plane * to..][..to]);
            // SAFETY: safe code compiled for the level's instructions.
            unsafe { S::vectorize(MaxPlaneBackward { shape, x, gradient, dx }) }
        });
    };
    // SAFETY: all planes are written.
    unsafe { filled(shape.input_len(), body) }
}

struct MaxPlaneBackward<'a> {
    shape: &'a Pool,
    x: &'a [f32],
    gradient: &'a [f32],
    dx: &'a mut [f32],
}

impl Task for MaxPlaneBackward<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Pool { window, height, width, output_width, .. } = *self.shape;
        self.dx.fill(0.0);
        for (row, gradient) in self.gradient.chunks_exact(output_width).enumerate() {
            let rows = seen(row, window, height);
            for (column, gradient) in gradient.iter().enumerate() {
                let columns = seen(column, window, width);
                let mut place = rows.start * width + columns.start;
                let mut most = self.x[place];
                for row in rows.clone() {
                    for column in columns.clone() {
                        let x = self.x[row * width + column];
                        // The first NaN stays, unlike in `larger`, which may take any: they look the same.
                        if x > most || (x.is_nan() && !most.is_nan()) {
                            (most, place) = (x, row * width + column);
                        }
                    }
                }
                self.dx[place] += gradient;
            }
        }
    }
}

/// Planes that a task of the global pool handles at least.
const PLANES: usize = 64;

/// Mean of every plane: `[batch, channels]`.
pub(crate) fn global_average_pool<S: Simd>(shape: &Features, x: &[f32]) -> Vec<f32> {
    let planes = shape.batch * shape.channels;
    let body = |y: Shared| {
        parallel(planes.div_ceil(PLANES), |task| {
            for plane in task * PLANES..((task + 1) * PLANES).min(planes) {
                // SAFETY: each task writes its own planes.
                unsafe { *y.at(plane) = S::vectorize(Mean(&x[plane * shape.pixels..][..shape.pixels])) }
            }
        });
    };
    // SAFETY: all planes are written.
    unsafe { filled(planes, body) }
}

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

/// Gradient of the input.
pub(crate) fn global_average_pool_backward(shape: &Features, gradient: &[f32]) -> Vec<f32> {
    let planes = shape.batch * shape.channels;
    let body = |dx: Shared| {
        parallel(planes.div_ceil(PLANES), |task| {
            for plane in task * PLANES..((task + 1) * PLANES).min(planes) {
                // SAFETY: each task writes its own planes.
                let dx = unsafe { std::slice::from_raw_parts_mut(dx.at(plane * shape.pixels), shape.pixels) };
                dx.fill(gradient[plane] / shape.pixels as f32);
            }
        });
    };
    // SAFETY: all planes are written.
    unsafe { filled(shape.len(), body) }
}
