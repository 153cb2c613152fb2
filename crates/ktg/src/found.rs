//! A study in words.

use ktg_base::shell_word;
use ktg_report::{StudyRecord, counted};
use ktg_search::attributes::REASON;
use ktg_search::storage::{State, Trial};
use serde_json::Value as Json;

use crate::names::storage_option;
use crate::output::{aligned, number, table};

/// How many trials ended how, what it cost, and how to go on.
pub fn in_words(study: &StudyRecord) -> String {
    let url = &study.storage;
    let name = &study.name;
    let (paused, retries) = (study.paused(), study.repeated());
    let states = [
        (study.count(State::Complete), "complete"),
        (study.count(State::Pruned), "pruned"),
        (study.count(State::Fail), "failed"),
        (study.count(State::Running) - paused, "running"),
        (paused, "paused"),
        (study.count(State::Waiting), "waiting"),
    ];
    let states = counted(states);
    let mut text = format!("study \"{name}\" in {url}: {} trials", study.trials.len());
    if !states.is_empty() {
        text += &format!(" ({states})");
    }
    text += &format!(", {} epochs of training", study.epochs());
    if retries > 0 {
        text += &format!("; {retries} repeat trials of workers that died");
    }
    if let Some(imported) = &study.metadata.imported {
        text += &format!("\n{imported}");
    }
    if let Ok(best) = study.best_in_words() {
        let command = format!("ktg study best {}{} -o best", shell_word(name), storage_option(url));
        text += &format!("\nbest: {best}; take it with `{command}`");
    }
    if let Some(sentence) = study.unranked().sentence() {
        text += &format!("\n{sentence}");
    }
    text
}

/// So many failed trials are shown, the last ones.
const MOST_FAILED: usize = 10;

/// The last failed trials, each with its reason in one line, if it has one; and how many failed before.
pub fn failed(study: &StudyRecord) -> (Vec<(i64, Option<String>)>, usize) {
    let one_line = |reason: &Json| match reason.as_str() {
        Some(text) => text.split_whitespace().collect::<Vec<_>>().join(" "),
        None => reason.to_string(),
    };
    let failed = study.trials.iter().filter(|trial| trial.state == State::Fail);
    let mut failed: Vec<_> = failed.map(|trial| (trial.number, trial.attributes.get(REASON).map(one_line))).collect();
    let before = failed.len().saturating_sub(MOST_FAILED);
    (failed.split_off(before), before)
}

/// The same as a table; `None` if no trial failed.
pub fn failed_table(study: &StudyRecord) -> Option<String> {
    let (failed, before) = failed(study);
    if failed.is_empty() {
        return None;
    }
    let row = |(number, reason): (i64, Option<String>)| [number.to_string(), reason.unwrap_or_else(|| "-".to_owned())];
    let mut text = aligned(&[1], ["failed", "reason"], failed.into_iter().map(row));
    if before > 0 {
        text += &format!("\n{before} trials failed before; `ktg study export` has the reasons of all");
    }
    Some(text)
}

/// The best trials as a table.
pub fn best_table(study: &StudyRecord, top: usize) -> String {
    let decimals = study.metadata.objective.decimals();
    let best = study.best_first().into_iter().take(top);
    let row = |trial: &Trial| {
        let epochs = trial.last_report().map_or("-".to_owned(), |(step, _)| step.to_string());
        [trial.number.to_string(), number(trial.value, decimals), epochs, study.edges(trial)]
    };
    if study.confirmed.is_none() {
        return aligned(&[3], ["trial", "value", "epochs", "graph"], best.map(row));
    }
    let row = |trial: &Trial| {
        let [trial_number, value, epochs, graph] = row(trial);
        [trial_number, value, study.trained_again_in_words(trial), epochs, graph]
    };
    aligned(&[2, 4], ["trial", "value", "trained again", "epochs", "graph"], best.map(row))
}

/// Trials that reached each rung, and their best and median values.
pub fn rung_table(study: &StudyRecord) -> Option<String> {
    let decimals = study.metadata.objective.decimals();
    let mut rows = Vec::new();
    for rung in study.rungs() {
        let mut values: Vec<f64> = rung.kept.iter().chain(&rung.stopped).copied().collect();
        values.sort_by(f64::total_cmp);
        let (best, median) = (values.last().copied(), values.get(values.len() / 2).copied());
        rows.push([
            rung.number.to_string(),
            values.len().to_string(),
            number(best, decimals),
            number(median, decimals),
        ]);
    }
    (!rows.is_empty()).then(|| table(["rung", "trials", "best", "median"], rows))
}
