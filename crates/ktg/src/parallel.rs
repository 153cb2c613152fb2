//! Several runs at the same time, each on threads of its own.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::ScopedJoinHandle;

use crate::error::CliError;

/// A thread pool of its own for a run that shall not use more than so many cores.
pub fn pool(threads: usize) -> Result<rayon::ThreadPool, CliError> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    pool.map_err(|e| CliError::Other(format!("cannot start a thread: {e}")))
}

/// Runs `work` on so many threads at the same time. One failure stops all.
pub fn in_parallel<T: Send>(
    threads: usize,
    stop: &AtomicBool,
    work: impl Fn() -> Result<T, CliError> + Sync,
) -> Result<Vec<T>, CliError> {
    let careful = || work().inspect_err(|_| stop.store(true, Ordering::Relaxed));
    std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads).map(|_| scope.spawn(careful)).collect();
        let joined = |handle: ScopedJoinHandle<_>| match handle.join() {
            Ok(result) => result,
            Err(_) => Err(CliError::Other("a thread broke down".to_owned())),
        };
        handles.into_iter().map(joined).collect()
    })
}
