//! Work shared by threads.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::helpers::with_helpers;

/// Indices that a thread takes one by one, on a cache line of its own.
#[repr(align(64))]
struct Share {
    next: AtomicUsize,
    end: usize,
}

impl Share {
    fn take(&self) -> Option<usize> {
        let index = self.next.fetch_add(1, Ordering::Relaxed);
        (index < self.end).then_some(index)
    }
}

/// Runs `body` for every index below `tasks`, on as many threads as the current rayon pool has. Which thread runs which
/// index is left to chance, so the results of `body(i)` must not depend on it.
///
/// The caller works too. Each thread begins with its own share, the same part of the indices every time: where the indices of two
/// operations go through the same memory in the same order, it finds what it wrote before in its own core's cache. Then it
/// helps the others: a core that is slow, or comes late, only does less of the work.
pub(crate) fn parallel(tasks: usize, body: impl Fn(usize) + Sync) {
    let threads = rayon::current_num_threads().min(tasks);
    if threads <= 1 {
        (0..tasks).for_each(body);
        return;
    }
    let share = |thread: usize| {
        let Range { start, end } = part(tasks, thread, threads);
        Share { next: AtomicUsize::new(start), end }
    };
    let shares: Vec<Share> = (0..threads).map(share).collect();
    let work = |thread: usize| {
        for i in 0..threads {
            let share = &shares[(thread + i) % threads];
            while let Some(task) = share.take() {
                body(task);
            }
        }
    };
    if with_helpers(threads - 1, &work) {
        return;
    }
    // Another thread has the helpers: it computes too, so the cores are busy anyway.
    let work = &work;
    rayon::in_place_scope(|scope| {
        for thread in 1..threads {
            scope.spawn(move |_| work(thread));
        }
        work(0);
    });
}

/// Runs `body` for every piece of `len` values, the last of which may be shorter, with its number; in parallel as
/// [`parallel`] does it.
pub(crate) fn for_each_piece<T: Send>(values: &mut [T], len: usize, body: impl Fn(usize, &mut [T]) + Sync) {
    for_each_pair(values, len, &mut [(); 0], 0, |i, piece, _| body(i, piece));
}

/// As [`for_each_piece`], with the piece of the same number of other values, which may end sooner.
pub(crate) fn for_each_pair<T: Send, U: Send>(
    values: &mut [T],
    len: usize,
    others: &mut [U],
    other_len: usize,
    body: impl Fn(usize, &mut [T], &mut [U]) + Sync,
) {
    let pieces = values.len().div_ceil(len);
    let (values, others) = (Shared::new(values), Shared::new(others));
    // SAFETY: pieces with different numbers are apart, and each is used by one thread.
    parallel(pieces, |i| unsafe { body(i, values.piece(i, len), others.piece(i, other_len)) });
}

/// The pieces of the same numbers of three slices of the same length.
pub(crate) fn for_each_trio(
    values: &mut [f32],
    second: &mut [f32],
    third: &mut [f32],
    len: usize,
    body: impl Fn(usize, &mut [f32], &mut [f32], &mut [f32]) + Sync,
) {
    let pieces = values.len().div_ceil(len);
    let [values, second, third] = [values, second, third].map(Shared::new);
    // SAFETY: pieces with different numbers are apart, and each is used by one thread.
    parallel(pieces, |i| unsafe { body(i, values.piece(i, len), second.piece(i, len), third.piece(i, len)) });
}

/// Part `i` of `n` nearly equal parts of `0..len`.
pub(crate) fn part(len: usize, i: usize, n: usize) -> Range<usize> {
    len * i / n..len * (i + 1) / n
}

/// A slice that several threads write, each its own parts.
pub(crate) struct Shared<'a, T = f32> {
    start: *mut T,
    len: usize,
    life: std::marker::PhantomData<&'a mut [T]>,
}

impl<T> Clone for Shared<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Shared<'_, T> {}

// SAFETY: it is a `&mut [T]` of numbers whose users promise (`at`) to write disjoint parts.
unsafe impl<T: Send> Send for Shared<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Shared<'_, T> {}

impl<'a, T> Shared<'a, T> {
    pub fn new(slice: &'a mut [T]) -> Self {
        Self { start: slice.as_mut_ptr(), len: slice.len(), life: std::marker::PhantomData }
    }

    /// Pointer to value `index`.
    ///
    /// # Safety
    ///
    /// `index` is at most the length, the pointer is used within the slice only, and no two threads touch the same
    /// value at the same time if one of them writes it.
    #[inline(always)]
    pub unsafe fn at(self, index: usize) -> *mut T {
        debug_assert!(index <= self.len);
        // SAFETY: granted by the caller.
        unsafe { self.start.add(index) }
    }

    /// Piece `i` of pieces of `len` values: shorter, or empty, where the slice ends before.
    ///
    /// # Safety
    ///
    /// Nobody else uses it.
    pub unsafe fn piece(self, i: usize, len: usize) -> &'a mut [T] {
        let start = (i * len).min(self.len);
        // SAFETY: within the slice; the rest is granted by the caller.
        unsafe { std::slice::from_raw_parts_mut(self.at(start), len.min(self.len - start)) }
    }
}

impl<'a> Shared<'a> {
    /// Adds to the `len` values from `start` on those of the other `parts`, `step` values apart, in order; the sums.
    ///
    /// # Safety
    ///
    /// All parts are within the slice and apart from each other, and no other thread uses them.
    pub unsafe fn add_up(self, start: usize, len: usize, step: usize, parts: usize) -> &'a [f32] {
        // SAFETY: granted by the caller.
        unsafe {
            let total = std::slice::from_raw_parts_mut(self.at(start), len);
            for p in 1..parts {
                let other = std::slice::from_raw_parts(self.at(start + p * step), len);
                total.iter_mut().zip(other).for_each(|(total, other)| *total += other);
            }
            total
        }
    }
}
