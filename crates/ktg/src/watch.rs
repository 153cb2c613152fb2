//! `ktg watch`: a run, a comparison or a study while others work on it.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Result, anyhow};
use console::Term;
use ktg_figures::stats::{Summary, summary};
use ktg_report::compare::{Comparison, Group, GroupRun, RunState};
use ktg_report::report::Subject;
use ktg_report::{StudyRecord, edges};
use ktg_search::attributes::WORKER;
use ktg_search::storage::{State, StorageUrl, Trial};
use ktg_train::{RunDirectory, RunRecord, RunResult};

use crate::args::WatchArgs;
use crate::found;
use crate::output::{number, print, table};
use crate::progress::seconds_in_file;

/// What there is to see, and whether all is done.
struct View {
    text: String,
    done: bool,
}

pub fn run(args: &WatchArgs) -> Result<()> {
    let every = Duration::try_from_secs_f64(args.every).ok().filter(|every| !every.is_zero());
    let every = every.ok_or_else(|| anyhow!("`--every {}` is not a time above 0", args.every))?;
    let subject = Subject::of(&args.subject, &args.storage.url()?)?;
    let terminal = Term::stdout();
    if args.once || !std::io::stdout().is_terminal() {
        return print(&view(&subject, args)?.text);
    }
    let mut lines = 0;
    loop {
        let view = view(&subject, args)?;
        let (height, width) = terminal.size();
        // A longer picture could not be taken back.
        let shown: Vec<&str> = view.text.lines().take(usize::from(height).saturating_sub(1).max(1)).collect();
        let shown: Vec<_> = shown.iter().map(|line| console::truncate_str(line, width.into(), "…")).collect();
        terminal.clear_last_lines(lines)?;
        for line in &shown {
            terminal.write_line(line)?;
        }
        lines = shown.len();
        if view.done {
            return Ok(());
        }
        std::thread::sleep(every);
    }
}

fn view(subject: &Subject, args: &WatchArgs) -> Result<View> {
    match subject {
        Subject::Run(directory) => run_view(directory),
        Subject::Comparison(directory) => comparison_view(directory),
        Subject::Study(storage, name) => study_view(storage, name, args.trials),
    }
}

fn left(seconds_left: f64) -> String {
    format!("about {} left", seconds_in_file(seconds_left))
}

fn run_view(directory: &RunDirectory) -> Result<View> {
    let run = RunRecord::read(directory)?;
    let (done, all) = (run.epochs_done(), run.settings.train.epochs);
    let name = run.graph.name.clone().unwrap_or_else(|| edges(&run.graph));
    let mut text = format!("{}: {name}, seed {}\n", directory.path().display(), run.settings.seed);
    text += &format!("{} epoch {done} of {all}", bar(done, all));
    match (&run.result, run.seconds_left()) {
        (Some(_), _) => text += &format!(" · finished, {}", seconds_in_file(run.seconds)),
        (None, Some(seconds_left)) => text += &format!(" · {}", left(seconds_left)),
        (None, None) => text += " · the first epoch is not done",
    }
    if let Some(speed) = run.images_per_second {
        text += &format!(" · {speed:.0} images/s");
    }
    let mut rows = Vec::new();
    let judged = |value: &dyn Fn(&ktg_train::Measures) -> f64| -> Vec<f64> {
        run.epochs.iter().filter_map(|epoch| epoch.evaluation.as_ref()).map(value).collect()
    };
    for m in 0..run.graph.len() {
        let last = run.epochs.last().and_then(|epoch| epoch.train.nodes.get(m));
        let curve = judged(&|measures| measures.nodes.get(m).map_or(f64::NAN, |node| node.top1));
        rows.push([
            format!("node {}", m + 1),
            number(last.and_then(|node| node.loss), 3),
            number(last.and_then(|node| node.accuracy), 1),
            number(curve.last().copied(), 2),
            sparkline(&curve),
        ]);
    }
    let curve = judged(&|measures| measures.ensemble.accuracy.top1);
    let (dash, last) = ("-".to_owned(), number(curve.last().copied(), 2));
    rows.push(["ensemble".to_owned(), dash.clone(), dash, last, sparkline(&curve)]);
    let head = ["", "loss", "training [%]", "judged [%]", "over the epochs"];
    text += &format!("\n\n{}", table(head, rows));
    Ok(View { text, done: run.result.is_some() })
}

