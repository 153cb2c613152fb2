//! `ktg study`: what a search found.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ktg_graph::{Graph, draw};
use ktg_search::storage::{Patience, State, Storage, StorageUrl, Study, StudySummary, Trial};
use ktg_search::{SPACE, Space};
use ktg_train::write_atomically;
use serde_json::{Value as Json, json};

use crate::args::{DEFAULT_STORAGE, StorageArg, StudyCommand};
use crate::error::CliError;
use crate::output::{aligned, print, print_json, table};

pub fn run(command: &StudyCommand) -> Result<ExitCode, CliError> {
    match command {
        StudyCommand::List { storage, json } => list(&storage.url()?, *json)?,
        StudyCommand::Show { study, storage, top, json } => show(&storage.open(study)?, &storage.url()?, *top, *json)?,
        StudyCommand::Best { study, storage, top, out } => best(storage.open(study)?, *top, out.as_deref())?,
        StudyCommand::Export { study, storage, out } => export(storage.open(study)?, out.as_deref())?,
        StudyCommand::Close { study, storage } => close(storage.open(study)?)?,
    }
    Ok(ExitCode::SUCCESS)
}

impl StorageArg {
    /// The storage.
    pub fn url(&self) -> Result<StorageUrl, CliError> {
        Ok(self.storage.parse()?)
    }

    fn open(&self, study: &str) -> Result<Found, CliError> {
        Found::open(&self.url()?, study)
    }
}

/// A study with all that is in it.
pub struct Found {
    study: Study,
    trials: Vec<Trial>,
    /// `None`: made by others, and not worked on by `ktg search` yet.
    space: Option<Space>,
}

impl Found {
    /// Reads a study.
    pub fn open(url: &StorageUrl, name: &str) -> Result<Self, CliError> {
        let mut study = Study::open(url, name, false, Patience::none())?;
        let space = study.attribute(SPACE)?.map(|json| Space::from_json(&json)).transpose()?;
        Ok(Self { trials: study.trials()?, study, space })
    }

    /// The trials with a final value, the best first; of equal ones, the older.
    pub fn ranked(&self) -> Vec<&Trial> {
        let mut complete: Vec<&Trial> =
            self.trials.iter().filter(|trial| trial.state == State::Complete && trial.value.is_some()).collect();
        let value = |trial: &Trial| trial.value.unwrap_or(f64::NEG_INFINITY);
        complete.sort_by(|a, b| value(b).total_cmp(&value(a)).then(a.number.cmp(&b.number)));
        complete
    }

    /// The graph of a trial, in canonical form, named after it.
    pub fn graph(&self, trial: &Trial) -> Result<Graph, CliError> {
        let name = self.study.name();
        let unknown = || CliError::Other(format!("the study \"{name}\" has no search space of this program"));
        let space = self.space.as_ref().ok_or_else(unknown)?;
        let genes = space.genes(&trial.parameters)?.into_iter().collect::<Option<Vec<_>>>();
        let genes = genes.ok_or_else(|| CliError::Other(format!("trial {} has no complete graph", trial.number)))?;
        let mut graph = space.graph(&genes).canonical();
        graph.name = Some(format!("{name}, trial {}", trial.number));
        Ok(graph)
    }

    /// The number of trials.
    pub fn trials(&self) -> usize {
        self.trials.len()
    }

    /// The epochs of training that all trials took together.
    pub fn epochs(&self) -> i64 {
        self.trials.iter().filter_map(|trial| Some(trial.last_report()?.0)).sum()
    }

    fn count(&self, state: State) -> usize {
        self.trials.iter().filter(|trial| trial.state == state).count()
    }
}

