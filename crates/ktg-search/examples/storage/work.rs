//! A real worker whose objective takes no time: all that it spends is overhead.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use ktg_graph::Graph;
use ktg_search::storage::{Patience, StorageUrl, Study};
use ktg_search::{
    Event, Objective, ObjectiveKind, Report, SearchSettings, Task, Work, Worker, WorkerPlan, WorkerSettings, pruner,
    sampler,
};
use serde_json::{Value as Json, json};

use crate::Result;
use crate::operations::{median, milliseconds};
use crate::study::{NAME, accepts, space, value};

/// Better than all trials before, so that no trial is stopped: each has all reports, which is the most overhead.
struct Timeless {
    steps: u32,
}

impl Objective for Timeless {
    fn steps(&self) -> u32 {
        self.steps
    }

    fn accepts(&self, graph: &Graph) -> bool {
        accepts(graph)
    }

    fn start<'a>(&'a mut self, task: Task) -> Box<dyn Work + 'a> {
        let quality = 1.0 + task.number as f64 / 1e6;
        Box::new(TimelessWork { steps: self.steps.into(), quality, done: task.reported })
    }
}

struct TimelessWork {
    steps: i64,
    quality: f64,
    done: i64,
}

impl Work for TimelessWork {
    fn next(&mut self) -> std::result::Result<Report, String> {
        if self.done == self.steps {
            return Ok(Report::Finished(value(self.quality, self.steps), vec![]));
        }
        self.done += 1;
        Ok(Report::Step(self.done, value(self.quality, self.done)))
    }
}

/// When each trial began and ended, in milliseconds since the worker began.
#[derive(Default)]
struct Log {
    started: Vec<f64>,
    ended: Vec<f64>,
}

/// Works on `trials` trials after one that is not counted: it comes after the whole study was read.
pub fn run(url: &StorageUrl, settings: &SearchSettings, trials: usize, steps: u32) -> Result<Json> {
    let start = Instant::now();
    let stop = AtomicBool::new(false);
    let mut log = Log::default();
    let mut tell = |event: Event| match event {
        Event::Started { .. } => log.started.push(milliseconds(start)),
        Event::Ended { .. } => {
            log.ended.push(milliseconds(start));
            // The end of the study, at which paused trials are pruned, is no part of a trial.
            stop.store(log.ended.len() > trials, Ordering::Relaxed);
        }
        _ => {}
    };
    let study = Study::open(url, NAME, false, Patience::none())?;
    let mut objective = Timeless { steps };
    let worker = WorkerSettings { seed: Some(1), ..WorkerSettings::new(i64::MAX, Path::new("runs")) };
    let pruner = pruner::by_settings(settings, NAME, steps);
    let sampler = sampler::by_kind(settings.sampler);
    let plan = WorkerPlan {
        space: space()?,
        values: ObjectiveKind::Accuracy,
        agreements: vec![],
        sampler,
        pruner,
        settings: worker,
    };
    let mut worker = Worker::new(study, plan, &mut objective, &stop, &mut tell)?;
    worker.run()?;
    drop(worker);
    log.summary(trials)
}

impl Log {
    fn summary(&self, trials: usize) -> Result<Json> {
        if self.started.len() != self.ended.len() || self.ended.len() != trials + 1 {
            return Err(format!("the worker ended after {} trials", self.ended.len()).into());
        }
        let between = |from: &[f64], to: &[f64]| from.iter().zip(to).map(|(from, to)| to - from).collect::<Vec<f64>>();
        let choosing = between(&self.ended, &self.started[1..]);
        let judging = between(&self.started[1..], &self.ended[1..]);
        Ok(json!({
            "trials": trials,
            "trial_ms": (self.ended[trials] - self.ended[0]) / trials as f64,
            "choosing_ms": median(choosing),
            "judging_ms": median(judging),
            "start_ms": self.started[0],
            "peak_rss_mib": peak_memory(),
        }))
    }
}

/// The most memory that this process ever had. `None` if it cannot be told here.
fn peak_memory() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<f64>().ok()? / 1024.0)
}
