//! Forward, and backward to the images: sums over the taps through which a pixel sees the other map.

use std::ops::Range;

use super::Depthwise;
use super::blocks::{Band, Block, MapNumber, clear_border};
use crate::parallel::{Shared, for_each_piece, parallel, part};
use crate::rows::{Gather, Rows};
use crate::shape::Window;
use crate::simd::{Simd, Task};
use crate::view::{Phase, Tap, View};
use crate::workspace::{Buffer, buffer};

/// Pixels of the result, at least, that are computed before they are written: from the first-level cache.
const SOME_PIXELS: usize = 128;
/// Values of a result that a task computes at least, so that beginning it costs little beside it.
const RESULTS: usize = 8 << 10;

/// Results.
pub(crate) fn forward<S: Simd, T: MapNumber>(shape: &Depthwise, images: &[T], weights: &[f32], result: &mut [T]) {
    compute::<S, T>(shape, &View::forward(shape.sides()), images, weights, result)
}

/// Gradient of the images.
pub(crate) fn backward_data<S: Simd, T: MapNumber>(
    shape: &Depthwise,
    gradient: &[T],
    weights: &[f32],
    result: &mut [T],
) {
    compute::<S, T>(shape, &View::backward(shape.sides()), gradient, weights, result)
}

/// The weights as `[block of channels][tap][channel of the block]`.
fn by_taps<S: Simd>(shape: &Depthwise, weights: &[f32]) -> Buffer {
    let Depthwise { channels, window: Window { kernel, .. }, .. } = *shape;
    let taps = kernel * kernel;
    let mut values = buffer(channels.div_ceil(S::LANES) * taps * S::LANES);
    for_each_piece(&mut values, taps * S::LANES, |block, to| {
        let first = block * S::LANES;
        // SAFETY: these channels have weights, and there is room for a vector a tap.
        unsafe {
            S::vectorize(Gather(Rows {
                rows: weights[first * taps..].as_ptr(),
                stride: taps,
                count: S::LANES.min(channels - first),
                len: taps,
                group: taps,
                vectors: to.as_mut_ptr(),
                group_step: S::LANES,
                vector_step: 0,
            }));
        }
    });
    values
}

fn compute<S: Simd, T: MapNumber>(shape: &Depthwise, view: &View, maps: &[T], weights: &[f32], result: &mut [T]) {
    let Depthwise { batch, channels, window: Window { kernel, .. }, .. } = *shape;
    let [height, width] = view.to;
    let weights = by_taps::<S>(shape, weights);
    let (blocks, bands) = (channels.div_ceil(S::LANES), Band::all::<S>(view));
    let [most_lines, most_rows] = Band::most(&bands);
    let some_lines = SOME_PIXELS.div_ceil(width).min(most_lines);
    let strips: Vec<Vec<Range<usize>>> = view.phases.iter().map(|phase| strips(phase.count)).collect();
    // A unit of work is a band of a block of channels of an image. The blocks of a band, which may share cache lines, follow each
    // other.
    let units = batch * blocks * bands.len();
    let enough = units.div_ceil(4 * rayon::current_num_threads());
    let some = (RESULTS * bands.len()).div_ceil(height * width * S::LANES).min(enough);
    let y = Shared::new(result);
    parallel(units.div_ceil(some), |task| {
        let mut values = buffer(most_rows * view.columns() * S::LANES);
        clear_border::<S>(view, &mut values);
        let mut sums = buffer(some_lines * width * S::LANES);
        for unit in task * some..units.min((task + 1) * some) {
            let (image, band, number) = (unit / blocks / bands.len(), unit / blocks % bands.len(), unit % blocks);
            let first = number * S::LANES;
            let block = Block { image, first, count: S::LANES.min(channels - first), channels, sides: view.to };
            // SAFETY: the maps have the block, and there are its weights; there is room for the rows that are seen and for the sums,
            // and each unit writes its own lines.
            unsafe {
                S::vectorize(Unit {
                    view,
                    strips: &strips,
                    band: &bands[band],
                    some_lines,
                    block,
                    from: maps.as_ptr(),
                    to: y.at(0),
                    weights: weights[number * kernel * kernel * S::LANES..].as_ptr(),
                    kernel,
                    values: values.as_mut_ptr(),
                    sums: sums.as_mut_ptr(),
                });
            }
        }
    });
}

/// Pixels of a phase, cut into strips that are nearly as long as each other.
fn strips(count: usize) -> Vec<Range<usize>> {
    let strips = count.div_ceil(MOST);
    (0..strips).map(|strip| part(count, strip, strips)).collect()
}

/// Some lines of a block of channels of the result.
struct Unit<'a, T> {
    view: &'a View,
    /// By phase.
    strips: &'a [Vec<Range<usize>>],
    band: &'a Band,
    /// Lines that are computed before they are written.
    some_lines: usize,
    /// Of the result.
    block: Block,
    /// The maps that are seen, and the results: of all images.
    from: *const T,
    to: *mut T,
    /// `[tap][channel]`
    weights: *const f32,
    kernel: usize,
    /// Room for the rows, with zeros in their border, and for some lines.
    values: *mut f32,
    sums: *mut f32,
}

