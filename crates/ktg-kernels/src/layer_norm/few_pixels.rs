//! Images of so few pixels that a vector holds several channels of all of them: one behind a global pool, four in the last stage of a
//! network for small images.
//!
//! A lane belongs to the same pixel in every vector, so what there is of each pixel is a vector too, in which it is repeated.

use crate::norm::Affine;
use crate::parallel::{Shared, for_each_piece};
use crate::simd::{Simd, Task};
use crate::workspace::buffer;

/// Images that a task handles.
const IMAGES: usize = 8;

/// Whether images of so many pixels are such.
pub(super) fn are_few<S: Simd>(pixels: usize) -> bool {
    pixels < S::LANES && S::LANES.is_multiple_of(pixels)
}

/// Tasks of so many images.
pub(super) fn tasks(images: usize) -> usize {
    images.div_ceil(IMAGES)
}

/// Numbers of channels, repeated for each pixel.
fn repeat(by_channel: &[f32], pixels: usize, to: &mut [f32]) {
    to.chunks_exact_mut(pixels).zip(by_channel).for_each(|(to, value)| to.fill(*value));
}

/// Normalizes all images.
pub(super) fn forward<S: Simd>(pixels: usize, x: &[f32], affine: Affine, result: &mut [f32]) {
    let image = Image { channels: affine.weight.len(), pixels, epsilon: affine.epsilon };
    let mut repeated = buffer(2 * image.len());
    let (weight, bias) = repeated.split_at_mut(image.len());
    repeat(affine.weight, pixels, weight);
    repeat(affine.bias, pixels, bias);
    let (weight, bias) = (&*weight, &*bias);
    let some = IMAGES * image.len();
    for_each_piece(result, some, |task, y| {
        let x = &x[task * some..][..y.len()];
        // SAFETY: x and y are equally long, weight and bias as an image.
        unsafe { S::vectorize(Forward { image, x, weight, bias, y }) }
    });
}

/// The gradients of all images of x; the parts that tasks have of the gradients of weight and bias go to `sums`, `[task][2][channels]`.
pub(super) fn backward<S: Simd>(
    pixels: usize,
    x: &[f32],
    affine: Affine,
    [gradient, dx]: [Shared; 2],
    sums: &mut [f32],
) {
    let image = Image { channels: affine.weight.len(), pixels, epsilon: affine.epsilon };
    let mut weight = buffer(image.len());
    repeat(affine.weight, pixels, &mut weight);
    let weight = &weight[..];
    let some = IMAGES * image.len();
    for_each_piece(sums, 2 * image.channels, |task, sums| {
        let x = &x[task * some..][..some.min(x.len() - task * some)];
        let mut by_place = buffer(2 * image.len());
        // SAFETY: each task has its own images; the gradients are as long as x.
        unsafe {
            let (g, dx) = (gradient.at(task * some), dx.at(task * some));
            S::vectorize(Backward { image, x, weight, g, dx, sums: &mut by_place });
        }
        sums.iter_mut().zip(by_place.chunks_exact(pixels)).for_each(|(sum, places)| *sum = places.iter().sum());
    });
}

/// The shape of an image.
#[derive(Clone, Copy)]
struct Image {
    channels: usize,
    pixels: usize,
    epsilon: f32,
}

impl Image {
    fn len(self) -> usize {
        self.channels * self.pixels
    }

    /// The sum of the lanes of each pixel, in all of these lanes.
    #[inline(always)]
    unsafe fn folded<S: Simd>(self, v: S::V) -> S::V {
        // SAFETY: needs only the level's instructions, as the caller grants; no vector has more than 16 values.
        unsafe {
            if self.pixels == 1 {
                return S::splat(S::sum(v));
            }
            let mut lanes = [0.0; 16];
            S::store(lanes.as_mut_ptr(), v);
            for pixel in 0..self.pixels {
                let sum: f32 = lanes[pixel..S::LANES].iter().step_by(self.pixels).sum();
                lanes[pixel..S::LANES].iter_mut().step_by(self.pixels).for_each(|lane| *lane = sum);
            }
            S::load(lanes.as_ptr())
        }
    }

    /// Mean and `1 / sqrt(variance + epsilon)` of every pixel, in all its lanes.
    #[inline(always)]
    unsafe fn moments<S: Simd>(self, x: *const f32) -> [S::V; 2] {
        // SAFETY: the caller grants an image's values.
        unsafe {
            let share = S::splat(1.0 / self.channels as f32);
            let (sum, _) = self.sums::<S>(x, S::zero());
            let mean = S::mul(self.folded::<S>(sum), share);
            let (difference, square) = self.sums::<S>(x, mean);
            // The mean is rounded, which the differences tell.
            let correction = S::mul(self.folded::<S>(difference), share);
            let square = S::mul(self.folded::<S>(square), share);
            let mut variances = [0.0f32; 16];
            S::store(variances.as_mut_ptr(), S::sub(square, S::mul(correction, correction)));
            for variance in &mut variances {
                // Not `max`, which would turn NaN into 0.
                let positive = if *variance < 0.0 { 0.0 } else { *variance };
                *variance = 1.0 / (positive + self.epsilon).sqrt();
            }
            [S::add(mean, correction), S::load(variances.as_ptr())]
        }
    }

