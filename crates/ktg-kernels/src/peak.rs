//! What the processor could do at most.

use std::hint::black_box;
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
        let threads = rayon::current_num_threads();
        let measure = |_| {
            let start = Instant::now();
            parallel(threads, |_| {
                // SAFETY: the task has no pointers.
                black_box(unsafe { self.run(MultiplyAdds { times: TIMES }) });
            });
            start.elapsed().as_secs_f64()
        };
        let least = (0..20).map(measure).fold(f64::INFINITY, f64::min);
        (threads * TIMES * SUMS * self.lanes()) as f64 / least
    }

    /// Values of a vector.
    fn lanes(&self) -> usize {
        // SAFETY: the task has no pointers.
        unsafe { self.run(Lanes) }
    }
}

struct Lanes;

impl Task for Lanes {
    type Output = usize;

    #[inline(always)]
    unsafe fn run<S: Simd>(self) -> usize {
        S::LANES
    }
}

/// So many multiply-adds to each of the sums.
struct MultiplyAdds {
    times: usize,
}

impl Task for MultiplyAdds {
    type Output = f32;

    #[inline(always)]
    unsafe fn run<S: Simd>(self) -> f32 {
        // SAFETY: arithmetic only, within the level's instructions.
        unsafe {
            let (a, b) = (S::splat(black_box(1.0)), S::splat(black_box(1e-9)));
            let mut sums = [S::zero(); SUMS];
            for _ in 0..self.times {
                for sum in &mut sums {
                    *sum = S::fma(*sum, a, b);
                }
            }
            sums.iter().map(|sum| S::sum(*sum)).sum()
        }
    }
}
