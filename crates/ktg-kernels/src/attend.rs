//! What attention maps do to features, and how plain networks make one.

use crate::Kernels;
use crate::parallel::{for_each_pair, for_each_piece};
use crate::shape::{Features, Result, check_length};
use crate::simd::plain;

/// Image `i` of some values.
fn image(values: &[f32], i: usize, len: usize) -> &[f32] {
    &values[i * len..][..len]
}

impl Kernels {
    /// Product of maps `x` and a map of one channel, `[batch, pixels]`, plus `x` itself where it `keeps` it.
    pub fn attend(&self, shape: &Features, x: &[f32], map: &[f32], keeps: bool, result: &mut [f32]) -> Result {
        let (len, pixels) = (shape.image_len(), shape.pixels);
        check_length("the input", shape.len(), x.len())?;
        check_length("the map", shape.batch * pixels, map.len())?;
        check_length("the result", shape.len(), result.len())?;
        for_each_piece(result, len, |i, y| {
            self.compute(weigh(image(x, i, len), image(map, i, pixels), keeps, y));
        });
        Ok(())
    }

    /// Gradients of [`attend`](Self::attend): `gradient`, of the result, becomes that of `x`; that of the map goes to
    /// `result`.
    pub fn attend_backward(
        &self,
        shape: &Features,
        x: &[f32],
        map: &[f32],
        keeps: bool,
        gradient: &mut [f32],
        result: &mut [f32],
    ) -> Result {
        let (len, pixels) = (shape.image_len(), shape.pixels);
        check_length("the input", shape.len(), x.len())?;
        check_length("the map", shape.batch * pixels, map.len())?;
        check_length("the gradient", shape.len(), gradient.len())?;
        check_length("the gradient of the map", shape.batch * pixels, result.len())?;
        for_each_pair(gradient, len, result, pixels, |i, g, of_map| {
            self.compute(weigh_backward(image(x, i, len), image(map, i, pixels), keeps, g, of_map));
        });
        Ok(())
    }

    /// Mean over channels of the squares: `[batch, pixels]`.
    pub fn mean_square(&self, shape: &Features, x: &[f32], result: &mut [f32]) -> Result {
        check_length("the input", shape.len(), x.len())?;
        check_length("the result", shape.batch * shape.pixels, result.len())?;
        for_each_piece(result, shape.pixels, |i, y| self.compute(squares(image(x, i, shape.image_len()), y)));
        Ok(())
    }

    /// Gradient of the input `x` of [`mean_square`](Self::mean_square).
    pub fn mean_square_backward(&self, shape: &Features, x: &[f32], gradient: &[f32], result: &mut [f32]) -> Result {
        let len = shape.image_len();
        check_length("the input", shape.len(), x.len())?;
        check_length("the gradient", shape.batch * shape.pixels, gradient.len())?;
        check_length("the gradient of the input", shape.len(), result.len())?;
        for_each_piece(result, len, |i, dx| {
            self.compute(squares_backward(image(x, i, len), image(gradient, i, shape.pixels), dx));
        });
        Ok(())
    }
}

plain! {
    /// `x * map`, and where it keeps x `x * map + x`.
    fn weigh(x: &'a [f32], map: &'a [f32], keeps: bool, y: &'a mut [f32]) {
        let pixels = map.len();
        for (y, x) in y.chunks_exact_mut(pixels).zip(x.chunks_exact(pixels)) {
            let values = y.iter_mut().zip(x).zip(map);
            if keeps {
                values.for_each(|((y, x), map)| *y = x * map + x);
            } else {
                values.for_each(|((y, x), map)| *y = x * map);
            }
        }
    }

    /// The gradient of the result becomes that of x; the map's is the sum over channels of its products with x.
    fn weigh_backward(x: &'a [f32], map: &'a [f32], keeps: bool, g: &'a mut [f32], of_map: &'a mut [f32]) {
        let pixels = map.len();
        of_map.fill(0.0);
        for (g, x) in g.chunks_exact_mut(pixels).zip(x.chunks_exact(pixels)) {
            of_map.iter_mut().zip(&*g).zip(x).for_each(|((sum, g), x)| *sum += g * x);
            let values = g.iter_mut().zip(map);
            if keeps {
                values.for_each(|(g, map)| *g = *g * map + *g);
            } else {
                values.for_each(|(g, map)| *g *= map);
            }
        }
    }

    /// Mean over channels of the squares.
    fn squares(x: &'a [f32], y: &'a mut [f32]) {
        let (pixels, channels) = (y.len(), x.len() / y.len());
        y.fill(0.0);
        for x in x.chunks_exact(pixels) {
            y.iter_mut().zip(x).for_each(|(sum, x)| *sum += x * x);
        }
        y.iter_mut().for_each(|sum| *sum /= channels as f32);
    }

    fn squares_backward(x: &'a [f32], gradient: &'a [f32], dx: &'a mut [f32]) {
        let (pixels, channels) = (gradient.len(), x.len() / gradient.len());
        let factor = 2.0 / channels as f32;
        for (dx, x) in dx.chunks_exact_mut(pixels).zip(x.chunks_exact(pixels)) {
            dx.iter_mut().zip(x).zip(gradient).for_each(|((dx, x), g)| *dx = factor * x * g);
        }
    }
}
