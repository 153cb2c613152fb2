//! `ktg study`: what a search found.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Result, anyhow, bail};
use ktg_base::{create_dir_all, study_file_name, write_atomically};
use ktg_figures::draw;
use ktg_graph::{Graph, authors};
use ktg_report::{StudyRecord, edges};
use ktg_search::storage::{Goal, Patience, State, Storage, StorageUrl, Study, StudySummary, Trial};
use ktg_search::{AuthorsStudy, JudgedPart};
use serde_json::{Map, Value as Json, json};

use crate::args::{StorageArg, StudyCommand};
use crate::export::ending;
use crate::found;
use crate::output::{note, number, print, print_json, table};

pub fn run(command: &StudyCommand) -> Result<()> {
    match command {
        StudyCommand::List { storage, json } => list(&storage.url()?, *json),
        StudyCommand::Show { study, storage, top, json } => show(&storage.open(study)?, *top, *json),
        StudyCommand::Best { study, storage, top, out } => best(storage.open(study)?, *top, out.as_deref()),
        StudyCommand::Export { study, storage, out } => export(storage.open(study)?, out.as_deref()),
        StudyCommand::Import { study, from, study_there, storage } => {
            import(study, &from.parse()?, study_there.as_deref(), &storage.url()?)
        }
        StudyCommand::Close { study, storage } => close(Study::open(&storage.url()?, study, false, Patience::none())?),
    }
}

impl StorageArg {
    /// The storage.
    pub fn url(&self) -> Result<StorageUrl> {
        Ok(self.storage.parse()?)
    }

    fn open(&self, study: &str) -> Result<StudyRecord> {
        StudyRecord::read(&self.url()?, study)
    }
}

fn list(url: &StorageUrl, json: bool) -> Result<()> {
    let studies = Storage::open_to_read(url)?.studies()?;
    if json {
        return print_json(&studies);
    }
    if studies.is_empty() {
        return print(&format!("there are no studies in {url}"));
    }
    let head = ["study", "trials", "complete", "pruned", "failed", "running", "waiting", "best"];
    let row = |StudySummary { name, states, best, .. }: StudySummary| {
        let count = |state| states.get(&state).copied().unwrap_or(0).to_string();
        let counts = [State::Complete, State::Pruned, State::Fail, State::Running, State::Waiting].map(count);
        let all = states.values().sum::<i64>().to_string();
        [name, all].into_iter().chain(counts).chain([number(best, 2)])
    };
    print(&table(head, studies.into_iter().map(row)))
}

fn show(found: &StudyRecord, top: usize, json: bool) -> Result<()> {
    if json {
        let graph = |trial: &&Trial| {
            let again = found.trained_again(trial).map(|standing| &standing.values);
            json!({"trial": trial.number, "value": trial.value, "trained_again": again, "graph": found.graph(trial).ok()})
        };
        let states = State::ALL.map(|state| (state.to_string(), json!(found.count(state))));
        let states: Map<String, Json> = states.into_iter().collect();
        let best: Vec<Json> = found.best_first().iter().take(top).map(graph).collect();
        let (failed, failed_before) = found::failed(found);
        let failed = failed.into_iter().map(|(trial, reason)| json!({"trial": trial, "reason": reason}));
        return print_json(&json!({
            "study": &found.name,
            "imported": found.metadata.imported,
            "trials": found.trials.len(),
            "objective": found.metadata.objective,
            "states": states,
            "best": best,
            "not_ranked": found.unranked(),
            "failed": failed.collect::<Vec<_>>(),
            "failed_before": failed_before,
        }));
    }
    print(&found::in_words(found))?;
    if let Some(space) = &found.metadata.space {
        let (parameters, combinations) = (space.parameters().len(), space.combinations());
        print(&format!(
            "search space: {} nodes, {parameters} parameters, {combinations:.3e} combinations",
            space.nodes()
        ))?;
    }
    if let Some(rungs) = found::rung_table(found) {
        print(&format!("\n{rungs}"))?;
    }
    print(&format!("\n{}", found::best_table(found, top)))?;
    match found::failed_table(found) {
        Some(failed) => print(&format!("\n{failed}")),
        None => Ok(()),
    }
}

