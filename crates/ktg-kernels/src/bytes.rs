//! 8-bit images to planes of `f32`.

use crate::Kernels;
use crate::shape::{Result, ShapeError, check_length};

/// What a channel's 8-bit value v becomes: `(v / 255 - mean) / std`, each operation rounded to `f32` as PyTorch does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChannelScale {
    /// Subtracted.
    pub mean: f32,
    /// Divided by.
    pub std: f32,
}

impl ChannelScale {
    /// `v / 255`.
    pub const UNIT: Self = Self { mean: 0.0, std: 1.0 };

    #[inline(always)]
    fn value(self, v: u8) -> f32 {
        (f32::from(v) / 255.0 - self.mean) / self.std
    }
}

impl Kernels {
    /// Appends an 8-bit image of `scales.len()` channels to `out`, as one plane a channel. `pixels` are row by row, the
    /// channels of a pixel together; `mirrored` swaps left and right. Equal, bit for bit, at all levels.
    ///
    /// # Errors
    ///
    /// If `pixels` are no whole rows of `width` pixels, or there are no channels.
    pub fn append_planes(
        &self,
        pixels: &[u8],
        width: usize,
        scales: &[ChannelScale],
        mirrored: bool,
        out: &mut Vec<f32>,
    ) -> Result {
        let channels = scales.len();
        if width == 0 || channels == 0 {
            return Err(ShapeError::Zero(if width == 0 { "the width" } else { "the number of channels" }));
        }
        let height = pixels.len() / (width * channels);
        check_length("the image", height * width * channels, pixels.len())?;
        #[cfg(target_arch = "x86_64")]
        if let ([red, green, blue], true) = (scales, self.level() >= crate::Level::Avx2) {
            out.reserve(pixels.len());
            let spare = &mut out.spare_capacity_mut()[..pixels.len()];
            // SAFETY: the processor has AVX2 and FMA, as its level says; `pixels` and `spare` hold 3 * height * width values,
            // and the function writes all of `spare`.
            unsafe { x86::three_planes(pixels, width, [*red, *green, *blue], mirrored, spare) };
            // SAFETY: the capacity was reserved, and these values were all written.
            unsafe { out.set_len(out.len() + pixels.len()) };
            return Ok(());
        }
        for (channel, scale) in scales.iter().enumerate() {
            for row in pixels.chunks_exact(width * channels) {
                let values = row[channel..].iter().step_by(channels).map(|&v| scale.value(v));
                if mirrored { out.extend(values.rev()) } else { out.extend(values) }
            }
        }
        Ok(())
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::ChannelScale;
    use std::arch::x86_64::*;
    use std::mem::MaybeUninit;

    /// Pixels at a time: 24 bytes, which two loads of 16 cover, the second from byte 8 on.
    const STEP: usize = 8;

    /// Writes all three planes.
    ///
    /// # Safety
    /// The processor has AVX2 and FMA. `pixels` and `planes` have the same length, 3 * width times a whole number.
    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn three_planes(
        pixels: &[u8],
        width: usize,
        scales: [ChannelScale; 3],
        mirrored: bool,
        planes: &mut [MaybeUninit<f32>],
    ) {
        let plane = planes.len() / 3;
        let shuffles: [[__m128i; 2]; 3] = std::array::from_fn(|channel| shuffles(channel, mirrored));
        for (y, row) in pixels.chunks_exact(3 * width).enumerate() {
            let place = |x: usize, step: usize| y * width + if mirrored { width - step - x } else { x };
            let whole = width / STEP * STEP;
            for x in (0..whole).step_by(STEP) {
                // SAFETY: x + 8 <= width, so the 24 bytes from 3 * x on are in the row.
                let [first, second] = unsafe {
                    let start = row.as_ptr().add(3 * x);
                    [_mm_loadu_si128(start.cast()), _mm_loadu_si128(start.add(STEP).cast())]
                };
                for channel in 0..3 {
                    let [low, high] = shuffles[channel];
                    let bytes = _mm_or_si128(_mm_shuffle_epi8(first, low), _mm_shuffle_epi8(second, high));
                    let to = &mut planes[channel * plane + place(x, STEP)..][..STEP];
                    // SAFETY: `to` holds 8 values.
                    unsafe { _mm256_storeu_ps(to.as_mut_ptr().cast(), scaled(bytes, scales[channel])) };
                }
            }
            for x in whole..width {
                for (channel, scale) in scales.iter().enumerate() {
                    planes[channel * plane + place(x, 1)].write(scale.value(row[3 * x + channel]));
                }
            }
        }
    }

    /// The first eight bytes as values. Exactly those of [`ChannelScale::value`].
    #[target_feature(enable = "avx2,fma")]
    fn scaled(bytes: __m128i, scale: ChannelScale) -> __m256 {
        let v = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes));
        // v / 255 as a product and one correction (Markstein), three times as fast as the division. The tests compare all
        // 256 results with the division's.
        let inverse = _mm256_set1_ps(1.0 / 255.0);
        let quotient = _mm256_mul_ps(v, inverse);
        let rest = _mm256_fnmadd_ps(quotient, _mm256_set1_ps(255.0), v);
        let unit = _mm256_fmadd_ps(rest, inverse, quotient);
        if scale == ChannelScale::UNIT {
            return unit;
        }
        _mm256_div_ps(_mm256_sub_ps(unit, _mm256_set1_ps(scale.mean)), _mm256_set1_ps(scale.std))
    }

    /// Where the channel's eight bytes are among the first 16 of 24, and among the last 16; zero where they are not.
    fn shuffles(channel: usize, mirrored: bool) -> [__m128i; 2] {
        const NONE: u8 = 0x80;
        let (mut low, mut high) = ([NONE; 16], [NONE; 16]);
        for i in 0..STEP {
            let place = 3 * (if mirrored { STEP - 1 - i } else { i }) + channel;
            if place < 16 {
                low[i] = place as u8;
            } else {
                high[i] = (place - STEP) as u8;
            }
        }
        // SAFETY: each load reads the 16 bytes of its array.
        [low, high].map(|bytes| unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) })
    }
}
