//! Backward. Planes are read for the sums of their channel and again for the gradient of the input, both times in the order
//! in which they lie in memory.

use std::ops::Range;

use super::{BackwardPass, Line, NormGradients, planes_at_a_time};
use crate::parallel::{Shared, for_each_piece, parallel};
use crate::shape::Features;
use crate::simd::{Simd, Task};
use crate::workspace::buffer;

/// All gradients.
pub(crate) fn backward<S: Simd>(shape: &Features, pass: &BackwardPass, gradients: NormGradients) {
    let gradient = Shared::new(gradients.result);
    let separate = gradients.x.map(Shared::new);
    let planes = AllPlanes { shape, pass, gradient, separate };
    let mut sums = buffer(shape.planes() * 2);
    let some = planes_at_a_time(shape);
    for_each_piece(&mut sums, some * 2, |task, sums| {
        // SAFETY: each task reads and writes its own planes.
        unsafe { S::vectorize(Sums { planes, first: task * some, sums }) }
    });
    let mut totals = vec![(0.0, 0.0); shape.channels];
    for image in sums.chunks_exact(2 * shape.channels) {
        for (total, own) in totals.iter_mut().zip(image.chunks_exact(2)) {
            total.0 += f64::from(own[0]);
            total.1 += f64::from(own[1]);
        }
    }
    let mut lines = vec![Line::default(); shape.channels];
    for (channel, (line, (sum, product))) in lines.iter_mut().zip(totals).enumerate() {
        let of_weight = pass.of_weight(channel, product);
        *line = pass.line(channel, sum, of_weight, (shape.batch * shape.pixels) as f64);
        (gradients.weight[channel], gradients.bias[channel]) = (of_weight as f32, sum as f32);
    }
    let lines = &lines[..];
    parallel(shape.planes().div_ceil(some), |task| {
        let range = task * some..((task + 1) * some).min(shape.planes());
        // SAFETY: each task reads and writes its own planes; what was to be written for it is written.
        unsafe { S::vectorize(Inputs { planes, range, lines }) }
    });
}

/// The planes of all channels of all images, by number.
#[derive(Clone, Copy)]
struct AllPlanes<'a> {
    shape: &'a Features,
    pass: &'a BackwardPass<'a>,
    /// Of the result. With `separate`, it becomes that behind the ReLU, which is the residual's; else, the input's.
    gradient: Shared<'a>,
    /// Where the input's gradient goes.
    separate: Option<Shared<'a>>,
}

impl AllPlanes<'_> {
    /// Sums of g and of `g (x - mean)` over a plane, where g is the gradient behind the ReLU.
    #[inline(always)]
    unsafe fn sums<S: Simd>(&self, plane: usize) -> (f32, f32) {
        let Self { shape, pass, gradient, separate } = self;
        let mean = pass.statistics.mean[plane % shape.channels];
        let start = plane * shape.pixels;
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
    unsafe fn input<S: Simd>(&self, plane: usize, line: Line) {
        let Self { shape, pass, gradient, separate } = self;
        let mean = pass.statistics.mean[plane % shape.channels];
        let start = plane * shape.pixels;
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

/// The sums of planes that follow each other, two a plane.
struct Sums<'a> {
    planes: AllPlanes<'a>,
    first: usize,
    sums: &'a mut [f32],
}

impl Task for Sums<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        for (i, to) in self.sums.chunks_exact_mut(2).enumerate() {
            // SAFETY: granted by the caller.
            (to[0], to[1]) = unsafe { self.planes.sums::<S>(self.first + i) };
        }
    }
}

/// The gradients of some planes of the input. By channel, how they are made.
struct Inputs<'a> {
    planes: AllPlanes<'a>,
    range: Range<usize>,
    lines: &'a [Line],
}

impl Task for Inputs<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        for plane in self.range {
            // SAFETY: granted by the caller.
            unsafe { self.planes.input::<S>(plane, self.lines[plane % self.lines.len()]) }
        }
    }
}
