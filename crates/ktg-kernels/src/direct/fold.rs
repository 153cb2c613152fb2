//! From what each tap contributes to the gradient of an image to that gradient.

use super::source::Geometry;
use crate::shape::Window;
use crate::simd::{Simd, Task};

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
            unsort(from, to, stride, padding, columns);
        }
    }
}

/// Adds the values at `from` to those at `to`.
///
/// # Safety
///
/// There are so many of both, and they are apart.
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

/// The inverse of [`scatter`](super::source::scatter).
#[inline(always)]
fn unsort(from: &[f32], to: &mut [f32], stride: usize, padding: usize, columns: usize) {
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
