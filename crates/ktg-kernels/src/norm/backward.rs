//! Backward. A task has a few channels here too: their sums first, then, from the cache, the gradient of the input.

use std::ops::Range;

use super::{BackwardPass, CHANNELS, NormGradients, groups, plane};
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
            let (count, group) = groups(shape);
            parallel(count, |task| {
                let channels = group(task);
                // SAFETY: each task reads and writes its own channels.
                unsafe {
                    let (weight, bias) = (weights.at(channels.start), biases.at(channels.start));
                    let weight = std::slice::from_raw_parts_mut(weight, channels.len());
                    let bias = std::slice::from_raw_parts_mut(bias, channels.len());
                    S::vectorize(Channels { shape, pass, gradient, channels, masked, dx, weight, bias });
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

struct Channels<'a> {
    shape: &'a Features,
    pass: &'a BackwardPass<'a>,
    gradient: &'a [f32],
    channels: Range<usize>,
    /// Where the gradient behind the ReLU is written: it is the residual's.
    masked: Option<Shared<'a>>,
    dx: Shared<'a>,
    /// Gradients of weight and bias.
    weight: &'a mut [f32],
    bias: &'a mut [f32],
}

/// What the gradient of a channel's input is made of: `scale * g + slope * (x - mean) + constant`.
#[derive(Clone, Copy, Default)]
struct Line {
    scale: f32,
    slope: f32,
    constant: f32,
}

impl Channels<'_> {
    /// Sums of g and of `g (x - mean)` over a plane, where g is the gradient behind the ReLU.
    #[inline(always)]
    unsafe fn sums<S: Simd>(&self, image: usize, channel: usize) -> (f32, f32) {
        let Self { shape, pass, gradient, masked, .. } = self;
        let mean = pass.statistics.mean[channel];
        let start = plane(shape, image, channel);
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
            (sum, product)
        }
    }

    /// The gradient of a plane of the input. `masked` has been written.
    #[inline(always)]
    unsafe fn input<S: Simd>(&self, image: usize, channel: usize, line: Line) {
        let Self { shape, pass, gradient, masked, dx, .. } = self;
        let mean = pass.statistics.mean[channel];
        let start = plane(shape, image, channel);
        // SAFETY: as in `sums`.
        unsafe {
            let x = pass.x.as_ptr().add(start);
            let dx = dx.at(start);
            // Behind the ReLU already, where it has been written.
            let (g, output) = match masked {
                Some(masked) => (masked.at(start).cast_const(), None),
                None => (gradient.as_ptr().add(start), pass.relu_output.map(|y| y.as_ptr().add(start))),
            };
            let (means, scales) = (S::splat(mean), S::splat(line.scale));
            let (constants, slopes) = (S::splat(line.constant), S::splat(line.slope));
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
                let from_statistics =
                    if pass.from_batch { line.slope * (*x.add(i) - mean) + line.constant } else { 0.0 };
                *dx.add(i) = line.scale * g + from_statistics;
                i += 1;
            }
        }
    }
}

impl Task for Channels<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let (shape, pass) = (self.shape, self.pass);
        let mut totals = [(0.0f64, 0.0f64); CHANNELS];
        for image in 0..shape.batch {
            for (total, channel) in totals.iter_mut().zip(self.channels.clone()) {
                // SAFETY: granted by the caller.
                let (sum, product) = unsafe { self.sums::<S>(image, channel) };
                total.0 += f64::from(sum);
                total.1 += f64::from(product);
            }
        }
        let mut lines = [Line::default(); CHANNELS];
        let count = (shape.batch * shape.pixels) as f64;
        for (i, channel) in self.channels.clone().enumerate() {
            let (sum, product) = totals[i];
            let deviation = 1.0 / f64::from(pass.statistics.variance[channel] + pass.epsilon).sqrt();
            let weight_gradient = product * deviation;
            // dx = scale (g - mean(g) - normalised x * mean(g normalised x)), the latter two only where mean and
            // variance depend on x.
            let scale = f64::from(pass.weight[channel]) * deviation;
            let (constant, slope) = if pass.from_batch {
                (-scale * sum / count, -scale * deviation * weight_gradient / count)
            } else {
                (0.0, 0.0)
            };
            lines[i] = Line { scale: scale as f32, slope: slope as f32, constant: constant as f32 };
            (self.weight[i], self.bias[i]) = (weight_gradient as f32, sum as f32);
        }
        for image in 0..shape.batch {
            for (line, channel) in lines.iter().zip(self.channels.clone()) {
                // SAFETY: granted by the caller; `sums` has written what was to be written.
                unsafe { self.input::<S>(image, channel, *line) }
            }
        }
    }
}
