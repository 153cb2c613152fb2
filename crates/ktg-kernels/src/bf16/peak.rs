//! What the processor could do at most in bf16, at the moment.

use std::time::Instant;

use super::instructions::with_tiles;
use super::tiles::{Product, SUMS, TILE, Tiles};
use crate::Kernels;
use crate::number::Bf16;
use crate::parallel::parallel;

/// Steps of the product that is measured.
const STEPS: usize = 512;
/// Multiply-adds of a product of tiles.
const OF_TILES: usize = 16 * 16 * 32;

impl Kernels {
    /// Multiply-adds a second of products of tiles that never leave the first-level cache, on the threads of the current rayon
    /// pool: the best of some measurements, some milliseconds each.
    ///
    /// Units for tiles are shared by what runs on a core: a neighbor makes them several times slower, now and then. This says how
    /// fast they are just now.
    pub fn peak_bf16(&self) -> f64 {
        const MEASUREMENTS: usize = 5;
        let threads = rayon::current_num_threads();
        let done = threads * TIMES * STEPS * 4 * OF_TILES;
        let measure = |_| {
            let start = Instant::now();
            parallel(threads, |_| with_tiles!(self, S, tiles => multiply(tiles)));
            start.elapsed().as_secs_f64()
        };
        done as f64 / (0..MEASUREMENTS).map(measure).fold(f64::INFINITY, f64::min)
    }
}

/// How often the product is computed.
const TIMES: usize = 100;

fn multiply(tiles: impl Tiles) {
    /// Tiles begin with a line.
    #[repr(align(64))]
    struct Aligned<T>(T);
    let (a, b) = (Aligned([Bf16::default(); 2 * TILE]), Aligned([Bf16::default(); 2 * TILE]));
    let mut c = Aligned([0.0f32; 4 * SUMS]);
    // The same tiles again and again.
    let steps = [0; STEPS];
    let _held = tiles.hold();
    for _ in 0..TIMES {
        let product = Product::<2, 2> {
            a: a.0.as_ptr(),
            steps: &steps,
            b: [b.0.as_ptr(), b.0[TILE..].as_ptr()],
            b_step: 0,
            c: c.0.as_mut_ptr(),
            accumulate: true,
        };
        // SAFETY: all tiles are there, and this thread holds the registers.
        unsafe { tiles.multiply(&product) }
    }
    std::hint::black_box(c.0[0]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_of_tiles_take_some_time() {
        let peak = Kernels::new().peak_bf16();
        assert!(peak > 1e6 && peak < 1e15, "{peak}");
    }
}
