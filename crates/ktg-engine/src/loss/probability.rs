//! Losses between class probabilities.

use ktg_graph::Direction;

use super::shown::Shown;
use super::transfer::{Loss, gated_mean};

/// A loss between softmaxes.
pub(super) struct Probability {
    pub direction: Direction,
    /// Of both softmaxes; the loss is multiplied by its square.
    pub temperature: f64,
}

impl Loss for Probability {
    fn of_batch(&self, source: &Shown, target: &Shown, weights: &[f64], gradient: &mut [f64]) -> f32 {
        gated_mean(weights, gradient, |i, weight, gradient| self.sample(i, source, target, weight, gradient))
    }
}

impl Probability {
    /// The loss of sample `i`. Adds `weight` times its gradient with respect to the target's logits to `gradient`.
    fn sample(&self, i: usize, source: &Shown, target: &Shown, weight: f64, gradient: &mut [f64]) -> f64 {
        let ((source, log_source), (target, log_target)) = (source.probabilities(i), target.probabilities(i));
        let pairs = || source.iter().zip(target);
        let loss = match self.direction {
            // KL(p_s || p_t) = sum_c p_s log(p_s / p_t), eq. 1.
            Direction::Closer => {
                // With respect to the target's logits: (p_t - p_s) / T, times T squared.
                for (gradient, (p_s, p_t)) in gradient.iter_mut().zip(pairs()) {
                    *gradient += weight * self.temperature * (p_t - p_s);
                }
                let terms = source.iter().zip(log_source.iter().zip(log_target));
                terms.map(|(p, (log_s, log_t))| p * (log_s - log_t)).sum::<f64>()
            }
            // Cosine similarity of p_s and p_t, eq. 2. A softmax over C classes is never shorter than 1/sqrt(C).
            Direction::Apart => {
                let dot = |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
                let squared_length = dot(target, target);
                let lengths = squared_length.sqrt() * dot(source, source).sqrt();
                let cosine = dot(source, target) / lengths;
                // With respect to p_t: p_s / (|p_s| |p_t|) - cosine p_t / |p_t|^2; then back through the softmax.
                let at_target = |(p_s, p_t): (&f64, &f64)| p_s / lengths - cosine * p_t / squared_length;
                let mean: f64 = pairs().map(|(p_s, p_t)| p_t * at_target((p_s, p_t))).sum();
                for (gradient, (p_s, p_t)) in gradient.iter_mut().zip(pairs()) {
                    *gradient += weight * self.temperature * p_t * (at_target((p_s, p_t)) - mean);
                }
                cosine
            }
        };
        loss * self.temperature * self.temperature
    }
}
