//! Images laid out so that every tap of the window reads a row of results' pixels from contiguous memory.

use std::ops::Deref;

use crate::parallel::for_each_piece;
use crate::shape::{Conv2d, Window};
use crate::simd::Plain;
use crate::workspace::{Buffer, buffer};

/// What a convolution reads: as it was given, or laid out anew.
pub(super) enum Data<'a> {
    Given(&'a [f32]),
    Made(Buffer),
}

impl Deref for Data<'_> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match self {
            Data::Given(values) => values,
            Data::Made(buffer) => buffer,
        }
    }
}

/// Images with their zero border, the columns of each row sorted by their remainder by the stride.
///
/// The pixel that tap (a, b) of channel c sees for the result at (line, x) lies at
/// `image * image_len + taps()[(c, a, b)] + line * line_step + x`.
pub(super) struct Source<'a> {
    data: Data<'a>,
    pub geometry: Geometry,
}

/// Distances within a [`Source`].
#[derive(Clone, Copy)]
pub(super) struct Geometry {
    pub image_len: usize,
    plane_len: usize,
    row_len: usize,
    /// Columns of one remainder.
    columns: usize,
    window: Window,
    channels: usize,
    /// Runs of results whose pixels are contiguous for every tap: the rows of the result, or, for 1x1 windows, all of it.
    pub lines: usize,
    /// Results in a line.
    pub line: usize,
    pub line_step: usize,
}

impl Geometry {
    pub fn new(shape: &Conv2d) -> Self {
        let Conv2d { input, height, width, window, output_height, output_width, .. } = *shape;
        if is_pointwise(window) {
            let pixels = output_height * output_width;
            return Self {
                image_len: input * pixels,
                plane_len: pixels,
                row_len: pixels,
                columns: pixels,
                window: Window { kernel: 1, stride: 1, padding: 0 },
                channels: input,
                lines: 1,
                line: pixels,
                line_step: 0,
            };
        }
        let columns = window.sorted_columns(width);
        let row_len = columns * window.stride;
        let plane_len = (height + 2 * window.padding) * row_len;
        Self {
            image_len: input * plane_len,
            plane_len,
            row_len,
            columns,
            window,
            channels: input,
            lines: output_height,
            line: output_width,
            line_step: window.stride * row_len,
        }
    }

    /// Offset of every tap, in the order of the weights: channel, row, column.
    pub fn taps(&self) -> Vec<usize> {
        let kernel = self.window.kernel;
        let taps = (0..kernel * kernel).map(|tap| self.tap(tap / kernel, tap % kernel));
        let taps: Vec<usize> = taps.collect();
        (0..self.channels).flat_map(|c| taps.iter().map(move |tap| c * self.plane_len + tap)).collect()
    }

    /// Offset of tap (a, b) of the first channel.
    pub fn tap(&self, a: usize, b: usize) -> usize {
        let stride = self.window.stride;
        a * self.row_len + b % stride * self.columns + b / stride
    }

    /// From one channel to the next.
    pub fn plane_len(&self) -> usize {
        self.plane_len
    }
}

/// No border and one tap: only every stride-th pixel matters, and rows follow each other without a gap.
fn is_pointwise(window: Window) -> bool {
    window.kernel == 1 && window.padding == 0
}

impl<'a> Source<'a> {
    pub fn new(shape: &Conv2d, images: &'a [f32]) -> Self {
        let geometry = Geometry::new(shape);
        if is_pointwise(shape.window) && shape.window.stride == 1 {
            return Self { data: Data::Given(images), geometry };
        }
        let Conv2d { batch, input, height, width, window: Window { stride, padding, .. }, .. } = *shape;
        let planes = batch * input;
        let mut data = buffer(planes * geometry.plane_len);
        // Several planes a task: small ones are quickly copied.
        let some = (32768 / geometry.plane_len).clamp(1, planes);
        for_each_piece(&mut data, some * geometry.plane_len, |task, to| {
            let from = images[task * some * height * width..].chunks_exact(height * width);
            for (to, from) in to.chunks_exact_mut(geometry.plane_len).zip(from) {
                if is_pointwise(shape.window) {
                    let rows = to.chunks_exact_mut(shape.output_width).zip(from.chunks_exact(width).step_by(stride));
                    for (to, from) in rows {
                        to.iter_mut().zip(from.iter().step_by(stride)).for_each(|(to, from)| *to = *from);
                    }
                } else {
                    to.fill(0.0);
                    let rows = to.chunks_exact_mut(geometry.row_len).skip(padding).zip(from.chunks_exact(width));
                    for (to, from) in rows {
                        scatter(from, to, stride, padding, geometry.columns);
                    }
                }
            }
        });
        Self { data: Data::Made(data), geometry }
    }