fn list(url: &StorageUrl, json: bool) -> Result<(), CliError> {
    let studies = Storage::open(url, false, Patience::none())?.studies()?;
    if json {
        return print_json(&studies);
    }
    if studies.is_empty() {
        return print(&format!("there are no studies in {url}"));
    }
    let head = ["study", "trials", "complete", "pruned", "failed", "running", "waiting", "best"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for StudySummary { name, states, best, .. } in studies {
        let count = |state| states.get(&state).copied().unwrap_or(0).to_string();
        let all = states.values().sum::<i64>().to_string();
        let [complete, pruned, fail, running, waiting] =
            [State::Complete, State::Pruned, State::Fail, State::Running, State::Waiting].map(count);
        let best = best.map_or("-".to_owned(), |value| format!("{value:.2}"));
        rows.push(vec![name, all, complete, pruned, fail, running, waiting, best]);
    }
    print(&table(&rows))
}

/// How many trials ended how, what it cost, and how to go on.
pub fn summary(study: &mut Study, url: &StorageUrl) -> Result<String, CliError> {
    let found = Found::open(url, study.name())?;
    Ok(found.in_words(url))
}

impl Found {
    fn in_words(&self, url: &StorageUrl) -> String {
        let name = self.study.name();
        let paused = self.trials.iter().filter(|trial| trial.is_paused()).count();
        let retries = self.trials.iter().filter(|trial| trial.is_retry()).count();
        let states = [
            (self.count(State::Complete), "complete"),
            (self.count(State::Pruned), "pruned"),
            (self.count(State::Fail), "failed"),
            (self.count(State::Running) - paused, "running"),
            (paused, "paused"),
            (self.count(State::Waiting), "waiting"),
        ];
        let states = states.iter().filter(|(count, _)| *count > 0);
        let states = states.map(|(count, word)| format!("{count} {word}")).collect::<Vec<_>>().join(", ");
        let mut text = format!("study \"{name}\" in {url}: {} trials", self.trials.len());
        if !states.is_empty() {
            text += &format!(" ({states})");
        }
        text += &format!(", {} epochs of training", self.epochs());
        if retries > 0 {
            text += &format!("; {retries} repeat trials of workers that died");
        }
        if let Some(best) = self.ranked().first() {
            let value = best.value.unwrap_or(f64::NAN);
            text += &format!(
                "\nbest: trial {} with {value:.2} %; take it with `ktg study best {name} -o best`",
                best.number
            );
        }
        text
    }

    /// The best trials as a table.
    fn best_table(&self, top: usize) -> String {
        let mut rows = vec![["trial", "value", "epochs", "graph"].map(str::to_owned).to_vec()];
        for trial in self.ranked().into_iter().take(top) {
            let edges = self.graph(trial).map_or_else(|_| "-".to_owned(), |graph| edges(&graph));
            let epochs = trial.last_report().map_or("-".to_owned(), |(step, _)| step.to_string());
            let value = trial.value.map_or("-".to_owned(), |value| format!("{value:.2}"));
            rows.push(vec![trial.number.to_string(), value, epochs, edges]);
        }
        aligned(&rows, &[3])
    }

    /// Trials that reached each rung, and their best and median values.
    fn rung_table(&self) -> Option<String> {
        let mut rows = vec![["rung", "trials", "best", "median"].map(str::to_owned).to_vec()];
        for rung in 0.. {
            let key = format!("completed_rung_{rung}");
            let values = self.trials.iter().filter_map(|trial| trial.system.get(&key)?.as_f64());
            let mut values: Vec<f64> = values.collect();
            let Some(&best) = values.iter().max_by(|a, b| a.total_cmp(b)) else { break };
            values.sort_by(f64::total_cmp);
            let median = values[values.len() / 2];
            rows.push(vec![rung.to_string(), values.len().to_string(), format!("{best:.2}"), format!("{median:.2}")]);
        }
        (rows.len() > 1).then(|| table(&rows))
    }
}

/// A graph's edges in one line.
pub fn edges(graph: &Graph) -> String {
    let labels = (0..graph.len()).filter(|m| !graph.label_gate(*m).is_cut());
    let labels = labels.map(|m| format!("label->{} {}", m + 1, graph.label_gate(m)));
    let transfers = graph.active_transfers().map(|(s, t, transfer)| format!("{}->{} {transfer}", s + 1, t + 1));
    labels.chain(transfers).collect::<Vec<_>>().join("; ")
}

fn show(found: &Found, url: &StorageUrl, top: usize, json: bool) -> Result<(), CliError> {
    if json {
        let graph =
            |trial: &&Trial| json!({"trial": trial.number, "value": trial.value, "graph": found.graph(trial).ok()});
        let states = State::ALL.map(|state| (state.name(), found.count(state)));
        let states: serde_json::Map<String, Json> =
            states.into_iter().map(|(name, count)| (name.to_owned(), json!(count))).collect();
        let best: Vec<Json> = found.ranked().iter().take(top).map(graph).collect();
        return print_json(&json!({
            "study": found.study.name(),
            "trials": found.trials.len(),
            "states": states,
            "best": best,
        }));
    }
    print(&found.in_words(url))?;
    if let Some(space) = &found.space {
        let (parameters, combinations) = (space.parameters().len(), space.combinations());
        print(&format!(
            "search space: {} nodes, {parameters} parameters, {combinations:.3e} combinations",
            space.nodes()
        ))?;
    }
    if let Some(rungs) = found.rung_table() {
        print(&format!("\n{rungs}"))?;
    }
    print(&format!("\n{}", found.best_table(top)))
}

fn best(found: Found, top: usize, out: Option<&Path>) -> Result<(), CliError> {
    let ranked = found.ranked();
    if ranked.is_empty() {
        let name = found.study.name();
        return Err(CliError::Other(format!("no trial of the study \"{name}\" is complete yet")));
    }
    let Some(directory) = out else {
        return print(found.graph(ranked[0])?.to_toml().trim_end());
    };
    std::fs::create_dir_all(directory).map_err(|e| CliError::file("create", directory, &e))?;
    for (place, trial) in ranked.into_iter().take(top).enumerate() {
        let graph = found.graph(trial)?;
        let stem = format!("{}-{}", file_name(found.study.name()), place + 1);
        let path = directory.join(format!("{stem}.toml"));
        write_atomically(&path, graph.to_toml().as_bytes())?;
        write_atomically(&directory.join(format!("{stem}.svg")), draw::svg(&graph).as_bytes())?;
        let value = trial.value.unwrap_or(f64::NAN);
        print(&format!("{}: trial {}, {value:.2} %, {}", path.display(), trial.number, edges(&graph)))?;
    }
    Ok(())
}

fn export(found: Found, out: Option<&Path>) -> Result<(), CliError> {
    let format = out.map_or("csv", |path| path.extension().and_then(|e| e.to_str()).unwrap_or(""));
    let bytes = match format {
        "json" => serde_json::to_vec_pretty(&found.trials).map_err(|e| CliError::Other(e.to_string()))?,
        "csv" => csv(&found.trials).map_err(|e| CliError::Other(format!("cannot write CSV: {e}")))?,
        _ => {
            let path = out.map_or_else(PathBuf::new, Path::to_owned);
            return Err(CliError::Other(format!("{}: the name must end in .csv or .json", path.display())));
        }
    };
    match out {
        Some(path) => Ok(write_atomically(path, &bytes)?),
        None => print(String::from_utf8_lossy(&bytes).trim_end()),
    }
}

/// A line for every trial: what it is, its parameters, its user attributes, its reports.
fn csv(trials: &[Trial]) -> Result<Vec<u8>, csv::Error> {
    let names = |keys: &dyn Fn(&Trial) -> Vec<String>| -> Vec<String> {
        let all: std::collections::BTreeSet<String> = trials.iter().flat_map(keys).collect();
        all.into_iter().collect()
    };
    let parameters = names(&|trial| trial.parameters.keys().cloned().collect());
    let attributes = names(&|trial| trial.attributes.keys().cloned().collect());
    let steps: std::collections::BTreeSet<i64> =
        trials.iter().flat_map(|trial| trial.reports.keys().copied()).collect();
    let mut writer = csv::Writer::from_writer(Vec::new());
    let fixed = ["number", "state", "value", "started", "completed"].map(str::to_owned);
    let head = fixed.into_iter().chain(parameters.iter().cloned()).chain(attributes.iter().cloned());
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
        let parameters = parameters.iter().map(|name| text(trial.parameters.get(name)));
        let attributes = attributes.iter().map(|name| text(trial.attributes.get(name)));
        let reports = steps.iter().map(|step| number(trial.reports.get(step).copied()));
        writer.write_record(fixed.into_iter().chain(parameters).chain(attributes).chain(reports))?;
    }
    writer.into_inner().map_err(|e| e.into_error().into())
}

