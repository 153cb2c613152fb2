//! Backward. A task has a few channels here too: their sums first, then, from the cache, the gradient of the input.

use std::ops::Range;

use super::{BackwardPass, CHANNELS, NormGradients, channels_at_a_time, plane};
use crate::parallel::{Shared, for_each_pair};
use crate::shape::Features;
use crate::simd::{Simd, Task};

/// All gradients.
pub(crate) fn backward<S: Simd>(shape: &Features, pass: &BackwardPass, gradients: NormGradients) {
    let gradient = Shared::new(gradients.result);
    let separate = gradients.x.map(Shared::new);
    let some = channels_at_a_time(shape);
    for_each_pair(gradients.weight, some, gradients.bias, some, |task, weight, bias| {
        let channels = task * some..task * some + weight.len();
        // SAFETY: each task reads and writes its own channels.
        unsafe { S::vectorize(Channels { shape, pass, channels, gradient, separate, weight, bias }) }
    });
}

struct Channels<'a> {
    shape: &'a Features,
    pass: &'a BackwardPass<'a>,
    channels: Range<usize>,
    /// Of the result. With `separate`, it becomes that behind the ReLU, which is the residual's; else, the input's.
    gradient: Shared<'a>,
    /// Where the input's gradient goes.
    separate: Option<Shared<'a>>,
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
        let Self { shape, pass, gradient, separate, .. } = self;
        let mean = pass.statistics.mean[channel];
        let start = plane(shape, image, channel);
        // SAFETY: loads and stores stay within the plane, which has `pixels` values everywhere.
        unsafe {
            let x = pass.x.as_ptr().add(start);
            let gradient = gradient.at(start);
            let output = pass.relu_output.map(|y| y.as_ptr().add(start));
            let masks = separate.is_some() && output.is_some();
            let means = S::splat(mean);
            let mut sums = [S::zero(); 2];
            let mut products = [S::zero(); 2];
            let mut i = 0;
            while i + 2 * S::LANES <= shape.pixels {
                for v in 0..2 {
                    let i = i + v * S::LANES;
                    let g = S::load(gradient.add(i));
                    let g = if let Some(y) = output { S::where_passed(S::load(y.add(i)), g) } else { g };
                    if masks {
                        S::store(gradient.add(i), g);
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
                if masks {
                    *gradient.add(i) = g;
                }
                sum += g;
                product += g * (*x.add(i) - mean);
                i += 1;
            }
            (sum, product)
        }
    }

    /// The gradient of a plane of the input, after `sums`.
    #[inline(always)]
    unsafe fn input<S: Simd>(&self, image: usize, channel: usize, line: Line) {
        let Self { shape, pass, gradient, separate, .. } = self;
        let mean = pass.statistics.mean[channel];
        let start = plane(shape, image, channel);
        // SAFETY: as in `sums`.
        unsafe {
            let x = pass.x.as_ptr().add(start);
            let g = gradient.at(start);
            // With a separate result, the gradient is behind the ReLU already.
            let (dx, output) = match separate {
                Some(dx) => (dx.at(start), None),
                None => (g, pass.relu_output.map(|y| y.as_ptr().add(start))),
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
