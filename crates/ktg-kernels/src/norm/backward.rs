//! Backward. A channel is one task here too: its two sums first, then, from the cache, the gradient of its input.

use super::{BackwardPass, NormGradients, plane};
use crate::parallel::{Shared, filled, parallel};
use crate::shape::Features;
use crate::simd::{Simd, Task};

/// All gradients.
pub(crate) fn backward<S: Simd>(shape: &Features, pass: &BackwardPass, gradient: &[f32]) -> NormGradients {
    let (mut weight, mut bias) = (vec![0.0; shape.channels], vec![0.0; shape.channels]);
    let (weights, biases) = (Shared::new(&mut weight), Shared::new(&mut bias));
    let mut residual = None;
    let body = |dx: Shared| {
        let channels = |masked: Option<Shared>| {
            parallel(shape.channels, |channel| {
                // SAFETY: each task reads and writes its own channel.
                unsafe {
                    let (w, b) = S::vectorize(Channel { shape, pass, gradient, channel, masked, dx });
                    (*weights.at(channel), *biases.at(channel)) = (w, b);
                }
            });
        };
        if pass.residual {
            // SAFETY: all channels are written.
            residual = Some(unsafe { filled(shape.len(), |masked| channels(Some(masked))) });
        } else {
            channels(None);
        }
    };
    // SAFETY: all channels are written.
    let x = unsafe { filled(shape.len(), body) };
    NormGradients { x, weight, bias, residual }
}

struct Channel<'a> {
    shape: &'a Features,
    pass: &'a BackwardPass<'a>,
    gradient: &'a [f32],
    channel: usize,
    /// Where the gradient behind the ReLU is written: it is the residual's.
    masked: Option<Shared<'a>>,
    dx: Shared<'a>,
}

impl Channel<'_> {
    /// A channel's sums of g and of `g (x - mean)`, where g is the gradient behind the ReLU.
    #[inline(always)]
    unsafe fn sums<S: Simd>(&self, mean: f32) -> (f64, f64) {
        let Self { shape, pass, gradient, channel, masked, .. } = self;
        let (mut total, mut total_products) = (0.0f64, 0.0f64);
        for image in 0..shape.batch {
            let start = plane(shape, image, *channel);
            // SAFETY: loads and stores stay within the plane, which has `pixels` values everywhere.
            unsafe {
                let x = pass.x.as_ptr().add(start);
                let gradient = gradient.as_ptr().add(start);
                let output = pass.relu_output.map(|y| y.as_ptr().add(start));
                let masked = masked.map(|m| m.at(start));
                let means = S::splat(mean);
                let mut sums = [S::zero(); 2];
                let mut products = [S::zero(); 2];
                let mut i = 0;
                while i + 2 * S::LANES <= shape.pixels {
                    for v in 0..2 {
                        let i = i + v * S::LANES;
                        let g = S::load(gradient.add(i));
                        let g = if let Some(y) = output { S::where_passed(S::load(y.add(i)), g) } else { g };
                        if let Some(m) = masked {
                            S::store(m.add(i), g);
                        }
                        sums[v] = S::add(sums[v], g);
                        products[v] = S::fma(g, S::sub(S::load(x.add(i)), means), products[v]);
                    }
                    i += 2 * S::LANES;
                }
                let mut sum = S::sum(S::add(sums[0], sums[1]));
                let mut product = S::sum(S::add(products[0], products[1]));
                while i < shape.pixels {
                    let g = match output {
                        Some(y) if *y.add(i) <= 0.0 => 0.0,
                        _ => *gradient.add(i),
                    };
                    if let Some(m) = masked {
                        *m.add(i) = g;
                    }
                    sum += g;
                    product += g * (*x.add(i) - mean);
                    i += 1;
                }
                total += f64::from(sum);
                total_products += f64::from(product);
            }
        }
        (total, total_products)
    }
}

impl Task for Channel<'_> {
    /// Gradients of weight and bias.
    type Output = (f32, f32);

    #[inline(always)]
    unsafe fn run<S: Simd>(self) -> (f32, f32) {
        let Self { shape, pass, gradient, channel, masked, dx } = self;
        let mean = pass.statistics.mean[channel];
        let deviation = 1.0 / f64::from(pass.statistics.variance[channel] + pass.epsilon).sqrt();
        // SAFETY: granted by the caller.
        let (sum, product) = unsafe { self.sums::<S>(mean) };
        let weight_gradient = product * deviation;
        // dx = scale (g - mean(g) - normalised x * mean(g normalised x)), the latter two only where mean and variance
        // depend on x.
        let scale = f64::from(pass.weight[channel]) * deviation;
        let count = (shape.batch * shape.pixels) as f64;
        let (constant, slope) = if pass.from_batch {
            (-scale * sum / count, -scale * deviation * weight_gradient / count)
        } else {
            (0.0, 0.0)
        };
        let (scale, constant, slope) = (scale as f32, constant as f32, slope as f32);
        for image in 0..shape.batch {
            let start = plane(shape, image, channel);
            // SAFETY: as in `sums`; `masked` was written there.
            unsafe {
                let x = pass.x.as_ptr().add(start);
                let dx = dx.at(start);
                // Behind the ReLU already, where it has been written.
                let (g, output) = match masked {
                    Some(masked) => (masked.at(start).cast_const(), None),
                    None => (gradient.as_ptr().add(start), pass.relu_output.map(|y| y.as_ptr().add(start))),
                };
                let (means, scales) = (S::splat(mean), S::splat(scale));
                let (constants, slopes) = (S::splat(constant), S::splat(slope));
                let mut i = 0;
                while i + S::LANES <= shape.pixels {
                    let g = S::load(g.add(i));
                    let g = if let Some(y) = output { S::where_passed(S::load(y.add(i)), g) } else { g };
                    let from_statistics = if pass.from_batch {
                        S::fma(slopes, S::sub(S::load(x.add(i)), means), constants)
                    } else {
                        S::zero()
                    };
                    S::store(dx.add(i), S::fma(scales, g, from_statistics));
                    i += S::LANES;
                }
                while i < shape.pixels {
                    let g = match output {
                        Some(y) if *y.add(i) <= 0.0 => 0.0,
                        _ => *g.add(i),
                    };
                    let from_statistics = if pass.from_batch { slope * (*x.add(i) - mean) + constant } else { 0.0 };
                    *dx.add(i) = scale * g + from_statistics;
                    i += 1;
                }
            }
        }
        (weight_gradient as f32, sum as f32)
    }
}
