//! What attention maps do to features, and how plain networks make one.

use crate::parallel::{Shared, parallel};
use crate::shape::Features;
use crate::simd::{Simd, Task};

/// `x * map`, and with `keeps` `x * map + x`.
pub(crate) fn forward<S: Simd>(shape: &Features, x: &[f32], map: &[f32], keeps: bool, result: &mut [f32]) {
    let (len, pixels) = (shape.channels * shape.pixels, shape.pixels);
    let y = Shared::new(result);
    parallel(shape.batch, |image| {
        // SAFETY: each task writes its own image; safe code compiled for the level's instructions.
        unsafe {
            let y = std::slice::from_raw_parts_mut(y.at(image * len), len);
            S::vectorize(Weigh { x: &x[image * len..][..len], map: &map[image * pixels..][..pixels], keeps, y });
        }
    });
}

struct Weigh<'a> {
    x: &'a [f32],
    map: &'a [f32],
    keeps: bool,
    y: &'a mut [f32],
}

impl Task for Weigh<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let pixels = self.map.len();
        for (y, x) in self.y.chunks_exact_mut(pixels).zip(self.x.chunks_exact(pixels)) {
            let values = y.iter_mut().zip(x).zip(self.map);
            if self.keeps {
                values.for_each(|((y, x), map)| *y = x * map + x);
            } else {
                values.for_each(|((y, x), map)| *y = x * map);
            }
        }
    }
}

/// The gradient of the result becomes that of x; the map's is the sum over channels of its products with x.
pub(crate) fn backward<S: Simd>(
    shape: &Features,
    x: &[f32],
    map: &[f32],
    keeps: bool,
    gradient: &mut [f32],
    result: &mut [f32],
) {
    let (len, pixels) = (shape.channels * shape.pixels, shape.pixels);
    let (g, of_map) = (Shared::new(gradient), Shared::new(result));
    parallel(shape.batch, |image| {
        // SAFETY: each task reads and writes its own image; safe code compiled for the level's instructions.
        unsafe {
            let g = std::slice::from_raw_parts_mut(g.at(image * len), len);
            let of_map = std::slice::from_raw_parts_mut(of_map.at(image * pixels), pixels);
            let (x, map) = (&x[image * len..][..len], &map[image * pixels..][..pixels]);
            S::vectorize(WeighBackward { x, map, keeps, g, of_map });
        }
    });
}

struct WeighBackward<'a> {
    x: &'a [f32],
    map: &'a [f32],
    keeps: bool,
    g: &'a mut [f32],
    of_map: &'a mut [f32],
}

impl Task for WeighBackward<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let pixels = self.map.len();
        self.of_map.fill(0.0);
        for (g, x) in self.g.chunks_exact_mut(pixels).zip(self.x.chunks_exact(pixels)) {
            self.of_map.iter_mut().zip(&*g).zip(x).for_each(|((sum, g), x)| *sum += g * x);
            let values = g.iter_mut().zip(self.map);
            if self.keeps {
                values.for_each(|(g, map)| *g = *g * map + *g);
            } else {
                values.for_each(|(g, map)| *g *= map);
            }
        }
    }
}

/// Mean over channels of the squares.
pub(crate) fn mean_square<S: Simd>(shape: &Features, x: &[f32], result: &mut [f32]) {
    let (len, pixels) = (shape.channels * shape.pixels, shape.pixels);
    let y = Shared::new(result);
    parallel(shape.batch, |image| {
        // SAFETY: each task writes its own image; safe code compiled for the level's instructions.
        unsafe {
            let y = std::slice::from_raw_parts_mut(y.at(image * pixels), pixels);
            S::vectorize(Squares { x: &x[image * len..][..len], y });
        }
    });
}

struct Squares<'a> {
    x: &'a [f32],
    y: &'a mut [f32],
}

impl Task for Squares<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let (pixels, channels) = (self.y.len(), self.x.len() / self.y.len());
        self.y.fill(0.0);
        for x in self.x.chunks_exact(pixels) {
            self.y.iter_mut().zip(x).for_each(|(sum, x)| *sum += x * x);
        }
        self.y.iter_mut().for_each(|sum| *sum /= channels as f32);
    }
}

/// Gradient of the input.
pub(crate) fn mean_square_backward<S: Simd>(shape: &Features, x: &[f32], gradient: &[f32], result: &mut [f32]) {
    let (len, pixels) = (shape.channels * shape.pixels, shape.pixels);
    let dx = Shared::new(result);
    parallel(shape.batch, |image| {
        // SAFETY: each task writes its own image; safe code compiled for the level's instructions.
        unsafe {
            let dx = std::slice::from_raw_parts_mut(dx.at(image * len), len);
            let (x, gradient) = (&x[image * len..][..len], &gradient[image * pixels..][..pixels]);
            S::vectorize(SquaresBackward { x, gradient, dx });
        }
    });
}

struct SquaresBackward<'a> {
    x: &'a [f32],
    gradient: &'a [f32],
    dx: &'a mut [f32],
}

impl Task for SquaresBackward<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let (pixels, channels) = (self.gradient.len(), self.x.len() / self.gradient.len());
        let factor = 2.0 / channels as f32;
        for (dx, x) in self.dx.chunks_exact_mut(pixels).zip(self.x.chunks_exact(pixels)) {
            dx.iter_mut().zip(x).zip(self.gradient).for_each(|((dx, x), g)| *dx = factor * x * g);
        }
    }
}
