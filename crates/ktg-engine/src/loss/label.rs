//! The loss of label edges.

use super::shown::log_softmax;
use super::transfer::gated_mean;

/// The right answers of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Labels<'a> {
    /// Class indices, a sample each.
    pub own: &'a [u32],
    /// With mixup, the labels of the images that were mixed in, and the share of a sample's own.
    pub mixed: Option<(&'a [u32], f32)>,
}

/// Cross-entropy of logits `[count, classes]` with the labels, times `weight`, mean over the batch. Its gradient is added
/// to `gradient`, as large as the logits.
pub fn cross_entropy(logits: &[f32], labels: Labels, weight: f64, gradient: &mut [f64]) -> f32 {
    let classes = logits.len() / labels.own.len();
    gated_mean(&vec![weight; labels.own.len()], gradient, classes, |i, weight, gradient| {
        let mut log_probabilities = Vec::with_capacity(classes);
        log_softmax(&logits[i * classes..][..classes], 1.0, &mut log_probabilities);
        for (gradient, log_p) in gradient.iter_mut().zip(&log_probabilities) {
            *gradient += weight * log_p.exp();
        }
        let mut expect = |label: u32, share: f64| {
            gradient[label as usize] -= weight * share;
            -log_probabilities[label as usize] * share
        };
        let share = labels.mixed.map_or(1.0, |(_, share)| f64::from(share));
        let own = expect(labels.own[i], share);
        labels.mixed.map_or(own, |(partners, _)| own + expect(partners[i], 1.0 - share))
    })
}
