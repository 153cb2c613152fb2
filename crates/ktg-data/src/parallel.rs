//! Work shared by a few threads. Not rayon's pool, which the networks compute in.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// `work(i)` for all `i` in `0..len` on `threads` threads (0: one a processor), the results in order.
pub(crate) fn map<R: Send>(len: usize, threads: usize, work: impl Fn(usize) -> R + Sync) -> Vec<R> {
    let threads = match threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        n => n,
    };
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<(usize, R)>> = Mutex::default();
    let take = || {
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            if i >= len {
                break;
            }
            let result = work(i);
            results.lock().unwrap_or_else(PoisonError::into_inner).push((i, result));
        }
    };
    std::thread::scope(|scope| {
        // The calling thread works too, so failing to start one more only costs time.
        for n in 1..threads.min(len) {
            if std::thread::Builder::new().name(format!("data {n}")).spawn_scoped(scope, take).is_err() {
                break;
            }
        }
        take();
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_unstable_by_key(|(i, _)| *i);
    results.into_iter().map(|(_, result)| result).collect()
}
