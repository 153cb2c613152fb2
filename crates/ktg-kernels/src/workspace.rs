//! Scratch memory that is allocated once per thread and used again.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

use crate::memory::Arena;

/// Scratch memory. Holds whatever was left in it. Goes back to its thread's store when dropped.
pub(crate) struct Buffer {
    /// There until it is dropped.
    arena: Option<Arena>,
    /// Where in it the values start.
    start: usize,
    len: usize,
}

/// As many free buffers as one thread keeps: what an operation uses at the same time. This bounds what a thread holds
/// by a few times what its largest operation needs.
const KEPT: usize = 4;

thread_local! {
    static FREE: RefCell<Vec<Arena>> = const { RefCell::new(Vec::new()) };
}

/// `len` values of scratch memory, aligned to a cache line. In this crate's own tests they are NaN, and the memory ends behind them.
pub(crate) fn buffer(len: usize) -> Buffer {
    #[cfg(all(test, target_os = "linux", target_env = "gnu"))]
    return guarded::buffer(len);
    #[cfg(not(all(test, target_os = "linux", target_env = "gnu")))]
    reused(len)
}

/// At least `len` values that were used before, if there are any.
fn reused(len: usize) -> Buffer {
    let found = FREE.with_borrow_mut(|free| {
        // The smallest that is large enough, or else the largest, which is then replaced.
        let fitting = (0..free.len()).filter(|&i| free[i].len() >= len).min_by_key(|&i| free[i].len());
        let chosen = fitting.or_else(|| (0..free.len()).max_by_key(|&i| free[i].len()));
        chosen.map(|i| free.swap_remove(i))
    });
    // The old memory is given back before the new is asked for.
    let arena = found.filter(|arena| arena.len() >= len).unwrap_or_else(|| Arena::new(len));
    Buffer { arena: Some(arena), start: 0, len }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let Some(arena) = self.arena.take().filter(|_| self.start == 0) else { return };
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
        &self.arena.as_deref().unwrap_or_default()[self.start..][..self.len]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.arena.as_deref_mut().unwrap_or_default()[self.start..][..self.len]
    }
}

/// Memory in which reading what was not written, or beyond the end, does not go unnoticed: not even by assembly, of which sanitizers know
/// nothing.
#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod guarded {
    use super::Buffer;
    use crate::memory::Arena;

    /// A page, or some.
    const PAGE: usize = 64 << 10;
    /// Values of a cache line: those behind the end that lie in the same one cannot be guarded.
    const LINE: usize = 16;

    pub fn buffer(len: usize) -> Buffer {
        const IN_A_PAGE: usize = PAGE / size_of::<f32>();
        // The values' page ends where the next one begins. The first page only makes sure that they do not start at 0.
        let end = IN_A_PAGE + len.next_multiple_of(LINE).next_multiple_of(IN_A_PAGE);
        let start = end - len.next_multiple_of(LINE);
        let mut arena = Arena::new(end + IN_A_PAGE);
        arena[start..end].fill(f32::NAN);
        // SAFETY: a page of the arena, which nobody uses from now on: it only becomes inaccessible.
        let done = unsafe { libc::mprotect(arena[end..].as_mut_ptr().cast(), PAGE, libc::PROT_NONE) };
        assert_eq!(done, 0, "a page can be guarded");
        Buffer { arena: Some(arena), start, len }
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
        let first = reused(100_000).as_ptr();
        assert_eq!(reused(90_000).as_ptr(), first, "the free buffer is taken again");
        for round in 1..100 {
            let some: Vec<Buffer> = (0..10).map(|i| reused(1000 * round * (i + 1))).collect();
            assert!(some.iter().all(|b| (b.as_ptr() as usize).is_multiple_of(64)));
            drop(some);
            assert!(kept().len() <= KEPT, "{:?}", kept());
        }
        assert!(kept().iter().sum::<usize>() < KEPT * 1_100_000, "{:?}", kept());
    }

    #[test]
    fn the_smallest_that_fits_is_taken() {
        drop([reused(1_000_000), reused(10_000)]);
        let small = reused(5_000);
        assert!(kept().iter().any(|&len| len >= 1_000_000), "{:?}", kept());
        drop(small);
    }

    #[test]
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    fn tests_have_new_memory_that_ends_behind_its_values() {
        for len in [1, 15, 16, 1000, 16 << 10, 1_000_000] {
            let mut values = buffer(len);
            assert!(values.len() == len && values.iter().all(|value| value.is_nan()));
            let end = values.as_ptr().wrapping_add(len.next_multiple_of(16)) as usize;
            assert!((values.as_ptr() as usize).is_multiple_of(64) && end.is_multiple_of(4096), "{len}");
            values.fill(1.0);
        }
    }
}
