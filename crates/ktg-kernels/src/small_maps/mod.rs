//! Convolutions of small maps. With a border of zeros, many taps of a window lie outside such a map: of the 36 products of a
//! 3x3 window on 2x2 pixels, 20 are with zeros, of the 9 on a single pixel 8. So every pixel of the
//! result is computed by itself, from those pixels that its window really has: a product of the weights of each such
//! tap, `[output, input]`, with the pixel's values, `[input, image]`. The images of a batch lie side by side in vectors; forward, of
//! few images, output channels do.

mod few_images;
mod maps;
mod weights;

pub(crate) use maps::{backward_data, forward};
pub(crate) use weights::backward_weights;

use crate::gemm::{Gemm, Segment};
use crate::shape::{Conv2d, Window};
use crate::simd::Simd;

/// Pairs of pixels that meet in a tap of the window.
struct Meetings {
    kernel: usize,
    stride: usize,
    padding: usize,
    image: [usize; 2],
    result: [usize; 2],
}

impl Meetings {
    fn new(shape: &Conv2d) -> Self {
        let Window { kernel, stride, padding } = shape.window;
        Self { kernel, stride, padding, image: [shape.height, shape.width], result: shape.output_image() }
    }

    fn taps(&self) -> usize {
        self.kernel * self.kernel
    }

    /// The pixel of the image that a pixel of the result sees through a tap; `None` if that lies in the border.
    fn seen(&self, result: usize, tap: usize) -> Option<usize> {
        let [height, width] = self.image;
        let (y, x) = (result / self.result[1], result % self.result[1]);
        let (a, b) = (tap / self.kernel, tap % self.kernel);
        let row = (y * self.stride + a).checked_sub(self.padding).filter(|row| *row < height)?;
        let column = (x * self.stride + b).checked_sub(self.padding).filter(|column| *column < width)?;
        Some(row * width + column)
    }

    /// The taps through which a pixel of the result sees something, and what.
    fn of_result(&self, result: usize) -> Vec<Meeting> {
        let meet = |tap| Some(Meeting { tap, other: self.seen(result, tap)? });
        (0..self.taps()).filter_map(meet).collect()
    }

    /// By pixel of the image, the taps through which it is seen, and by which pixels of the result.
    fn of_images(&self) -> Vec<Vec<Meeting>> {
        let [height, width] = self.image;
        let mut all = vec![Vec::new(); height * width];
        for result in 0..self.result[0] * self.result[1] {
            for Meeting { tap, other } in self.of_result(result) {
                all[other].push(Meeting { tap, other: result });
            }
        }
        all
    }

    /// The pixels of the result that see something through a tap, and what, as `[result, image]`.
    fn of_tap(&self, tap: usize) -> Vec<[usize; 2]> {
        let results = 0..self.result[0] * self.result[1];
        results.filter_map(|result| Some([result, self.seen(result, tap)?])).collect()
    }
}

/// A tap, and the other pixel that meets there.
#[derive(Clone, Copy)]
struct Meeting {
    tap: usize,
    other: usize,
}

/// Images side by side in vectors: two of these a block, one where the batch is no larger.
fn vectors_of(batch: usize, lanes: usize) -> usize {
    if batch <= lanes { 1 } else { 2 }
}

/// The sum over the segments of `rows` rows, zeros if there are none, or that added to what is there; A lies as [`Gemm`] says.
///
/// # Safety
///
/// The segments may be read.
unsafe fn add_up<S: Simd, const NV: usize, const A: u8>(
    segments: &[Segment],
    rows: usize,
    sums: &mut [f32],
    accumulate: bool,
) {
    if segments.is_empty() {
        if !accumulate {
            sums.fill(0.0);
        }
        return;
    }
    let c_row = NV * S::LANES;
    assert_eq!(sums.len(), rows * c_row, "a vector or two a row");
    // SAFETY: granted by the caller; there is room for the sums.
    unsafe {
        S::vectorize(Gemm::<NV, A> { rows, segments, a_apart: 0, b_apart: 0, c: sums.as_mut_ptr(), c_row, accumulate })
    }
}
