//! Batch norm over `[pixel][channel]`, with the addition and the ReLU behind it. Statistics, sums and parameters are f32.

use super::number::Bf16;
use crate::norm::{Affine, BackwardPass, Fused, Line, Moving, NormGradients, Statistics};
use crate::parallel::{Shared, for_each_piece, parallel};
use crate::simd::{Simd, plain};
use crate::workspace::buffer;

/// Numbers of a piece of the pixels, which is summed up by itself: by the shape alone, whatever the threads.
const PIECE: usize = 32 << 10;

/// Numbers of a piece: whole pixels.
fn piece_len(channels: usize) -> usize {
    (PIECE / channels).max(1) * channels
}

/// The two sums of a channel over all pieces, `[piece][2][channels]`, in order.
fn totals(sums: &[f32], channels: usize, channel: usize) -> [f64; 2] {
    [0, 1].map(|i| sums.chunks_exact(channels).skip(i).step_by(2).map(|sums| f64::from(sums[channel])).sum())
}

/// Training: the statistics are those of the batch.
pub(crate) fn train<S: Simd>(x: &[Bf16], affine: Affine, fused: Fused<Bf16>, statistics: Moving, y: &mut [Bf16]) {
    let Moving { mean, variance } = statistics;
    let channels = mean.len();
    let piece = piece_len(channels);
    // Differences from the first pixel: so that sums of squares of values far from zero keep their digits.
    let shift: Vec<f32> = x[..channels].iter().map(|x| x.to_f32()).collect();
    let mut sums = buffer(x.len().div_ceil(piece) * 2 * channels);
    for_each_piece(&mut sums, 2 * channels, |number, sums| {
        let x = &x[number * piece..x.len().min((number + 1) * piece)];
        // SAFETY: it has no pointers.
        unsafe { S::vectorize(add_moments(x, &shift, sums)) }
    });
    let count = (x.len() / channels) as f64;
    for (c, (mean, variance)) in mean.iter_mut().zip(variance.iter_mut()).enumerate() {
        let [difference, square] = totals(&sums, channels, c).map(|total| total / count);
        *mean = (f64::from(shift[c]) + difference) as f32;
        *variance = (square - difference * difference).max(0.0) as f32;
    }
    inference::<S>(Some(x), affine, Statistics { mean, variance }, fused, y);
}

/// Inference: the statistics are given. Without `x`, what is in `y` is normalized in place.
pub(crate) fn inference<S: Simd>(
    x: Option<&[Bf16]>,
    affine: Affine,
    statistics: Statistics,
    fused: Fused<Bf16>,
    y: &mut [Bf16],
) {
    let scale = |(weight, variance): (&f32, &f32)| weight / (variance + affine.epsilon).sqrt();
    let scales: Vec<f32> = affine.weight.iter().zip(statistics.variance).map(scale).collect();
    let piece = piece_len(scales.len());
    for_each_piece(y, piece, |number, y| {
        if let Some(x) = x {
            y.copy_from_slice(&x[number * piece..][..y.len()]);
        }
        let residual = fused.residual.map(|residual| &residual[number * piece..][..y.len()]);
        let line = Scale { mean: statistics.mean, scales: &scales, bias: affine.bias };
        // SAFETY: it has no pointers.
        unsafe { S::vectorize(normalize(line, residual, fused.relu, y)) }
    });
}

