//! Mean and variance of a convolution's results, summed up where these are written.

use crate::norm::Moving;
use crate::number::Bf16;
use crate::simd::Simd;

/// Sums over a block's results: of each channel's differences from its first result, and of their squares, so that values far from
/// zero keep their digits. `[first result, sum, sum of squares][channels]`.
#[derive(Clone, Copy)]
pub(super) struct BlockSums {
    at: *mut f32,
    channels: usize,
}

impl BlockSums {
    /// Numbers of a block.
    pub fn len(channels: usize) -> usize {
        3 * channels
    }

    /// # Safety
    ///
    /// There are as many numbers as [`len`](Self::len) says, and they are this block's.
    pub unsafe fn at(at: *mut f32, channels: usize) -> Self {
        Self { at, channels }
    }

    /// Adds results of the `n` channels from `channel` on.
    ///
    /// # Safety
    ///
    /// The channels are there, `n` is at most a vector, and each of `results` points to so many; nobody else adds to these channels.
    #[inline(always)]
    pub unsafe fn add<S: Simd>(
        self,
        channel: usize,
        n: usize,
        is_first: bool,
        results: impl Iterator<Item = *const Bf16> + Clone,
    ) {
        let at = [0, 1, 2].map(|i| self.at.wrapping_add(i * self.channels + channel));
        // SAFETY: granted by the caller.
        unsafe {
            let [shift, mut sum, mut square] = match (is_first, results.clone().next()) {
                (true, Some(first)) => [S::load_first_bf16(first, n), S::zero(), S::zero()],
                _ => at.map(|at| S::load_first(at, n)),
            };
            for result in results {
                let difference = S::sub(S::load_first_bf16(result, n), shift);
                sum = S::add(sum, difference);
                square = S::fma(difference, difference, square);
            }
            for (at, v) in at.into_iter().zip([shift, sum, square]) {
                S::store_first(at, v, n);
            }
        }
    }

    /// Mean and variance over all blocks, which have so many results a channel.
    pub fn combine(sums: &[f32], counts: impl Iterator<Item = usize> + Clone, statistics: Moving) {
        let Moving { mean, variance } = statistics;
        let channels = mean.len();
        let count = counts.clone().sum::<usize>() as f64;
        for (c, (mean, variance)) in mean.iter_mut().zip(variance).enumerate() {
            let of_blocks = sums.chunks_exact(Self::len(channels)).zip(counts.clone());
            let of_blocks =
                of_blocks.map(|(sums, count)| ([0, 1, 2].map(|i| f64::from(sums[i * channels + c])), count as f64));
            let all = of_blocks.clone().map(|([shift, sum, _], count)| count * shift + sum).sum::<f64>() / count;
            let squares = of_blocks.map(|([shift, sum, square], count)| {
                let off = shift - all;
                square + 2.0 * off * sum + count * off * off
            });
            *mean = all as f32;
            *variance = (squares.sum::<f64>() / count).max(0.0) as f32;
        }
    }
}
