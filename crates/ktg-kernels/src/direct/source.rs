//! Images laid out so that every tap of the window reads a row of results' pixels from contiguous memory.

use std::ops::Deref;

use super::pack::Results;
use crate::parallel::for_each_piece;
use crate::planes::{Grid, Planes, Read};
use crate::shape::{Conv2d, Window};
use crate::simd::{Simd, Task, plain};
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
        match is_pointwise(shape.window) {
            true => Self::pointwise(shape.input, shape.output_height * shape.output_width),
            false => Self::bordered(shape),
        }
    }

    /// Of planes of so many pixels, each of which is a result's.
    pub fn pointwise(channels: usize, pixels: usize) -> Self {
        Self::of(channels, [1, pixels], Window::PIXEL, [1, pixels])
    }

    /// Of images with their border.
    pub fn bordered(shape: &Conv2d) -> Self {
        Self::of(shape.input, [shape.height, shape.width], shape.window, shape.output_image())
    }

    fn of(channels: usize, [height, width]: [usize; 2], window: Window, [lines, line]: [usize; 2]) -> Self {
        let columns = window.sorted_columns(width);
        let row_len = columns * window.stride;
        let plane_len = (height + 2 * window.padding) * row_len;
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

/// No border and one tap: only every stride-th pixel matters, and rows follow each other without a gap.
fn is_pointwise(window: Window) -> bool {
    window.kernel == 1 && window.padding == 0
}

impl<'a> Source<'a> {
    pub fn new<S: Simd>(shape: &Conv2d, images: &'a [f32]) -> Self {
        let geometry = Geometry::new(shape);
        if is_pointwise(shape.window) && shape.window.stride == 1 {
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
            if is_pointwise(shape.window) {
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
                    to.fill(0.0);
                    scatter(from, to, stride, padding, geometry.columns);
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

/// The inverse of [`scatter`].
#[inline(always)]
fn gather(from: &[f32], to: &mut [f32], stride: usize, padding: usize, columns: usize) {
    if stride == 2 {
        let (even, odd) = from.split_at(columns);
        let (first, second) = if padding.is_multiple_of(2) { (even, odd) } else { (odd, even) };
        let (first, second) = (&first[padding / 2..], &second[padding.div_ceil(2)..]);
        let len = to.len();
        let mut pairs = to.chunks_exact_mut(2);
        for ((first, second), pair) in first.iter().zip(second).zip(&mut pairs) {
            (pair[0], pair[1]) = (*first, *second);
        }
        if let [last] = pairs.into_remainder() {
            *last = first[len / 2];
        }
        return;
    }
    for first in 0..stride.min(to.len()) {
        let column = first + padding;
        let from = &from[column % stride * columns + column / stride..];
        to[first..].iter_mut().step_by(stride).zip(from).for_each(|(to, from)| *to = *from);
    }
}

/// Sums what the taps contribute to one plane of an image: the transpose of reading windows.
pub(super) struct Fold<'a> {
    /// Of images with a border.
    pub geometry: &'a Geometry,
    /// `[kernel * kernel]` rows of a value a result, `step` values apart.
    pub taps: &'a [f32],
    pub step: usize,
    /// Room for a plane with its border.
    pub scratch: &'a mut [f32],
    pub image: &'a mut [f32],
    /// Columns of the image.
    pub width: usize,
}

impl Task for Fold<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { geometry, taps, step, scratch, image, width } = self;
        let Geometry { window: Window { kernel, stride, padding }, columns, row_len, line, line_step, .. } = *geometry;
        scratch.fill(0.0);
        for a in 0..kernel {
            for b in 0..kernel {
                let from = taps[(a * kernel + b) * step..].chunks_exact(line);
                let tap = geometry.tap(a, b);
                for (y, from) in from.take(geometry.lines).enumerate() {
                    let to = &mut scratch[y * line_step + tap..][..line];
                    // SAFETY: both are as long as a line.
                    unsafe { add_line::<S>(from.as_ptr(), to.as_mut_ptr(), line) }
                }
            }
        }
        let rows = scratch.chunks_exact(row_len).skip(padding);
        for (to, from) in image.chunks_exact_mut(width).zip(rows) {
            gather(from, to, stride, padding, columns);
        }
    }
}

/// Adds so many values.
#[inline(always)]
unsafe fn add_line<S: Simd>(from: *const f32, to: *mut f32, len: usize) {
    let whole = len - len % S::LANES;
    // SAFETY: granted by the caller.
    unsafe {
        for i in (0..whole).step_by(S::LANES) {
            S::store(to.add(i), S::add(S::load(to.add(i)), S::load(from.add(i))));
        }
        if whole < len {
            let (from, to, rest) = (from.add(whole), to.add(whole), len - whole);
            S::store_first(to, S::add(S::load_first(to, rest), S::load_first(from, rest)), rest);
        }
    }
}

/// A matrix by rows.
pub(super) struct Matrix<'a> {
    pub values: Data<'a>,
    /// Values from one row to the next.
    pub step: usize,
}

/// Bytes of which the distance of rows should be no multiple: the rows of a tile would fall into one set of a first-level
/// cache, which holds less.
const ONE_SET: usize = 4096;

/// Where rows of so many values should be, from one to the next.
pub(super) fn good_step(len: usize) -> usize {
    if (len * size_of::<f32>()).is_multiple_of(ONE_SET) { len + 16 } else { len }
}

impl<'a> Matrix<'a> {
    /// Rows of `len` values that follow each other.
    pub fn new(values: &'a [f32], len: usize) -> Self {
        Self { values: Data::Given(values), step: len }
    }

    /// The same rows where caches hold many of them: a copy, if they do not lie so already. For rows that are read often.
    pub fn spread_out(&self) -> Matrix<'_> {
        let (len, step) = (self.step, good_step(self.step));
        if step == len {
            return Matrix { values: Data::Given(&self.values), step };
        }
        let mut result = buffer(self.values.len() / len * step);
        const ROWS: usize = 16;
        for_each_piece(&mut result, ROWS * step, |task, rows| {
            let from = self.values[task * ROWS * len..].chunks_exact(len);
            rows.chunks_exact_mut(step).zip(from).for_each(|(to, from)| to[..len].copy_from_slice(from));
        });
        Matrix { values: Data::Made(result), step }
    }

    /// The weights `[output, rest]` as `[rest, output]`.
    pub fn transposed<S: Simd>(weights: &'a [f32], output: usize) -> Self {
        let rest = weights.len() / output;
        if output == 1 || rest == 1 {
            return Self::new(weights, output);
        }
        // Whole vectors are written.
        let step = good_step(output.next_multiple_of(S::LANES));
        let mut result = buffer(rest * step);
        const ROWS: usize = 64;
        for_each_piece(&mut result, ROWS * step, |task, rows| {
            let width = rows.len() / step;
            for first in (0..output).step_by(S::LANES) {
                let start = weights[first * rest + task * ROWS..].as_ptr();
                let planes = Planes { start, stride: rest, channels: S::LANES.min(output - first), width };
                let to = Grid { start: rows[first..].as_mut_ptr(), row_step: 0, vector_step: step };
                // SAFETY: these weights are there, and a row has room for whole vectors.
                unsafe { S::vectorize(Read { planes, rows: 0..1, to }) }
            }
        });
        Self { values: Data::Made(result), step }
    }
}
