//! Comparisons, analyses, reports and watching, as a user runs them, with trainings of seconds.

mod common;

use std::fs;
use std::path::Path;

use common::{ktg, text};
use ktg_graph::{Graph, Node};
use ktg_search::attributes::SPACE;
use ktg_search::storage::{Inserted, NewTrial, Patience, State, StorageUrl, Study};
use ktg_search::{SearchSettings, Space};
use serde_json::Value as Json;

const EXPERIMENT: &str = r#"
side = 8
seed = 3
augment = "none"
[graph]
nodes = 2
architecture = "abn-resnet-cifar-8"
[split]
train_share = 0.02
evaluate_on = "search-split"
[train]
epochs = 2
batch_size = 5
learning_rate = 0.05
loader_threads = 0
"#;

const PLAN: &str = r#"
experiment = "e.toml"
nodes = [1, 2]
repeats = 2
architecture = "abn-resnet-cifar-8"
[[method]]
name = "Independent"
preset = "independent"
[[method]]
name = "DML"
preset = "dml"
nodes = [2]
"#;

fn good(here: &Path, arguments: &[&str]) -> String {
    common::good(ktg(here, arguments))
}

fn bad(here: &Path, arguments: &[&str]) -> String {
    common::bad(ktg(here, arguments))
}

fn here() -> tempfile::TempDir {
    let temporary = tempfile::tempdir().unwrap();
    fs::write(temporary.path().join("e.toml"), EXPERIMENT).unwrap();
    fs::write(temporary.path().join("plan.toml"), PLAN).unwrap();
    temporary
}

