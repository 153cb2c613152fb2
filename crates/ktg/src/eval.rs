//! `ktg eval`

use anyhow::Result;
use ktg_graph::Graph;
use ktg_report::{Confusion, judge};
use ktg_train::{EvaluateOn, Measures, RunDirectory, SavedRun, Settings};
use serde_json::json;

use crate::args::EvalArgs;
use crate::methods::{Method, tables};
use crate::output::{note, print, print_json, warn};

/// So many confused pairs of classes are listed.
const MOST_PAIRS: usize = 20;

/// Runs that differ in nothing but the seed.
struct Group {
    graph: Graph,
    settings: Settings,
    runs: Vec<String>,
    measures: Vec<Measures>,
}

pub fn run(args: &EvalArgs) -> Result<()> {
    let mut groups: Vec<Group> = Vec::new();
    let mut confusions: Vec<(String, Confusion)> = Vec::new();
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
        let measures = if args.classes {
            let data = run.evaluation_data()?;
            let (measures, answers) = judge(&run, &data)?;
            confusions.push((name.clone(), Confusion::of(&answers, &run.classes)));
            measures
        } else {
            run.evaluate_as_trained()?
        };
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
    if args.json {
        let mut all = json!({ "methods": methods, "runs": runs });
        if args.classes {
            all["classes"] = confusions.iter().map(|(run, confusion)| classes_as_json(run, confusion)).collect();
        }
        return print_json(&all);
    }
    print(&tables(&methods))?;
    for (run, confusion) in &confusions {
        print(&format!("\n{run}\n\n{}", classes_in_words(confusion)))?;
    }
    Ok(())
}

fn classes_as_json(run: &str, confusion: &Confusion) -> serde_json::Value {
    json!({
        "run": run,
        "names": confusion.names(),
        "classes": confusion.classes(),
        "pairs": confusion.pairs(),
        "matrix": confusion.matrix(),
    })
}

/// The most confused pairs of classes, and every class.
fn classes_in_words(confusion: &Confusion) -> String {
    let pairs = confusion.pairs();
    let mut text = "Most confused classes:".to_owned();
    for pair in pairs.iter().take(MOST_PAIRS) {
        text += &format!("\n  {pair}");
    }
    match pairs.len().checked_sub(MOST_PAIRS) {
        None if pairs.is_empty() => text += " none",
        None | Some(0) => {}
        Some(more) => text += &format!("\n  and {more} pairs more, which --json lists"),
    }
    format!("{text}\n\n{}", confusion.table().to_text().trim_end())
}
