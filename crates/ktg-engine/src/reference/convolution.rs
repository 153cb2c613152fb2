//! Convolution and its gradients, a pixel of the window at a time.

use ktg_net::Shape;

/// A convolution between values of these shapes.
pub(super) struct Convolution {
    pub x: Shape,
    pub y: Shape,
    pub kernel: usize,
    pub stride: usize,
    pub padding: usize,
}

impl Convolution {
    /// The columns of a row of results whose pixel, at column `b` of the window, is in the image, with that pixel's column.
    fn columns(&self, b: usize) -> impl Iterator<Item = (usize, usize)> {
        let inside = move |column: usize| {
            let pixel = (column * self.stride + b).checked_sub(self.padding)?;
            (pixel < self.x.width).then_some((column, pixel))
        };
        (0..self.y.width).filter_map(inside)
    }

    /// Calls `visit` with each pair of rows that belong together: those of result and image, and the weight's place; the
    /// weight's column `b` says which pixels of them.
    fn each(&self, count: usize, mut visit: impl FnMut(usize, usize, usize, usize)) {
        let Self { x, y, kernel, .. } = self;
        for (image, output) in (0..count).flat_map(|image| (0..y.channels).map(move |output| (image, output))) {
            for (input, a) in (0..x.channels).flat_map(|input| (0..*kernel).map(move |a| (input, a))) {
                for row in 0..y.height {
                    let Some(pixel_row) = (row * self.stride + a).checked_sub(self.padding) else { continue };
                    if pixel_row >= x.height {
                        continue;
                    }
                    let of_y = ((image * y.channels + output) * y.height + row) * y.width;
                    let of_x = ((image * x.channels + input) * x.height + pixel_row) * x.width;
                    let of_weights = ((output * x.channels + input) * kernel + a) * kernel;
                    (0..*kernel).for_each(|b| visit(of_y, of_x, of_weights + b, b));
                }
            }
        }
    }

    pub fn forward(&self, x: &[f64], weights: &[f64]) -> Vec<f64> {
        let count = x.len() / self.x.len();
        let mut y = vec![0.0; count * self.y.len()];
        self.each(count, |of_y, of_x, weight, b| {
            let weight = weights[weight];
            self.columns(b).for_each(|(column, pixel)| y[of_y + column] += weight * x[of_x + pixel]);
        });
        y
    }

    pub fn backward_data(&self, gradient: &[f64], weights: &[f64]) -> Vec<f64> {
        let count = gradient.len() / self.y.len();
        let mut dx = vec![0.0; count * self.x.len()];
        self.each(count, |of_y, of_x, weight, b| {
            let weight = weights[weight];
            self.columns(b).for_each(|(column, pixel)| dx[of_x + pixel] += weight * gradient[of_y + column]);
        });
        dx
    }

    pub fn backward_weights(&self, x: &[f64], gradient: &[f64]) -> Vec<f64> {
        let count = gradient.len() / self.y.len();
        let mut dw = vec![0.0; self.y.channels * self.x.channels * self.kernel * self.kernel];
        self.each(count, |of_y, of_x, weight, b| {
            dw[weight] += self.columns(b).map(|(column, pixel)| gradient[of_y + column] * x[of_x + pixel]).sum::<f64>();
        });
        dw
    }
}
