//! `ktg train`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, anyhow, bail};
use indicatif::MultiProgress;
use ktg_base::shell_word;
use ktg_data::BadImage;
use ktg_report::compare::read_experiment;
use ktg_train::{Experiment, GraphSettings, Run, RunDirectory, RunResult, Settings};

use crate::args::{ImageFlags, SettingFlags, TrainArgs};
use crate::output::{number, print, print_json};
use crate::progress::{Progress, pull, seconds, seconds_in_file};
use crate::signals;

pub fn run(args: &TrainArgs) -> Result<ExitCode> {
    let mut progress = Progress::among(&MultiProgress::new(), "train");
    let (path, stop, mut run) = match (&args.resume, &args.out) {
        (Some(path), _) => (path, signals::stop_flag()?, resume(path, &args.settings)?),
        (None, Some(path)) => {
            let (settings, base) = read_settings(args.experiment.as_deref(), &args.settings)?;
            let experiment = open(settings, &base, args.images, &progress)?;
            // From here on a signal means "stop after a checkpoint"; before, there is nothing to save.
            (path, signals::stop_flag()?, Run::start(experiment, &RunDirectory::new(path))?)
        }
        (None, None) => bail!("give a run directory with --out"),
    };
    pull(&mut run, &stop, &mut progress)?;
    drop(progress);
    let Some(result) = run.result() else {
        let step = run.position().map_or(0, |position| position.step);
        let steps = run.experiment().map_or(0, |experiment| experiment.length().steps());
        let path = shell_word(&path.display().to_string());
        let advice = format!("stopped after step {step} of {steps}; go on with `ktg train --resume {path}`");
        return Ok(signals::interrupted(&advice));
    };
    if args.json {
        print_json(result)?;
    } else {
        print(&summary(result))?;
        let (path, word) = (path.display(), shell_word(&path.display().to_string()));
        print(&format!("The run is in {path}; evaluate it again with `ktg eval {word}`."))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Goes on with a run, until it has other epochs than it was to have if the flags say so.
fn resume(path: &Path, flags: &SettingFlags) -> Result<Run> {
    if (SettingFlags { epochs: None, ..flags.clone() }) != SettingFlags::default() {
        bail!("a run goes on with the settings it has: of the settings, --resume takes only --epochs");
    }
    let directory = RunDirectory::new(path);
    Ok(match flags.epochs {
        Some(epochs) => Run::resume_until(&directory, epochs)?,
        None => Run::resume(&directory)?,
    })
}

/// The settings of an experiment file, if there is one, changed by flags, and where their relative paths start.
pub fn read_settings(experiment: Option<&Path>, flags: &SettingFlags) -> Result<(Settings, PathBuf)> {
    let (settings, base) = read_experiment(experiment, Path::new("."))?;
    Ok((flags.apply(settings)?, base))
}

/// Opens an experiment and decodes all its images; says so where that takes a while.
pub fn open(settings: Settings, base: &Path, images: ImageFlags, progress: &Progress) -> Result<Experiment> {
    let started = std::time::Instant::now();
    if images.skip_bad {
        let (experiment, bad) = Experiment::open_usable(settings, base, &|_, _| {})?;
        left_out(&bad, |text| progress.line(text));
        return Ok(experiment);
    }
    let experiment = Experiment::open(settings, base)?;
    if !images.no_check {
        experiment.check_images(&|_, _| {})?;
        let (all, elapsed) = (experiment.train.len() + experiment.evaluation.len(), started.elapsed());
        if elapsed.as_secs() >= 1 {
            progress.line(&format!("all {all} images can be read ({})", seconds(elapsed)));
        }
    }
    Ok(experiment)
}

/// Lists images that are left out.
pub fn left_out(bad: &[BadImage], mut line: impl FnMut(&str)) {
    for image in bad {
        line(&format!("left out: {}", image.problem));
    }
    if !bad.is_empty() {
        let count = if bad.len() == 1 { "1 image is".to_owned() } else { format!("{} images are", bad.len()) };
        line(&format!("{count} left out"));
    }
}

impl SettingFlags {
    /// The settings with the flags' values instead of the file's.
    pub fn apply(&self, mut settings: Settings) -> Result<Settings> {
        let current = std::env::current_dir().map_err(|e| anyhow!("cannot find the current directory: {e}"))?;
        if let Some(file) = &self.graph {
            // A path on the command line starts where the user is, not where the experiment file is.
            let GraphSettings { pretrained, strict, freeze, learning_rate_factor, drop_path, .. } = settings.graph;
            let file = Some(current.join(file));
            let others = GraphSettings::default();
            settings.graph =
                GraphSettings { file, pretrained, strict, freeze, learning_rate_factor, drop_path, ..others };
        }
        if let Some(preset) = &self.preset {
            settings.graph.file = None;
            settings.graph.preset = Some(preset.clone());
            if preset != "kd" {
                settings.graph.teacher = None;
            }
        }
        let graph = &mut settings.graph;
        graph.nodes = self.nodes.or(graph.nodes);
        graph.architecture = self.architecture.clone().or(graph.architecture.take());
        settings.seed = self.seed.unwrap_or(settings.seed);
        settings.side = self.side.unwrap_or(settings.side);
        let train = &mut settings.train;
        train.epochs = self.epochs.unwrap_or(train.epochs);
        train.batch_size = self.batch_size.unwrap_or(train.batch_size);
        train.learning_rate = self.learning_rate.unwrap_or(train.learning_rate);
        train.log_every = self.log_every.unwrap_or(train.log_every);
        train.record_steps = self.record_steps.unwrap_or(train.record_steps);
        if let Some(precision) = &self.precision {
            settings = settings.with("train.precision", precision)?;
        }
        let mut set = self.set.clone();
        // First the source, which has the other options of `data`.
        set.sort_by_key(|pair| !pair.trim_start().starts_with("data.source"));
        for pair in &set {
            let Some((key, value)) = pair.split_once('=') else {
                bail!("`--set {pair}` is not of the form KEY=VALUE");
            };
            settings = settings.with(key.trim(), value.trim())?;
        }
        Ok(settings)
    }
}

/// The end of a run in words.
fn summary(result: &RunResult) -> String {
    let m = &result.measures;
    let mut text = format!("after {}, on {} images:\n", result.length(), m.images);
    for (i, node) in m.nodes.iter().enumerate() {
        text += &format!("  node {:<9} {:6.2} %   top-5 {:6.2} %\n", i + 1, node.top1, node.top5);
    }
    let (average, ensemble) = (m.node_average, m.ensemble.accuracy);
    text += &format!("  node average   {:6.2} %   top-5 {:6.2} %\n", average.top1, average.top5);
    text += &format!(
        "  ensemble       {:6.2} %   top-5 {:6.2} %   NLL {:.3}   ECE {:.3}\n",
        ensemble.top1, ensemble.top5, m.ensemble.nll, m.ensemble.ece
    );
    for pair in &m.pairs {
        let [a, b] = pair.nodes;
        let attention = number(pair.attention_cosine, 3);
        text += &format!(
            "  nodes {a} and {b}: disagree on {:.1} %, cosine of probabilities {:.3}, of attention maps {attention}\n",
            100.0 * pair.disagreement,
            pair.probability_cosine
        );
    }
    text + &format!("  time           {}", seconds_in_file(result.seconds))
}
