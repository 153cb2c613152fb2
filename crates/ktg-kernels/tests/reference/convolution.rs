//! Convolution and its gradients.

use std::ops::Range;

use ktg_kernels::{Conv2d, Window};

/// The shape of a convolution, with fields that tests may read.
#[derive(Clone, Copy, Debug)]
pub struct Convolution {
    pub batch: usize,
    pub input: usize,
    pub output: usize,
    /// `[height, width]`
    pub image: [usize; 2],
    pub window: Window,
    /// Zeros behind the image; the window's padding is before it.
    pub after: usize,
}

/// Products that lie side by side: `result[i]` has the product of `weight` and `image[i * stride]`, for `count` results.
struct Row {
    image: usize,
    weight: usize,
    result: usize,
    count: usize,
}

impl Convolution {
    pub fn shape(&self) -> Conv2d {
        let Self { batch, input, output, image, window, after } = *self;
        Conv2d::padded(batch, input, output, image, window, after).expect("a valid shape")
    }

    /// `[height, width]` of the result.
    pub fn result(&self) -> [usize; 2] {
        let Window { kernel, stride, padding } = self.window;
        self.image.map(|side| (padding + side + self.after - kernel) / stride + 1)
    }

    /// Positions of the window along an axis at which its tap `tap` lies inside the image.
    fn inside(&self, axis: usize, tap: usize) -> Range<usize> {
        let Window { stride, padding, .. } = self.window;
        // 0 <= position * stride + tap - padding < side
        let start = padding.saturating_sub(tap).div_ceil(stride);
        let end = (self.image[axis] + padding).saturating_sub(tap).div_ceil(stride).min(self.result()[axis]);
        start.min(end)..end
    }

    /// Products that are not with the padding, in all results together.
    pub fn products(&self) -> usize {
        let along = |axis| (0..self.window.kernel).map(|tap| self.inside(axis, tap).len()).sum::<usize>();
        self.batch * self.input * self.output * along(0) * along(1)
    }

    /// Visits every product that is not with the padding, many at a time. All three operations are sums of these.
    fn rows(&self, mut visit: impl FnMut(Row)) {
        let ([height, width], [result_height, result_width]) = (self.image, self.result());
        let Window { kernel, stride, padding } = self.window;
        for n in 0..self.batch {
            for (output, input) in (0..self.output).flat_map(|o| (0..self.input).map(move |i| (o, i))) {
                for (ky, kx) in (0..kernel).flat_map(|y| (0..kernel).map(move |x| (y, x))) {
                    let columns = self.inside(1, kx);
                    if columns.is_empty() {
                        continue;
                    }
                    let x = columns.start * stride + kx - padding;
                    for row in self.inside(0, ky) {
                        let y = row * stride + ky - padding;
                        visit(Row {
                            image: ((n * self.input + input) * height + y) * width + x,
                            weight: ((output * self.input + input) * kernel + ky) * kernel + kx,
                            result: ((n * self.output + output) * result_height + row) * result_width + columns.start,
                            count: columns.len(),
                        });
                    }
                }
            }
        }
    }

    pub fn forward(&self, images: &[f64], weights: &[f64]) -> Vec<f64> {
        let mut results = vec![0.0; self.shape().output_len()];
        self.rows(|row| {
            let weight = weights[row.weight];
            let results = &mut results[row.result..][..row.count];
            if self.window.stride == 1 {
                results.iter_mut().zip(&images[row.image..]).for_each(|(y, x)| *y += weight * x);
            } else {
                let images = images[row.image..].chunks(self.window.stride);
                results.iter_mut().zip(images).for_each(|(y, x)| *y += weight * x[0]);
            }
        });
        results
    }

    /// Gradient of the images.
    pub fn backward_data(&self, gradient: &[f64], weights: &[f64]) -> Vec<f64> {
        let mut images = vec![0.0; self.shape().input_len()];
        self.rows(|row| {
            let weight = weights[row.weight];
            let gradient = &gradient[row.result..][..row.count];
            if self.window.stride == 1 {
                images[row.image..].iter_mut().zip(gradient).for_each(|(x, g)| *x += weight * g);
            } else {
                let images = images[row.image..].chunks_mut(self.window.stride);
                images.zip(gradient).for_each(|(x, g)| x[0] += weight * g);
            }
        });
        images
    }

    /// Gradient of the weights.
    pub fn backward_weights(&self, images: &[f64], gradient: &[f64]) -> Vec<f64> {
        let mut weights = vec![0.0; self.shape().weight_len()];
        self.rows(|row| {
            let gradient = &gradient[row.result..][..row.count];
            let images = &images[row.image..];
            weights[row.weight] += if self.window.stride == 1 {
                gradient.iter().zip(images).map(|(g, x)| g * x).sum::<f64>()
            } else {
                gradient.iter().zip(images.chunks(self.window.stride)).map(|(g, x)| g * x[0]).sum()
            };
        });
        weights
    }
}
