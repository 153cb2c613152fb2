//! Backward to the weights: for each tap, the sum over all images and results of the gradient times the pixel that is seen.

use super::Depthwise;
use super::blocks::{Band, Block, MapNumber, clear_border};
use crate::parallel::{Shared, parallel, part};
use crate::rows::{Rows, Scatter};
use crate::shape::Window;
use crate::simd::{Simd, Task};
use crate::view::View;
use crate::workspace::buffer;

/// Tasks there should be at least. Where there are fewer blocks of channels, parts of the batch have their own sums.
/// (Not the number of threads, on which results must not depend.)
const TASKS: usize = 16;
/// Columns of the window whose sums are in registers at a time, twice.
const MOST: usize = 7;

/// Gradient of the weights.
pub(crate) fn backward_weights<S: Simd, T: MapNumber>(
    shape: &Depthwise,
    images: &[T],
    gradient: &[T],
    result: &mut [f32],
) {
    let Depthwise { batch, channels, window: Window { kernel, .. }, .. } = *shape;
    let view = &View::forward(shape.sides());
    let (blocks, bands, taps) = (channels.div_ceil(S::LANES), &Band::all::<S>(view)[..], kernel * kernel);
    let [most_lines, most_rows] = Band::most(bands);
    // A task is some blocks side by side, of a part of the batch.
    let groups = blocks.div_ceil(T::SIDE_BY_SIDE).max(TASKS.div_ceil(batch)).min(blocks);
    let parts = TASKS.div_ceil(groups).min(batch);
    let sums_len = taps * S::LANES;
    let mut sums = buffer(parts * blocks * sums_len);
    let all_sums = Shared::new(&mut sums);
    parallel(parts * groups, |task| {
        let group = part(blocks, task % groups, groups);
        let mut values = buffer(most_rows * view.columns() * S::LANES);
        clear_border::<S>(view, &mut values);
        let mut gradients = buffer(most_lines * view.to[1] * S::LANES);
        // SAFETY: each task has its own sums.
        let sums_of = |block: usize| unsafe { all_sums.piece(task / groups * blocks + block, sums_len) };
        group.clone().for_each(|block| sums_of(block).fill(0.0));
        for image in part(batch, task / groups, parts) {
            for (band, number) in bands.iter().flat_map(|band| group.clone().map(move |number| (band, number))) {
                let first = number * S::LANES;
                let block = Block { image, first, count: S::LANES.min(channels - first), channels, sides: view.from };
                // SAFETY: the maps have the block, and there is room for their rows and for a sum a tap.
                unsafe {
                    S::vectorize(Unit {
                        view,
                        band,
                        block,
                        images: images.as_ptr(),
                        gradient: gradient.as_ptr(),
                        kernel,
                        values: values.as_mut_ptr(),
                        gradients: gradients.as_mut_ptr(),
                        sums: sums_of(number).as_mut_ptr(),
                    });
                }
            }
        }
    });
    let weights = Shared::new(result);
    parallel(blocks, |block| {
        let first = block * S::LANES;
        // SAFETY: each task reads and writes its own block's sums, and the weights of its own channels.
        unsafe {
            let total = all_sums.add_up(block * sums_len, sums_len, blocks * sums_len, parts);
            S::vectorize(Scatter(Rows {
                rows: weights.at(first * taps),
                stride: taps,
                count: S::LANES.min(channels - first),
                len: taps,
                group: taps,
                vectors: total.as_ptr(),
                group_step: S::LANES,
                vector_step: 0,
            }));
        }
    });
}

/// Adds to the sums of a block of channels what some lines of an image's results contribute.
struct Unit<'a, T> {
    view: &'a View,
    band: &'a Band,
    /// Of the images.
    block: Block,
    /// The maps of all images.
    images: *const T,
    gradient: *const T,
    kernel: usize,
    /// Room for the rows, with zeros in their border, and for the gradients of the lines.
    values: *mut f32,
    gradients: *mut f32,
    /// `[tap][channel]`
    sums: *mut f32,
}

impl<T: MapNumber> Task for Unit<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { view, band: Band { lines, rows }, block, images, gradient, kernel, values, gradients, sums } = self;
        let (columns, width) = (view.columns(), view.to[1]);
        // SAFETY: granted by the caller. Taps read rows that are laid out, and columns of these or of their border.
        unsafe {
            let results = Block { sides: view.to, ..block };
            T::read::<S>(images, block, rows.clone(), values.wrapping_add(view.border[0] * S::LANES), columns);
            T::read::<S>(gradient, results, lines.clone(), gradients, width);
            for (i, line) in lines.clone().enumerate() {
                for row in &view.rows[line] {
                    for first in (0..kernel).step_by(MOST) {
                        let products = Products {
                            gradients: gradients.add(i * width * S::LANES),
                            values: values.add(((row.at - rows.start) * columns + first) * S::LANES),
                            step: view.seen_step * S::LANES,
                            count: width,
                            sums: sums.add((row.number * kernel + first) * S::LANES),
                        };
                        match kernel - first {
                            1 => products.add::<S, 1>(),
                            2 => products.add::<S, 2>(),
                            3 => products.add::<S, 3>(),
                            4 => products.add::<S, 4>(),
                            5 => products.add::<S, 5>(),
                            6 => products.add::<S, 6>(),
                            _ => products.add::<S, MOST>(),
                        }
                    }
                }
            }
        }
    }
}

/// The products of a line's gradients with the pixels that they see through some columns of the window, in one of its rows.
struct Products {
    gradients: *const f32,
    /// What the first one sees through the first column.
    values: *const f32,
    /// From there to what the next one sees.
    step: usize,
    /// Gradients of the line.
    count: usize,
    sums: *mut f32,
}

impl Products {
    /// Adds the products of N columns to their sums.
    ///
    /// # Safety
    ///
    /// As for [`Unit`].
    #[inline(always)]
    unsafe fn add<S: Simd, const N: usize>(&self) {
        // SAFETY: granted by the caller.
        unsafe {
            // Even and odd gradients have sums of their own: more to add to in turn.
            let (mut even, mut odd) = ([S::zero(); N], [S::zero(); N]);
            let (mut g, mut x) = (self.gradients, self.values);
            for _ in 0..self.count / 2 {
                let (first, second) = (S::load(g), S::load(g.add(S::LANES)));
                let next = x.add(self.step);
                for i in 0..N {
                    even[i] = S::fma(S::load(x.add(i * S::LANES)), first, even[i]);
                    odd[i] = S::fma(S::load(next.add(i * S::LANES)), second, odd[i]);
                }
                (g, x) = (g.wrapping_add(2 * S::LANES), next.wrapping_add(self.step));
            }
            if self.count % 2 == 1 {
                let last = S::load(g);
                for (i, even) in even.iter_mut().enumerate() {
                    *even = S::fma(S::load(x.add(i * S::LANES)), last, *even);
                }
            }
            for i in 0..N {
                let sum = self.sums.add(i * S::LANES);
                S::store(sum, S::add(S::load(sum), S::add(even[i], odd[i])));
            }
        }
    }
}
