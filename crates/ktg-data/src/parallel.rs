//! Work shared by a few threads.

use rayon::prelude::*;

/// `work(i)` for all `i` in `0..len` on `threads` threads (0: one a processor), the results in order. Not in rayon's
/// common pool, which the networks compute in.
pub(crate) fn map<R: Send>(len: usize, threads: usize, work: impl Fn(usize) -> R + Sync + Send) -> Vec<R> {
    match rayon::ThreadPoolBuilder::new().num_threads(threads).build() {
        Ok(pool) => pool.install(|| (0..len).into_par_iter().with_max_len(1).map(work).collect()),
        // The system has no thread left.
        Err(_) => (0..len).map(work).collect(),
    }
}
