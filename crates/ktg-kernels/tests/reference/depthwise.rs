//! Depthwise convolution and its gradients, plane by plane.

use ktg_kernels::{Depthwise, Window};

use super::convolution::Convolution;

/// A depthwise convolution, with fields that tests may read.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub batch: usize,
    pub channels: usize,
    pub image: [usize; 2],
    pub window: Window,
    /// Zeros behind the image.
    pub after: usize,
}

impl Case {
    pub fn new(batch: usize, channels: usize, image: [usize; 2], window: (usize, usize, usize), after: usize) -> Self {
        let (kernel, stride, padding) = window;
        Self { batch, channels, image, window: Window { kernel, stride, padding }, after }
    }

    pub fn shape(&self) -> Depthwise {
        Depthwise::new(self.batch, self.channels, self.image, self.window, self.after).expect("a valid shape")
    }

    /// What happens to one plane.
    fn of_plane(&self) -> Convolution {
        let Self { image, window, after, .. } = *self;
        Convolution { batch: 1, input: 1, output: 1, image, window, after }
    }

    /// Products that are not with the padding, in all results together.
    pub fn products(&self) -> usize {
        self.batch * self.channels * self.of_plane().products()
    }

    /// Results, gradient of the images, gradient of the weights: plane by plane.
    pub fn reference(&self, x: &[f64], w: &[f64], g: &[f64]) -> [Vec<f64>; 3] {
        let (plane, taps) = (self.of_plane(), self.window.kernel * self.window.kernel);
        let [pixels, results] = [plane.shape().input_len(), plane.shape().output_len()];
        let (mut y, mut dx, mut dw) = (Vec::new(), Vec::new(), vec![0.0; w.len()]);
        for (number, (x, g)) in x.chunks_exact(pixels).zip(g.chunks_exact(results)).enumerate() {
            let filter = number % self.channels * taps..(number % self.channels + 1) * taps;
            y.extend(plane.forward(x, &w[filter.clone()]));
            dx.extend(plane.backward_data(g, &w[filter.clone()]));
            dw[filter].iter_mut().zip(plane.backward_weights(x, g)).for_each(|(sum, dw)| *sum += dw);
        }
        [y, dx, dw]
    }

    /// What errors of one operation's results are measured by. As for other convolutions: where there are few results, all may be near
    /// zero by chance.
    pub fn size(&self, results: &[f64]) -> f64 {
        let typical = (self.products() as f64 / results.len() as f64).sqrt() / 3.0;
        results.iter().fold(typical, |most, v| v.abs().max(most))
    }
}