/// All gradients.
pub(crate) fn backward<S: Simd>(pass: &BackwardPass<Bf16>, gradients: NormGradients<Bf16>) {
    let NormGradients { result, x: separate, weight, bias } = gradients;
    let channels = pass.weight.len();
    let (piece, len) = (piece_len(channels), result.len());
    let (gradient, separate) = (Shared::new(result), separate.map(Shared::new));
    let mut sums = buffer(len.div_ceil(piece) * 2 * channels);
    for_each_piece(&mut sums, 2 * channels, |number, sums| {
        // SAFETY: each task has its own piece.
        let g = unsafe { gradient.piece(number, piece) };
        let own = number * piece..number * piece + g.len();
        // SAFETY: it has no pointers.
        unsafe {
            if let Some(y) = pass.relu_output {
                S::vectorize(mask(&y[own.clone()], g));
            }
            S::vectorize(add_products(g, &pass.x[own], pass.statistics.mean, sums));
        }
    });
    let count = (len / channels) as f64;
    // `dx = scale g + slope (x - mean) + constant`
    let mut lines = vec![0.0; 3 * channels];
    for c in 0..channels {
        let [sum, product] = totals(&sums, channels, c);
        let of_weight = pass.of_weight(c, product);
        let Line { scale, slope, constant } = pass.line(c, sum, of_weight, count);
        (weight[c], bias[c]) = (of_weight as f32, sum as f32);
        (lines[c], lines[channels + c], lines[2 * channels + c]) = (scale, slope, constant);
    }
    parallel(len.div_ceil(piece), |number| {
        // SAFETY: each task has its own piece.
        unsafe {
            let g = gradient.piece(number, piece);
            let x = &pass.x[number * piece..][..g.len()];
            let to = match separate {
                Some(separate) => {
                    let to = separate.piece(number, piece);
                    to.copy_from_slice(g);
                    to
                }
                None => g,
            };
            S::vectorize(input_gradient(x, pass.statistics.mean, &lines, to));
        }
    });
}

/// `(x - mean) * scale + bias` of each channel.
#[derive(Clone, Copy)]
struct Scale<'a> {
    mean: &'a [f32],
    scales: &'a [f32],
    bias: &'a [f32],
}

plain! {
    /// Sums of the differences from `shift`, and of their squares, by channel: `[2][channels]`.
    fn add_moments(x: &'a [Bf16], shift: &'a [f32], sums: &'a mut [f32]) {
        sums.fill(0.0);
        let (sums, squares) = sums.split_at_mut(shift.len());
        for x in x.chunks_exact(shift.len()) {
            for (((x, shift), sum), square) in x.iter().zip(shift).zip(&mut *sums).zip(&mut *squares) {
                let difference = x.to_f32() - shift;
                *sum += difference;
                *square += difference * difference;
            }
        }
    }

    /// Normalizes in place.
    fn normalize(line: Scale<'a>, residual: Option<&'a [Bf16]>, relu: bool, y: &'a mut [Bf16]) {
        let Scale { mean, scales, bias } = line;
        for (number, y) in y.chunks_exact_mut(mean.len()).enumerate() {
            let residual = residual.map(|residual| &residual[number * mean.len()..][..mean.len()]);
            for (c, y) in y.iter_mut().enumerate() {
                let normalized = (y.to_f32() - mean[c]) * scales[c] + bias[c];
                let sum = normalized + residual.map_or(0.0, |residual| residual[c].to_f32());
                // NaN stays.
                *y = Bf16::from_f32(if relu && sum <= 0.0 { 0.0 } else { sum });
            }
        }
    }

    /// Zeros where the ReLU did not let pass.
    fn mask(y: &'a [Bf16], gradient: &'a mut [Bf16]) {
        for (g, y) in gradient.iter_mut().zip(y) {
            *g = if y.to_f32() <= 0.0 { Bf16::default() } else { *g };
        }
    }

    /// Sums of the gradient and of its products with `x - mean`, by channel: `[2][channels]`.
    fn add_products(gradient: &'a [Bf16], x: &'a [Bf16], mean: &'a [f32], sums: &'a mut [f32]) {
        sums.fill(0.0);
        let (sums, products) = sums.split_at_mut(mean.len());
        for (g, x) in gradient.chunks_exact(mean.len()).zip(x.chunks_exact(mean.len())) {
            for (c, (g, x)) in g.iter().zip(x).enumerate() {
                sums[c] += g.to_f32();
                products[c] += g.to_f32() * (x.to_f32() - mean[c]);
            }
        }
    }

    /// Makes the gradient of the input from that of the result, in place.
    fn input_gradient(x: &'a [Bf16], mean: &'a [f32], lines: &'a [f32], gradient: &'a mut [Bf16]) {
        let (scale, rest) = lines.split_at(mean.len());
        let (slope, constant) = rest.split_at(mean.len());
        for (g, x) in gradient.chunks_exact_mut(mean.len()).zip(x.chunks_exact(mean.len())) {
            for (c, (g, x)) in g.iter_mut().zip(x).enumerate() {
                *g = Bf16::from_f32(g.to_f32() * scale[c] + (x.to_f32() - mean[c]) * slope[c] + constant[c]);
            }
        }
    }
}
