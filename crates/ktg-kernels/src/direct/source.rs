//! Images laid out so that every tap of the window reads a row of results' pixels from contiguous memory.

use std::ops::Deref;

use super::pack::Results;
use crate::parallel::for_each_piece;
use crate::shape::{Conv2d, Window};
use crate::simd::{Simd, plain};
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
    pub data: Data<'a>,
    pub geometry: Geometry,
}

/// Distances within a [`Source`].
#[derive(Clone, Copy)]
pub(super) struct Geometry {
    pub image_len: usize,
    /// From one channel to the next.
    pub plane_len: usize,
    pub row_len: usize,
    /// Columns of one remainder.
    pub columns: usize,
    pub window: Window,
    channels: usize,
    /// Runs of results whose pixels are contiguous for every tap: the rows of the result, or, for 1x1 windows, all of it.
    pub lines: usize,
    /// Results in a line.
    pub line: usize,
    pub line_step: usize,
}

impl Geometry {
    pub fn new(shape: &Conv2d) -> Self {
        match shape.is_pointwise() {
            true => Self::pointwise(shape.input, shape.output_height * shape.output_width),
            false => Self::bordered(shape),
        }
    }

    /// Of planes of so many pixels, each of which is a result's.
    pub fn pointwise(channels: usize, pixels: usize) -> Self {
        Self::of(channels, [1, pixels], Window::PIXEL, 0, [1, pixels])
    }

    /// Of images with their border.
    pub fn bordered(shape: &Conv2d) -> Self {
        Self::of(shape.input, [shape.height, shape.width], shape.window, shape.after, shape.output_image())
    }

    fn of(
        channels: usize,
        [height, width]: [usize; 2],
        window: Window,
        after: usize,
        [lines, line]: [usize; 2],
    ) -> Self {
        let columns = window.sorted_columns(width, after);
        let row_len = columns * window.stride;
        let plane_len = (window.padding + height + after) * row_len;
        let (image_len, line_step) = (channels * plane_len, window.stride * row_len);
        Self { image_len, plane_len, row_len, columns, window, channels, lines, line, line_step }
    }

    /// The results of so many images.
    pub fn results(&self, images: usize) -> Results {
        let Self { image_len, lines, line, line_step, .. } = *self;
        Results { images, image_len, lines, line, line_step }
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
}

impl<'a> Source<'a> {
    pub fn new<S: Simd>(shape: &Conv2d, images: &'a [f32]) -> Self {
        let geometry = Geometry::new(shape);
        if shape.is_pixel() {
            return Self { data: Data::Given(images), geometry };
        }
        let Conv2d { batch, input, height, width, .. } = *shape;
        let planes = batch * input;
        let mut data = buffer(planes * geometry.plane_len);
        // Several planes a task: small ones are quickly copied.
        let some = (32768 / geometry.plane_len).clamp(1, planes);
        for_each_piece(&mut data, some * geometry.plane_len, |task, to| {
            let from = &images[task * some * height * width..];
            // SAFETY: it has no pointers.
            unsafe { S::vectorize(lay_out(shape, &geometry, from, to)) }
        });
        Self { data: Data::Made(data), geometry }
    }

    /// Of one image of the batch, for the thread that asks.
    pub fn of_image<S: Simd>(shape: &Conv2d, images: &'a [f32], image: usize) -> Self {
        let (geometry, len) = (Geometry::new(shape), shape.input * shape.height * shape.width);
        let mut data = buffer(geometry.image_len);
        // SAFETY: it has no pointers.
        unsafe { S::vectorize(lay_out(shape, &geometry, &images[image * len..][..len], &mut data)) }
        Self { data: Data::Made(data), geometry }
    }
}

plain! {
    /// Lays out some planes.
    fn lay_out(shape: &'a Conv2d, geometry: &'a Geometry, from: &'a [f32], to: &'a mut [f32]) {
        let Conv2d { height, width, window: Window { stride, padding, .. }, .. } = *shape;
        for (to, from) in to.chunks_exact_mut(geometry.plane_len).zip(from.chunks_exact(height * width)) {
            if shape.is_pointwise() {
                let rows = to.chunks_exact_mut(shape.output_width).zip(from.chunks_exact(width).step_by(stride));
                for (to, from) in rows {
                    // With the stride known to the compiler, several pixels at once.
                    match stride {
                        2 => every(from, to, 2),
                        _ => every(from, to, stride),
                    }
                }
            } else {
                let (above, rest) = to.split_at_mut(padding * geometry.row_len);
                let (rows, below) = rest.split_at_mut(height * geometry.row_len);
                above.fill(0.0);
                below.fill(0.0);
                for (to, from) in rows.chunks_exact_mut(geometry.row_len).zip(from.chunks_exact(width)) {
                    scatter(from, to, stride, padding, geometry.columns);
                    for column in (0..padding).chain(padding + width..geometry.row_len) {
                        to[column % stride * geometry.columns + column / stride] = 0.0;
                    }
                }
            }
        }
    }
}

/// Every `stride`-th value.
#[inline(always)]
fn every(from: &[f32], to: &mut [f32], stride: usize) {
    to.iter_mut().zip(from.iter().step_by(stride)).for_each(|(to, from)| *to = *from);
}

/// Sorts a row's pixels by the remainder of their padded column by the stride: there are `columns` of each remainder.
#[inline(always)]
pub(crate) fn scatter(from: &[f32], to: &mut [f32], stride: usize, padding: usize, columns: usize) {
    if stride == 1 {
        to[padding..padding + from.len()].copy_from_slice(from);
        return;
    }
    if stride == 2 {
        // Both halves in one go, which the compiler turns into vectors.
        let (even, odd) = to.split_at_mut(columns);
        let (first, second) = if padding.is_multiple_of(2) { (even, odd) } else { (odd, even) };
        let (first, second) = (&mut first[padding / 2..], &mut second[padding.div_ceil(2)..]);
        let pairs = from.chunks_exact(2);
        if let [last] = *pairs.remainder() {
            first[from.len() / 2] = last;
        }
        for ((first, second), pair) in first.iter_mut().zip(second).zip(pairs) {
            (*first, *second) = (pair[0], pair[1]);
        }
        return;
    }
    for first in 0..stride.min(from.len()) {
        let column = first + padding;
        let to = &mut to[column % stride * columns + column / stride..];
        to.iter_mut().zip(from[first..].iter().step_by(stride)).for_each(|(to, from)| *to = *from);
    }
}
