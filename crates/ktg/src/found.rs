//! A study in words.

use ktg_base::shell_word;
use ktg_report::{StudyRecord, edges};
use ktg_search::storage::State;

use crate::names::storage_option;
use crate::output::{aligned, table};

/// How many trials ended how, what it cost, and how to go on.
pub fn in_words(study: &StudyRecord) -> String {
    let url = &study.storage;
    let name = &study.name;
    let paused = study.trials.iter().filter(|trial| trial.is_paused()).count();
    let retries = study.trials.iter().filter(|trial| trial.repeats().is_some()).count();
    let states = [
        (study.count(State::Complete), "complete"),
        (study.count(State::Pruned), "pruned"),
        (study.count(State::Fail), "failed"),
        (study.count(State::Running) - paused, "running"),
        (paused, "paused"),
        (study.count(State::Waiting), "waiting"),
    ];
    let states = states.iter().filter(|(count, _)| *count > 0);
    let states = states.map(|(count, word)| format!("{count} {word}")).collect::<Vec<_>>().join(", ");
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
    let mut rows = vec![["trial", "value", "epochs", "graph"].map(str::to_owned).to_vec()];
    for trial in study.ranked().into_iter().take(top) {
        let edges = study.graph(trial).map_or_else(|_| "-".to_owned(), |graph| edges(&graph));
        let epochs = trial.last_report().map_or("-".to_owned(), |(step, _)| step.to_string());
        let value = trial.value.map_or("-".to_owned(), |value| format!("{value:.2}"));
        rows.push(vec![trial.number.to_string(), value, epochs, edges]);
    }
    aligned(&rows, &[3])
}

/// Trials that reached each rung, and their best and median values.
pub fn rung_table(study: &StudyRecord) -> Option<String> {
    let mut rows = vec![["rung", "trials", "best", "median"].map(str::to_owned).to_vec()];
    for rung in study.rungs() {
        let mut values: Vec<f64> = rung.kept.iter().chain(&rung.stopped).copied().collect();
        values.sort_by(f64::total_cmp);
        let (Some(best), Some(median)) = (values.last(), values.get(values.len() / 2)) else { continue };
        let (number, count) = (rung.number.to_string(), values.len().to_string());
        rows.push(vec![number, count, format!("{best:.2}"), format!("{median:.2}")]);
    }
    (rows.len() > 1).then(|| table(&rows))
}
