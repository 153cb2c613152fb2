//! Reading what a run directory says, without its networks.

use std::path::{Path, PathBuf};

use ktg_graph::{Document, Graph};

use crate::saved::{DataFile, GRAPH, SETTINGS};
use crate::session::Timing;
use crate::{EpochReport, Error, RunResult, Settings, run};

/// A run as its directory tells it: how far it is, and how well it does.
#[derive(Clone, Debug)]
pub struct RunDirectory {
    /// Where it is.
    pub path: PathBuf,
    /// The run's settings.
    pub settings: Settings,
    /// The run's graph.
    pub graph: Graph,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// Training images.
    pub train_images: usize,
    /// The epochs that were reported, oldest first.
    pub epochs: Vec<EpochReport>,
    /// Seconds of training and judging so far.
    pub seconds: f64,
    /// Training images a second in the last epoch or part of one.
    pub images_per_second: Option<f64>,
    /// The final measures, if the run is finished.
    pub result: Option<RunResult>,
}

impl RunDirectory {
    /// Whether there is a run in a directory.
    pub fn is_one(directory: &Path) -> bool {
        directory.join(SETTINGS).is_file()
    }

    /// Reads a run directory, which another process may be working on.
    ///
    /// # Errors
    /// If there is no run in it, or one of its files is damaged.
    pub fn read(directory: &Path) -> Result<Self, Error> {
        if !Self::is_one(directory) {
            return Err(Error::run(directory, "there is no run in it (no settings.toml)"));
        }
        let data = DataFile::read(directory)?;
        let metrics = directory.join("metrics.jsonl");
        let timing = Timing::read(directory)?;
        Ok(Self {
            path: directory.to_owned(),
            settings: Settings::read(&directory.join(SETTINGS))?,
            graph: Document::read(&directory.join(GRAPH))?.graph,
            classes: data.classes,
            train_images: data.train_images,
            epochs: match metrics.exists() {
                true => crate::metrics::epochs(&metrics)?,
                false => Vec::new(),
            },
            seconds: timing.iter().map(|line| line.seconds).sum(),
            images_per_second: timing.last().map(|line| line.images_per_second),
            result: run::result(directory)?,
        })
    }

    /// Seconds that the epochs still to come will take at the pace of those that are done; `None` before the first.
    pub fn seconds_left(&self) -> Option<f64> {
        let done = self.epochs.last()?.train.epoch;
        let left = self.settings.train.epochs.saturating_sub(done);
        Some(self.seconds / done.max(1) as f64 * left as f64)
    }
}
