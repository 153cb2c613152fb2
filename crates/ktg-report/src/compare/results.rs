//! A comparison as its directory tells it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail};
use ktg_base::{read_text, write_atomically};
use ktg_graph::{Document, Graph};
use ktg_train::{PrecisionSetting, RunDirectory, RunRecord, RunResult, Settings};
use serde::{Deserialize, Serialize};

use super::plan::FoundOn;
use super::thesis;
use crate::counted;

/// Name of the file that says what belongs to a comparison.
const INDEX: &str = "comparison.json";
/// What the file beside a run was called, behind the name of the run, in which versions up to 0.1 said why it failed.
const FAILURE: &str = ".failure.txt";

/// `comparison.json`: what a comparison consists of. Paths start at its directory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Index {
    /// The command that works on it.
    pub command: String,
    /// The plan's text.
    pub plan: String,
    /// The method that the others are compared with.
    pub baseline: String,
    /// Methods, in the order of the tables.
    pub methods: Vec<IndexedMethod>,
    /// Data sets, in the order of the tables.
    pub data_sets: Vec<String>,
    /// Numbers of nodes.
    pub nodes: Vec<usize>,
    /// Seeds.
    pub seeds: Vec<u64>,
    /// What is compared.
    pub groups: Vec<IndexedGroup>,
    /// By data set whose `train.precision` is `auto`, what that was when the comparison was begun, for all its runs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub precisions: BTreeMap<String, PrecisionSetting>,
}

/// A method of a comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IndexedMethod {
    /// Its name.
    pub name: String,
    /// The data set that the thesis found its graph on, if that is to stand beside it.
    pub thesis: Option<FoundOn>,
}

/// Runs that differ in nothing but the seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IndexedGroup {
    /// The method's name.
    pub method: String,
    /// The data set's name.
    pub data: String,
    /// Number of nodes.
    pub nodes: usize,
    /// Where the graph comes from, in words.
    pub origin: String,
    /// The graph file.
    pub graph: PathBuf,
    /// Run directories, one a seed.
    pub runs: Vec<PathBuf>,
}

/// How far a run is.
#[derive(Clone, Debug, PartialEq)]
pub enum RunState {
    /// Nobody has begun it.
    Missing,
    /// It has been begun, and so many of all epochs are done.
    Unfinished {
        /// Epochs done.
        done: usize,
        /// All epochs.
        epochs: usize,
    },
    /// It cannot be finished, for this reason.
    Failed(String),
    /// It is finished.
    Finished(Box<RunResult>),
}

/// A run of a comparison, as it is.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupRun {
    /// Its seed.
    pub seed: u64,
    /// Where it is kept.
    pub directory: RunDirectory,
    /// How far it is.
    pub state: RunState,
}

/// Runs that differ in nothing but the seed, as they are.
#[derive(Clone, Debug)]
pub struct Group {
    /// The method's name.
    pub method: String,
    /// The data set's name.
    pub data: String,
    /// Number of nodes.
    pub nodes: usize,
    /// Where the graph comes from, in words.
    pub origin: String,
    /// The graph.
    pub graph: Graph,
    /// Settings of the first run of it that was begun.
    pub settings: Option<Settings>,
    /// All runs, in the order of the seeds.
    pub runs: Vec<GroupRun>,
    /// The thesis' figures for this setting, if it has it.
    pub thesis: Option<thesis::Row>,
    /// Accuracy in percent of the ensemble that the authors released for this setting, a single run's.
    pub released: Option<f64>,
}

impl Group {
    /// Seeds and results of the finished runs.
    pub fn finished(&self) -> Vec<(u64, &RunResult)> {
        let finished = self.runs.iter().filter_map(|run| match &run.state {
            RunState::Finished(result) => Some((run.seed, &**result)),
            _ => None,
        });
        finished.collect()
    }

    /// What is missing, in words; `None` if nothing is.
    pub fn missing(&self) -> Option<String> {
        let all = self.runs.len();
        let failed = self.runs.iter().filter(|run| matches!(run.state, RunState::Failed(_))).count();
        let open = all - failed - self.finished().len();
        let words = counted([(failed, format!("of {all} runs failed")), (open, format!("of {all} runs not finished"))]);
        (!words.is_empty()).then_some(words)
    }
}

/// A comparison with the state of all its runs.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// Its directory.
    pub directory: PathBuf,
    /// What belongs to it.
    pub index: Index,
    /// In the order of data sets, nodes and methods.
    pub groups: Vec<Group>,
}

impl Index {
    /// Reads that of a comparison's directory.
    ///
    /// # Errors
    /// If there is none, or it is damaged.
    pub fn read(directory: &Path) -> Result<Self> {
        let path = directory.join(INDEX);
        let text = read_text(&path)?;
        serde_json::from_str(&text).map_err(|e| anyhow!("{}: {e}", path.display()))
    }

    /// Writes it into the comparison's directory.
    ///
    /// # Errors
    /// If the disk does not take it.
    pub fn write(&self, directory: &Path) -> Result<()> {
        let json = serde_json::to_vec_pretty(self)?;
        Ok(write_atomically(&directory.join(INDEX), &json)?)
    }
}

impl Comparison {
    /// Whether there is a comparison in a directory.
    pub fn is_one(directory: &Path) -> bool {
        directory.join(INDEX).is_file()
    }

    /// Reads a comparison, which others may be working on.
    ///
    /// A run with another seed or graph than the comparison says, or with other settings than the runs before it on the same
    /// data, is one that failed: it does not belong to it.
    ///
    /// # Errors
    /// If there is none, or one of its files is damaged.
    pub fn read(directory: &Path) -> Result<Self> {
        Self::of(directory, Index::read(directory)?)
    }

