//! What earlier versions wrote is read, and means what it meant: runs, comparisons, studies (fixtures/README.md, "Golden
//! files").

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::{good, ktg, text};
use ktg_graph::{Document, Gate, Graph};
use serde_json::Value as Json;
use tempfile::TempDir;

/// A folder of `fixtures/golden` for each version whose files must be readable.
const VERSIONS: [&str; 1] = ["0.1.0-burn"];

/// Copies of a version's files, to work on, and the right answers.
fn golden(version: &str) -> (TempDir, Json) {
    let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/golden").join(version);
    let copy = tempfile::tempdir().unwrap();
    let copied = Command::new("cp").arg("-r").arg(files.join(".")).arg(copy.path()).status().unwrap();
    assert!(copied.success());
    let answers = json(&copy.path().join("answers.json"));
    (copy, answers)
}

fn json(path: &Path) -> Json {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// Lines of a metrics file of one kind.
fn metrics(run: &Path, kind: &str) -> Vec<Json> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Json>(line).unwrap());
    lines.filter(|line| line["kind"] == kind).collect()
}

fn number(value: &Json) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn a_finished_run_is_judged_as_pytorch_judges_its_weights() {
    for version in VERSIONS {
        let (copy, answers) = golden(version);
        let answers = &answers["finished"];
        let line = good(ktg(copy.path(), &["eval", "finished", "--json"]));
        let method = &serde_json::from_str::<Json>(&line).unwrap()["methods"][0];
        // One image of all may lie on the border between two classes.
        let one_image = 100.0 / number(&answers["images"]) + 1e-9;
        let ensemble = number(&method["ensemble"]["mean"]);
        assert!((ensemble - number(&answers["ensemble"])).abs() <= one_image, "{version}: {ensemble}, {answers}");
        let nodes: Vec<f64> = answers["nodes"].as_array().unwrap().iter().map(number).collect();
        let average = number(&method["node_average"]["mean"]);
        let expected = nodes.iter().sum::<f64>() / nodes.len() as f64;
        assert!((average - expected).abs() <= one_image, "{version}: {average}, {answers}");
        let nll = number(&method["ensemble_nll"]["mean"]);
        assert!((nll - number(&answers["nll"])).abs() <= 1e-4 * nll, "{version}: {nll}, {answers}");

        // Finished is finished.
        let line = good(ktg(copy.path(), &["train", "--resume", "finished", "--json"]));
        let result: Json = serde_json::from_str(&line).unwrap();
        assert_eq!(result, json(&copy.path().join("finished/result.json")), "{version}");
        for seconds in ["-1.0", "1e300"] {
            let path = copy.path().join("finished/result.json");
            let before = fs::read_to_string(&path).unwrap();
            let mut damaged = json(&path);
            damaged["seconds"] = serde_json::from_str(seconds).unwrap();
            fs::write(&path, damaged.to_string()).unwrap();
            assert!(good(ktg(copy.path(), &["train", "--resume", "finished"])).contains("time           0 s"));
            fs::write(&path, before).unwrap();
        }
        good(ktg(copy.path(), &["report", "finished", "-o", "report.html", "--images", "1"]));
        let page = fs::read_to_string(copy.path().join("report.html")).unwrap();
        assert!(page.contains(&format!("{:.2}", number(&answers["ensemble"]))), "{version}");
    }
}

#[test]
fn an_interrupted_run_ends_like_one_that_was_not() {
    for version in VERSIONS {
        let (copy, _) = golden(version);
        let (run, expected) = (copy.path().join("interrupted"), copy.path().join("uninterrupted"));
        let checkpoint = fs::read_dir(run.join("checkpoints")).unwrap().next().unwrap().unwrap().path();
        let done = json(&checkpoint.join("state.json"))["step"].as_u64().unwrap();
        let output = ktg(copy.path(), &["train", "--resume", "interrupted"]).output().unwrap();
        assert!(output.status.success(), "{version}: {}", text(&output));

        let (steps, expected_steps) = (metrics(&run, "step"), metrics(&expected, "step"));
        assert_eq!(steps.len(), expected_steps.len(), "{version}: every step once");
        for (step, expected) in steps.iter().zip(&expected_steps) {
            assert_eq!(step["step"], expected["step"], "{version}");
            if step["step"].as_u64().unwrap() <= done {
                assert_eq!(step, expected, "{version}: what was there is changed");
            }
            assert_eq!(step["learning_rate"], expected["learning_rate"], "{version}");
            // The teacher's loss is null.
            let (loss, expected) = (number(&step["nodes"][1]["loss"]), number(&expected["nodes"][1]["loss"]));
            // Whatever kernels went on, they round otherwise; lost momentum or other images would be off by far more.
            assert!((loss - expected).abs() <= 1e-4 * expected, "{version}: {loss} instead of {expected} in {step}");
        }
        assert!(steps.iter().any(|step| step["step"].as_u64().unwrap() > done), "{version}: nothing was left to do");
        let (epochs, expected_epochs) = (metrics(&run, "epoch"), metrics(&expected, "epoch"));
        assert_eq!(epochs.len(), expected_epochs.len(), "{version}");
        let (result, expected) = (json(&run.join("result.json")), json(&expected.join("result.json")));
        assert_eq!(result["graph_hash"], expected["graph_hash"], "{version}");
        let top1 = |result: &Json| number(&result["measures"]["ensemble"]["top1"]);
        assert!((top1(&result) - top1(&expected)).abs() <= 0.2, "{version}: {} {}", top1(&result), top1(&expected));
    }
}

