//! The graphs of a comparison, fixed when it begins.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use ktg_base::write_atomically;
use ktg_graph::{Document, Graph, presets};
use ktg_report::StudyRecord;
use ktg_report::compare::{DataSet, Plan, PlannedMethod, Source};
use ktg_train::Settings;
use serde::{Deserialize, Serialize};

use crate::error::CliError;

const DEFAULT_ARCHITECTURE: &str = "abn-resnet-cifar-20";

/// `graphs/*.json`: a graph and where it comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct Fixed {
    /// The graph.
    pub graph: Graph,
    /// Where it comes from, in words.
    pub origin: String,
    /// What the plan asked for, in words.
    request: String,
}

#[derive(Serialize, Deserialize)]
struct Saved {
    request: String,
    origin: String,
    graph: String,
}

/// The graph of a method, as the first process that asked for it found it: a study may go on and find better ones
/// meanwhile, but runs that are compared have the same. It is in STEM.json, and for people in STEM.toml.
///
/// # Errors
/// If the graph is not there, does not suit the plan, or the plan asked for another one before.
pub fn fixed_graph(
    stem: &Path,
    source: &Source,
    plan: &Plan,
    (method, data, nodes): (&PlannedMethod, &DataSet, usize),
    settings: &Settings,
) -> Result<Fixed, CliError> {
    let file = stem.with_file_name(format!("{}.json", name(stem)));
    let architecture = plan.architecture.as_deref().or(settings.graph.architecture.as_deref());
    let mut request = match source {
        Source::Preset(name) => format!("the preset {name}, {}", architecture.unwrap_or(DEFAULT_ARCHITECTURE)),
        Source::File(path) => format!("the graph with the hash {}", Document::read(path)?.graph.hash()),
        Source::Study { storage, name, trial } => match trial {
            Some(trial) => format!("trial {trial} of the study \"{name}\" in {storage}"),
            None => format!("the best trial of the study \"{name}\" in {storage}"),
        },
    };
    if let (Some(architecture), false) = (&plan.architecture, matches!(source, Source::Preset(_))) {
        request += &format!(", {architecture}");
    }
    let fixed = match read(&file)? {
        Some(fixed) => fixed,
        None => {
            let fixed = found(source, plan, (method, data, nodes), architecture, request.clone())?;
            publish(&file, &fixed)?;
            // Another process may have been first.
            read(&file)?.unwrap_or(fixed)
        }
    };
    if fixed.request != request {
        return Err(CliError::Other(format!(
            "{}: the comparison was begun with {}, and the plan now asks for {request}; give another --out, or undo the change",
            file.display(),
            fixed.request
        )));
    }
    write_atomically(&stem.with_file_name(format!("{}.toml", name(stem))), fixed.graph.to_toml().as_bytes())?;
    Ok(fixed)
}

fn name(stem: &Path) -> String {
    stem.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn read(file: &Path) -> Result<Option<Fixed>, CliError> {
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(CliError::file("read", file, &e)),
    };
    let saved: Saved = serde_json::from_str(&text).map_err(|e| CliError::Other(format!("{}: {e}", file.display())))?;
    let graph = Document::parse_toml(&saved.graph, &file.display().to_string())?.graph;
    Ok(Some(Fixed { graph, origin: saved.origin, request: saved.request }))
}

/// Writes the file unless it is there: of several processes that do so at the same time, the first one counts.
fn publish(file: &Path, fixed: &Fixed) -> Result<(), CliError> {
    let saved = Saved { request: fixed.request.clone(), origin: fixed.origin.clone(), graph: fixed.graph.to_toml() };
    let json = serde_json::to_vec_pretty(&saved).map_err(|e| CliError::Other(e.to_string()))?;
    let own = file.with_file_name(format!("{}.{}", name(file), std::process::id()));
    write_atomically(&own, &json)?;
    let linked = fs::hard_link(&own, file);
    let removed = fs::remove_file(&own);
    match linked {
        Err(e) if e.kind() != ErrorKind::AlreadyExists => return Err(CliError::file("write", file, &e)),
        _ => {}
    }
    removed.map_err(|e| CliError::file("remove", &own, &e))
}

/// Looks for the graph where the plan says.
fn found(
    source: &Source,
    plan: &Plan,
    (method, data, nodes): (&PlannedMethod, &DataSet, usize),
    architecture: Option<&str>,
    request: String,
) -> Result<Fixed, CliError> {
    let (mut graph, origin) = match source {
        Source::Preset(name) => {
            let architecture = architecture.unwrap_or(DEFAULT_ARCHITECTURE);
            (presets::by_name(name, nodes, architecture)?, format!("the preset {name}"))
        }
        Source::File(path) => (Document::read(path)?.graph, format!("the file {}", path.display())),
        Source::Study { storage, name, trial } => {
            let study = StudyRecord::read(storage, name)?;
            let (trial, graph) = study.graph_of(*trial)?;
            let value = trial.value.map_or(String::new(), |value| format!(", {value:.2} % there"));
            let (number, all) = (trial.number, study.trials.len());
            (graph, format!("trial {number} of {all} of the study \"{name}\" in {storage}{value}"))
        }
    };
    let error =
        |reason: String| Err(CliError::Other(format!("the method \"{}\" on {} {reason}", method.name, data.name)));
    if graph.len() != nodes {
        let has = graph.len();
        return error(format!(
            "has {has} nodes ({origin}), and the plan wants {nodes}; put {{nodes}} into its name, or limit the method with \
             `nodes`"
        ));
    }
    if let (Some(architecture), false) = (plan.architecture.as_deref(), matches!(source, Source::Preset(_))) {
        graph.set_architecture(architecture);
    }
    if let Some(weights) = graph.nodes().iter().find_map(|node| node.pretrained.as_ref()) {
        // Its path would start somewhere else.
        return error(format!(
            "has pretrained weights ({weights}), which plans do not carry; train it with `ktg train`"
        ));
    }
    graph.name = Some(format!("{} x{nodes}", method.name));
    Ok(Fixed { graph, origin, request })
}
