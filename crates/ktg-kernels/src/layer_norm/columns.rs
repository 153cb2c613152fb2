//! Some pixels of an image, with all their channels. Rows of a channel are read in the order in which they lie in memory, a few at a
//! time; what is summed up of every pixel lies in the nearest cache.

use crate::norm::Affine;
use crate::simd::{Simd, Task};

/// The shape of some pixels of an image.
#[derive(Clone, Copy)]
pub(super) struct Columns {
    pub channels: usize,
    /// Values from one channel to the next.
    pub apart: usize,
    pub pixels: usize,
}

/// Rows that are read at a time, which then share what there is of each pixel.
pub(crate) const ROWS: usize = 4;

/// Calls a function for all rows, [`ROWS`] at a time and then one by one: `function::<S, N>(first row, ...)`. Rows are channels here,
/// and pixels where their channels lie side by side.
macro_rules! for_rows {
    ($rows:expr, $function:ident($row:ident $(, $argument:expr)*) of $own:expr) => {
        let mut $row = 0;
        while $row + ROWS <= $rows {
            $own.$function::<S, ROWS>($row $(, $argument)*);
            $row += ROWS;
        }
        while $row < $rows {
            $own.$function::<S, 1>($row $(, $argument)*);
            $row += 1;
        }
    };
}
pub(crate) use for_rows;

impl Columns {
    /// Room for so many numbers a pixel, in whole vectors.
    pub fn scratch(self, numbers: usize) -> usize {
        numbers * self.pixels.next_multiple_of(16)
    }

    /// Mean and `1 / sqrt(variance + epsilon)` of every pixel, the latter 0 in the last vector behind the pixels. What is in
    /// `difference` is lost.
    ///
    /// # Safety
    ///
    /// x has the values; the slices are as long as [`Self::scratch`] of one number says.
    #[inline(always)]
    pub unsafe fn moments<S: Simd>(
        self,
        x: *const f32,
        epsilon: f32,
        mean: &mut [f32],
        inverse: &mut [f32],
        difference: &mut [f32],
    ) {
        mean.fill(0.0);
        // SAFETY: granted by the caller.
        unsafe {
            for_rows!(self.channels, add(c, x, mean.as_mut_ptr()) of self);
        }
        let share = 1.0 / self.channels as f32;
        mean.iter_mut().for_each(|mean| *mean *= share);
        // No sum of large numbers is ever subtracted from another, so data far from zero lose nothing. That the mean is
        // rounded, the differences tell.
        let square = &mut *inverse;
        square.fill(0.0);
        difference.fill(0.0);
        // SAFETY: granted by the caller.
        unsafe {
            for_rows!(self.channels, add_squares(c, x, mean.as_ptr(), difference.as_mut_ptr(), square.as_mut_ptr()) of self);
        }
        for ((mean, inverse), difference) in mean.iter_mut().zip(inverse.iter_mut()).zip(difference) {
            let correction = *difference * share;
            let variance = *inverse * share - correction * correction;
            // Not `max`, which would turn NaN into 0.
            let variance = if variance < 0.0 { 0.0 } else { variance };
            *mean += correction;
            *inverse = 1.0 / (variance + epsilon).sqrt();
        }
        inverse[self.pixels..].fill(0.0);
    }

    /// Adds the values of N channels.
    #[inline(always)]
    unsafe fn add<S: Simd, const N: usize>(self, channel: usize, x: *const f32, sums: *mut f32) {
        for i in (0..self.pixels).step_by(S::LANES) {
            // SAFETY: granted by the caller of `moments`.
            unsafe {
                let x: [S::V; N] = self.rows::<S, N>(x, channel, i);
                S::store(sums.add(i), S::add(S::load(sums.add(i)), total::<S, N>(x)));
            }
        }
    }

    /// Adds the differences of N channels from the mean, and their squares.
    #[inline(always)]
    unsafe fn add_squares<S: Simd, const N: usize>(
        self,
        channel: usize,
        x: *const f32,
        mean: *const f32,
        differences: *mut f32,
        squares: *mut f32,
    ) {
        for i in (0..self.pixels).step_by(S::LANES) {
            // SAFETY: granted by the caller of `moments`.
            unsafe {
                let mut x: [S::V; N] = self.rows::<S, N>(x, channel, i);
                let mean = S::load(mean.add(i));
                let mut square = S::load(squares.add(i));
                for x in &mut x {
                    *x = S::sub(*x, mean);
                    square = S::fma(*x, *x, square);
                }
                S::store(squares.add(i), square);
                S::store(differences.add(i), S::add(S::load(differences.add(i)), total::<S, N>(x)));
            }
        }
    }

    /// A vector of pixels from `i` on of each of N channels; zeros where there are no pixels any more.
    ///
    /// # Safety
    ///
    /// x has the values.
    #[inline(always)]
    pub unsafe fn rows<S: Simd, const N: usize>(self, x: *const f32, channel: usize, i: usize) -> [S::V; N] {
        // SAFETY: there are `pixels - i` values of each channel.
        unsafe {
            let mut rows = [S::zero(); N];
            for (k, row) in rows.iter_mut().enumerate() {
                *row = S::load_up_to(x.add((channel + k) * self.apart + i), self.pixels - i);
            }
            rows
        }
    }
}

/// The sum of N vectors, by pairs.
#[inline(always)]
unsafe fn total<S: Simd, const N: usize>(v: [S::V; N]) -> S::V {
    // SAFETY: needs only the level's instructions, as the caller grants.
    unsafe { if N == 4 { S::add(S::add(v[0], v[1]), S::add(v[2], v[3])) } else { v[0] } }
}

/// Some pixels of an image are normalized.
pub(super) struct Forward<'a> {
    pub columns: Columns,
    pub x: *const f32,
    pub affine: Affine<'a>,
    pub y: *mut f32,
    /// Three numbers a pixel.
    pub scratch: &'a mut [f32],
}

impl Task for Forward<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(mut self) {
        let scratch = std::mem::take(&mut self.scratch);
        let (mean, rest) = scratch.split_at_mut(self.columns.scratch(1));
        let (inverse, difference) = rest.split_at_mut(mean.len());
        // SAFETY: granted by the caller.
        unsafe {
            self.columns.moments::<S>(self.x, self.affine.epsilon, mean, inverse, difference);
            for_rows!(self.columns.channels, normalize(c, mean.as_ptr(), inverse.as_ptr()) of self);
        }
    }
}

impl Forward<'_> {
    /// Normalizes N channels.
    #[inline(always)]
    unsafe fn normalize<S: Simd, const N: usize>(&self, channel: usize, mean: *const f32, inverse: *const f32) {
        let Self { columns, x, affine, y, .. } = *self;
        for i in (0..columns.pixels).step_by(S::LANES) {
            // SAFETY: granted by the caller.
            unsafe {
                let rows: [S::V; N] = columns.rows::<S, N>(x, channel, i);
                let (mean, inverse) = (S::load(mean.add(i)), S::load(inverse.add(i)));
                for (k, x) in rows.into_iter().enumerate() {
                    let (weight, bias) = (S::splat(affine.weight[channel + k]), S::splat(affine.bias[channel + k]));
                    let v = S::fma(S::mul(S::sub(x, mean), inverse), weight, bias);
                    S::store_up_to(y.add((channel + k) * columns.apart + i), v, columns.pixels - i);
                }
            }
        }
    }
}
