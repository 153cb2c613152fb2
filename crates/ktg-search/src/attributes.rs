//! The names of all attributes: what a study and its trials say beyond the tables of Optuna's schema.

/// User attribute of a study: its search space ([`Space::to_json`](crate::Space::to_json)).
pub const SPACE: &str = "search space";
/// User attribute of a study: the settings that all its trials share, a JSON object (until version 0.1, TOML text).
pub const SETTINGS: &str = "experiment";
/// User attribute of a study: fingerprint of the images that all its trials share, a text.
pub const IMAGES: &str = "images";
/// User attribute of a study: what makes a graph better ([`ObjectiveKind`](crate::ObjectiveKind)); until version 0.1, accuracy,
/// without being said.
pub const OBJECTIVE: &str = "objective";
/// User attribute of a study: its pruner ([`PrunerSettings`](crate::PrunerSettings); until version 0.1, a sentence).
pub const PRUNER: &str = "pruner";
/// User attribute of a study: the trials that it shall have, as the last worker to start was told.
pub const TARGET: &str = "trials";
/// User attribute of a study: a text that no other study has ([`StudyMark`](crate::StudyMark)).
pub const IDENTITY: &str = "identity";
/// User attribute of a study: the graph that its trials change, if it is an analysis.
pub const BASE: &str = "base graph";
/// User attribute of a study that confirms what another one found: which graphs, and how often
/// ([`Confirmation`](crate::confirmation::Confirmation)).
pub const CONFIRMATION: &str = "confirmation";
/// User attribute of a study that was not made here: where it is from ([`Imported`](crate::Imported)).
pub const IMPORTED: &str = "imported";

/// User attribute of a trial: the canonical hash of its graph.
pub const GRAPH: &str = "graph";
/// User attribute of a trial: who works on it, and which of its pieces of work that is.
pub const WORKER: &str = "worker";
/// User attribute of a trial that waits for its continuation: the rung at which it was stopped.
pub const PAUSED: &str = "paused";
/// User attribute of a trial: where its run is kept.
pub const RUN: &str = "run";
/// User attribute of an enqueued trial: the seed to train it with, where it shall not be the experiment's.
pub const SEED: &str = "seed";
/// User attribute of a trial: why it failed.
pub const REASON: &str = "reason";
/// User attribute of a trial that was not trained: the number of the trial that has its graph.
pub const SAME_GRAPH: &str = "same graph as trial";
/// User attribute of a trial: what an analysis changed in the graph ([`Variant::name`](crate::analysis::Variant::name)).
pub const VARIANT: &str = "variant";
/// User attribute of a trial of a confirmation: the number of the search's trial whose graph it trains again.
pub const CONFIRMS: &str = "confirms trial";
/// User attribute of a complete trial: accuracy of its ensemble in percent.
pub const ENSEMBLE: &str = "ensemble accuracy";
/// User attribute of a complete trial: mean accuracy of its nodes in percent.
pub const NODE_AVERAGE: &str = "node average";

/// System attribute of a retry: the number of the trial it repeats. Optuna's name.
pub const FAILED_TRIAL: &str = "failed_trial";
/// System attribute of a retry: the numbers of all trials it repeats, the first first. Optuna's name.
pub const RETRY_HISTORY: &str = "retry_history";
/// System attribute of an enqueued trial: choices by name. Optuna's name.
pub const FIXED_PARAMS: &str = "fixed_params";
/// Begins the name of [`completed_rung`].
pub const COMPLETED_RUNG: &str = "completed_rung_";

/// System attribute of a trial: its value at a rung, counted from 0. Optuna's name.
pub fn completed_rung(rung: u32) -> String {
    format!("{COMPLETED_RUNG}{rung}")
}
