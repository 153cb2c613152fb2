//! Temperature scaling: one number that makes probabilities mean what they say.

use serde::{Deserialize, Serialize};

/// Inverse temperatures that are tried: where all answers are right, the sharpest would be the best.
const SHARPEST: f64 = 1e2;
const FLATTEST: f64 = 1e-2;
/// Newton's method doubles the right digits with each step; bisection, which takes over where it leaves the bracket, adds one bit.
const STEPS: usize = 100;

/// What is left of a negative log-likelihood when confidence is put right: logits divided by the temperature at which it is
/// smallest (Guo et al., "On Calibration of Modern Neural Networks", ICML 2017). It compares how well networks tell
/// classes apart, whatever they think of themselves.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibrated {
    /// Above 1: the probabilities were too sure. Between 0.01 and 100.
    pub temperature: f64,
    /// Mean negative log-likelihood in nats at this temperature.
    pub nll: f64,
}

/// Logits and labels of images, to find the temperature for.
#[derive(Clone, Debug)]
pub struct Scores {
    classes: usize,
    /// `[images, classes]`, row-major.
    logits: Vec<f64>,
    labels: Vec<usize>,
}

/// The mean negative log-likelihood at an inverse temperature, and its first two derivatives.
struct Likelihood {
    nll: f64,
    slope: f64,
    curvature: f64,
}

impl Scores {
    /// Of no images yet.
    pub fn new(classes: usize) -> Self {
        Self { classes, logits: Vec::new(), labels: Vec::new() }
    }

    /// Adds an image.
    ///
    /// # Panics
    /// Unless there is a logit for each class, and the label is one of them.
    pub fn add(&mut self, logits: &[f64], label: usize) {
        assert!(logits.len() == self.classes && label < self.classes, "one logit a class");
        self.logits.extend_from_slice(logits);
        self.labels.push(label);
    }

    /// The temperature at which these images are likeliest; 1 of no images, and where a logit is no number.
    ///
    /// With `b = 1 / T`, the likelihood is convex: its slope is the mean over images of the logits' mean under
    /// `softmax(b z)` less the label's logit, its curvature the mean of their variance. So the slope's zero is found by
    /// Newton's method inside a bracket.
    pub fn calibrate(&self) -> Calibrated {
        let unscaled = Calibrated { temperature: 1.0, nll: self.at(1.0).nll };
        if self.labels.is_empty() || !unscaled.nll.is_finite() {
            return unscaled;
        }
        for (bound, is_best) in [(SHARPEST, self.at(SHARPEST).slope <= 0.0), (FLATTEST, self.at(FLATTEST).slope >= 0.0)]
        {
            if is_best {
                return Calibrated { temperature: 1.0 / bound, nll: self.at(bound).nll };
            }
        }
        let (mut low, mut high, mut inverse) = (FLATTEST, SHARPEST, 1.0);
        for _ in 0..STEPS {
            let Likelihood { slope, curvature, .. } = self.at(inverse);
            if slope > 0.0 {
                high = inverse;
            } else {
                low = inverse;
            }
            let newton = inverse - slope / curvature;
            let is_inside = low < newton && newton < high;
            let next = if is_inside { newton } else { 0.5 * (low + high) };
            let is_found = (next - inverse).abs() <= 1e-12 * inverse;
            inverse = next;
            if is_found {
                break;
            }
        }
        Calibrated { temperature: 1.0 / inverse, nll: self.at(inverse).nll }
    }

    fn at(&self, inverse: f64) -> Likelihood {
        let mut sum = Likelihood { nll: 0.0, slope: 0.0, curvature: 0.0 };
        for (logits, &label) in self.logits.chunks_exact(self.classes).zip(&self.labels) {
            let highest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let (mut weights, mut first, mut second) = (0.0, 0.0, 0.0);
            for logit in logits {
                // From the highest, which keeps all of them small.
                let distance = logit - highest;
                let weight = (inverse * distance).exp();
                weights += weight;
                first += weight * distance;
                second += weight * distance * distance;
            }
            let (mean, own) = (first / weights, logits[label] - highest);
            sum.nll += weights.ln() - inverse * own;
            sum.slope += mean - own;
            sum.curvature += second / weights - mean * mean;
        }
        let n = self.labels.len().max(1) as f64;
        Likelihood { nll: sum.nll / n, slope: sum.slope / n, curvature: sum.curvature / n }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two classes with logits `gap` apart, the higher one right for `right` of `all` images.
    fn two_classes(gap: f64, right: u32, all: u32) -> Scores {
        let mut scores = Scores::new(2);
        for i in 0..all {
            scores.add(&[gap, 0.0], usize::from(i >= right));
        }
        scores
    }

    #[test]
    fn the_temperature_makes_the_confidence_the_share_of_right_answers() {
        // sigmoid(gap / T) = 3/4, so T = gap / ln 3, whatever the gap.
        for gap in [1e-3, 0.5, 8.0, 60.0] {
            let Calibrated { temperature, nll } = two_classes(gap, 3, 4).calibrate();
            let expected: f64 = (gap / 3f64.ln()).clamp(0.01, 100.0);
            assert!((temperature / expected - 1.0).abs() < 1e-9, "{gap}: {temperature} for {expected}");
            if gap > 0.1 {
                let entropy = -(0.75 * 0.75f64.ln() + 0.25 * 0.25f64.ln());
                assert!((nll - entropy).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn no_other_temperature_is_better() {
        let mut scores = Scores::new(5);
        for image in 0..200_u32 {
            let logit = |class: u32| f64::from((image * 7919 + class * 104_729) % 97) / 12.0;
            let mut logits: Vec<f64> = (0..5).map(logit).collect();
            let label = image as usize % 5;
            logits[label] += 3.0;
            scores.add(&logits, label);
        }
        let Calibrated { temperature, nll } = scores.calibrate();
        for factor in [0.5, 0.9, 0.999, 1.001, 1.1, 2.0] {
            assert!(scores.at(factor / temperature).nll > nll, "{factor}");
        }
        assert!(scores.at(1.0).nll > nll);
    }

    #[test]
    fn where_all_answers_are_right_or_wrong_temperatures_stay_within_bounds() {
        assert!((two_classes(1.0, 4, 4).calibrate().temperature - 0.01).abs() < 1e-9);
        assert!((two_classes(1.0, 0, 4).calibrate().temperature - 100.0).abs() < 1e-6);
    }

    #[test]
    fn without_images_or_numbers_nothing_is_scaled() {
        assert_eq!(Scores::new(3).calibrate(), Calibrated { temperature: 1.0, nll: 0.0 });
        let mut scores = Scores::new(2);
        scores.add(&[f64::NAN, 0.0], 0);
        assert_eq!(scores.calibrate().temperature, 1.0);
    }
}
