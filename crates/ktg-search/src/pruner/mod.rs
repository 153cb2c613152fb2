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

use crate::settings::{PrunerKind, SearchSettings};

/// The pruner that settings ask for, of a study with this name whose trials have so many epochs.
pub fn by_settings(settings: &SearchSettings, study: &str, epochs: u32) -> Box<dyn Pruner> {
    let asha = Asha {
        min_resource: settings.min_resource.into(),
        reduction_factor: settings.reduction_factor.into(),
        min_early_stopping_rate: settings.min_early_stopping_rate,
    };
    match settings.pruner {
        PrunerKind::None => Box::new(Never),
        PrunerKind::Median => Box::new(Median::default()),
        PrunerKind::Asha => Box::new(asha),
        PrunerKind::Promotion => Box::new(Promotion(asha)),
        PrunerKind::Hyperband => {
            let resources = settings.min_resource.into()..=epochs.into();
            Box::new(Hyperband::new(study, resources, settings.reduction_factor.into()))
        }
    }
}
