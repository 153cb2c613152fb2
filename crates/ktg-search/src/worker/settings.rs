//! How a worker works.

use std::path::PathBuf;
use std::time::Duration;

/// How a worker works.
#[derive(Clone, Debug)]
pub struct WorkerSettings {
    /// The study shall have so many trials, retries aside. 0: it adds none, and works on those that are there.
    pub trials: i64,
    /// Directory of the runs, `trial-00012-HASH` and so on. Should be one that all workers reach.
    pub runs: PathBuf,
    /// Time between heartbeats.
    pub heartbeat: Duration,
    /// A trial without a heartbeat for so long is taken from its worker.
    pub silence: Duration,
    /// A graph is tried again so many times when workers fall silent over it.
    pub retries: usize,
    /// Seed of the sampler. `None`: another one each time.
    pub seed: Option<u64>,
    /// Whether to stay while others work, in case that one of them dies or leaves a trial to continue.
    pub wait: bool,
    /// The most paused trials; of more, the worst are pruned. `None`: any number.
    pub most_paused: Option<usize>,
}

impl WorkerSettings {
    /// The settings for so many trials, with their usual values.
    pub fn new(trials: i64, runs: impl Into<PathBuf>) -> Self {
        Self {
            trials,
            runs: runs.into(),
            heartbeat: Duration::from_secs(20),
            silence: Duration::from_secs(120),
            retries: 3,
            seed: None,
            wait: true,
            most_paused: None,
        }
    }
}