fn comparison_view(directory: &Path) -> Result<View> {
    let comparison = Comparison::read(directory)?;
    let runs: Vec<&GroupRun> = comparison.groups.iter().flat_map(|group| &group.runs).collect();
    let is_over = |run: &&&GroupRun| matches!(run.state, RunState::Finished(_) | RunState::Failed(_));
    let (all, done) = (runs.len(), runs.iter().filter(is_over).count());
    let mut text = format!("comparison in {}\n{} {done} of {all} runs are over", directory.display(), bar(done, all));
    let mut rows = Vec::new();
    for group in &comparison.groups {
        let finished = group.finished();
        let mean = |value: fn(&RunResult) -> f64| {
            let values: Vec<f64> = finished.iter().map(|(_, result)| value(result)).collect();
            number(summary(&values).map(|summary| summary.mean), 2)
        };
        let at_work = group.runs.iter().filter_map(|GroupRun { seed, state, .. }| match state {
            RunState::Unfinished { done, epochs } => Some(format!("seed {seed}: epoch {done} of {epochs}")),
            RunState::Failed(_) => Some(format!("seed {seed}: failed")),
            _ => None,
        });
        let at_work = at_work.collect::<Vec<_>>().join(", ");
        rows.push([
            group.method.clone(),
            group.data.clone(),
            group.nodes.to_string(),
            format!("{} of {}", finished.len(), group.runs.len()),
            mean(|result| result.measures.node_average.top1),
            mean(|result| result.measures.ensemble.accuracy.top1),
            at_work,
        ]);
    }
    let unfinished = runs.iter().filter(|run| matches!(run.state, RunState::Unfinished { .. })).count();
    let finished = comparison.groups.iter().flat_map(Group::finished);
    let spent: Vec<f64> = finished.map(|(_, result)| result.seconds).collect();
    if let Some(Summary { mean, .. }) = summary(&spent).filter(|_| done < all) {
        let at_once = unfinished.max(1);
        text += &format!(" · {} with {at_once} at a time", left(mean * (all - done) as f64 / at_once as f64));
    }
    let head = ["method", "data", "nodes", "runs", "node average", "ensemble", "at work"];
    text += &format!("\n\n{}", table(head, rows));
    Ok(View { text, done: done == all })
}

fn study_view(storage: &StorageUrl, name: &str, trials: Option<i64>) -> Result<View> {
    let study = StudyRecord::read(storage, name)?;
    let mut text = found::in_words(&study);
    let is_imported = study.metadata.imported.is_some();
    let target = trials.or(study.metadata.target).filter(|_| !is_imported);
    let over = study.trials.iter().filter(|trial| trial.state.is_finished()).count();
    let (paused, retries) = (study.paused(), study.repeated());
    let there = study.trials.len() - retries;
    let working: Vec<&Trial> =
        study.trials.iter().filter(|trial| trial.state == State::Running && !trial.is_paused()).collect();
    if let Some(target) = target.and_then(|target| usize::try_from(target).ok()) {
        let judged = over.saturating_sub(retries) + paused;
        text += &format!("\n{} {judged} of {target} trials are judged", bar(judged, target));
        match pace(&study) {
            _ if there >= target && working.is_empty() => {}
            Some(pace) => text += &format!(" · {}", left(pace * target.saturating_sub(judged) as f64)),
            None => text += " · no trial has ended yet",
        }
    } else if let Some(pace) = pace(&study).filter(|_| !is_imported) {
        text += &format!(
            "\n{:.1} trials an hour; say how many there shall be with --trials to see the time left",
            3600.0 / pace
        );
    }
    let mut workers: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for trial in &working {
        let worker = trial.attributes.get(WORKER).and_then(|worker| worker.as_str()).unwrap_or("another program");
        let mut parts = worker.split('/');
        let worker = match (parts.next(), parts.next()) {
            (Some(host), Some(process)) => format!("{host}, process {process}"),
            _ => worker.to_owned(),
        };
        let at = match trial.last_report() {
            Some((epoch, value)) => {
                let value = study.metadata.objective.in_words(value);
                format!("trial {} at epoch {epoch} with {value}", trial.number)
            }
            None => format!("trial {}", trial.number),
        };
        workers.entry(worker).or_default().push(at);
    }
    text += "\n\nworkers";
    if workers.is_empty() {
        text += "\n  nobody works on it";
    }
    for (worker, at) in &workers {
        text += &format!("\n  {worker}: {}", at.join("; "));
    }
    if let Some(rungs) = found::rung_table(&study) {
        text += &format!("\n\n{rungs}");
    }
    if let Some(best) = study.best_first().first() {
        text += &format!("\n\nbest graph, trial {}: {}", best.number, study.edges(best));
    }
    let is_complete = is_imported || target.is_some_and(|target| there as i64 >= target);
    let done = is_complete && working.is_empty() && study.count(State::Waiting) == 0;
    Ok(View { text, done })
}