#[test]
fn a_comparison_is_reported_with_its_means() {
    for version in VERSIONS {
        let (copy, answers) = golden(version);
        good(ktg(copy.path(), &["report", "comparison", "-o", "report.html"]));
        let page = fs::read_to_string(copy.path().join("report.html")).unwrap();
        let read_only = ["compare", "plan.toml", "--out", "comparison", "--read-only"];
        let tables = good(ktg(copy.path(), &read_only));
        for (method, answer) in answers["comparison"].as_object().unwrap() {
            let line = tables.lines().find(|line| line.starts_with(method)).unwrap_or_else(|| panic!("{tables}"));
            for part in ["node_average", "ensemble"] {
                let (mean, std) = (number(&answer[part]["mean"]), number(&answer[part]["std"]));
                let (mean, std) = (format!("{mean:.2}"), format!("{std:.2}"));
                // Numbers are aligned at the dot.
                let shown = line.split_whitespace().collect::<Vec<_>>().join(" ");
                assert!(
                    shown.contains(&format!("{mean} ± {std}")),
                    "{version}: {method} {part} {mean} {std}\n{tables}"
                );
                let places = page.match_indices(&mean).map(|(at, _)| &page[at..]);
                let is_there = |rest: &str| rest.chars().take(80).collect::<String>().contains(&std);
                assert!(places.into_iter().any(is_there), "{version}: {method} {part} {mean} {std} is not on the page");
            }
        }
    }
}

/// What a graph has for a parameter of a study, such as `label->1 gate` or `2->1 design`; none for the design of an edge
/// that is cut.
fn parameter(graph: &Graph, name: &str) -> Option<String> {
    let (edge, what) = name.split_once(' ').unwrap();
    let (source, target) = edge.split_once("->").unwrap();
    let node = |number: &str| number.parse::<usize>().unwrap() - 1;
    if source == "label" {
        return Some(graph.label_gate(node(target)).to_string());
    }
    let transfer = graph.transfer(node(source), node(target));
    match what {
        "gate" => Some(transfer.map_or(Gate::Cutoff, |transfer| transfer.gate).to_string()),
        _ => transfer.map(|transfer| transfer.design.to_string()),
    }
}

#[test]
fn a_study_gives_its_best_graph() {
    for version in VERSIONS {
        let (copy, answers) = golden(version);
        let (here, answers) = (copy.path(), &answers["study"]);
        let storage = ["--storage", "sqlite:///studies.db"];
        let study = |arguments: &[&str]| good(ktg(here, &[&["study"], arguments, &storage].concat()));
        let shown: Json = serde_json::from_str(&study(&["show", "golden", "--json"])).unwrap();
        for state in ["COMPLETE", "PRUNED", "RUNNING"] {
            assert!(number(&answers["states"][state]) >= 1.0, "{version}: no trial is {state}");
        }
        for (state, count) in shown["states"].as_object().unwrap() {
            let expected = answers["states"].get(state).and_then(Json::as_i64).unwrap_or(0);
            assert_eq!(count.as_i64().unwrap(), expected, "{version}: {state}");
        }
        assert_eq!(shown["best"][0]["trial"], answers["best"]["number"], "{version}");
        assert_eq!(shown["best"][0]["value"], answers["best"]["value"], "{version}");
        let graph = Document::parse_toml(&study(&["best", "golden"]), "best").unwrap().graph;
        let parameters = answers["best"]["params"].as_object().unwrap();
        assert!(parameters.len() >= 4, "{version}: {parameters:?}");
        for (name, value) in parameters {
            // The label is always correct, and the graph says so.
            let is_label = name.starts_with("label") && value == "correct";
            let value = if is_label { "through" } else { value.as_str().unwrap() };
            let found = parameter(&graph, name);
            assert!(found.as_deref().is_none_or(|found| found == value), "{version}: {name} is {found:?}, not {value}");
        }
    }
}
