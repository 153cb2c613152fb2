//! A run as its directory tells it, without its networks.

use ktg_graph::Graph;

use crate::{EpochReport, Error, Measures, RunDirectory, RunResult, Settings};

/// A run as its directory tells it: how far it is, and how well it does.
#[derive(Clone, Debug)]
pub struct RunRecord {
    /// Where it is.
    pub directory: RunDirectory,
    /// The run's settings.
    pub settings: Settings,
    /// The run's graph.
    pub graph: Graph,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// Training images.
    pub train_images: usize,
    /// A text that differs where the images differ that the run is judged on; empty of runs that did not note it.
    pub judged_on: String,
    /// The epochs that were reported, oldest first.
    pub epochs: Vec<EpochReport>,
    /// Seconds of training and evaluation so far.
    pub seconds: f64,
    /// Training images a second in the last epoch or part of one.
    pub images_per_second: Option<f64>,
    /// The final measures, if the run is finished.
    pub result: Option<RunResult>,
}

impl RunRecord {
    /// Reads a run directory, which another process may be working on.
    ///
    /// # Errors
    /// If there is no run in it, or one of its files is damaged.
    pub fn read(directory: &RunDirectory) -> Result<Self, Error> {
        let settings = directory.settings()?;
        let data = directory.data()?;
        let timing = directory.timing()?;
        Ok(Self {
            directory: directory.clone(),
            settings,
            graph: directory.graph()?.graph,
            classes: data.classes,
            train_images: data.train_images,
            judged_on: data.evaluation_fingerprint,
            epochs: directory.epochs()?,
            seconds: timing.iter().map(|line| line.seconds).sum(),
            images_per_second: timing.last().map(|line| line.images_per_second),
            result: directory.result()?,
        })
    }

    /// Epochs that are done.
    pub fn epochs_done(&self) -> usize {
        self.epochs.last().map_or(0, |epoch| epoch.train.epoch)
    }

    /// The final measures, or those after the last epoch that was judged so far.
    pub fn measures(&self) -> Option<&Measures> {
        let last = || self.epochs.iter().rev().find_map(|epoch| epoch.evaluation.as_ref());
        self.result.as_ref().map(|result| &result.measures).or_else(last)
    }

    /// Seconds that the epochs still to come will take at the pace of those that are done; `None` before the first.
    pub fn seconds_left(&self) -> Option<f64> {
        let done = self.epochs.last()?.train.epoch;
        let left = self.settings.train.epochs.saturating_sub(done);
        Some(self.seconds / done.max(1) as f64 * left as f64)
    }
}
