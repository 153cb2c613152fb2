//! Between rows of values and vectors that have one value of each row.

use std::ops::Range;

use crate::shape::{Conv2d, Window};
use crate::simd::{Simd, Task};

/// Up to LANES rows, whose values come in groups: value `k * group + g` of all rows is the vector at
/// `vectors + g * group_step + k * vector_step`.
#[derive(Clone, Copy)]
pub(crate) struct Rows<P, Q> {
    pub rows: P,
    /// From one row to the next.
    pub stride: usize,
    /// How many rows there are: the other lanes read as zeros and are not written.
    pub count: usize,
    /// Values of a row.
    pub len: usize,
    pub group: usize,
    pub vectors: Q,
    pub group_step: usize,
    pub vector_step: usize,
}

/// Goes through the values of a row: where the vector of each lies. (Dividing by the group would cost more than the rest.)
struct Places {
    value: usize,
    group: usize,
    group_step: usize,
    vector_step: usize,
    in_group: usize,
    start: usize,
}

impl Places {
    #[inline(always)]
    fn new<P, Q>(rows: &Rows<P, Q>) -> Self {
        let Rows { group, group_step, vector_step, .. } = *rows;
        Self { value: 0, group, group_step, vector_step, in_group: 0, start: 0 }
    }

    /// Of the next value.
    #[inline(always)]
    fn next(&mut self) -> usize {
        let place = self.start + self.value;
        self.in_group += 1;
        self.value += self.group_step;
        if self.in_group == self.group {
            (self.in_group, self.value) = (0, 0);
            self.start += self.vector_step;
        }
        place
    }
}

/// Makes the vectors of rows.
pub(crate) struct Gather(pub Rows<*const f32, *mut f32>);

impl Task for Gather {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Rows { rows, stride, count, len, vectors, .. } = self.0;
        let mut places = Places::new(&self.0);
        for first in (0..len).step_by(S::LANES) {
            let some = S::LANES.min(len - first);
            // SAFETY: the caller grants `len` values of `count` rows, and the room for their vectors.
            unsafe {
                let mut block = [S::zero(); 16];
                for (i, vector) in block.iter_mut().enumerate().take(S::LANES) {
                    if i < count {
                        let from = rows.add(i * stride + first);
                        *vector = if some == S::LANES { S::load(from) } else { S::load_first(from, some) };
                    }
                }
                S::transpose(&mut block[..S::LANES]);
                for (i, vector) in block.iter().enumerate().take(S::LANES) {
                    if i < some {
                        S::store(vectors.add(places.next()), *vector);
                    }
                }
            }
        }
    }
}

/// Makes the rows of vectors.
pub(crate) struct Scatter(pub Rows<*mut f32, *const f32>);

impl Task for Scatter {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Rows { rows, stride, count, len, vectors, .. } = self.0;
        let mut places = Places::new(&self.0);
        for first in (0..len).step_by(S::LANES) {
            let some = S::LANES.min(len - first);
            // SAFETY: the caller grants the vectors, and the room for `len` values of `count` rows.
            unsafe {
                let mut block = [S::zero(); 16];
                for (i, vector) in block.iter_mut().enumerate().take(S::LANES) {
                    if i < some {
                        *vector = S::load(vectors.add(places.next()));
                    }
                }
                S::transpose(&mut block[..S::LANES]);
                for (i, vector) in block.iter().enumerate().take(S::LANES) {
                    if i < count {
                        let to = rows.add(i * stride + first);
                        if some == S::LANES { S::store(to, *vector) } else { S::store_first(to, *vector, some) }
                    }
                }
            }
        }
    }
}

/// The weights of up to a block of output channels, `[tap][input][output of the block]`.
pub(crate) fn gather_weights<S: Simd, const NV: usize>(
    shape: &Conv2d,
    weights: &[f32],
    own: Range<usize>,
    to: &mut [f32],
) {
    let Conv2d { input, window: Window { kernel, .. }, .. } = *shape;
    let (block, taps) = (NV * S::LANES, kernel * kernel);
    assert_eq!(to.len(), taps * input * block, "room for a block's weights");
    for half in 0..NV {
        let first = own.start + half * S::LANES;
        // SAFETY: the weights of these output channels are there, and there is room for them.
        unsafe {
            S::vectorize(Gather(Rows {
                rows: weights.as_ptr().wrapping_add(first * input * taps),
                stride: input * taps,
                count: own.end.saturating_sub(first).min(S::LANES),
                len: input * taps,
                group: taps,
                vectors: to.as_mut_ptr().add(half * S::LANES),
                group_step: input * block,
                vector_step: block,
            }));
        }
    }
}
