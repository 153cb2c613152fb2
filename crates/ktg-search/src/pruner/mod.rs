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
}
