//! Scratch memory that is allocated once per thread and used again.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

use crate::memory::Arena;

/// Scratch memory. Holds whatever was left in it. Goes back to its thread's store when dropped.
pub(crate) struct Buffer {
    /// There until it is dropped.
    arena: Option<Arena>,
    len: usize,
}

/// As many free buffers as one thread keeps: what an operation uses at the same time. This bounds what a thread holds
/// by a few times what its largest operation needs.
const KEPT: usize = 4;

thread_local! {
    static FREE: RefCell<Vec<Arena>> = const { RefCell::new(Vec::new()) };
}

/// At least `len` values of scratch memory, aligned to a cache line.
pub(crate) fn buffer(len: usize) -> Buffer {
    let found = FREE.with_borrow_mut(|free| {
        // The smallest that is large enough, or else the largest, which is then replaced.
        let fitting = (0..free.len()).filter(|&i| free[i].len() >= len).min_by_key(|&i| free[i].len());
        let chosen = fitting.or_else(|| (0..free.len()).max_by_key(|&i| free[i].len()));
        chosen.map(|i| free.swap_remove(i))
    });
    // The old memory is given back before the new is asked for.
    let arena = found.filter(|arena| arena.len() >= len).unwrap_or_else(|| Arena::new(len));
    Buffer { arena: Some(arena), len }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let Some(arena) = self.arena.take() else { return };
        // While a thread ends its store may be gone already; then the memory is simply freed.
        let _ = FREE.try_with(|free| {
            let mut free = free.borrow_mut();
            free.push(arena);
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
        &self.arena.as_deref().unwrap_or_default()[..self.len]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.arena.as_deref_mut().unwrap_or_default()[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept() -> Vec<usize> {
        FREE.with_borrow(|free| free.iter().map(|arena| arena.len()).collect())
    }

    #[test]
    fn memory_is_used_again_and_bounded() {
        let first = buffer(100_000).as_ptr();
        assert_eq!(buffer(90_000).as_ptr(), first, "the free buffer is taken again");
        for round in 1..100 {
            let some: Vec<Buffer> = (0..10).map(|i| buffer(1000 * round * (i + 1))).collect();
            assert!(some.iter().all(|b| (b.as_ptr() as usize).is_multiple_of(64)));
            drop(some);
            assert!(kept().len() <= KEPT, "{:?}", kept());
        }
        assert!(kept().iter().sum::<usize>() < KEPT * 1_100_000, "{:?}", kept());
    }

    #[test]
    fn the_smallest_that_fits_is_taken() {
        drop([buffer(1_000_000), buffer(10_000)]);
        let small = buffer(5_000);
        assert!(kept().iter().any(|&len| len >= 1_000_000), "{:?}", kept());
        drop(small);
    }
}