fn close(mut found: Found) -> Result<(), CliError> {
    let mut pruned = 0;
    for trial in found.study.paused()? {
        pruned += usize::from(found.study.prune_paused(trial.id)?);
    }
    print(&format!("{pruned} paused trials are pruned; their checkpoints lie where their `run` attribute says"))
}

/// A text as one word of a command that can be typed.
pub fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./:=@+,".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

/// The `--storage` that a command needs to find this storage (without its password).
pub fn storage_option(url: &StorageUrl) -> String {
    match url.to_string() {
        default if default == DEFAULT_STORAGE => String::new(),
        other => format!(" --storage {}", shell_word(&other)),
    }
}

/// A study's name as the name of a file: what file systems or shells may not like becomes a dash.
pub fn file_name(study: &str) -> String {
    let plain = |c: char| if c.is_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' };
    let name: String = study.chars().take(64).map(plain).collect();
    match name.trim_start_matches(['.', '-']) {
        "" => "study".to_owned(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_can_be_typed() {
        assert_eq!(shell_word("dogs-m3"), "dogs-m3");
        assert_eq!(shell_word("it's \"1\""), r#"'it'\''s "1"'"#);
        assert_eq!(storage_option(&StorageUrl::file("ktg.db")), "");
        assert_eq!(storage_option(&StorageUrl::file("a b.db")), " --storage 'sqlite:///a b.db'");
    }

    #[test]
    fn study_names_become_file_names() {
        assert_eq!(file_name("dogs m=3/a"), "dogs-m-3-a");
        assert_eq!(file_name("../.."), "study");
        assert_eq!(file_name("🐶"), "study");
        assert_eq!(file_name("犬 2"), "犬-2");
        assert!(file_name(&"x".repeat(512)).len() == 64);
    }
}
