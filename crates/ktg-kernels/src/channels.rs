//! What each channel has one number for: a scale (as ConvNeXt gives its blocks, "layer scale"), a bias.

use crate::Kernels;
use crate::norm::planes_at_a_time;
use crate::parallel::{Shared, for_each_piece};
use crate::shape::{Features, Result, check_if_given, check_length};
use crate::simd::{Simd, Task, at_level, plain};
use crate::workspace::buffer;

impl Kernels {
    /// `x * scale + residual`, or without a residual `x * scale`. The scale is `[channels]`, all else `[batch, channels, pixels]`.
    pub fn scale_channels(
        &self,
        shape: &Features,
        x: &[f32],
        scale: &[f32],
        residual: Option<&[f32]>,
        result: &mut [f32],
    ) -> Result {
        check_scaled(shape, x, scale, residual, result)?;
        at_level!(self.level(), S => scale_all::<S>(shape, x, scale, residual, result));
        Ok(())
    }

    /// Gradients of [`scale_channels`](Self::scale_channels), from the result's `gradient` (which is the residual's): that of `x`
    /// goes to `result`, that of the scale, `[channels]`, to `of_scale`.
    pub fn scale_channels_backward(
        &self,
        shape: &Features,
        x: &[f32],
        scale: &[f32],
        gradient: &[f32],
        result: &mut [f32],
        of_scale: &mut [f32],
    ) -> Result {
        check_scaled_backward(shape, [x, gradient, result], scale, of_scale)?;
        at_level!(self.level(), S => sums::<S>(shape, gradient, Some(Scaled { x, scale, dx: result }), of_scale));
        Ok(())
    }

    /// Adds to all values of a channel its bias: `bias` is `[channels]`, `values` is `[batch, channels, pixels]`.
    pub fn add_channel_bias(&self, shape: &Features, bias: &[f32], values: &mut [f32]) -> Result {
        check_length("the bias", shape.channels, bias.len())?;
        check_length("the values", shape.len(), values.len())?;
        let some = planes_at_a_time(shape);
        for_each_piece(values, some * shape.pixels, |i, values| {
            self.compute(add_bias(Planes { pixels: shape.pixels, first: i * some }, bias, values));
        });
        Ok(())
    }

    /// Sum of the values of each channel, `[channels]`: of a gradient `[batch, channels, pixels]`, the gradient of the bias.
    pub fn channel_sums(&self, shape: &Features, gradient: &[f32], result: &mut [f32]) -> Result {
        check_length("the gradient", shape.len(), gradient.len())?;
        check_length("the gradient of the bias", shape.channels, result.len())?;
        at_level!(self.level(), S => sums::<S>(shape, gradient, None, result));
        Ok(())
    }
}

/// Checks lengths of what is scaled, of numbers of any kind.
pub(crate) fn check_scaled<T>(
    shape: &Features,
    x: &[T],
    scale: &[f32],
    residual: Option<&[T]>,
    result: &[T],
) -> Result {
    check_length("the input", shape.len(), x.len())?;
    check_length("the scale", shape.channels, scale.len())?;
    check_if_given("the residual", shape.len(), residual)?;
    check_length("the result", shape.len(), result.len())
}

/// Checks lengths on the way back: of input, gradient and the gradient of the input, and of what channels have.
pub(crate) fn check_scaled_backward<T>(
    shape: &Features,
    [x, gradient, result]: [&[T]; 3],
    scale: &[f32],
    of_scale: &[f32],
) -> Result {
    check_length("the input", shape.len(), x.len())?;
    check_length("the scale", shape.channels, scale.len())?;
    check_length("the gradient", shape.len(), gradient.len())?;
    check_length("the gradient of the input", shape.len(), result.len())?;
    check_length("the gradient of the scale", shape.channels, of_scale.len())
}

/// `x * scale + residual` of all planes.
pub(crate) fn scale_all<S: Simd>(
    shape: &Features,
    x: &[f32],
    scale: &[f32],
    residual: Option<&[f32]>,
    result: &mut [f32],
) {
    let some = planes_at_a_time(shape) * shape.pixels;
    for_each_piece(result, some, |i, y| {
        let own = i * some..i * some + y.len();
        let planes = Planes { pixels: shape.pixels, first: own.start / shape.pixels };
        let residual = residual.map(|residual| &residual[own.clone()]);
        // SAFETY: x and the residual have as many values as y.
        unsafe { S::vectorize(Scale { planes, x: &x[own], scale, residual, y }) }
    });
}

/// By channel, the sums of the gradient, or, of what was scaled, of its products with x; then x has its gradient, too.
pub(crate) fn sums<S: Simd>(shape: &Features, gradient: &[f32], scaled: Option<Scaled>, result: &mut [f32]) {
    let (planes, pixels) = (planes_at_a_time(shape), shape.pixels);
    let scaled = scaled.map(|Scaled { x, scale, dx }| (x, scale, Shared::new(dx)));
    let mut sums = buffer(shape.planes());
    for_each_piece(&mut sums, planes, |task, sums| {
        let own = task * planes * pixels..(task * planes + sums.len()) * pixels;
        let planes = Planes { pixels, first: task * planes };
        let g = &gradient[own.clone()];
        // SAFETY: each task has its own planes, of which there are as many values in all slices.
        unsafe {
            let scaled = scaled.map(|(x, scale, dx)| {
                let dx = std::slice::from_raw_parts_mut(dx.at(own.start), own.len());
                Scaled { x: &x[own], scale, dx }
            });
            S::vectorize(PlaneSums { planes, g, scaled, sums });
        }
    });
    add_parts(&sums, result);
}