impl<T: MapNumber> Task for Unit<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { view, strips, band, some_lines, block, from, to, weights, kernel, values, sums } = self;
        let Band { lines, rows } = band;
        let (columns, width) = (view.columns(), view.to[1]);
        // SAFETY: granted by the caller. Taps read rows that are laid out, and columns of these or of their border.
        unsafe {
            let seen = Block { sides: view.from, ..block };
            T::read::<S>(from, seen, rows.clone(), values.wrapping_add(view.border[0] * S::LANES), columns);
            for first in lines.clone().step_by(some_lines) {
                let now = first..lines.end.min(first + some_lines);
                for (i, line) in now.clone().enumerate() {
                    for (phase, strips) in view.phases.iter().zip(strips) {
                        let line = Line {
                            view,
                            phase,
                            rows: &view.rows[line],
                            values: values.wrapping_sub(rows.start * columns * S::LANES),
                            weights,
                            kernel,
                            to: sums.add((i * width + phase.first) * S::LANES),
                        };
                        match view.seen_step {
                            1 => line.sum::<S, 1>(strips),
                            2 => line.sum::<S, 2>(strips),
                            _ => line.sum::<S, ANY>(strips),
                        }
                    }
                }
                T::write::<S>(to, block, now, sums);
            }
        }
    }
}

/// Pixels of a line that are summed up at a time: enough sums for a processor to add to in turn, and few enough for its registers.
const MOST: usize = 12;
/// Pixels whose sums are enough for that.
const ENOUGH: usize = 7;
/// Instead of a step between pixels that the compiler should know: one that it need not.
const ANY: usize = 0;

/// The pixels of a phase of a line.
struct Line<'a> {
    view: &'a View,
    phase: &'a Phase,
    /// The taps' rows that lie within the map.
    rows: &'a [Tap],
    /// Where row 0 of the map would be laid out.
    values: *const f32,
    weights: *const f32,
    kernel: usize,
    /// Where the first pixel's sums go.
    to: *mut f32,
}

impl Line<'_> {
    /// # Safety
    ///
    /// As for [`Unit`]; `STEP` is that between the pixels that are seen, or `ANY`.
    #[inline(always)]
    unsafe fn sum<S: Simd, const STEP: usize>(&self, strips: &[Range<usize>]) {
        for &Range { start, end } in strips {
            // SAFETY: granted by the caller.
            unsafe {
                match end - start {
                    1 => self.strip::<S, STEP, 1>(start),
                    2 => self.strip::<S, STEP, 2>(start),
                    3 => self.strip::<S, STEP, 3>(start),
                    4 => self.strip::<S, STEP, 4>(start),
                    5 => self.strip::<S, STEP, 5>(start),
                    6 => self.strip::<S, STEP, 6>(start),
                    7 => self.strip::<S, STEP, 7>(start),
                    8 => self.strip::<S, STEP, 8>(start),
                    9 => self.strip::<S, STEP, 9>(start),
                    10 => self.strip::<S, STEP, 10>(start),
                    11 => self.strip::<S, STEP, 11>(start),
                    _ => self.strip::<S, STEP, MOST>(start),
                }
            }
        }
    }

    /// The sums of the N pixels from `first` on.
    ///
    /// # Safety
    ///
    /// As for `sum`.
    #[inline(always)]
    unsafe fn strip<S: Simd, const STEP: usize, const N: usize>(&self, first: usize) {
        let step = if STEP == ANY { self.view.seen_step } else { STEP } * S::LANES;
        let (row_len, pixel_step) = (self.view.columns() * S::LANES, self.view.pixel_step * S::LANES);
        // SAFETY: granted by the caller.
        unsafe {
            // Where there are few pixels, every other column has sums of its own.
            let (mut sums, mut others) = ([S::zero(); N], [S::zero(); N]);
            for row in self.rows {
                let values = self.values.wrapping_add(row.at * row_len + first * step);
                let weights = self.weights.add(row.number * self.kernel * S::LANES);
                for pair in self.phase.columns.chunks(2) {
                    add_column::<S, N>(values, step, weights, pair[0], &mut sums);
                    if let Some(column) = pair.get(1) {
                        let sums = if N < ENOUGH { &mut others } else { &mut sums };
                        add_column::<S, N>(values, step, weights, *column, sums);
                    }
                }
            }
            if N < ENOUGH {
                for (sum, other) in sums.iter_mut().zip(others) {
                    *sum = S::add(*sum, other);
                }
            }
            for (i, sum) in sums.iter().enumerate() {
                S::store(self.to.add((first * pixel_step) + i * pixel_step), *sum);
            }
        }
    }
}

/// Adds to the sums of N pixels what they see through a column of a row of the window.
///
/// # Safety
///
/// As for [`Unit`].
#[inline(always)]
unsafe fn add_column<S: Simd, const N: usize>(
    values: *const f32,
    step: usize,
    weights: *const f32,
    column: Tap,
    sums: &mut [S::V; N],
) {
    // SAFETY: granted by the caller.
    unsafe {
        let weight = S::load(weights.add(column.number * S::LANES));
        let values = values.add(column.at * S::LANES);
        for (i, sum) in sums.iter_mut().enumerate() {
            *sum = S::fma(S::load(values.add(i * step)), weight, *sum);
        }
    }
}
