//! A study in words.

use ktg_base::shell_word;
use ktg_report::{StudyRecord, counted};
use ktg_search::storage::{State, Trial};

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
    if let Some(best) = study.ranked().first() {
        let value = best.value.unwrap_or(f64::NAN);
        let command = format!("ktg study best {}{} -o best", shell_word(name), storage_option(url));
        text += &format!("\nbest: trial {} with {value:.2} %; take it with `{command}`", best.number);
    }
    text
}

/// The best trials as a table.
pub fn best_table(study: &StudyRecord, top: usize) -> String {
    let row = |trial: &Trial| {
        let epochs = trial.last_report().map_or("-".to_owned(), |(step, _)| step.to_string());
        [trial.number.to_string(), number(trial.value, 2), epochs, study.edges(trial)]
    };
    aligned(&[3], ["trial", "value", "epochs", "graph"], study.ranked().into_iter().take(top).map(row))
}

/// Trials that reached each rung, and their best and median values.
pub fn rung_table(study: &StudyRecord) -> Option<String> {
    let mut rows = Vec::new();
    for rung in study.rungs() {
        let mut values: Vec<f64> = rung.kept.iter().chain(&rung.stopped).copied().collect();
        values.sort_by(f64::total_cmp);
        let (best, median) = (values.last().copied(), values.get(values.len() / 2).copied());
        rows.push([rung.number.to_string(), values.len().to_string(), number(best, 2), number(median, 2)]);
    }
    (!rows.is_empty()).then(|| table(["rung", "trials", "best", "median"], rows))
}