fn best(found: StudyRecord, top: usize, out: Option<&Path>) -> Result<()> {
    let (_, graph) = found.graph_of(None)?;
    say_imported(&found);
    say_unranked(&found);
    note(&format!("study \"{}\": best is {}", found.name, found.best_in_words()?));
    let Some(directory) = out else {
        return print(graph.to_toml().trim_end());
    };
    create_dir_all(directory)?;
    for (place, trial) in found.best_first().into_iter().take(top).enumerate() {
        let graph = found.graph(trial)?;
        let stem = format!("{}-{}", study_file_name(&found.name), place + 1);
        let path = directory.join(format!("{stem}.toml"));
        write_atomically(&path, graph.to_toml().as_bytes())?;
        write_atomically(&directory.join(format!("{stem}.svg")), draw::svg(&graph).as_bytes())?;
        let value = found.value_in_words(trial);
        print(&format!("{}: trial {}, {value}, {}", path.display(), trial.number, edges(&graph)))?;
        if let Some(weights) = graph.nodes().iter().find_map(|node| node.pretrained.as_ref()) {
            print(&format!(
                "  its weights ({weights}) are looked for beside this file, then beside the experiment file"
            ))?;
        }
    }
    Ok(())
}

/// Says where a study is from that was not made here, on standard error.
pub fn say_imported(study: &StudyRecord) {
    if let Some(imported) = &study.metadata.imported {
        note(&format!("study \"{}\": {imported}", study.name));
    }
}

/// Says which trials of a study are not ranked, on standard error.
pub fn say_unranked(study: &StudyRecord) {
    if let Some(sentence) = study.unranked().sentence() {
        note(&format!("study \"{}\": {sentence}", study.name));
    }
}

fn export(found: StudyRecord, out: Option<&Path>) -> Result<()> {
    let bytes = match out.map_or("csv", ending) {
        "json" => serde_json::to_vec_pretty(&found.trials)?,
        "csv" => csv(&found.trials).map_err(|e| anyhow!("cannot write CSV: {e}"))?,
        _ => bail!("{}: the name must end in .csv or .json", out.unwrap_or(Path::new("")).display()),
    };
    match out {
        Some(path) => Ok(write_atomically(path, &bytes)?),
        None => print(String::from_utf8_lossy(&bytes).trim_end()),
    }
}

