//! Scratch memory that is allocated once per thread and used again.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

/// A cache line, so that buffers start at one.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; 16]);

/// Scratch memory. Holds whatever was left in it. Goes back to its thread's store when dropped.
pub(crate) struct Buffer {
    lines: Vec<Line>,
    len: usize,
}

/// As many free buffers as one thread keeps: what an operation uses at the same time. Together with the growing in
/// [`buffer`] this bounds the memory of a thread by that of its largest operation.
const KEPT: usize = 4;

thread_local! {
    static FREE: RefCell<Vec<Vec<Line>>> = const { RefCell::new(Vec::new()) };
}

/// At least `len` values of scratch memory, aligned to a cache line.
pub(crate) fn buffer(len: usize) -> Buffer {
    let needed = len.div_ceil(16);
    let found = FREE.with_borrow_mut(|free| {
        // The smallest that is large enough, or else the largest, which then grows.
        let fitting = (0..free.len()).filter(|&i| free[i].len() >= needed).min_by_key(|&i| free[i].len());
        let chosen = fitting.or_else(|| (0..free.len()).max_by_key(|&i| free[i].len()));
        chosen.map(|i| free.swap_remove(i))
    });
    let mut lines = found.unwrap_or_default();
    if lines.len() < needed {
        // Not `resize`, which would copy what nobody reads.
        drop(std::mem::take(&mut lines));
        lines = vec![Line([0.0; 16]); needed];
    }
    Buffer { lines, len }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let lines = std::mem::take(&mut self.lines);
        // While a thread ends its store may be gone already; then the memory is simply freed.
        let _ = FREE.try_with(|free| {
            let mut free = free.borrow_mut();
            free.push(lines);
            if free.len() > KEPT {
                let smallest = (0..free.len()).min_by_key(|&i| free[i].len()).unwrap_or(0);
                free.swap_remove(smallest);
            }
        });
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        // SAFETY: a line is 16 f32 without padding, and `lines` holds at least `len` of them.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as in `deref`.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}
