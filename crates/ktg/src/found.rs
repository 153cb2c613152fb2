//! A study, read: its best graphs, its rungs, and both in words.

use ktg_graph::Graph;
use ktg_search::storage::{Patience, State, StorageUrl, Study, Trial};
use ktg_search::{SPACE, Space};

use crate::error::CliError;
use crate::names::{shell_word, storage_option};
use crate::output::{aligned, table};

/// A study with all that is in it.
pub struct Found {
    /// The study.
    pub study: Study,
    /// Its trials, by number.
    pub trials: Vec<Trial>,
    /// `None`: made by others, and not worked on by `ktg search` yet.
    pub space: Option<Space>,
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

    /// The epochs of training that all trials took together.
    pub fn epochs(&self) -> i64 {
        self.trials.iter().filter_map(|trial| Some(trial.last_report()?.0)).sum()
    }

    /// The number of trials in a state.
    pub fn count(&self, state: State) -> usize {
        self.trials.iter().filter(|trial| trial.state == state).count()
    }

    /// How many trials ended how, what it cost, and how to go on.
    pub fn in_words(&self, url: &StorageUrl) -> String {
        let name = self.study.name();
        let paused = self.trials.iter().filter(|trial| trial.is_paused()).count();
        let retries = self.trials.iter().filter(|trial| trial.repeats().is_some()).count();
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
            let command = format!("ktg study best {}{} -o best", shell_word(name), storage_option(url));
            text += &format!("\nbest: trial {} with {value:.2} %; take it with `{command}`", best.number);
        }
        text
    }

    /// The best trials as a table.
    pub fn best_table(&self, top: usize) -> String {
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
    pub fn rung_table(&self) -> Option<String> {
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