/// A line for every trial: what it is, its parameters, its user attributes, its reports.
fn csv(trials: &[Trial]) -> Result<Vec<u8>, csv::Error> {
    let parameters: BTreeSet<&String> = trials.iter().flat_map(|trial| trial.parameters.keys()).collect();
    let attributes: BTreeSet<&String> = trials.iter().flat_map(|trial| trial.attributes.keys()).collect();
    let steps: BTreeSet<&i64> = trials.iter().flat_map(|trial| trial.reports.keys()).collect();
    let mut writer = csv::Writer::from_writer(Vec::new());
    let fixed = ["number", "state", "value", "started", "completed"].map(str::to_owned);
    let head = fixed.into_iter().chain(parameters.iter().chain(&attributes).map(|name| name.to_string()));
    writer.write_record(head.chain(steps.iter().map(|step| format!("step {step}"))))?;
    let text = |json: Option<&Json>| match json {
        None => String::new(),
        Some(Json::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    for trial in trials {
        let number = |value: Option<f64>| value.map_or(String::new(), |value| value.to_string());
        let fixed = [
            trial.number.to_string(),
            trial.state.to_string(),
            number(trial.value),
            trial.started.clone().unwrap_or_default(),
            trial.completed.clone().unwrap_or_default(),
        ];
        let parameters = parameters.iter().map(|name| text(trial.parameters.get(*name)));
        let attributes = attributes.iter().map(|name| text(trial.attributes.get(*name)));
        let reports = steps.iter().map(|step| number(trial.reports.get(step).copied()));
        writer.write_record(fixed.into_iter().chain(parameters).chain(attributes).chain(reports))?;
    }
    writer.into_inner().map_err(|e| e.into_error().into())
}

/// Reads a study of the authors' code into the study `name`.
fn import(name: &str, from: &StorageUrl, study_there: Option<&str>, url: &StorageUrl) -> Result<()> {
    let theirs = AuthorsStudy::read(from, study_there)?;
    theirs.write(url, name)?;
    for sentence in sentences(&theirs) {
        note(&sentence);
    }
    print(&found::in_words(&StudyRecord::read(url, name)?))
}

/// What is not quite in the imported study as it was.
fn sentences(theirs: &AuthorsStudy) -> Vec<String> {
    let mut sentences = vec![match theirs.goal {
        Goal::Minimize => "its values are errors in percent, which became accuracies: 100 - error".to_owned(),
        Goal::Maximize => "its values are to be large and were taken for accuracies in percent".to_owned(),
    }];
    sentences.extend(of_trials(theirs.open, "was running or waiting there, and failed here"));
    sentences.extend(failures(&theirs.failures));
    let is_untaught = |graph: &Graph| (0..graph.len()).any(|node| !graph.is_trained(node));
    let untaught = theirs.graphs().filter(is_untaught).count();
    // Where the ensemble is judged, the authors' code leaves such a node as it begins, too.
    if untaught > 0 && theirs.imported.judged == JudgedPart::FirstNode {
        sentences.push(format!(
            "in {untaught} of its graphs nobody teaches some node, which there began with weights that the study does not \
             name; before training such a graph, give the node `pretrained` weights in the graph file"
        ));
    }
    sentences.extend(theirs.graphs().find_map(|graph| authors::crops_note(&graph)).map(str::to_owned));
    sentences
}

/// Why trials fail here that did not fail there.
fn failures(reasons: &BTreeMap<String, usize>) -> Option<String> {
    /// So many reasons are said.
    const MOST: usize = 5;
    let mut counts: Vec<(usize, &str)> = reasons.iter().map(|(reason, count)| (*count, &**reason)).collect();
    counts.sort_by_key(|(count, _)| Reverse(*count));
    let said = counts.iter().take(MOST).map(|(count, reason)| format!("{reason} ({count})"));
    let mut said = said.collect::<Vec<_>>().join(", ");
    if counts.len() > MOST {
        said += ", and more reasons, which `ktg study export` has";
    }
    let all = counts.iter().map(|(count, _)| count).sum();
    of_trials(all, &format!("cannot be translated, and failed here: {said}"))
}

/// A sentence about so many trials, whose first word is "was" or the same for one and for many; `None` if there are none.
fn of_trials(count: usize, is_so: &str) -> Option<String> {
    match count {
        0 => None,
        1 => Some(format!("1 trial {is_so}")),
        _ => Some(format!("{count} trials {}", is_so.replacen("was", "were", 1))),
    }
}

fn close(mut study: Study) -> Result<()> {
    let mut pruned = 0;
    for trial in study.paused()? {
        pruned += usize::from(study.prune_paused(trial.id)?);
    }
    print(&format!("{pruned} paused trials are pruned; their checkpoints lie where their `run` attribute says"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trials_that_fail_here_are_counted_by_their_reasons_the_most_frequent_first() {
        assert_eq!(failures(&BTreeMap::new()), None);
        assert_eq!(of_trials(1, "was running there").as_deref(), Some("1 trial was running there"));
        assert_eq!(of_trials(2, "was running there").as_deref(), Some("2 trials were running there"));
        let reasons = ["a", "b", "c", "d", "e", "f"].map(|reason| (reason.to_owned(), 1 + usize::from(reason == "f")));
        let all = "7 trials cannot be translated, and failed here: f (2), a (1), b (1), c (1), d (1), and more reasons, \
                   which `ktg study export` has";
        assert_eq!(failures(&reasons.into()).as_deref(), Some(all));
        let one = BTreeMap::from([("a".to_owned(), 1)]);
        assert_eq!(failures(&one).as_deref(), Some("1 trial cannot be translated, and failed here: a (1)"));
    }
}
