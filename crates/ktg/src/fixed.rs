//! The graphs of a comparison, fixed when it begins.

use std::io::Write;
use std::path::Path;

use anyhow::{Result, anyhow, bail};
use ktg_base::{FileError, NewFile, read_text, write_atomically};
use ktg_graph::{Document, Graph, Node, presets};
use ktg_report::StudyRecord;
use ktg_report::compare::{DataSet, Plan, PlannedMethod, Source};
use ktg_train::{DEFAULT_ARCHITECTURE, Settings};
use serde::{Deserialize, Serialize};

use crate::export::with_ending;
use crate::study::say_unranked;

/// A graph that a plan asks for.
pub struct Wanted<'a> {
    pub plan: &'a Plan,
    pub method: &'a PlannedMethod,
    pub data: &'a DataSet,
    pub nodes: usize,
    /// Where it comes from.
    pub source: Source,
    /// Settings of the runs,
    pub settings: &'a Settings,
    /// and the name of the weights that they start from.
    pub weights: Option<&'a str>,
}

/// `graphs/*.json`: a graph and where it comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Fixed {
    /// What the plan asked for, in words.
    request: String,
    /// Where the graph comes from, in words.
    origin: String,
    /// The graph in TOML.
    graph: String,
}

impl Wanted<'_> {
    /// The graph, and where it comes from in words, as the first process that asked for it found them: a study may go on
    /// and find better ones meanwhile, but runs that are compared have the same. It is kept in STEM.json, and for people
    /// in STEM.toml.
    ///
    /// # Errors
    /// If the graph is not there, does not suit the plan, or the plan asked for another one before.
    pub fn fix(&self, stem: &Path) -> Result<(Graph, String)> {
        let file = with_ending(stem, "json");
        if read(&file)?.is_none() {
            publish(&file, &self.find()?)?;
        }
        let (graph, origin) = self.look(stem)?;
        write_atomically(&with_ending(stem, "toml"), graph.to_toml().as_bytes())?;
        Ok((graph, origin))
    }

    /// The same as far as it is kept, or as it would be kept now; nothing is written.
    ///
    /// # Errors
    /// As [`fix`](Self::fix).
    pub fn look(&self, stem: &Path) -> Result<(Graph, String)> {
        let file = with_ending(stem, "json");
        let request = self.request()?;
        // Another process may have been first.
        let fixed = match read(&file)? {
            Some(fixed) => fixed,
            None => self.find()?,
        };
        if fixed.request != request {
            bail!(
                "{}: the comparison was begun with {}, and the plan now asks for {request}; give another --out, or undo the \
                 change",
                file.display(),
                fixed.request
            );
        }
        let graph = Document::parse_toml(&fixed.graph, &file.display().to_string())?.graph;
        Ok((graph, fixed.origin))
    }

    /// What the plan asks for, in words.
    fn request(&self) -> Result<String> {
        let mut request = match &self.source {
            Source::Preset(name) => format!("the preset {name}, {}", self.preset_architecture()),
            Source::File(path) => format!("the graph with the hash {}", Document::read(path)?.graph.hash()),
            Source::Study { storage, name, trial } => {
                let which = trial.map_or("the best trial".to_owned(), |trial| format!("trial {trial}"));
                format!("{which} of the study \"{name}\" in {storage}")
            }
        };
        if let (Some(architecture), false) = (&self.plan.architecture, matches!(self.source, Source::Preset(_))) {
            request += &format!(", {architecture}");
        }
        if self.settings.graph.key_of_nodes().is_some() {
            // What nodes start from, as a node of this experiment would say it.
            let mut node = Graph::new(vec![Node::new("its network")]);
            self.settings.graph.give_to(&mut node, self.weights);
            request += &format!(", starting as {}", node.to_toml().lines().nth(1).unwrap_or_default());
        }
        Ok(request)
    }

    fn preset_architecture(&self) -> &str {
        let asked = self.plan.architecture.as_deref().or(self.settings.graph.architecture.as_deref());
        asked.unwrap_or(DEFAULT_ARCHITECTURE)
    }

    /// Looks for the graph where the plan says.
    fn find(&self) -> Result<Fixed> {
        let Self { plan, method, nodes, .. } = self;
        let (mut graph, origin) = match &self.source {
            Source::Preset(name) => {
                (presets::by_name(name, *nodes, self.preset_architecture())?, format!("the preset {name}"))
            }
            Source::File(path) => (Document::read(path)?.graph, format!("the file {}", path.display())),
            Source::Study { storage, name, trial } => {
                let study = StudyRecord::read(storage, name)?;
                if trial.is_none() {
                    say_unranked(&study);
                }
                let (trial, graph) = study.graph_of(*trial)?;
                let words = |_| format!(", {} there", study.value_in_words(trial));
                let value = trial.value.map_or(String::new(), words);
                let (number, all) = (trial.number, study.trials.len());
                (graph, format!("trial {number} of {all} of the study \"{name}\" in {storage}{value}"))
            }
        };
        if graph.len() != *nodes {
            let has = graph.len();
            return Err(self.error(&format!(
                "has {has} nodes ({origin}), and the plan wants {nodes}; put {{nodes}} into its name, or limit the method \
                 with `nodes`"
            )));
        }
        if let (Some(architecture), false) = (&plan.architecture, matches!(self.source, Source::Preset(_))) {
            graph.set_architecture(architecture);
        }
        let own = graph.nodes().iter().filter(|node| !self.settings.graph.are_of(node));
        if let Some(weights) = own.filter_map(|node| node.pretrained.as_ref()).next() {
            // Its path would start somewhere else.
            return Err(self.error(&format!(
                "has pretrained weights ({weights}), which plans do not carry; train it with `ktg train`"
            )));
        }
        self.settings.graph.give_to(&mut graph, self.weights);
        graph.name = Some(format!("{} x{nodes}", method.name));
        Ok(Fixed { request: self.request()?, origin, graph: graph.to_toml() })
    }

    fn error(&self, reason: &str) -> anyhow::Error {
        anyhow!("the method \"{}\" on {} {reason}", self.method.name, self.data.name)
    }
}

fn read(file: &Path) -> Result<Option<Fixed>> {
    if !file.exists() {
        return Ok(None);
    }
    let text = read_text(file)?;
    serde_json::from_str(&text).map(Some).map_err(|e| anyhow!("{}: {e}", file.display()))
}

/// Writes the file unless it is there.
fn publish(file: &Path, fixed: &Fixed) -> Result<()> {
    let json = serde_json::to_vec_pretty(fixed)?;
    let mut new = NewFile::create(file)?;
    new.file().write_all(&json).map_err(FileError::of("write", file))?;
    Ok(new.commit_if_first()?)
}
