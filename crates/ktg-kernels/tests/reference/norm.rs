//! Batch norm and its gradients.

use ktg_kernels::Features;

/// The shape `[batch, channels, pixels]`, with fields that tests may read.
#[derive(Clone, Copy, Debug)]
pub struct Maps {
    pub batch: usize,
    pub channels: usize,
    pub pixels: usize,
}

impl Maps {
    pub fn shape(&self) -> Features {
        Features::new(self.batch, self.channels, self.pixels).expect("a valid shape")
    }

    pub fn len(&self) -> usize {
        self.batch * self.channels * self.pixels
    }

    /// Values that a channel's statistics are taken of.
    pub fn count(&self) -> usize {
        self.batch * self.pixels
    }

    /// The channel that a value belongs to.
    pub fn channel(&self, index: usize) -> usize {
        index / self.pixels % self.channels
    }

    /// `term(index)` summed over the values of each channel.
    pub fn sums(&self, term: impl Fn(usize) -> f64) -> Vec<f64> {
        let mut sums = vec![0.0; self.channels];
        (0..self.len()).for_each(|i| sums[self.channel(i)] += term(i));
        sums
    }
}

/// Mean and biased variance of every channel.
#[derive(Clone, Debug)]
pub struct Moments {
    pub mean: Vec<f64>,
    pub variance: Vec<f64>,
}

impl Moments {
    pub fn of(maps: Maps, x: &[f64]) -> Self {
        let count = maps.count() as f64;
        let mean: Vec<f64> = maps.sums(|i| x[i]).iter().map(|sum| sum / count).collect();
        let squares = maps.sums(|i| (x[i] - mean[maps.channel(i)]).powi(2));
        Self { variance: squares.iter().map(|sum| sum / count).collect(), mean }
    }
}

/// Everything that the result depends on.
#[derive(Clone, Debug)]
pub struct Norm {
    pub maps: Maps,
    pub x: Vec<f64>,
    pub weight: Vec<f64>,
    pub bias: Vec<f64>,
    pub epsilon: f64,
    /// Inference's statistics; training takes those of x.
    pub given: Option<Moments>,
    pub residual: Option<Vec<f64>>,
    pub relu: bool,
}

/// Gradients of everything that is learned or comes from earlier layers.
#[derive(Clone, Debug)]
pub struct Gradients {
    pub x: Vec<f64>,
    pub weight: Vec<f64>,
    pub bias: Vec<f64>,
    pub residual: Vec<f64>,
}

impl Norm {
    pub fn moments(&self) -> Moments {
        self.given.clone().unwrap_or_else(|| Moments::of(self.maps, &self.x))
    }

    /// `relu((x - mean) / sqrt(variance + epsilon) * weight + bias + residual)`
    pub fn forward(&self) -> Vec<f64> {
        let Moments { mean, variance } = self.moments();
        let value = |i: usize| {
            let channel = self.maps.channel(i);
            let normalised = (self.x[i] - mean[channel]) / (variance[channel] + self.epsilon).sqrt();
            let affine = normalised * self.weight[channel] + self.bias[channel];
            let sum = affine + self.residual.as_ref().map_or(0.0, |r| r[i]);
            // Not `max`, which would hide NaN.
            if self.relu && sum < 0.0 { 0.0 } else { sum }
        };
        (0..self.maps.len()).map(value).collect()
    }

    /// `output` decides where the ReLU was active; it is an argument because rounding may put a value on either side.
    pub fn backward(&self, output: &[f64], gradient: &[f64]) -> Gradients {
        let maps = self.maps;
        let Moments { mean, variance } = self.moments();
        let deviation: Vec<f64> = variance.iter().map(|v| (v + self.epsilon).sqrt()).collect();
        let normalised = |i: usize| (self.x[i] - mean[maps.channel(i)]) / deviation[maps.channel(i)];

        let blocked = |i: usize| self.relu && output[i] <= 0.0;
        let residual: Vec<f64> = (0..maps.len()).map(|i| if blocked(i) { 0.0 } else { gradient[i] }).collect();
        let bias = maps.sums(|i| residual[i]);
        let weight = maps.sums(|i| residual[i] * normalised(i));
        let count = maps.count() as f64;
        let x = |i: usize| {
            let channel = maps.channel(i);
            // The mean and the variance depend on x too, unless they are given.
            let through_statistics =
                if self.given.is_some() { 0.0 } else { (bias[channel] + normalised(i) * weight[channel]) / count };
            (residual[i] - through_statistics) * self.weight[channel] / deviation[channel]
        };
        Gradients { x: (0..maps.len()).map(x).collect(), weight, bias, residual }
    }
}
