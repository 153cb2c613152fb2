//! Layer norm over the channels of each pixel, and its gradients.

use super::norm::Maps;

/// Everything that the result depends on.
#[derive(Clone, Debug)]
pub struct LayerNorm {
    pub maps: Maps,
    pub x: Vec<f64>,
    pub weight: Vec<f64>,
    pub bias: Vec<f64>,
    pub epsilon: f64,
}

impl LayerNorm {
    /// The values of the pixel that value `i` of channel 0 belongs to.
    fn places(&self, i: usize) -> impl Iterator<Item = usize> {
        let Maps { channels, pixels, .. } = self.maps;
        (0..channels).map(move |c| i + c * pixels)
    }

    /// The values of channel 0 of all images.
    fn pixels(&self) -> impl Iterator<Item = usize> {
        let Maps { batch, channels, pixels } = self.maps;
        (0..batch).flat_map(move |image| (0..pixels).map(move |pixel| image * channels * pixels + pixel))
    }

    /// Of every value, as many as x: that of its pixel.
    pub fn deviations(&self) -> Vec<f64> {
        self.moments().1
    }

    /// Normalized x, and of every value the deviation of its pixel.
    fn moments(&self) -> (Vec<f64>, Vec<f64>) {
        let channels = self.maps.channels as f64;
        let (mut normalized, mut deviations) = (vec![0.0; self.x.len()], vec![0.0; self.x.len()]);
        for first in self.pixels() {
            let mean = self.places(first).map(|i| self.x[i]).sum::<f64>() / channels;
            let variance = self.places(first).map(|i| (self.x[i] - mean).powi(2)).sum::<f64>() / channels;
            for i in self.places(first) {
                deviations[i] = (variance + self.epsilon).sqrt();
                normalized[i] = (self.x[i] - mean) / deviations[i];
            }
        }
        (normalized, deviations)
    }

    pub fn forward(&self) -> Vec<f64> {
        let channel = |i| self.maps.channel(i);
        let normalized = self.moments().0;
        normalized.iter().enumerate().map(|(i, x)| x * self.weight[channel(i)] + self.bias[channel(i)]).collect()
    }

    /// Gradients of x, weight and bias.
    pub fn backward(&self, gradient: &[f64]) -> [Vec<f64>; 3] {
        let (normalized, deviations) = self.moments();
        let channels = self.maps.channels as f64;
        let weighted = |i: usize| gradient[i] * self.weight[self.maps.channel(i)];
        let mut dx = vec![0.0; self.x.len()];
        for first in self.pixels() {
            let mean = self.places(first).map(weighted).sum::<f64>() / channels;
            let product = self.places(first).map(|i| weighted(i) * normalized[i]).sum::<f64>() / channels;
            for i in self.places(first) {
                dx[i] = (weighted(i) - mean - normalized[i] * product) / deviations[i];
            }
        }
        [dx, self.maps.sums(|i| gradient[i] * normalized[i]), self.maps.sums(|i| gradient[i])]
    }
}
