//! Scratch memory that is allocated once per thread and used again.

use std::alloc::Layout;
use std::cell::RefCell;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use crate::memory::{HUGE_PAGE, advise_huge_pages};

/// Memory from the system's allocator: initialised, aligned to a cache line or, where it is large, to a huge page.
struct Block {
    start: NonNull<f32>,
    layout: Layout,
}

// SAFETY: it owns its memory.
unsafe impl Send for Block {}

impl Block {
    /// Memory for at least `len` values.
    fn new(len: usize) -> Self {
        let bytes = len.checked_mul(size_of::<f32>()).expect("a size within the address space").max(1);
        let (bytes, align) = if bytes >= HUGE_PAGE {
            (bytes.next_multiple_of(HUGE_PAGE), HUGE_PAGE)
        } else {
            (bytes.next_multiple_of(4096), 64)
        };
        let layout = Layout::from_size_align(bytes, align).expect("a size within the address space");
        // SAFETY: the layout is not empty; the memory is filled before anybody reads it.
        let start = unsafe {
            let start = std::alloc::alloc(layout);
            let Some(start) = NonNull::new(start.cast::<f32>()) else { std::alloc::handle_alloc_error(layout) };
            if align == HUGE_PAGE {
                advise_huge_pages(start.as_ptr(), bytes);
            }
            start.as_ptr().cast::<u8>().write_bytes(0, bytes);
            start
        };
        Self { start, layout }
    }

    /// Values it holds.
    fn len(&self) -> usize {
        self.layout.size() / size_of::<f32>()
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout in `new`.
        unsafe { std::alloc::dealloc(self.start.as_ptr().cast(), self.layout) }
    }
}

/// Scratch memory. Holds whatever was left in it. Goes back to its thread's store when dropped.
pub(crate) struct Buffer {
    block: Option<Block>,
    len: usize,
}

/// As many free buffers as one thread keeps: what an operation uses at the same time. This bounds what a thread holds
/// by a few times what its largest operation needs.
const KEPT: usize = 4;

thread_local! {
    static FREE: RefCell<Vec<Block>> = const { RefCell::new(Vec::new()) };
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
    let block = found.filter(|block| block.len() >= len).unwrap_or_else(|| Block::new(len));
    Buffer { block: Some(block), len }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let Some(block) = self.block.take() else { return };
        // While a thread ends its store may be gone already; then the memory is simply freed.
        let _ = FREE.try_with(|free| {
            let mut free = free.borrow_mut();
            free.push(block);
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
        let start = self.block.as_ref().map_or(NonNull::dangling(), |block| block.start);
        // SAFETY: the block, which is there until `drop`, holds at least `len` initialised values.
        unsafe { std::slice::from_raw_parts(start.as_ptr(), self.len) }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        let start = self.block.as_ref().map_or(NonNull::dangling(), |block| block.start);
        // SAFETY: as in `deref`, and nobody else has the block.
        unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), self.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept() -> Vec<usize> {
        FREE.with_borrow(|free| free.iter().map(Block::len).collect())
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
