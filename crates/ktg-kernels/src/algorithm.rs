//! Which algorithm computes a convolution.

use crate::{Conv2d, Window};

/// How a convolution is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// F(4x4, 3x3), for 3x3 windows of stride 1.
    Winograd,
    /// Implicit GEMM, for any window.
    Direct,
    /// Pixel by pixel, for small maps.
    SmallMaps,
}

impl Conv2d {
    /// How this convolution and its gradients are computed.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The fastest algorithm for so many images, a pure function of the shape: one for forward and both gradients, and for all
    /// levels. Its limits are fitted to what the example `algorithms` measured (docs/performance.md).
    pub(crate) fn best_algorithm(&self, batch: usize) -> Algorithm {
        let channels = self.input.min(self.output);
        let results = self.output_height * self.output_width;
        // Maps are small up to so many quarters of a result for every image of the batch, and so many results.
        let (quarters, most) = match (self.window.kernel, self.window.stride) {
            (1, 1) => (2, 4),
            (1, _) => (6, 25),
            (_, 1) if channels <= 128 => (9, 9),
            (_, 1) => (9, 4),
            _ if channels >= 128 => (15, 64),
            _ => (10, 25),
        };
        // Nothing else was measured, and every pixel of the image and of the window needs room.
        let was_measured = self.height * self.width <= 256 && self.window.kernel <= 3;
        if was_measured && results <= (batch.saturating_mul(quarters) / 4).min(most) {
            return Algorithm::SmallMaps;
        }
        // Results from which on Winograd saves more than its transforms cost.
        let least = match channels {
            0..8 => return Algorithm::Direct,
            8..16 => 700,
            _ => 26,
        };
        match self.window {
            Window { kernel: 3, stride: 1, padding: 1 } if batch.saturating_mul(results) >= least => {
                Algorithm::Winograd
            }
            _ => Algorithm::Direct,
        }
    }

    /// Whether errors are those of [`Algorithm::Winograd`].
    pub fn is_winograd(&self) -> bool {
        self.algorithm() == Algorithm::Winograd
    }

    /// The same convolution by another algorithm; `None` where that cannot compute it.
    pub fn computed_by(self, algorithm: Algorithm) -> Option<Self> {
        let can = algorithm != Algorithm::Winograd || self.window == Window { kernel: 3, stride: 1, padding: 1 };
        can.then_some(Self { algorithm, ..self })
    }

    /// The same convolution by the same algorithm however many images there are, so that an image's result does not depend, not
    /// even in its last bit, on those beside it. It is the one that is the fastest for two images, which is not slow for one
    /// and not for many.
    pub fn for_any_batch(self) -> Self {
        Self { algorithm: self.best_algorithm(2), ..self }
    }

    /// Multiply-adds of the products that this convolution's algorithm computes forward, and to either gradient; transforms of
    /// tiles not counted.
    pub fn multiply_adds_done(&self) -> u128 {
        let channels = [self.batch, self.input, self.output].map(|n| n as u128).iter().product::<u128>();
        let results = match self.algorithm() {
            Algorithm::Direct => return self.multiply_adds(),
            // 36 positions for every 4x4 results.
            Algorithm::Winograd => 36 * self.output_height.div_ceil(4) * self.output_width.div_ceil(4),
            Algorithm::SmallMaps => {
                self.taps_inside(self.height, self.output_height) * self.taps_inside(self.width, self.output_width)
            }
        };
        channels * results as u128
    }

    /// Along a side, the taps of all positions of the window that lie within the image.
    fn taps_inside(&self, side: usize, positions: usize) -> usize {
        let Window { kernel, stride, padding } = self.window;
        let is_inside = |position: usize, tap: usize| (padding..padding + side).contains(&(position * stride + tap));
        (0..positions).map(|position| (0..kernel).filter(|&tap| is_inside(position, tap)).count()).sum()
    }
}