    /// By lane, the sums of `x - shift` and of its square.
    #[inline(always)]
    unsafe fn sums<S: Simd>(self, x: *const f32, shift: S::V) -> (S::V, S::V) {
        // SAFETY: loads stay within the image's values; a vector of the shift has 16 places.
        unsafe {
            let mut sums = [S::zero(); 4];
            let mut squares = [S::zero(); 4];
            let mut i = 0;
            while i + 4 * S::LANES <= self.len() {
                for v in 0..4 {
                    let x = S::sub(S::load(x.add(i + v * S::LANES)), shift);
                    sums[v] = S::add(sums[v], x);
                    squares[v] = S::fma(x, x, squares[v]);
                }
                i += 4 * S::LANES;
            }
            let mut shifts = [0.0; 16];
            S::store(shifts.as_mut_ptr(), shift);
            while i < self.len() {
                let n = self.len() - i;
                // Behind the last value, zero less zero.
                let x = S::sub(S::load_up_to(x.add(i), n), S::load_up_to(shifts.as_ptr(), n));
                sums[0] = S::add(sums[0], x);
                squares[0] = S::fma(x, x, squares[0]);
                i += S::LANES;
            }
            let sum = S::add(S::add(sums[0], sums[1]), S::add(sums[2], sums[3]));
            (sum, S::add(S::add(squares[0], squares[1]), S::add(squares[2], squares[3])))
        }
    }
}

struct Forward<'a> {
    image: Image,
    x: &'a [f32],
    /// As long as an image, as the bias.
    weight: &'a [f32],
    bias: &'a [f32],
    y: &'a mut [f32],
}

impl Task for Forward<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { image, x, weight, bias, y } = self;
        for (x, y) in x.chunks_exact(image.len()).zip(y.chunks_exact_mut(image.len())) {
            // SAFETY: all have as many values as an image.
            unsafe {
                let [mean, inverse] = image.moments::<S>(x.as_ptr());
                for i in (0..image.len()).step_by(S::LANES) {
                    let n = image.len() - i;
                    let [x, weight, bias] = [x, weight, bias].map(<[f32]>::as_ptr);
                    let normalized = S::mul(S::sub(S::load_up_to(x.add(i), n), mean), inverse);
                    let v = S::fma(normalized, S::load_up_to(weight.add(i), n), S::load_up_to(bias.add(i), n));
                    S::store_up_to(y.as_mut_ptr().add(i), v, n);
                }
            }
        }
    }
}

struct Backward<'a> {
    image: Image,
    x: &'a [f32],
    /// As long as an image.
    weight: &'a [f32],
    /// As long as x. May be the same as dx: every value is read before it is written.
    g: *const f32,
    dx: *mut f32,
    /// Of `g` times normalized x, and of g, over the images: both as long as an image.
    sums: &'a mut [f32],
}

impl Task for Backward<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { image, x, weight, g, dx, sums } = self;
        let len = image.len();
        sums.fill(0.0);
        let (sums, w) = (sums.as_mut_ptr(), weight.as_ptr());
        for (number, x) in x.chunks_exact(len).enumerate() {
            // SAFETY: the caller grants g and dx of every image; weight and sums are as long as one and two.
            unsafe {
                let [mean, inverse] = image.moments::<S>(x.as_ptr());
                let (x, g, dx) = (x.as_ptr(), g.add(number * len), dx.add(number * len));
                let [mut sum, mut product] = [S::zero(); 2];
                for i in (0..len).step_by(S::LANES) {
                    let n = len - i;
                    // Behind the last value, it is 0.
                    let g = S::load_up_to(g.add(i), n);
                    let normalized = S::mul(S::sub(S::load_up_to(x.add(i), n), mean), inverse);
                    let (of_weight, of_bias) = (sums.add(i), sums.add(len + i));
                    S::store_up_to(of_weight, S::fma(g, normalized, S::load_up_to(of_weight, n)), n);
                    S::store_up_to(of_bias, S::add(g, S::load_up_to(of_bias, n)), n);
                    let weighted = S::mul(g, S::load_up_to(w.add(i), n));
                    sum = S::add(sum, weighted);
                    product = S::fma(weighted, normalized, product);
                }
                let share = S::mul(inverse, S::splat(1.0 / image.channels as f32));
                let sum = S::mul(image.folded::<S>(sum), share);
                let product = S::mul(S::mul(image.folded::<S>(product), share), inverse);
                for i in (0..len).step_by(S::LANES) {
                    let n = len - i;
                    let difference = S::sub(S::load_up_to(x.add(i), n), mean);
                    let weighted = S::mul(S::load_up_to(g.add(i), n), S::load_up_to(w.add(i), n));
                    let v = S::sub(S::mul(weighted, inverse), S::fma(difference, product, sum));
                    S::store_up_to(dx.add(i), v, n);
                }
            }
        }
    }
}
