//! Whether a confidence can be believed.

/// `f32` sums of probabilities may come out this much above 1.
const ABOVE_ONE: f64 = 1e-5;

/// The reliability diagram of a network or an ensemble.
#[derive(Clone, Debug, PartialEq)]
pub struct Reliability {
    /// From low to high confidence.
    pub bins: Vec<ReliabilityBin>,
    /// Samples in all bins.
    pub n: usize,
    /// The expected calibration error, 0 to 1: the mean over all samples of |accuracy - confidence| of their bin.
    pub ece: f64,
}

/// The samples whose confidence is above `low` and at most `high`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReliabilityBin {
    /// The open lower end. The first bin includes it.
    pub low: f64,
    /// The closed upper end.
    pub high: f64,
    /// Samples in it.
    pub n: usize,
    /// Their mean confidence, 0 to 1; `None` without samples.
    pub confidence: Option<f64>,
    /// The share of them that is right, 0 to 1; `None` without samples.
    pub accuracy: Option<f64>,
}

/// Sorts samples by confidence, the largest probability of a sample, into `bins` bins of equal width ((m - 1) / bins,
/// m / bins], and compares their mean confidence with the share that is right. With 15 bins the error
/// is that of a run's measures.
///
/// The error depends on the number of bins, and few samples make it larger: even a perfect confidence has an error
/// above 0. Bins with few samples say little; show how many there are. `None` for no samples or no bins, lists of
/// different lengths, or a confidence outside 0 to 1.
///
/// Source: Guo, Pleiss, Sun and Weinberger, "On calibration of modern neural networks", ICML 2017.
///
/// ```
/// let diagram = ktg_figures::stats::reliability(&[0.9, 0.9, 0.4], &[true, false, false], 2).unwrap();
/// assert_eq!((diagram.bins[1].n, diagram.bins[1].accuracy), (2, Some(0.5)));
/// assert!((diagram.ece - 0.4).abs() < 1e-12);
/// ```
pub fn reliability(confidence: &[f64], correct: &[bool], bins: usize) -> Option<Reliability> {
    let n = confidence.len();
    let fits = confidence.iter().all(|confidence| (0.0..=1.0 + ABOVE_ONE).contains(confidence));
    if n == 0 || bins == 0 || correct.len() != n || !fits {
        return None;
    }
    let mut sums = vec![(0_usize, 0.0, 0_usize); bins];
    for (confidence, &correct) in confidence.iter().zip(correct) {
        // As in ktg-train, to get the same error.
        let bin = ((confidence * bins as f64).ceil() as usize).clamp(1, bins) - 1;
        let (n, sum, right) = &mut sums[bin];
        *n += 1;
        *sum += confidence;
        *right += usize::from(correct);
    }
    let gaps: f64 = sums.iter().map(|(_, sum, right)| (*right as f64 - sum).abs()).sum();
    let bins = sums.iter().enumerate().map(|(i, &(n, sum, right))| {
        let mean = |sum: f64| (n > 0).then(|| sum / n as f64);
        ReliabilityBin {
            low: i as f64 / bins as f64,
            high: (i + 1) as f64 / bins as f64,
            n,
            confidence: mean(sum),
            accuracy: mean(right as f64),
        }
    });
    Some(Reliability { bins: bins.collect(), n, ece: gaps / n as f64 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_that_does_not_fit() {
        assert_eq!(reliability(&[], &[], 15), None);
        assert_eq!(reliability(&[0.5], &[true], 0), None);
        assert_eq!(reliability(&[0.5], &[], 15), None);
        for bad in [f64::NAN, -0.1, 1.1] {
            assert_eq!(reliability(&[bad], &[true], 15), None);
        }
    }

    #[test]
    fn ends_of_bins() {
        let bin_of = |confidence: f64| {
            let diagram = reliability(&[confidence], &[true], 15).unwrap();
            diagram.bins.iter().position(|bin| bin.n == 1).unwrap()
        };
        assert_eq!((bin_of(0.0), bin_of(1e-9), bin_of(1.0), bin_of(1.0 + 1e-7)), (0, 0, 14, 14));
        for m in 1..15 {
            let end = f64::from(m) / 15.0;
            assert_eq!(bin_of(end), m as usize - 1, "{end} is the closed end");
            assert_eq!(bin_of(end + 1e-9), m as usize);
        }
    }
}