/// Sums of all parts (of images, say), which follow each other and are as long as the result, in their order.
pub(crate) fn add_parts(sums: &[f32], to: &mut [f32]) {
    let mut totals = vec![0.0; to.len()];
    for part in sums.chunks_exact(to.len()) {
        totals.iter_mut().zip(part).for_each(|(total, sum)| *total += f64::from(*sum));
    }
    to.iter_mut().zip(totals).for_each(|(to, total)| *to = total as f32);
}

/// Planes that a task handles.
#[derive(Clone, Copy)]
struct Planes {
    pixels: usize,
    /// The first one's number among those of all images.
    first: usize,
}

impl Planes {
    /// Of each plane, the number in a slice of one number a channel.
    fn of_channel(self, by_channel: &[f32]) -> impl Iterator<Item = &f32> {
        by_channel.iter().cycle().skip(self.first % by_channel.len())
    }
}

/// `y = x * scale + residual`
struct Scale<'a> {
    planes: Planes,
    /// As many values as y, as of the residual.
    x: &'a [f32],
    scale: &'a [f32],
    residual: Option<&'a [f32]>,
    y: &'a mut [f32],
}

impl Task for Scale<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { planes, x, scale, residual, y } = self;
        for (plane, (y, scale)) in y.chunks_exact_mut(planes.pixels).zip(planes.of_channel(scale)).enumerate() {
            // SAFETY: loads and stores stay within the plane, which has as many values everywhere.
            unsafe {
                let x = x.as_ptr().add(plane * planes.pixels);
                let residual = residual.map(|r| r.as_ptr().add(plane * planes.pixels));
                let scales = S::splat(*scale);
                for i in (0..planes.pixels).step_by(S::LANES) {
                    let n = planes.pixels - i;
                    let x = S::load_up_to(x.add(i), n);
                    let v = match residual {
                        Some(r) => S::fma(x, scales, S::load_up_to(r.add(i), n)),
                        None => S::mul(x, scales),
                    };
                    S::store_up_to(y.as_mut_ptr().add(i), v, n);
                }
            }
        }
    }
}

plain! {
    fn add_bias(planes: Planes, bias: &'a [f32], values: &'a mut [f32]) {
        for (plane, bias) in values.chunks_exact_mut(planes.pixels).zip(planes.of_channel(bias)) {
            plane.iter_mut().for_each(|value| *value += bias);
        }
    }
}

/// The sum of g of every plane, or, with what was scaled, of `g x`.
struct PlaneSums<'a> {
    planes: Planes,
    g: &'a [f32],
    scaled: Option<Scaled<'a>>,
    sums: &'a mut [f32],
}

/// What was scaled, and where `g * scale`, its gradient, goes: both as long as g.
pub(crate) struct Scaled<'a> {
    pub x: &'a [f32],
    /// By channel.
    pub scale: &'a [f32],
    pub dx: &'a mut [f32],
}

impl Task for PlaneSums<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { planes, g, scaled, sums } = self;
        let pixels = planes.pixels;
        match scaled {
            None => {
                for (g, sum) in g.chunks_exact(pixels).zip(sums) {
                    // SAFETY: the plane has `pixels` values.
                    *sum = unsafe { Plane::<S> { g: g.as_ptr(), scaled: None }.sum(pixels) };
                }
            }
            Some(Scaled { x, scale, dx }) => {
                let all = g.chunks_exact(pixels).zip(x.chunks_exact(pixels)).zip(dx.chunks_exact_mut(pixels));
                for (((g, x), dx), (sum, scale)) in all.zip(sums.iter_mut().zip(planes.of_channel(scale))) {
                    // SAFETY: the planes have `pixels` values.
                    *sum = unsafe {
                        let scaled = Some((x.as_ptr(), S::splat(*scale), dx.as_mut_ptr()));
                        Plane::<S> { g: g.as_ptr(), scaled }.sum(pixels)
                    };
                }
            }
        }
    }
}

/// A plane of g, and of x and dx with their scale.
struct Plane<S: Simd> {
    g: *const f32,
    scaled: Option<(*const f32, S::V, *mut f32)>,
}

impl<S: Simd> Plane<S> {
    #[inline(always)]
    unsafe fn sum(&self, pixels: usize) -> f32 {
        // SAFETY: the caller grants `pixels` values.
        unsafe {
            let mut sums = [S::zero(); 4];
            let mut i = 0;
            while i + 4 * S::LANES <= pixels {
                for (v, sum) in sums.iter_mut().enumerate() {
                    *sum = S::add(*sum, self.term(i + v * S::LANES, S::LANES));
                }
                i += 4 * S::LANES;
            }
            while i < pixels {
                sums[0] = S::add(sums[0], self.term(i, pixels - i));
                i += S::LANES;
            }
            S::sum(S::add(S::add(sums[0], sums[1]), S::add(sums[2], sums[3])))
        }
    }

    /// What is added up of up to n values from i on, then zeros.
    #[inline(always)]
    unsafe fn term(&self, i: usize, n: usize) -> S::V {
        // SAFETY: the caller grants n values from i on.
        unsafe {
            let g = S::load_up_to(self.g.add(i), n);
            let Some((x, scale, dx)) = self.scaled else { return g };
            S::store_up_to(dx.add(i), S::mul(g, scale), n);
            S::mul(g, S::load_up_to(x.add(i), n))
        }
    }
}
