//! Pruners: which trials are stopped before their end.

mod asha;
mod hyperband;
mod median;
mod promotion;
mod verdict;

pub use asha::Asha;
pub use hyperband::Hyperband;
pub use median::Median;
pub use promotion::Promotion;
pub use verdict::{Never, Pruner, Reported, Rungs, Verdict};

use crate::settings::{Halving, PrunerSettings, SearchSettings};

/// The pruner that settings ask for, of a study with this name whose trials have so many epochs.
pub fn by_settings(settings: &SearchSettings, study: &str, epochs: u32) -> Box<dyn Pruner> {
    match settings.pruner_settings() {
        PrunerSettings::None => Box::new(Never),
        PrunerSettings::Median => Box::new(Median::default()),
        PrunerSettings::Asha(halving) => Box::new(asha(&halving)),
        PrunerSettings::Promotion(halving) => Box::new(Promotion(asha(&halving))),
        PrunerSettings::Hyperband(Halving { min_resource, reduction_factor, .. }) => {
            Box::new(Hyperband::new(study, min_resource.into()..=epochs.into(), reduction_factor.into()))
        }
    }
}

fn asha(halving: &Halving) -> Asha {
    Asha {
        min_resource: halving.min_resource.into(),
        reduction_factor: halving.reduction_factor.into(),
        min_early_stopping_rate: halving.min_early_stopping_rate,
    }
}

impl PrunerSettings {
    /// The epoch of a rung (from 0), if all trials have it at the same.
    pub fn rung_epoch(&self, rung: u32) -> Option<i64> {
        match self {
            Self::Asha(halving) | Self::Promotion(halving) => asha(halving).checked_step(rung),
            Self::None | Self::Median | Self::Hyperband(_) => None,
        }
    }

    /// The share of all epochs that trials train on average, 0 to 1, where each has so many and exactly one in
    /// `reduction_factor` of those that reach a rung goes on. In a study of few trials it is more, because the first ones at
    /// a rung have few to compare with. `None`: it depends on the trials' values.
    pub fn expected_share(&self, epochs: u32) -> Option<f64> {
        match self {
            Self::None => Some(1.0),
            Self::Asha(halving) | Self::Promotion(halving) => Some(asha(halving).expected_share(epochs.into())),
            Self::Hyperband(Halving { min_resource, reduction_factor, .. }) => {
                let hyperband = Hyperband::new("", (*min_resource).into()..=epochs.into(), (*reduction_factor).into());
                Some(hyperband.expected_share(epochs.into()))
            }
            Self::Median => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::PrunerKind;

    #[test]
    fn the_expected_share_is_that_of_halving() {
        let share =
            |pruner, epochs| SearchSettings { pruner, ..Default::default() }.pruner_settings().expected_share(epochs);
        assert_eq!([share(PrunerKind::None, 8), share(PrunerKind::Median, 8)], [Some(1.0), None]);
        // All train epoch 1, half of them epoch 2, a quarter 3 and 4, an eighth 5 to 8: 1 + 0.5 + 2 / 4 + 4 / 8.
        assert_eq!(share(PrunerKind::Asha, 8), Some(2.5 / 8.0));
        assert_eq!(share(PrunerKind::Promotion, 8), share(PrunerKind::Asha, 8));
        assert_eq!(share(PrunerKind::Asha, 1), Some(1.0));
        // Of the brackets of hyperband, those that start later train more.
        let hyperband = share(PrunerKind::Hyperband, 8).unwrap();
        assert!(hyperband > 2.5 / 8.0 && hyperband < 1.0, "{hyperband}");
    }
}
