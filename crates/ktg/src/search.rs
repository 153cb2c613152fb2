//! `ktg search`: one worker of a study.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use indicatif::MultiProgress;
use ktg_base::{read_text, study_file_name};
use ktg_net::Architecture;
use ktg_report::StudyRecord;
use ktg_search::{SearchSettings, WorkerSettings};
use ktg_train::{EvaluateOn, Settings};

use crate::args::{SearchArgs, WorkerArgs};
use crate::confirm::Confirm;
use crate::found;
use crate::output::{print, warn};
use crate::progress::Progress;
use crate::signals;
use crate::study_worker::Search;
use crate::train::{self, read_settings};

pub fn run(args: &SearchArgs) -> Result<ExitCode> {
    let (worker, limit) = worker_settings(&args.worker)?;
    let url = args.storage.url()?;
    let (settings, base, search) = settings(args)?;
    let stop = signals::stop_flag()?;
    let bars = MultiProgress::new();
    let confirm = confirm(args)?;
    let template = train::open(settings, &base, args.images, &Progress::among(&bars, "search"))?;
    warn(&template.warnings);
    let worker = WorkerSettings {
        trials: args.trials,
        runs: args.runs.clone().unwrap_or_else(|| default_runs(&args.study)),
        seed: args.sampler_seed,
        most_paused: args.max_paused,
        ..worker
    };
    let search = Search { url, study: args.study.clone(), settings: search, worker, patience: limit, enqueued: None };
    let mut is_done = search.run(template.clone(), &stop, &bars)?;
    if let (true, Some(confirm)) = (is_done, confirm) {
        is_done = confirm.run(&search, &template, &stop, &bars)?;
    }
    if !is_done {
        let url = &search.url;
        let advice = format!("stopped; the study in {url} is as it should be, start the same command again to go on");
        return Ok(signals::interrupted(&advice));
    }
    print(&found::in_words(&StudyRecord::read(&search.url, &search.study)?))?;
    Ok(ExitCode::SUCCESS)
}

/// The settings of a search's trainings, where their paths start, and what is searched.
pub fn settings(args: &SearchArgs) -> Result<(Settings, PathBuf, SearchSettings)> {
    if let Some(pair) = args.settings.set.iter().find(|pair| pair.trim_start().starts_with("search.")) {
        let reason = "what is searched is set in the table [search] of the experiment file, or by --sampler, --pruner and --objective";
        bail!("`--set {pair}`: {reason}");
    }
    let (mut settings, base) = read_settings(args.experiment.as_deref(), &args.settings)?;
    let mut search = read_search(args)?;
    search.sampler = args.sampler.unwrap_or(search.sampler);
    search.pruner = args.pruner.unwrap_or(search.pruner);
    search.objective = args.objective.unwrap_or(search.objective);
    if settings.split.evaluate_on == EvaluateOn::Test {
        // The test images are for the graph that was found, once.
        settings.split.evaluate_on = EvaluateOn::SearchSplit;
    }
    // A pruner needs every epoch, whatever the training that follows looks at.
    settings.train.evaluate_every = 1;
    // And it compares all trials by the same epochs.
    settings.train.keep_last();
    for name in &search.architectures {
        name.parse::<Architecture>().map_err(|e| anyhow!("`search.architectures`: {e}"))?;
    }
    Ok((settings, base, search))
}

/// How the best graphs are to be confirmed, if they are.
pub fn confirm(args: &SearchArgs) -> Result<Option<Confirm>> {
    match (args.confirm, args.confirm_trainings) {
        (None, Some(_)) => {
            bail!("`--confirm-trainings` says how often the graphs of `--confirm K` are trained; give both")
        }
        (None, None) => Ok(None),
        (Some(candidates), trainings) => Confirm::new(candidates, trainings).map(Some),
    }
}

/// How a worker works, but for what a study says, and how long it waits for what is away.
pub fn worker_settings(args: &WorkerArgs) -> Result<(WorkerSettings, Duration)> {
    let duration = |value: f64, name: &str| {
        let valid = Duration::try_from_secs_f64(value).ok().filter(|d| !d.is_zero());
        valid.ok_or_else(|| anyhow!("`--{name} {value}` is not a time above 0"))
    };
    let limit = duration(args.patience, "patience")?.saturating_mul(60);
    let (heartbeat, silence) = (duration(args.heartbeat, "heartbeat")?, duration(args.silence, "silence")?);
    if heartbeat.checked_mul(3).is_none_or(|least| silence < least) {
        let reason = "`--silence` must be at least three times `--heartbeat`, or a late sign of life costs a trial";
        bail!("{reason}");
    }
    let (retries, wait) = (args.retries, !args.no_wait);
    Ok((WorkerSettings { heartbeat, silence, retries, wait, ..WorkerSettings::new(0, "") }, limit))
}

/// The `[search]` table of the experiment file.
fn read_search(args: &SearchArgs) -> Result<SearchSettings> {
    let Some(path) = &args.experiment else { return Ok(SearchSettings::default()) };
    let text = read_text(path)?;
    Ok(SearchSettings::parse(&text, &path.display().to_string())?)
}

/// Where the runs of a study's trials are.
pub fn default_runs(study: &str) -> PathBuf {
    PathBuf::from(format!("{}.runs", study_file_name(study)))
}