#[test]
fn a_comparison_is_shared_resumed_and_honest_about_what_is_missing() {
    let temporary = here();
    let here = temporary.path();
    // Two processes share the work; neither does it alone.
    let other = ktg(here, &["compare", "plan.toml", "--no-check"]).spawn().unwrap();
    let mine = good(here, &["compare", "plan.toml", "--no-check"]);
    let other = other.wait_with_output().unwrap();
    assert!(other.status.success(), "{}", text(&other));
    assert!(mine.contains("Methods on data, 50 held-out training images"), "{mine}");
    assert_eq!(String::from_utf8(other.stdout).unwrap(), mine, "both print the same tables");
    let runs: Vec<_> = fs::read_dir(here.join("plan/runs")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(runs.len(), 6, "{runs:?}");
    for name in ["table1", "table2", "differences"] {
        for ending in ["txt", "md", "csv", "tex"] {
            assert!(here.join(format!("plan/tables/{name}.{ending}")).is_file(), "{name}.{ending}");
        }
    }
    let json: Json = serde_json::from_str(&good(here, &["compare", "plan.toml", "--json"])).unwrap();
    assert_eq!(json["groups"].as_array().unwrap().len(), 3);
    let results: Vec<f64> = json["groups"][2]["runs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|run| run["measures"]["ensemble"]["top1"].as_f64().unwrap())
        .collect();
    let mean = format!("{:.2}", (results[0] + results[1]) / 2.0);
    let line = mine.lines().find(|line| line.starts_with("DML")).unwrap();
    assert!(line.contains(&mean), "{line} shows the mean {mean} of {results:?}");

    // What is not there is called missing, and the mean is of what is there.
    fs::remove_dir_all(here.join("plan/runs/data_dml_m2_seed2")).unwrap();
    let left = good(here, &["compare", "plan.toml", "--read-only"]);
    let line = left.lines().find(|line| line.starts_with("DML")).unwrap();
    assert!(line.contains("1 of 2") && line.contains(&format!("{:.2}", results[0])), "{line}");
    assert!(left.contains("1 of 2 runs not finished") && left.contains("missing: 1 pairs of runs"), "{left}");
    assert!(good(here, &["watch", "plan", "--once"]).contains("5 of 6 runs are over"));
    // Trained again, it is what it was.
    assert_eq!(good(here, &["compare", "plan.toml", "--no-check"]), mine);

    // Another plan for the same directory is refused.
    fs::write(here.join("plan.toml"), PLAN.replace("repeats = 2", "repeats = 2\nset = { train.epochs = 3 }")).unwrap();
    let index = fs::read(here.join("plan/comparison.json")).unwrap();
    let error = bad(here, &["compare", "plan.toml", "--no-check"]);
    assert!(error.contains("holds a run of other settings"), "{error}");
    assert_eq!(fs::read(here.join("plan/comparison.json")).unwrap(), index, "what is refused leaves no trace");
    // So is another graph under the same name.
    fs::write(here.join("plan.toml"), PLAN.replace("preset = \"dml\"", "preset = \"diverse\"")).unwrap();
    let error = bad(here, &["compare", "plan.toml", "--no-check"]);
    assert!(
        error.contains("begun with the preset dml") && error.contains("now asks for the preset diverse"),
        "{error}"
    );
}

#[test]
fn estimates_write_nothing_and_count_what_is_left() {
    let temporary = here();
    let here = temporary.path();
    let files = || {
        let mut names: Vec<_> = fs::read_dir(here).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = files();
    let read = |arguments: &[&str]| -> Json { serde_json::from_str(&good(here, arguments)).unwrap() };
    let one = read(&["train", "e.toml", "--estimate", "--json"]);
    assert_eq!((&one["steps"], &one["evaluations"], &one["epochs"]), (&20.into(), &2.into(), &2.into()));
    let text = good(here, &["train", "e.toml", "--estimate", "--out", "run"]);
    let starts = ["steps     20 of 5 images in 2 epochs", "judging   2 times 50 images", "time ", "memory ", "disk "];
    for (line, start) in text.lines().zip(starts) {
        assert!(line.starts_with(start), "{text}");
    }
    let plan = read(&["compare", "plan.toml", "--estimate", "--json"]);
    let runs = |plan: &Json| -> Vec<u64> {
        plan["cells"].as_array().unwrap().iter().map(|cell| cell["runs"].as_u64().unwrap()).collect()
    };
    assert_eq!((runs(&plan), &plan["runs"]), (vec![2, 4], &6.into()), "{plan}");
    let bytes = |value: &Json| value.as_u64().unwrap();
    let sum: u64 = (0..2).map(|i| runs(&plan)[i] * bytes(&plan["cells"][i]["run"]["disk_bytes"])).sum();
    assert_eq!(bytes(&plan["disk_bytes"]), sum);
    let search = ["search", "e.toml", "--study", "s", "--trials", "40", "--estimate"];
    let text = good(here, &search);
    assert!(text.contains("40 trials of full length") && text.contains("75 % of all epochs"), "{text}");
    assert_eq!(files(), before);

    // What is trained is not estimated again, and what failed is not tried again.
    good(here, &["compare", "plan.toml", "--no-check"]);
    fs::remove_dir_all(here.join("plan/runs/data_dml_m2_seed2")).unwrap();
    let plan = read(&["compare", "plan.toml", "--estimate", "--json"]);
    assert_eq!(runs(&plan), [1]);
    assert!(!here.join("plan/runs/data_dml_m2_seed2").exists());
    good(here, &["compare", "plan.toml", "--no-check"]);
    assert!(good(here, &["compare", "plan.toml", "--estimate"]).contains("nothing is left to train"));
}

#[test]
fn runs_that_diverge_are_missing_and_stop_no_others() {
    let temporary = here();
    let here = temporary.path();
    let plan = PLAN
        .replace("nodes = [1, 2]", "nodes = [2]\nset = { train.learning_rate = 1e30 }")
        .replace("repeats = 2", "repeats = 1");
    fs::write(here.join("plan.toml"), plan).unwrap();
    let output = ktg(here, &["compare", "plan.toml", "--no-check"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "a table with holes is not what was asked for: {}", text(&output));
    let shown = String::from_utf8(output.stdout).unwrap();
    assert_eq!(shown.matches("missing: 1 of 1 runs failed").count(), 6, "{shown}");
    assert_eq!(shown.matches("_seed1 failed: the loss of node 1 is").count(), 2, "{shown}");
}

#[test]
fn a_study_is_analysed_and_reported() {
    let temporary = here();
    let here = temporary.path();
    good(
        here,
        &[
            "search",
            "e.toml",
            "--study",
            "s 1",
            "--trials",
            "12",
            "--sampler-seed",
            "1",
            "--pruner",
            "none",
            "--no-check",
        ],
    );
    let shown = good(here, &["analyse", "s 1"]);
    assert!(shown.contains("What the best graphs have more or less of") && shown.contains("2->1 design"), "{shown}");
    let edges =
        ["analyse", "s 1", "e.toml", "--edges", "--seeds", "2", "--no-check", "--heartbeat", "0.3", "--silence", "1"];
    let shown = good(here, &edges);
    assert!(shown.contains("What each edge contributes") && shown.contains(" cut "), "{shown}");
    assert_eq!(good(here, &edges), shown, "what is trained stays trained");
    let json: Json = serde_json::from_str(&good(here, &["analyse", "s 1", "--json"])).unwrap();
    assert_eq!(json["graphs"], 12);
    // Further seeds are added to those that are there; nothing but the changes is trained.
    let more: Vec<&str> = edges.iter().map(|word| if *word == "2" { "3" } else { *word }).collect();
    good(here, &more);
    good(here, &["study", "export", "s 1 edges", "-o", "edges.json"]);
    let trials: Json = serde_json::from_str(&fs::read_to_string(here.join("edges.json")).unwrap()).unwrap();
    let trials = trials.as_array().unwrap();
    assert!(trials.len().is_multiple_of(3) && trials.iter().all(|trial| !trial["attributes"]["variant"].is_null()));
    // Other settings than the search's would say nothing about its graph.
    let error = bad(here, &["analyse", "s 1", "e.toml", "--edges", "--no-check", "--set", "side=9"]);
    assert!(error.contains("`side = 9` here, `side = 8` there"), "{error}");

    good(here, &["train", "e.toml", "--no-check", "--preset", "dml", "--out", "runs/a"]);
    let out = ["report", "runs/a", "s 1", "s 1 edges", "-o", "page/r.html", "--figures", "figures", "--images", "2"];
    good(here, &out);
    let page = fs::read_to_string(here.join("page/r.html")).unwrap();
    assert!(page.contains("Study s 1") && page.contains("What each edge is good for") && page.contains("Run a"));
    for outside in ["src=\"http", "href=\"http", "url(http", "<script", "@import"] {
        assert!(!page.contains(outside), "{outside}");
    }
    // Pictures may spell anything.
    let texts: Vec<&str> = page.split(';').filter(|part| !part.starts_with("base64,")).collect();
    assert!(!texts.iter().any(|part| part.contains("NaN")));
    // Attention maps: two rows spread over the classes and two that disagree, with the input and two nodes each.
    assert!(page.matches("data:image/png;base64,").count() >= 12, "{}", page.matches("data:image/png").count());
    let figures: Vec<String> =
        fs::read_dir(here.join("figures")).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    for ending in ["svg", "png", "csv", "tex"] {
        assert!(figures.iter().any(|name| name.ends_with(ending)), "{figures:?}");
    }

    let study = good(here, &["watch", "s 1", "--once"]);
    assert!(study.contains("12 of 12 trials are judged") && study.contains("nobody works on it"), "{study}");
    assert!(study.contains("best graph, trial"), "{study}");
    let run = good(here, &["watch", "runs/a", "--once"]);
    assert!(run.contains("epoch 2 of 2 · finished") && run.contains("ensemble"), "{run}");
}

#[test]
fn graphs_beyond_the_thesis_are_searched_analysed_and_reported() {
    let temporary = here();
    let here = temporary.path();
    let search = r#"
[search]
pruner = "none"
label_gates = ["through", "falling"]
gates = ["falling", "through"]
designs = ["attention apart + probability closer", "relation closer + probability apart", "relation closer + attention apart"]
"#;
    fs::write(here.join("e.toml"), format!("{EXPERIMENT}{search}")).unwrap();
    good(here, &["search", "e.toml", "--study", "s", "--trials", "10", "--sampler-seed", "1", "--no-check"]);
    let shown = good(here, &["analyse", "s"]);
    for row in ["mixed edges", "edges with relation closer", "transfer gate falling", "label gate falling"] {
        assert!(shown.contains(row), "{row}: {shown}");
    }
    assert!(!shown.contains("edges with probability apart"), "one design only has it: {shown}");
    let shown = good(here, &["analyse", "s", "e.toml", "--edges", "--seeds", "1", "--no-check"]);
    assert!(shown.contains("2 -> 1 flipped") && !shown.contains("not complete"), "{shown}");
    good(here, &["study", "best", "s", "-o", "best"]);
    let picture = fs::read_to_string(here.join("best/s-1.svg")).unwrap();
    assert!(picture.contains(">mixed</text>") && picture.contains(" + "), "{picture}");
    good(here, &["report", "s", "s edges", "-o", "r.html"]);
    let page = fs::read_to_string(here.join("r.html")).unwrap();
    assert!(page.contains("mixed edges") && page.contains("What each edge is good for"));
}

/// Makes the study "s" with so many trials that have a graph, two complete ones that lack parameters, and a failed one.
fn damaged_study(here: &Path, graphs: usize) {
    let mut study = Study::open(&StorageUrl::file(here.join("ktg.db")), "s", true, Patience::none()).unwrap();
    let space = Space::new(&Graph::new(vec![Node::new("abn-resnet-cifar-8"); 2]), &SearchSettings::default()).unwrap();
    study.put_attribute(SPACE, &space.to_json()).unwrap();
    for i in 0..graphs + 3 {
        let known = if i < graphs { usize::MAX } else { 3 };
        let state = if i < graphs + 2 { State::Complete } else { State::Fail };
        let choices = space
            .parameters()
            .iter()
            .take(known)
            .map(|parameter| (parameter.name.as_str(), &parameter.choices[..], i % parameter.choices.len()));
        let trial = NewTrial { parameters: choices.collect(), graph: format!("graph {i}") };
        let Inserted::Trial(claimed) = study.insert(&trial, &format!("work {i}"), 100).unwrap() else { panic!() };
        assert!(study.finish(claimed.id, state, Some(i as f64), &[]).unwrap());
    }
}

#[test]
fn an_analysis_says_once_which_trials_it_leaves_out() {
    let failed = "1 trials failed (diverged, for instance) and are not among all graphs.";
    let unreadable = "2 trials were judged, but their parameters are no graph of the search space: they are left out.";
    let too_few = "fewer than ten graphs have been judged: too few to compare the best with all";
    for (graphs, compared) in [(10, Json::from(10)), (9, Json::Null)] {
        let temporary = tempfile::tempdir().unwrap();
        let here = temporary.path();
        damaged_study(here, graphs);
        let shown = good(here, &["analyse", "s"]);
        assert_eq!([failed, unreadable].map(|sentence| shown.matches(sentence).count()), [1, 1], "{shown}");
        assert_eq!(shown.contains(too_few), compared.is_null(), "{shown}");
        let json: Json = serde_json::from_str(&good(here, &["analyse", "s", "--json"])).unwrap();
        let numbers = ["graphs", "failed", "unreadable"].map(|key| &json[key]);
        assert_eq!(numbers, [&compared, &1.into(), &2.into()]);
    }
}

#[test]
fn what_cannot_be_reported_is_said() {
    let temporary = here();
    let here = temporary.path();
    let cases: [(&[&str], &str); 6] = [
        (&["report", "."], "holds neither a run (settings.toml) nor a comparison"),
        (&["report", "nothing"], "ktg.db"),
        (&["watch", "nothing"], "ktg.db"),
        (&["analyse", "nothing"], "ktg.db"),
        (&["compare", "missing.toml"], "cannot read missing.toml"),
        (&["compare", "e.toml"], "unknown field `augment`, expected one of `experiment`"),
    ];
    for (arguments, expected) in cases {
        let error = bad(here, arguments);
        assert!(error.contains(expected), "{error}");
    }
    assert!(!here.join("report.html").exists() && !here.join("ktg.db").exists());
}
