//! `ktg eval`

use std::process::ExitCode;

use ktg_graph::Graph;
use ktg_train::{Measures, SavedRun};
use serde_json::json;

use crate::args::EvalArgs;
use crate::error::CliError;
use crate::methods::{Method, tables};
use crate::output::{print, print_json};

pub fn run(args: &EvalArgs) -> Result<ExitCode, CliError> {
    let mut groups: Vec<(Graph, Vec<String>, Vec<Measures>)> = Vec::new();
    for directory in &args.runs {
        let mut run = SavedRun::open(directory)?;
        for warning in &run.warnings {
            eprintln!("warning: {warning}");
        }
        if let Some(on) = args.on {
            run.settings.split.evaluate_on = on.into();
        }
        let measures = run.evaluate(&run.evaluation_data()?, |_, _| {})?;
        let name = directory.display().to_string();
        match groups.iter_mut().find(|(graph, ..)| graph.hash() == run.graph.hash()) {
            Some((_, names, all)) => {
                names.push(name);
                all.push(measures);
            }
            None => groups.push((run.graph, vec![name], vec![measures])),
        }
    }
    let mut methods = Vec::new();
    let mut runs = Vec::new();
    for (graph, names, measures) in groups {
        let name = graph.name.clone().unwrap_or_else(|| names[0].clone());
        methods.push(Method::new(&name, &graph, measures));
        runs.push(json!({ "name": name, "graph_hash": graph.hash().to_string(), "runs": names }));
    }
    if args.json {
        print_json(&json!({ "methods": methods, "runs": runs }))?;
    } else {
        print(&tables(&methods))?;
    }
    Ok(ExitCode::SUCCESS)
}