/// Seconds from one judged trial to the next, over the time that the study has been worked on so far.
fn pace(study: &StudyRecord) -> Option<f64> {
    let time = |text: &String| humantime::parse_rfc3339_weak(text.trim()).ok();
    let first = study.trials.iter().filter_map(|trial| trial.started.as_ref().and_then(time)).min()?;
    let ends: Vec<SystemTime> =
        study.trials.iter().filter_map(|trial| trial.completed.as_ref().and_then(time)).collect();
    let paused = study.paused();
    // Trials at work are half done on average, which the time until now has paid for.
    let last = match study.count(State::Running) > paused {
        true => SystemTime::now(),
        false => *ends.iter().max()?,
    };
    let ended = ends.len() + paused;
    let elapsed = last.duration_since(first).ok()?.as_secs_f64();
    (ended > 0).then(|| elapsed / ended as f64)
}

/// "━━━━━     " for a part of a whole.
fn bar(done: usize, all: usize) -> String {
    const WIDTH: usize = 24;
    let filled = (WIDTH * done.min(all)).checked_div(all).unwrap_or(0);
    format!("[{}{}]", "━".repeat(filled), " ".repeat(WIDTH - filled))
}

/// The course of a curve in one line of text, from its lowest to its highest value.
fn sparkline(values: &[f64]) -> String {
    const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    const LONGEST: usize = 40;
    let values: Vec<f64> = match values.len() {
        0..=LONGEST => values.to_vec(),
        n => (0..LONGEST).map(|i| values[(i + 1) * n / LONGEST - 1]).collect(),
    };
    let finite = || values.iter().copied().filter(|value| value.is_finite());
    let (low, high) = finite().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
    let level = |value: &f64| match high > low {
        _ if !value.is_finite() => ' ',
        true => LEVELS[(((value - low) / (high - low) * 7.0).round() as usize).min(7)],
        false => LEVELS[3],
    };
    values.iter().map(level).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_are_short_and_go_from_low_to_high() {
        assert_eq!(sparkline(&[1.0, 2.0, 8.0, f64::NAN]), "▁▂█ ");
        assert_eq!(sparkline(&[3.0, 3.0]), "▄▄");
        assert_eq!(sparkline(&[]), "");
        let long: Vec<f64> = (0..300).map(f64::from).collect();
        let line: Vec<char> = sparkline(&long).chars().collect();
        assert_eq!((line.len(), line[39]), (40, '█'));
    }

    #[test]
    fn bars_are_full_at_the_end_only() {
        assert_eq!(bar(0, 3).matches('━').count(), 0);
        assert_eq!(bar(2, 3).matches('━').count(), 16);
        assert_eq!(bar(5, 3).matches('━').count(), 24);
        assert_eq!(bar(0, 0).matches('━').count(), 0);
    }
}
