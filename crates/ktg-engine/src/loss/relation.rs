//! Losses between correlations of class probabilities (after DIST, Huang et al., NeurIPS 2022; SPEC 11).

use ktg_graph::Direction;

use super::shown::Shown;
use super::transfer::{Loss, gated_mean};

/// A list whose variance is a smaller share of its mean square than this does not vary: its deviations are a millionth of its
/// values, which is what rounding leaves of equal logits in single precision.
const LEAST_SHARE: f64 = 1e-12;

/// Nor does a list with a smaller variance than this: what its deviations count in the gradient must not overflow.
const LEAST_VARIANCE: f64 = 1e-200;

/// A loss of how class probabilities relate: within each sample, and between the samples of a batch class by class.
pub(super) struct Relation {
    pub direction: Direction,
    /// Of both softmaxes; the loss is multiplied by its square.
    pub temperature: f64,
}

impl Loss for Relation {
    /// `1/n sum_i w_i (1 - r_i) + mean_i(w_i) mean_c (1 - q_c)`, of which the correlation `r_i` is over the classes of sample
    /// `i` and `q_c` over the samples of class `c`, weighted by `w`; apart has the correlations themselves.
    fn of_batch(&self, source: &Shown, target: &Shown, weights: &[f64], gradient: &mut [f64]) -> f32 {
        let classes = target.classes;
        let of_class = |c: usize| {
            let sample = |i: usize| [weights[i], source.probabilities(i).0[c], target.probabilities(i).0[c]];
            Correlation::of((0..weights.len()).map(sample))
        };
        let columns: Vec<Correlation> = (0..classes).map(of_class).collect();
        // What each class counts.
        let share = weights.iter().sum::<f64>() / (weights.len() * classes) as f64;
        let squared_temperature = self.temperature * self.temperature;

        let rows = gated_mean(weights, gradient, |i, weight, gradient| {
            let (source, target) = (source.probabilities(i).0, target.probabilities(i).0);
            let row = Correlation::of(source.iter().zip(target).map(|(p_s, p_t)| [1.0, *p_s, *p_t]));
            // With respect to the target's probabilities.
            let slope = |c: usize| {
                let of_sample = row.slope([1.0, source[c], target[c]]);
                let of_class = columns[c].slope([weights[i], source[c], target[c]]);
                self.sign() * (weight * of_sample + share * of_class)
            };
            // Back through the softmax: (slope - mean slope) p_t / T, times T squared.
            let mean: f64 = target.iter().enumerate().map(|(c, p_t)| p_t * slope(c)).sum();
            for (c, (gradient, p_t)) in gradient.iter_mut().zip(target).enumerate() {
                *gradient += self.temperature * p_t * (slope(c) - mean);
            }
            squared_temperature * self.loss(row.value)
        });
        let columns: f64 = columns.iter().map(|column| share * self.loss(column.value)).sum();
        rows + (squared_temperature * columns) as f32
    }
}

impl Relation {
    fn loss(&self, correlation: f64) -> f64 {
        match self.direction {
            Direction::Closer => 1.0 - correlation,
            Direction::Apart => correlation,
        }
    }

    /// How the loss moves with a correlation.
    fn sign(&self) -> f64 {
        match self.direction {
            Direction::Closer => -1.0,
            Direction::Apart => 1.0,
        }
    }
}

/// Pearson's correlation of two lists with weights. Where one of them does not vary, it is 0 and has no gradient.
#[derive(Default)]
struct Correlation {
    value: f64,
    source_mean: f64,
    target_mean: f64,
    /// What the deviations of source and target count in the gradient.
    source_factor: f64,
    target_factor: f64,
}

impl Correlation {
    /// Of triples of a weight, the source's value and the target's.
    fn of(values: impl Iterator<Item = [f64; 3]> + Clone) -> Self {
        let (mut total, mut sums, mut squares) = (0.0, [0.0; 2], [0.0; 2]);
        for [weight, source, target] in values.clone() {
            total += weight;
            sums = [sums[0] + weight * source, sums[1] + weight * target];
            squares = [squares[0] + weight * source * source, squares[1] + weight * target * target];
        }
        if total == 0.0 {
            return Self::default();
        }
        let [source_mean, target_mean] = sums.map(|sum| sum / total);
        let (mut source_variance, mut target_variance, mut covariance) = (0.0, 0.0, 0.0);
        for [weight, source, target] in values {
            let (source, target) = (source - source_mean, target - target_mean);
            source_variance += weight * source * source;
            target_variance += weight * target * target;
            covariance += weight * source * target;
        }
        let is_flat = |variance: f64, squares: f64| variance <= LEAST_SHARE * squares || variance < LEAST_VARIANCE;
        if is_flat(source_variance, squares[0]) || is_flat(target_variance, squares[1]) {
            return Self::default();
        }
        let source_factor = 1.0 / (source_variance.sqrt() * target_variance.sqrt());
        let value = covariance * source_factor;
        Self { value, source_mean, target_mean, source_factor, target_factor: value / target_variance }
    }

    /// Its derivative with respect to the target's value of a triple.
    fn slope(&self, [weight, source, target]: [f64; 3]) -> f64 {
        let (source, target) = (source - self.source_mean, target - self.target_mean);
        weight * (self.source_factor * source - self.target_factor * target)
    }
}
