//! Losses between class probabilities.

use super::shown::Shown;
use super::transfer::{Knowledge, Loss};

/// KL(p_s || p_t) = sum_c p_s log(p_s / p_t), eq. 1.
pub(super) struct Closer {
    /// Of both softmaxes; the loss is multiplied by its square.
    pub temperature: f64,
}

impl Loss for Closer {
    fn knowledge(&self) -> Knowledge {
        Knowledge::Probability
    }

    fn sample(&self, i: usize, source: &Shown, target: &Shown, weight: f64, gradient: &mut [f64]) -> f64 {
        let ((source, log_source), (target, log_target)) = (source.probabilities(i), target.probabilities(i));
        let terms = source.iter().zip(log_source.iter().zip(log_target));
        let loss: f64 = terms.map(|(p, (log_s, log_t))| p * (log_s - log_t)).sum();
        // With respect to the target's logits: (p_t - p_s) / T, times T squared.
        for (gradient, (p_s, p_t)) in gradient.iter_mut().zip(source.iter().zip(target)) {
            *gradient += weight * self.temperature * (p_t - p_s);
        }
        loss * self.temperature * self.temperature
    }
}

/// Cosine similarity of p_s and p_t, eq. 2. A softmax over C classes is never shorter than 1/sqrt(C).
pub(super) struct Apart {
    /// Of both softmaxes; the loss is multiplied by its square.
    pub temperature: f64,
}

impl Loss for Apart {
    fn knowledge(&self) -> Knowledge {
        Knowledge::Probability
    }

    fn sample(&self, i: usize, source: &Shown, target: &Shown, weight: f64, gradient: &mut [f64]) -> f64 {
        let ((source, _), (target, _)) = (source.probabilities(i), target.probabilities(i));
        let dot = |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
        let squared_length = dot(target, target);
        let lengths = squared_length.sqrt() * dot(source, source).sqrt();
        let cosine = dot(source, target) / lengths;
        // With respect to p_t: p_s / (|p_s| |p_t|) - cosine p_t / |p_t|^2; then back through the softmax.
        let at_target = |(p_s, p_t): (&f64, &f64)| p_s / lengths - cosine * p_t / squared_length;
        let mean: f64 = source.iter().zip(target).map(|(p_s, p_t)| p_t * at_target((p_s, p_t))).sum();
        for (gradient, (p_s, p_t)) in gradient.iter_mut().zip(source.iter().zip(target)) {
            *gradient += weight * self.temperature * p_t * (at_target((p_s, p_t)) - mean);
        }
        cosine * self.temperature * self.temperature
    }
}
