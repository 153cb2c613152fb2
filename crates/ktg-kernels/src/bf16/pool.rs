//! Max-pool of maps `[image][row][column][channel]`.

use crate::number::Bf16;
use crate::parallel::for_each_piece;
use crate::pool::{comes_before, seen};
use crate::shape::Pool;
use crate::simd::{Simd, plain};

/// Maximum of every window; `shape` is that of maps of one channel, of which there are `channels` side by side. NaN counts as
/// largest.
pub(crate) fn max_pool<S: Simd>(shape: &Pool, channels: usize, x: &[Bf16], y: &mut [Bf16]) {
    let [from, to] = shape.plane_lens().map(|len| len * channels);
    for_each_piece(y, to, |image, y| {
        // SAFETY: it has no pointers.
        unsafe { S::vectorize(maxima(shape, channels, &x[image * from..][..from], y)) }
    });
}

/// Gradient of the input: each result's gradient goes to the first maximum of its window, row by row.
pub(crate) fn max_pool_backward<S: Simd>(
    shape: &Pool,
    channels: usize,
    x: &[Bf16],
    gradient: &[Bf16],
    dx: &mut [Bf16],
) {
    let [from, to] = shape.plane_lens().map(|len| len * channels);
    for_each_piece(dx, from, |image, dx| {
        let (x, g) = (&x[image * from..][..from], &gradient[image * to..][..to]);
        // SAFETY: it has no pointers.
        unsafe { S::vectorize(maxima_backward(shape, channels, x, g, dx)) }
    });
}

plain! {
    fn maxima(shape: &'a Pool, channels: usize, x: &'a [Bf16], y: &'a mut [Bf16]) {
        for (number, y) in y.chunks_exact_mut(channels).enumerate() {
            let rows = seen(number / shape.output_width, shape.window, shape.height);
            let columns = seen(number % shape.output_width, shape.window, shape.width);
            let first = (rows.start * shape.width + columns.start) * channels;
            y.copy_from_slice(&x[first..][..channels]);
            for row in rows {
                for column in columns.clone() {
                    let x = &x[(row * shape.width + column) * channels..][..channels];
                    for (y, x) in y.iter_mut().zip(x) {
                        *y = if comes_before(x.to_f32(), y.to_f32()) { *x } else { *y };
                    }
                }
            }
        }
    }

    fn maxima_backward(shape: &'a Pool, channels: usize, x: &'a [Bf16], gradient: &'a [Bf16], dx: &'a mut [Bf16]) {
        // In f32, as several windows may have the same maximum.
        let mut sums = vec![0.0f32; dx.len()];
        let (mut values, mut places) = (vec![0.0f32; channels], vec![0u32; channels]);
        for (number, gradient) in gradient.chunks_exact(channels).enumerate() {
            let rows = seen(number / shape.output_width, shape.window, shape.height);
            let columns = seen(number % shape.output_width, shape.window, shape.width);
            let first = rows.start * shape.width + columns.start;
            for (value, x) in values.iter_mut().zip(&x[first * channels..]) {
                *value = x.to_f32();
            }
            places.fill(first as u32);
            for row in rows {
                for column in columns.clone() {
                    let place = row * shape.width + column;
                    let x = &x[place * channels..][..channels];
                    for ((value, best), x) in values.iter_mut().zip(&mut places).zip(x) {
                        let better = comes_before(x.to_f32(), *value);
                        *value = if better { x.to_f32() } else { *value };
                        *best = if better { place as u32 } else { *best };
                    }
                }
            }
            for (channel, (place, g)) in places.iter().zip(gradient).enumerate() {
                sums[*place as usize * channels + channel] += g.to_f32();
            }
        }
        dx.iter_mut().zip(sums).for_each(|(dx, sum)| *dx = Bf16::from_f32(sum));
    }
}
