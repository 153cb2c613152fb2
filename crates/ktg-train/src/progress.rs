//! How a training run tells others what happens.

use std::ops::ControlFlow;

use crate::metrics::{EpochReport, StepReport};

/// Watches a run: progress bars, searches that stop hopeless runs, tests.
pub trait Observer {
    /// Before the first step: `epochs` of `steps` steps, starting at step `from` (counted over the whole training).
    fn started(&mut self, epochs: usize, steps: usize, from: u64) {
        let _ = (epochs, steps, from);
    }

    /// After every step; `images` is the batch size.
    fn step(&mut self, report: &StepReport, images: usize) {
        let _ = (report, images);
    }

    /// After every epoch. `Break` ends the run as interrupted, after a checkpoint.
    fn epoch(&mut self, report: &EpochReport) -> ControlFlow<()> {
        let _ = report;
        ControlFlow::Continue(())
    }

    /// While the test images are classified.
    fn evaluating(&mut self, done: usize, all: usize) {
        let _ = (done, all);
    }

    /// Something the user should know, in one sentence.
    fn warning(&mut self, message: &str) {
        let _ = message;
    }
}

/// Watches nothing.
pub struct Silent;

impl Observer for Silent {}
