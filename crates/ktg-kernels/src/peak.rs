//! What the processor could do at most.

use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crate::Kernels;
use crate::parallel::parallel;
use crate::simd::{Simd, Task};

/// Sums that a loop adds to in turn: more than a processor has multiply-adds under way at a time.
const SUMS: usize = 12;

impl Kernels {
    /// Multiply-adds a second of a loop of nothing else, on the threads of the current rayon pool: the best of some
    /// measurements, about half a second in all.
    pub fn peak(&self) -> f64 {
        const TIMES: usize = 2_000_000;
        const MEASUREMENTS: usize = 20;
        let threads = rayon::current_num_threads();
        let done = AtomicUsize::new(0);
        let measure = |_| {
            let start = Instant::now();
            parallel(threads, |_| {
                // SAFETY: the task has no pointers.
                done.fetch_add(unsafe { self.run(MultiplyAdds { times: TIMES }) }, Ordering::Relaxed);
            });
            start.elapsed().as_secs_f64()
        };
        let least = (0..MEASUREMENTS).map(measure).fold(f64::INFINITY, f64::min);
        done.into_inner() as f64 / MEASUREMENTS as f64 / least
    }
}

/// So many multiply-adds to each of the sums, in vectors; gives how many that were.
struct MultiplyAdds {
    times: usize,
}

impl Task for MultiplyAdds {
    type Output = usize;

    #[inline(always)]
    unsafe fn run<S: Simd>(self) -> usize {
        // SAFETY: arithmetic only, within the level's instructions.
        unsafe {
            let (a, b) = (S::splat(black_box(1.0)), S::splat(black_box(1e-9)));
            let mut sums: [S::V; SUMS] = std::array::from_fn(|i| S::splat(i as f32));
            for _ in 0..self.times {
                for sum in &mut sums {
                    *sum = S::fma(*sum, a, b);
                }
            }
            black_box(sums.iter().map(|sum| S::sum(*sum)).sum::<f32>());
        }
        self.times * SUMS * S::LANES
    }
}
