//! `ktg eval`

use anyhow::Result;
use ktg_graph::Graph;
use ktg_train::{EvaluateOn, Measures, RunDirectory, SavedRun, Settings};
use serde_json::json;

use crate::args::EvalArgs;
use crate::methods::{Method, tables};
use crate::output::{note, print, print_json, warn};

/// Runs that differ in nothing but the seed.
struct Group {
    graph: Graph,
    settings: Settings,
    runs: Vec<String>,
    measures: Vec<Measures>,
}

pub fn run(args: &EvalArgs) -> Result<()> {
    let mut groups: Vec<Group> = Vec::new();
    for directory in &args.runs {
        let mut run = SavedRun::open(&RunDirectory::new(directory))?;
        let name = directory.display().to_string();
        warn(&run.warnings);
        let trained_for = run.settings.split.evaluate_on;
        if let Some(on) = args.on {
            run.settings.split.evaluate_on = on.into();
        }
        if args.flip {
            run.judge_with_flips();
        }
        if run.settings.split.evaluate_on == EvaluateOn::SearchSplit && trained_for != EvaluateOn::SearchSplit {
            note(&format!("warning: {name} was trained on the images that it is judged on here"));
        }
        let measures = run.evaluate(&run.evaluation_data()?)?;
        let settings = Settings { seed: 0, ..run.settings };
        let same = |group: &&mut Group| group.graph.hash() == run.graph.hash() && group.settings == settings;
        match groups.iter_mut().find(same) {
            Some(group) => {
                group.runs.push(name);
                group.measures.push(measures);
            }
            None => groups.push(Group { graph: run.graph, settings, runs: vec![name], measures: vec![measures] }),
        }
    }
    let mut methods = Vec::new();
    let mut runs = Vec::new();
    for Group { graph, runs: names, measures, .. } in groups {
        let name = graph.name.clone().unwrap_or_else(|| names[0].clone());
        methods.push(Method::new(&name, &graph, measures));
        runs.push(json!({ "name": name, "graph_hash": graph.hash().to_string(), "runs": names }));
    }
    match args.json {
        true => print_json(&json!({ "methods": methods, "runs": runs })),
        false => print(&tables(&methods)),
    }
}
