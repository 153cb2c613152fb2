//! Memory from the system.

use std::ops::{Deref, DerefMut};

/// The size of a huge page of x86-64 and ARM; harmless elsewhere.
const HUGE_PAGE: usize = 2 << 20;

/// Memory for values: zero at first, aligned to a page or, where it is large, to a huge page. It comes from the system directly
/// and goes back to it; pages that nobody touches are never there.
pub struct Arena {
    pages: memmap2::MmapMut,
    /// Where the values start, in bytes.
    start: usize,
    len: usize,
}

impl Arena {
    /// Room for `len` values.
    ///
    /// # Panics
    ///
    /// Panics if the system has not so much memory.
    pub fn new(len: usize) -> Self {
        let bytes = len.checked_mul(size_of::<f32>()).expect("a size within the address space").max(1);
        let spare = if bytes >= HUGE_PAGE { HUGE_PAGE } else { 0 };
        let pages = memmap2::MmapMut::map_anon(bytes + spare);
        let pages = pages.unwrap_or_else(|e| panic!("the system has no {bytes} bytes of memory ({e})"));
        // Without a spare page, the pages' own alignment is enough.
        let start = if spare > 0 { pages.as_ptr().align_offset(HUGE_PAGE) } else { 0 };
        // Transformed tiles are read in pieces from all over a buffer of many megabytes; with small pages the processor would
        // look up addresses half the time. Where the system does not follow the advice nothing is lost.
        #[cfg(all(target_os = "linux", not(miri)))]
        if spare > 0 {
            let _ = pages.advise_range(memmap2::Advice::HugePage, start, bytes);
        }
        Self { pages, start, len }
    }
}

impl Deref for Arena {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        // SAFETY: from `start` on, which is aligned, there are pages for `len` values, all of which are initialised.
        unsafe { std::slice::from_raw_parts(self.pages.as_ptr().add(self.start).cast(), self.len) }
    }
}

impl DerefMut for Arena {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as in `deref`.
        unsafe { std::slice::from_raw_parts_mut(self.pages.as_mut_ptr().add(self.start).cast(), self.len) }
    }
}

/// Asks the C library to keep memory that is freed, up to a few GiB: `malloc` otherwise gives large pieces back to the system
/// at once, and the system fills them with zeros when they are asked for again. For libraries that allocate every
/// tensor anew; ours come from [`Arena`]s. Only glibc is asked, others stay as they are.
pub fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        /// The largest size that glibc lets one set below which memory comes from the heap.
        const LARGEST_OF_THE_HEAP: i32 = 32 << 20;
        const KEPT: i32 = i32::MAX;
        // SAFETY: the two numbers change when glibc gives memory back, and nothing else.
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, LARGEST_OF_THE_HEAP);
            libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_zero_and_aligned() {
        for len in [0, 1, 1000, 3_000_000] {
            let mut arena = Arena::new(len);
            assert!(arena.len() == len && arena.iter().all(|value| *value == 0.0));
            assert!((arena.as_ptr() as usize).is_multiple_of(if len > 1 << 20 { HUGE_PAGE } else { 64 }));
            arena.fill(1.0);
        }
    }
}
