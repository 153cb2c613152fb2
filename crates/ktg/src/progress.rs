//! Progress of a run: bars on a terminal, plain lines elsewhere.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use ktg_train::{EpochReport, Event, NodeReport, Run, StepReport};

use crate::output::note;

/// A bar on a terminal, nothing elsewhere.
pub fn bar(template: &str) -> ProgressBar {
    let bar = ProgressBar::no_length();
    // Templates are constants; a wrong one would only cost the looks.
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style.progress_chars("━╸ ")),
        Err(_) => bar,
    }
}

/// A line above progress bars, or where there are none.
pub fn say(bars: &MultiProgress, text: &str) {
    if bars.println(text).is_err() || bars.is_hidden() {
        note(text);
    }
}

/// Shows a run on standard error.
pub struct Progress {
    /// What is trained, in front of every line.
    name: String,
    /// Hidden where there is no terminal.
    bar: ProgressBar,
    /// Whether epochs get lines.
    lines: bool,
    epochs: usize,
    /// Of the whole training.
    steps: u64,
    batch_size: usize,
    started: Instant,
    first_step: u64,
    last_step: u64,
    epoch_started: Instant,
    epoch_images: usize,
}

impl Progress {
    /// One of several bars.
    pub fn among(bars: &MultiProgress, name: impl Into<String>) -> Self {
        let now = Instant::now();
        Self {
            name: name.into(),
            bar: bars.add(bar("{prefix} {bar:24} {msg} · {eta} left")),
            lines: true,
            epochs: 0,
            steps: 0,
            batch_size: 0,
            started: now,
            first_step: 0,
            last_step: 0,
            epoch_started: now,
            epoch_images: 0,
        }
    }

    /// The same without a line for every epoch: where runs are many, only the bar moves.
    pub fn quiet(mut self) -> Self {
        self.lines = false;
        self
    }

    /// A line above the bar.
    pub fn line(&self, text: &str) {
        if self.bar.is_hidden() {
            note(text);
        } else {
            self.bar.println(text);
        }
    }

    fn left(&self) -> Duration {
        let done = self.last_step.saturating_sub(self.first_step).max(1) as f64;
        let left = self.steps.saturating_sub(self.last_step) as f64;
        self.started.elapsed().mul_f64(left / done)
    }
}

/// Pulls a run to its end, or until `stop` is set, which it survives; shows what happens.
///
/// # Errors
/// As [`Run::next`].
pub fn pull(run: &mut Run, stop: &AtomicBool, progress: &mut Progress) -> Result<(), ktg_train::Error> {
    progress.start(run);
    while let Some(event) = run.next()? {
        progress.show(&event);
        if stop.load(Ordering::Relaxed) && !matches!(event, Event::Warning(_)) {
            return run.save();
        }
    }
    Ok(())
}

impl Progress {
    /// Begins with a run that has just been opened.
    pub fn start(&mut self, run: &Run) {
        let (Some(position), Some(experiment)) = (run.position(), run.experiment()) else { return };
        let length = experiment.length();
        let (from, steps) = (position.step, length.steps());
        (self.epochs, self.steps, self.first_step, self.last_step) = (length.epochs, steps, from, from);
        self.batch_size = experiment.settings.train.batch_size;
        (self.started, self.epoch_started) = (Instant::now(), Instant::now());
        if from > 0 && self.lines {
            self.line(&format!("{}: going on after step {from} of {steps}", self.name));
        }
        self.bar.set_prefix(self.name.clone());
        self.bar.set_length(steps);
        self.bar.set_position(from);
        self.bar.reset_eta();
    }

    /// Shows what a run did.
    pub fn show(&mut self, event: &Event) {
        match event {
            Event::Warning(text) => self.line(&format!("warning: {text}")),
            Event::Step(report) => self.step(report),
            Event::Evaluating { done, images } => self.bar.set_message(format!("evaluating {done}/{images}")),
            Event::Checkpoint => {}
            Event::Epoch(report) => self.epoch(report),
        }
    }

    fn step(&mut self, report: &StepReport) {
        self.epoch_images += self.batch_size;
        self.last_step = report.step;
        self.bar.set_position(report.step);
        self.bar.set_message(self.pace(report.epoch, &report.nodes));
    }

    /// Of the epoch at hand, such as "epoch 3/20 · loss 1.234 · 56.7 % · 890 images/s".
    fn pace(&self, epoch: usize, nodes: &[NodeReport]) -> String {
        let speed = self.epoch_images as f64 / self.epoch_started.elapsed().as_secs_f64().max(1e-9);
        format!("epoch {epoch}/{} · {} · {speed:.0} images/s", self.epochs, averages(nodes))
    }

    fn epoch(&mut self, report: &EpochReport) {
        let mut line = format!("{}: {}", self.name, self.pace(report.train.epoch, &report.train.nodes));
        if let Some(measures) = &report.evaluation {
            let (nodes, ensemble) = (measures.node_average.top1, measures.ensemble.accuracy.top1);
            line += &format!(" · judged: nodes {nodes:.2} %, ensemble {ensemble:.2} %");
        }
        if self.bar.is_hidden() {
            line += &format!(" · {} left", seconds(self.left()));
        }
        // On a terminal the bar shows the training; only what judging found deserves a line.
        if self.lines && (self.bar.is_hidden() || report.evaluation.is_some()) {
            self.line(&line);
        }
        (self.epoch_images, self.epoch_started) = (0, Instant::now());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// "loss 1.234 · 56.7 %", means over the nodes that have them.
fn averages(nodes: &[NodeReport]) -> String {
    let mean = |value: fn(&NodeReport) -> Option<f64>| {
        let values: Vec<f64> = nodes.iter().filter_map(value).collect();
        if values.is_empty() { f64::NAN } else { values.iter().sum::<f64>() / values.len() as f64 }
    };
    format!("loss {:.3} · {:.1} %", mean(|n| n.loss), mean(|n| n.accuracy))
}

/// As [`seconds`], of a number in a file: what is no time at all counts as none.
pub fn seconds_in_file(value: f64) -> String {
    seconds(Duration::try_from_secs_f64(value).unwrap_or_default())
}

/// "1 h 02 min", "3 min 20 s", "12 s".
pub fn seconds(time: Duration) -> String {
    let s = time.as_secs_f64().round() as u64;
    match (s / 3600, s / 60 % 60, s % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, min, s) => format!("{min} min {s:02} s"),
        (h, min, _) => format!("{h} h {min:02} min"),
    }
}
