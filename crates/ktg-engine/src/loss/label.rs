//! The loss of label edges.

use super::shown::log_softmax;
use super::transfer::gated_mean;

/// The right answers of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Labels<'a> {
    /// Class indices, a sample each.
    pub own: &'a [u32],
    /// With mixup and CutMix, the labels of the images that were mixed in, and the share of a sample's own.
    pub mixed: Option<(&'a [u32], f32)>,
}

/// Cross-entropy of logits with the labels, as `torch.nn.functional.cross_entropy` with `label_smoothing`, `weight` and
/// `reduction="none"` has it of every sample: `sum_c -t_c weight_c log p_c`, of which the target `t` is `1 - s + s / K` for
/// the label and `s / K` for each other of K classes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CrossEntropy {
    /// s, how much of the target is spread over all classes, from 0 to below 1.
    pub smoothing: f64,
    /// By class; empty: 1 for all.
    pub class_weights: Vec<f64>,
}

impl CrossEntropy {
    /// The loss of logits `[count, classes]`, times `weight`, mean over the batch. Its gradient is added to `gradient`, as
    /// large as the logits.
    pub fn mean(&self, logits: &[f32], labels: Labels, weight: f64, gradient: &mut [f64]) -> f32 {
        let classes = logits.len() / labels.own.len();
        gated_mean(&vec![weight; labels.own.len()], gradient, |i, weight, gradient| {
            let mut log_probabilities = Vec::with_capacity(classes);
            log_softmax(&logits[i * classes..][..classes], 1.0, &mut log_probabilities);
            let targets = self.targets(i, labels, classes);
            let total: f64 = targets.iter().map(|(_, target)| target).sum();
            for (gradient, log_p) in gradient.iter_mut().zip(&log_probabilities) {
                *gradient += weight * total * log_p.exp();
            }
            let mut loss = 0.0;
            for (class, target) in targets {
                gradient[class] -= weight * target;
                loss -= log_probabilities[class] * target;
            }
            loss
        })
    }

    /// What is expected of sample `i`: classes and weights, which add up if a class is there more than once.
    fn targets(&self, i: usize, labels: Labels, classes: usize) -> Vec<(usize, f64)> {
        let share = labels.mixed.map_or(1.0, |(_, share)| f64::from(share));
        let own = (labels.own[i], share);
        let partner = labels.mixed.map(|(partners, _)| (partners[i], 1.0 - share));
        let weight_of = |class: usize| self.class_weights.get(class).copied().unwrap_or(1.0);
        let mut targets = Vec::new();
        for (label, share) in [Some(own), partner].into_iter().flatten() {
            let label = label as usize;
            targets.push((label, share * (1.0 - self.smoothing) * weight_of(label)));
            if self.smoothing > 0.0 {
                let part = share * self.smoothing / classes as f64;
                targets.extend((0..classes).map(|class| (class, part * weight_of(class))));
            }
        }
        targets
    }
}