    pub fn data(&self) -> &[f32] {
        &self.data
    }
}

/// Sorts a row's pixels by the remainder of their padded column by the stride: there are `columns` of each remainder.
#[inline(always)]
pub(crate) fn scatter(from: &[f32], to: &mut [f32], stride: usize, padding: usize, columns: usize) {
    if stride == 1 {
        to[padding..padding + from.len()].copy_from_slice(from);
        return;
    }
    for first in 0..stride.min(from.len()) {
        let column = first + padding;
        let to = &mut to[column % stride * columns + column / stride..];
        to.iter_mut().zip(from[first..].iter().step_by(stride)).for_each(|(to, from)| *to = *from);
    }
}

/// The inverse of [`scatter`].
fn gather(from: &[f32], to: &mut [f32], stride: usize, padding: usize, columns: usize) {
    for first in 0..stride.min(to.len()) {
        let column = first + padding;
        let from = &from[column % stride * columns + column / stride..];
        to[first..].iter_mut().step_by(stride).zip(from).for_each(|(to, from)| *to = *from);
    }
}

/// A plane that sums what every tap contributes: the transpose of reading windows.
pub(super) struct Folding {
    window: Window,
    height: usize,
    width: usize,
    columns: usize,
    row_len: usize,
}

impl Folding {
    pub fn new(shape: &Conv2d) -> Self {
        let Conv2d { height, width, window, .. } = *shape;
        let columns = window.sorted_columns(width);
        let row_len = columns * window.stride;
        Self { window, height, width, columns, row_len }
    }

    /// Values of the scratch plane.
    pub fn scratch_len(&self) -> usize {
        (self.height + 2 * self.window.padding) * self.row_len
    }
}

/// Sums the taps' contributions into one plane of the image.
pub(super) struct Fold<'a> {
    pub folding: &'a Folding,
    /// `[kernel * kernel]` rows of `[output_height * output_width]`, `step` values apart.
    pub taps: &'a [f32],
    pub step: usize,
    /// `[output_height, output_width]`
    pub output: [usize; 2],
    pub scratch: &'a mut [f32],
    pub image: &'a mut [f32],
}

impl Plain for Fold<'_> {
    #[inline(always)]
    fn compute(self) {
        let Folding { window: Window { kernel, stride, padding }, columns, row_len, width, .. } = *self.folding;
        self.scratch.fill(0.0);
        for a in 0..kernel {
            for b in 0..kernel {
                let from = &self.taps[(a * kernel + b) * self.step..];
                let shift = b % stride * columns + b / stride;
                for (y, from) in from.chunks_exact(self.output[1]).take(self.output[0]).enumerate() {
                    let to = &mut self.scratch[(y * stride + a) * row_len + shift..][..from.len()];
                    to.iter_mut().zip(from).for_each(|(to, from)| *to += *from);
                }
            }
        }
        let rows = self.scratch.chunks_exact(row_len).skip(padding);
        for (to, from) in self.image.chunks_exact_mut(width).zip(rows) {
            gather(from, to, stride, padding, columns);
        }
    }
}

/// The weights `[output, rest]` as `[rest, output]`.
pub(super) fn transposed(weights: &[f32], output: usize) -> Data<'_> {
    let rest = weights.len() / output;
    if output == 1 || rest == 1 {
        return Data::Given(weights);
    }
    let mut result = buffer(weights.len());
    const TILE: usize = 16;
    for_each_piece(&mut result, TILE * output, |task, rows| {
        for first in (0..output).step_by(TILE) {
            for (row, to) in (task * TILE..).zip(rows.chunks_exact_mut(output)) {
                for o in first..(first + TILE).min(output) {
                    to[o] = weights[o * rest + row];
                }
            }
        }
    });
    Data::Made(result)
}
