//! Batch norm over `[pixel][channel]`, with the addition and the ReLU behind it. Statistics, sums and parameters are f32.

use super::periods::{AddMoments, AddProducts, InputGradient, Normalize, folded, period, piece_len, repeated};
use crate::norm::{Affine, BackwardPass, Fused, Line, Moving, NormGradients, Statistics};
use crate::number::Bf16;
use crate::parallel::{Shared, for_each_piece, parallel};
use crate::simd::Simd;
use crate::workspace::buffer;

/// The two sums of a channel over all pieces, `[piece][2][channels]`, in order.
fn totals(sums: &[f32], channels: usize, channel: usize) -> [f64; 2] {
    [0, 1].map(|i| sums.chunks_exact(channels).skip(i).step_by(2).map(|sums| f64::from(sums[channel])).sum())
}

/// Training: the statistics are those of the batch.
pub(crate) fn train<S: Simd>(x: &[Bf16], affine: Affine, fused: Fused<Bf16>, statistics: Moving, y: &mut [Bf16]) {
    let Moving { mean, variance } = statistics;
    let channels = mean.len();
    let (piece, period) = (piece_len(channels), period(channels));
    // Differences from the first pixel: so that sums of squares of values far from zero keep their digits.
    let shift: Vec<f32> = x[..channels].iter().map(|x| x.to_f32()).collect();
    let shifts = repeated(&shift, period);
    let mut sums = buffer(x.len().div_ceil(piece) * 2 * channels);
    for_each_piece(&mut sums, 2 * channels, |number, sums| {
        let x = &x[number * piece..x.len().min((number + 1) * piece)];
        let mut by_place = buffer(2 * period);
        // SAFETY: the task's slices are as long as it says.
        unsafe { S::vectorize(AddMoments { x, shifts: &shifts, sums: &mut by_place }) }
        folded(&by_place, period, sums);
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
    let channels = scales.len();
    let (piece, period) = (piece_len(channels), period(channels));
    let [means, scales, biases] = [statistics.mean, &scales, affine.bias].map(|values| repeated(values, period));
    for_each_piece(y, piece, |number, y| {
        let own = number * piece..number * piece + y.len();
        let x = x.map(|x| &x[own.clone()]);
        let residual = fused.residual.map(|residual| &residual[own]);
        let (means, scales, biases) = (&means, &scales, &biases);
        // SAFETY: the task's slices are as long as it says.
        unsafe { S::vectorize(Normalize { x, means, scales, biases, residual, relu: fused.relu, y }) }
    });
}

/// All gradients.
pub(crate) fn backward<S: Simd>(pass: &BackwardPass<Bf16>, gradients: NormGradients<Bf16>) {
    let NormGradients { result, x: separate, weight, bias } = gradients;
    let channels = pass.weight.len();
    let (piece, period, len) = (piece_len(channels), period(channels), result.len());
    let means = repeated(pass.statistics.mean, period);
    let mut sums = buffer(len.div_ceil(piece) * 2 * channels);
    let (gradient, separate) = (Shared::new(result), separate.map(Shared::new));
    for_each_piece(&mut sums, 2 * channels, |number, sums| {
        // SAFETY: each task has its own piece.
        let gradient = unsafe { gradient.piece(number, piece) };
        let own = number * piece..number * piece + gradient.len();
        let (x, relu_output) = (&pass.x[own.clone()], pass.relu_output.map(|y| &y[own]));
        let mut by_place = buffer(2 * period);
        // SAFETY: the task's slices are as long as it says.
        unsafe { S::vectorize(AddProducts { gradient, relu_output, x, means: &means, sums: &mut by_place }) }
        folded(&by_place, period, sums);
    });
    let count = (len / channels) as f64;
    // `dx = scale g + slope (x - mean) + constant`
    let [mut scales, mut slopes, mut constants] = [(); 3].map(|()| vec![0.0; channels]);
    for c in 0..channels {
        let [sum, product] = totals(&sums, channels, c);
        let of_weight = pass.of_weight(c, product);
        let Line { scale, slope, constant } = pass.line(c, sum, of_weight, count);
        (weight[c], bias[c]) = (of_weight as f32, sum as f32);
        (scales[c], slopes[c], constants[c]) = (scale, slope, constant);
    }
    let [scales, slopes, constants] = [&scales, &slopes, &constants].map(|values| repeated(values, period));
    parallel(len.div_ceil(piece), |number| {
        let (means, scales, slopes, constants) = (&means, &scales, &slopes, &constants);
        // SAFETY: each task has its own piece, and the task's slices are as long as it says.
        unsafe {
            let g = gradient.piece(number, piece);
            let x = &pass.x[number * piece..][..g.len()];
            let to = separate.map(|separate| separate.piece(number, piece));
            S::vectorize(InputGradient { g, x, means, scales, slopes, constants, to });
        }
    });
}
