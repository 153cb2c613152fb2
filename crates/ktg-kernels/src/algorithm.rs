//! Which algorithm computes a convolution.

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

/// What the choice depends on.
#[derive(Clone, Copy)]
pub(crate) struct Sizes {
    pub batch: usize,
    /// Of the images or of the results, whichever are fewer.
    pub channels: usize,
    /// Of an image, and of its result.
    pub pixels: usize,
    pub results: usize,
    /// The window.
    pub kernel: usize,
    pub stride: usize,
    pub padding: usize,
    /// Zeros behind the image.
    pub after: usize,
}

impl Algorithm {
    /// The fastest algorithm for so many images, a pure function of the shape: one for forward and both gradients, and for all
    /// levels. Its limits are fitted to what the example `algorithms` measured (docs/performance.md).
    pub(crate) fn fastest(sizes: Sizes) -> Self {
        let Sizes { batch, channels, pixels, results, kernel, stride, padding, after } = sizes;
        // Maps are small up to so many quarters of a result for every image of the batch, and so many results.
        let (quarters, most) = match (kernel, stride) {
            (1, 1) => (2, 4),
            (1, _) => (6, 25),
            (_, 1) if channels <= 128 => (9, 9),
            (_, 1) => (9, 4),
            // Enough images to fill the vectors and to give every thread some.
            _ if batch >= 64 || channels >= 64 && batch >= 32 => (18, 144),
            _ if channels >= 128 => (15, 64),
            _ => (10, 25),
        };
        // Nothing else was measured, and every pixel of the image and of the window needs room.
        let was_measured = (pixels <= 256 || pixels <= 576 && stride == 2) && kernel <= 3;
        if was_measured && results <= (batch.saturating_mul(quarters) / 4).min(most) {
            return Algorithm::SmallMaps;
        }
        // Results from which on Winograd saves more than its transforms cost.
        let least = match channels {
            0..8 => return Algorithm::Direct,
            8..16 => 700,
            _ => 26,
        };
        match (kernel, stride, padding, after) {
            (3, 1, 1, 1) if batch.saturating_mul(results) >= least => Algorithm::Winograd,
            _ => Algorithm::Direct,
        }
    }
}
