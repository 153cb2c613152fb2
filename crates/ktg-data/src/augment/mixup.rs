//! Mixup: every sample of a batch is blended with another one of it, and so are their labels (Zhang et al., "mixup:
//! Beyond Empirical Risk Minimization", 2018).

use crate::random::shuffle;
use crate::{Batch, Error, Mixed};
use ktg_base::random::{ChaCha8Rng, uniform};

/// The largest parameter: beyond it the shares are close to one half, and drawing them takes long.
pub(crate) const MAX_ALPHA: f64 = 4.0;

/// Below it nearly every share is 1.
pub(crate) const MIN_ALPHA: f64 = 1e-3;

/// Checks the parameters of the distributions of shares, as the settings `mixup` and `cutmix` have them.
pub(crate) fn check(mixup: Option<f64>, cutmix: Option<f64>) -> Result<(), Error> {
    for (key, alpha, name) in [("mixup", mixup, "mixup"), ("cutmix", cutmix, "CutMix")] {
        if let Some(alpha) = alpha.filter(|alpha| !(MIN_ALPHA..=MAX_ALPHA).contains(alpha)) {
            let range = format!("{MIN_ALPHA} to {MAX_ALPHA} (leave it out for no {name})");
            return Err(Error::Setting(format!("augmentation: {key} = {alpha}; it must be {range}")));
        }
    }
    Ok(())
}

/// Blends the samples of a batch with those of a random order of it.
///
/// One share for the whole batch, from Beta(alpha, alpha) as the paper has it. Of a share and its complement the larger
/// one counts: partners are exchangeable, so the blends are distributed as in the paper, and the label of a sample stays
/// the one it has most of, which the gate `correct` looks at.
pub(crate) fn mix(batch: &mut Batch, alpha: f64, rng: &mut ChaCha8Rng) {
    let share = symmetric_beta(alpha, rng);
    let share = share.max(1.0 - share) as f32;
    let partners = partners(batch.len(), rng);
    let values = batch.channels * batch.height * batch.width;
    let whole = batch.images.clone();
    for (own, &partner) in batch.images.chunks_exact_mut(values).zip(&partners) {
        let other = &whole[partner * values..][..values];
        own.iter_mut().zip(other).for_each(|(own, other)| *own = share * *own + (1.0 - share) * other);
    }
    let labels = partners.iter().map(|&partner| batch.labels[partner]).collect();
    batch.mixed = Some(Mixed { labels, share });
}

/// The partner of each sample of a batch: a random order of it.
pub(super) fn partners(samples: usize, rng: &mut ChaCha8Rng) -> Vec<usize> {
    let mut partners: Vec<usize> = (0..samples).collect();
    shuffle(&mut partners, rng);
    partners
}

/// A draw from Beta(alpha, alpha): Jöhnk, "Erzeugung von betaverteilten und gammaverteilten Zufallszahlen", 1964.
pub(super) fn symmetric_beta(alpha: f64, rng: &mut ChaCha8Rng) -> f64 {
    loop {
        // In logarithms, because for a small alpha the powers are too small for numbers.
        let (x, y) = ((1.0 - uniform(rng, 0.0, 1.0)).ln() / alpha, (1.0 - uniform(rng, 0.0, 1.0)).ln() / alpha);
        let most = x.max(y);
        let sum = (x - most).exp() + (y - most).exp();
        if most + sum.ln() <= 0.0 {
            return (x - most).exp() / sum;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Purpose, rng};

    #[test]
    fn shares_have_the_moments_of_the_beta_distribution() {
        for alpha in [0.05, 0.2, 1.0, 2.0, MAX_ALPHA] {
            let mut rng = rng(1, Purpose::Mixup, 0, 0);
            let draws: Vec<f64> = (0..40_000).map(|_| symmetric_beta(alpha, &mut rng)).collect();
            assert!(draws.iter().all(|share| (0.0..=1.0).contains(share)));
            let mean = |power: i32| draws.iter().map(|x| (x - 0.5).powi(power)).sum::<f64>() / draws.len() as f64;
            let variance = 1.0 / (4.0 * (2.0 * alpha + 1.0));
            // Five standard errors; those of the variance are below those of a distribution on the ends, 0.25 / sqrt(n).
            assert!(mean(1).abs() < 5.0 * (variance / 40_000.0f64).sqrt(), "{alpha}: {}", mean(1));
            assert!((mean(2) - variance).abs() < 5.0 * 0.25 * variance.sqrt() / 200.0, "{alpha}: {}", mean(2));
            // Excess kurtosis -6 / (2 alpha + 3), from the fourth moment.
            let kurtosis = mean(4) / mean(2).powi(2) - 3.0;
            assert!((kurtosis + 6.0 / (2.0 * alpha + 3.0)).abs() < 0.05, "{alpha}: {kurtosis}");
        }
    }
}