    /// The comparison that an index describes, in a directory.
    ///
    /// # Errors
    /// If one of its files is damaged.
    pub fn of(directory: &Path, index: Index) -> Result<Self> {
        // What decides about a run but for graph and seed: the same for all runs on a data set.
        let mut shared: BTreeMap<String, Settings> = BTreeMap::new();
        let mut groups = Vec::new();
        for indexed in &index.groups {
            let IndexedGroup { method, data, nodes, origin, graph, runs: run_paths } = indexed.clone();
            let document = Document::read(&directory.join(graph))?;
            let found_on = index.methods.iter().find(|indexed| indexed.name == method).and_then(|m| m.thesis);
            let (found, wanted) = (run_paths.len(), index.seeds.len());
            if found != wanted {
                let problem = format!("{method} with {nodes} nodes on {data} has {found} runs for {wanted} seeds");
                bail!("{}: {problem}; prepare the comparison again", directory.join(INDEX).display());
            }
            let graph_hash = document.graph.hash().to_string();
            let (mut settings, mut runs) = (None, Vec::new());
            for (seed, run) in index.seeds.iter().zip(run_paths) {
                let run = RunDirectory::new(directory.join(run));
                let (mut state, begun) = state(&run)?;
                if let Some(RunRecord { settings: own, graph, .. }) = begun {
                    let is_foreign = match &state {
                        RunState::Finished(result) => result.seed != *seed || result.graph_hash != graph_hash,
                        _ => own.seed != *seed || graph.hash().to_string() != graph_hash,
                    };
                    if is_foreign {
                        state = RunState::Failed("the run has another graph or seed than the comparison".to_owned());
                    } else {
                        let first = shared.entry(data.clone()).or_insert_with(|| own.without_graph_and_seed());
                        if *first != own.without_graph_and_seed() {
                            let reason = format!("its settings are not those of the other runs on {data}");
                            state = RunState::Failed(reason);
                        }
                        settings = settings.or(Some(own));
                    }
                }
                runs.push(GroupRun { seed: *seed, directory: run, state });
            }
            let thesis = settings.as_ref().and_then(|s| thesis::row_for(s, &document.graph, found_on));
            let released = settings.as_ref().and_then(|s| thesis::released_for(s, &document.graph, found_on));
            groups.push(Group { method, data, nodes, origin, graph: document.graph, settings, runs, thesis, released });
        }
        Ok(Self { directory: directory.to_owned(), index, groups })
    }

    /// The runs of a method on a data set with so many nodes.
    pub fn group(&self, method: &str, data: &str, nodes: usize) -> Option<&Group> {
        self.groups.iter().find(|group| group.method == method && group.data == data && group.nodes == nodes)
    }

    /// The runs that failed, and why.
    pub fn failures(&self) -> impl Iterator<Item = (&Path, &str)> {
        let runs = self.groups.iter().flat_map(|group| &group.runs);
        runs.filter_map(|run| match &run.state {
            RunState::Failed(reason) => Some((run.directory.path(), &**reason)),
            _ => None,
        })
    }

    /// Why a run failed, if it did: its training diverged.
    ///
    /// # Errors
    /// If what says so cannot be read.
    pub fn failure(run: &RunDirectory) -> Result<Option<String>> {
        let mut path = run.path().as_os_str().to_owned();
        path.push(FAILURE);
        let path = PathBuf::from(path);
        if path.exists() { Ok(Some(read_text(&path)?.trim().to_owned())) } else { Ok(run.divergence()?) }
    }
}

/// How far the run in a directory is, and what it says of itself if it was begun.
fn state(run: &RunDirectory) -> Result<(RunState, Option<RunRecord>)> {
    let failed = Comparison::failure(run)?.map(RunState::Failed);
    if !run.has_run() {
        return Ok((failed.unwrap_or(RunState::Missing), None));
    }
    let mut read = RunRecord::read(run)?;
    let state = match (read.result.take(), failed) {
        (Some(result), _) => RunState::Finished(Box::new(result)),
        (None, Some(failed)) => failed,
        (None, None) => RunState::Unfinished { done: read.epochs_done(), epochs: read.settings.train.epochs },
    };
    Ok((state, Some(read)))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_comparison_with_a_run_too_few_is_refused_and_not_cut() {
        let here = tempfile::tempdir().unwrap();
        fs::write(here.path().join("dml.toml"), ktg_graph::presets::dml(2, "abn-resnet-cifar-8").to_toml()).unwrap();
        let group = IndexedGroup {
            method: "DML".to_owned(),
            data: "Dogs".to_owned(),
            nodes: 2,
            origin: "the preset dml".to_owned(),
            graph: "dml.toml".into(),
            runs: vec!["dml-1".into(), "dml-2".into()],
        };
        let index = Index {
            command: String::new(),
            plan: String::new(),
            baseline: "DML".to_owned(),
            methods: vec![IndexedMethod { name: "DML".to_owned(), thesis: None }],
            data_sets: vec!["Dogs".to_owned()],
            nodes: vec![2],
            seeds: vec![1, 2],
            groups: vec![group],
            precisions: BTreeMap::new(),
        };
        let whole = Comparison::of(here.path(), index.clone()).unwrap();
        assert_eq!(whole.groups[0].missing().unwrap(), "2 of 2 runs not finished");
        let error = Comparison::of(here.path(), Index { seeds: vec![1, 2, 3], ..index }).unwrap_err().to_string();
        assert!(error.contains("comparison.json: DML with 2 nodes on Dogs has 2 runs for 3 seeds"), "{error}");
    }
}
