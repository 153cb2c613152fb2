//! What the examples that measure share: their arguments, and a clock.

use std::time::Instant;

use ktg_kernels::{Kernels, Level};

/// Milliseconds, the median of at least 7 calls and 0.2 seconds.
pub fn time(mut call: impl FnMut()) -> f64 {
    call();
    call();
    let (start, mut times) = (Instant::now(), Vec::new());
    while times.len() < 7 || start.elapsed().as_secs_f64() < 0.2 {
        let start = Instant::now();
        call();
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Builds the pool of threads, and gives what the arguments `[FILTER [LEVEL]]` say: part of a name, and the kernels.
pub fn arguments() -> (String, Kernels) {
    rayon::ThreadPoolBuilder::new().use_current_thread().build_global().expect("the pool is not built yet");
    let filter = std::env::args().nth(1).unwrap_or_default();
    let kernels = match std::env::args().nth(2) {
        None => Kernels::new(),
        Some(name) => Level::from_name(&name).and_then(Kernels::at).expect("a level of this processor"),
    };
    (filter, kernels)
}
