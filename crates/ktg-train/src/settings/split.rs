//! The table `[split]`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The images that a run is judged on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EvaluateOn {
    /// The test images.
    #[default]
    Test,
    /// The validation images.
    Val,
    /// A held-out part of the training images (SPEC 8), which are then not trained on.
    SearchSplit,
}

/// Which images train and which judge.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SplitSettings {
    /// What the run is judged on. Default: test.
    pub evaluate_on: EvaluateOn,
    /// With `evaluate_on = "search-split"`: share of each class that is trained on. Default: 0.5, the paper's for
    /// fine-grained sets (0.8 for CIFAR).
    pub search_share: f64,
    /// With `evaluate_on = "search-split"`: a split that `ktg data split` wrote, instead of `search_share` and `seed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// Share of the training images that is used at all, stratified by class. Default: 1.
    pub train_share: f64,
    /// Seed of the splits, apart from the run's, so that runs with several seeds share a split. Default: 0.
    pub seed: u64,
}

impl Default for SplitSettings {
    fn default() -> Self {
        Self { evaluate_on: EvaluateOn::Test, search_share: 0.5, file: None, train_share: 1.0, seed: 0 }
    }
}
