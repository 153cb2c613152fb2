//! What becomes of freed memory.

/// Asks the C library's allocator to keep freed memory for later instead of giving it back to the system, for the whole
/// process.
///
/// A training step allocates and frees hundreds of tensors of many megabytes. As the GNU C library does it by default,
/// each of them is new memory, which the system fills with zeros page by page when it is first touched; for a batch norm
/// that takes four times as long as the batch norm. Call this once, when a program starts that trains. The process then
/// holds as much memory as its largest moment needed until it ends. Elsewhere than on Linux with the GNU C library
/// nothing happens.
pub fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: these calls change parameters of the allocator, which takes its own lock.
    unsafe {
        // No mapping of its own for a large piece: it would go back to the system when freed.
        libc::mallopt(libc::M_MMAP_MAX, 0);
        // -1: never shrink the heap.
        libc::mallopt(libc::M_TRIM_THRESHOLD, -1);
        // Grow it in large steps.
        libc::mallopt(libc::M_TOP_PAD, 64 << 20);
    }
}
