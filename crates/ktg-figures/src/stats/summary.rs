//! Mean, deviation and the interval of a mean.

use super::finite;

/// Several values in short, in their own unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// How many values.
    pub n: usize,
    /// Their mean.
    pub mean: f64,
    /// The sample standard deviation, sqrt(sum (x - mean)^2 / (n - 1)); a single value has none.
    pub deviation: Option<f64>,
}

/// An interval with both ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

/// The values in short; `None` without values, or if they (or their squares) are not finite.
///
/// ```
/// let accuracy = ktg_figures::stats::summary(&[71.0, 72.0, 73.0]).unwrap();
/// assert_eq!((accuracy.n, accuracy.mean, accuracy.deviation), (3, 72.0, Some(1.0)));
/// ```
pub fn summary(values: &[f64]) -> Option<Summary> {
    let first = *values.first()?;
    if !finite(values) {
        return None;
    }
    let n = values.len();
    // Counted from the first value, so that equal values have exactly the deviation 0.
    let mean = first + values.iter().map(|value| value - first).sum::<f64>() / n as f64;
    let deviation = (n > 1).then(|| {
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        (squares / (n - 1) as f64).sqrt()
    });
    (mean.is_finite() && deviation.is_none_or(f64::is_finite)).then_some(Summary { n, mean, deviation })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_values() {
        assert_eq!(summary(&[]), None);
        assert_eq!(summary(&[3.0]), Some(Summary { n: 1, mean: 3.0, deviation: None }));
        assert_eq!(summary(&[0.1; 3]), Some(Summary { n: 3, mean: 0.1, deviation: Some(0.0) }));
    }

    #[test]
    fn what_is_no_number() {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(summary(&[1.0, bad]), None);
        }
        assert_eq!(summary(&[f64::MAX, -f64::MAX]), None);
    }
}
