//! Studies with trials of other programs, and with failed ones, through every command that reads studies.

mod common;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use common::{bad, good, ktg, text};
use ktg_graph::{Document, Graph, Node};
use ktg_report::StudyRecord;
use ktg_search::attributes::{GRAPH, REASON, SPACE};
use ktg_search::storage::{Enqueued, Inserted, NewTrial, Patience, State, StorageUrl, Study};
use ktg_search::{SearchSettings, Space};
use serde_json::{Value as Json, json};

const EXPERIMENT: &str = r#"
side = 8
augment = "none"
[split]
train_share = 0.02
evaluate_on = "search-split"
[train]
epochs = 1
batch_size = 5
"#;

const PLAN: &str = r#"
experiment = "e.toml"
nodes = [2]
repeats = 1
[[method]]
name = "Found"
study = "s"
"#;

fn space() -> Space {
    Space::new(&Graph::new(vec![Node::new("abn-resnet-cifar-8"); 2]), &SearchSettings::default()).unwrap()
}

fn open(here: &Path) -> Study {
    Study::open(&StorageUrl::file(here.join("ktg.db")), "s", true, Patience::none()).unwrap()
}

/// Adds a running trial with these choices of parameters.
fn add(study: &mut Study, parameters: &BTreeMap<String, (Vec<String>, usize)>) -> i64 {
    let number = study.count().unwrap();
    let parameters = parameters.iter().map(|(name, (choices, chosen))| (&**name, &**choices, *chosen)).collect();
    let new = NewTrial { parameters, graph: format!("graph {number}") };
    match study.insert(&new, &format!("work {number}"), 1000).unwrap() {
        Inserted::Trial(claimed) => claimed.id,
        other => panic!("{other:?}"),
    }
}

fn add_ended(study: &mut Study, parameters: &BTreeMap<String, (Vec<String>, usize)>, state: State, value: Option<f64>) {
    let id = add(study, parameters);
    assert!(study.finish(id, state, value, &[]).unwrap());
}

/// The parameters of a graph; without the gate that cuts.
fn graph(chosen: usize) -> BTreeMap<String, (Vec<String>, usize)> {
    let choice = |parameter: &ktg_search::Parameter| {
        let chosen = if parameter.name.ends_with("gate") { chosen % 2 * 2 } else { chosen % parameter.choices.len() };
        (parameter.name.clone(), (parameter.choices.clone(), chosen))
    };
    space().parameters().iter().map(choice).collect()
}

/// The study "s" with the graphs of trials 0 to 2, of which trial 1 is the best.
fn with_graphs(here: &Path) -> Study {
    fs::write(here.join("e.toml"), EXPERIMENT).unwrap();
    fs::write(here.join("plan.toml"), PLAN).unwrap();
    let mut study = open(here);
    study.put_attribute(SPACE, &space().to_json()).unwrap();
    for (chosen, value) in [50.0, 75.0, 62.5].into_iter().enumerate() {
        add_ended(&mut study, &graph(chosen), State::Complete, Some(value));
    }
    study
}

/// What every command says about a study whose best graph is that of trial 1, beside others.
fn every_command_ranks_graphs_only(here: &Path, unranked: &str) {
    let said_once = |text: &str| {
        assert_eq!(text.matches(unranked).count(), 1, "{text}");
        assert_eq!(text.matches("can be ranked").count(), 1, "{text}");
    };
    let output = ktg(here, &["study", "best", "s"]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let toml = String::from_utf8(output.stdout).unwrap();
    assert!(toml.contains("s, trial 1") && !toml.contains("ranked"), "{toml}");
    said_once(&String::from_utf8(output.stderr).unwrap());

    let output = ktg(here, &["study", "best", "s", "--top", "9", "-o", "best"]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    said_once(&text(&output));
    let best = fs::read_to_string(here.join("best/s-1.toml")).unwrap();
    assert!(best.contains("s, trial 1") && here.join("best/s-3.toml").exists() && !here.join("best/s-4.toml").exists());

    let shown = good(ktg(here, &["study", "show", "s"]));
    assert!(shown.contains("best: trial 1 with 75.00 %"), "{shown}");
    said_once(&shown);
    let shown: Json = serde_json::from_str(&good(ktg(here, &["study", "show", "s", "--json"]))).unwrap();
    let ranked: Vec<i64> = shown["best"].as_array().unwrap().iter().map(|t| t["trial"].as_i64().unwrap()).collect();
    assert_eq!(ranked, [1, 2, 0]);
    assert!(shown["best"].as_array().unwrap().iter().all(|trial| trial["graph"].is_object()));
    said_once(&good(ktg(here, &["watch", "s", "--once"])));
    good(ktg(here, &["study", "list"]));
    good(ktg(here, &["study", "export", "s"]));
    let common = good(ktg(here, &["analyse", "s"]));
    assert_eq!(common.matches("are no graph of the search space").count(), 1, "{common}");

    good(ktg(here, &["report", "s", "-o", "r.html"]));
    let page = fs::read_to_string(here.join("r.html")).unwrap();
    said_once(&page);
    assert!(page.contains("The best graph is that of trial 1 with 75.00 %"));
    // Neither in a table nor in a figure.
    for foreign in ["999", "NaN", ">inf", "1e300"] {
        let texts: Vec<&str> = page.split(';').filter(|part| !part.starts_with("base64,")).collect();
        assert!(!texts.iter().any(|part| part.contains(foreign)), "{foreign}");
    }

    let output = ktg(here, &["compare", "plan.toml", "--no-check"]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    said_once(&text(&output));
    let train = ["train", "e.toml", "--no-check", "--graph", "best/s-1.toml", "--out", "run"];
    good(ktg(here, &train));
}

#[test]
fn trials_of_other_programs_are_counted_and_not_ranked() {
    let temporary = tempfile::tempdir().unwrap();
    let here = temporary.path();
    let mut study = with_graphs(here);
    let none = BTreeMap::new();
    let other: BTreeMap<_, _> = [("lr".to_owned(), (vec!["0.1".to_owned()], 0))].into();
    let other_choice: BTreeMap<_, _> = [("2->1 gate".to_owned(), (vec!["ajar".to_owned()], 0))].into();
    let partial: BTreeMap<_, _> = graph(1).into_iter().take(3).collect();
    add_ended(&mut study, &none, State::Complete, Some(999.0));
    add_ended(&mut study, &none, State::Complete, Some(f64::INFINITY));
    add_ended(&mut study, &other, State::Complete, Some(999.0));
    add_ended(&mut study, &other_choice, State::Complete, Some(999.0));
    add_ended(&mut study, &partial, State::Complete, Some(999.0));
    add_ended(&mut study, &graph(3), State::Complete, Some(f64::INFINITY));
    add_ended(&mut study, &graph(5), State::Complete, Some(f64::NEG_INFINITY));
    add_ended(&mut study, &other, State::Pruned, Some(999.0));
    add_ended(&mut study, &none, State::Fail, None);
    add(&mut study, &none);
    drop(study);
    let unranked = "7 complete trials are no graphs that can be ranked: 2 without parameters, 2 with other parameters \
                    or choices than the search space, 1 without all parameters of the search space, 2 without a finite \
                    value";
    every_command_ranks_graphs_only(here, unranked);
    let shown: Json = serde_json::from_str(&good(ktg(here, &["study", "show", "s", "--json"]))).unwrap();
    let counts = json!({"without_parameters": 2, "other_parameters": 2, "missing_parameters": 1, "not_finite": 2});
    assert_eq!(shown["not_ranked"], counts);
    // Whoever asks for one of them is told what it is.
    let error = bad(ktg(here, &["analyse", "s", "e.toml", "--edges", "--trial", "5"]));
    assert!(error.contains("trial 5 is no graph of the study: there is no parameter `lr`"), "{error}");
}

#[test]
fn a_study_without_any_graph_says_why_nothing_is_ranked() {
    let temporary = tempfile::tempdir().unwrap();
    let here = temporary.path();
    let mut study = open(here);
    add_ended(&mut study, &BTreeMap::new(), State::Complete, Some(1.0));
    let best = |_: &()| bad(ktg(here, &["study", "best", "s"]));
    assert!(best(&()).contains("the study \"s\" has no search space of this program"));
    good(ktg(here, &["study", "show", "s"]));
    good(ktg(here, &["report", "s", "-o", "r.html"]));
    study.put_attribute(SPACE, &space().to_json()).unwrap();
    let error = best(&());
    assert!(error.contains("no graph of the study \"s\" is complete yet: 1 complete trials"), "{error}");
    assert!(good(ktg(here, &["study", "show", "s"])).contains("1 without parameters"));
}

#[test]
fn failed_trials_are_shown_with_their_reasons_but_not_too_many() {
    let temporary = tempfile::tempdir().unwrap();
    let here = temporary.path();
    let mut study = with_graphs(here);
    assert!(!good(ktg(here, &["study", "show", "s"])).contains("reason"));
    for i in 0..13 {
        let id = add(&mut study, &graph(i));
        let reason = json!(format!("step {i}:\n the loss\tis not finite"));
        let attributes = if i == 12 { vec![] } else { vec![(REASON.to_owned(), reason)] };
        assert!(study.finish(id, State::Fail, None, &attributes).unwrap());
    }
    let shown = good(ktg(here, &["study", "show", "s"]));
    let lines: Vec<&str> = shown.lines().collect();
    let first = lines.iter().position(|line| line.contains("reason")).unwrap() + 1;
    let failed: Vec<&str> = lines[first..].iter().filter(|line| !line.contains('─')).copied().collect();
    assert!(failed[0].contains("6  step 3: the loss is not finite"), "{shown}");
    assert!(failed[8].contains("14  step 11: ") && failed[9].contains("15  -"), "{shown}");
    assert!(failed[10].contains("3 trials failed before"), "{shown}");
    let shown: Json = serde_json::from_str(&good(ktg(here, &["study", "show", "s", "--json"]))).unwrap();
    let failed = shown["failed"].as_array().unwrap();
    assert_eq!((failed.len(), &shown["failed_before"], &shown["states"]["FAIL"]), (10, &json!(3), &json!(13)));
    assert_eq!(failed[0], json!({"trial": 6, "reason": "step 3: the loss is not finite"}));
    assert_eq!(failed[9], json!({"trial": 15, "reason": null}));
}

#[test]
fn a_graph_that_is_enqueued_again_is_said_in_one_line_and_shown_with_its_reason() {
    let temporary = tempfile::tempdir().unwrap();
    let here = temporary.path();
    let nodes = "[graph]\nnodes = 2\narchitecture = \"abn-resnet-cifar-8\"\n";
    fs::write(here.join("e.toml"), EXPERIMENT.to_owned() + nodes).unwrap();
    let search = |trials: &str| {
        let output =
            ktg(here, &["search", "e.toml", "--no-check", "--study", "s", "--trials", trials]).output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        text(&output)
    };
    search("1");
    let mut study = open(here);
    let first = &study.trials().unwrap()[0];
    let (parameters, graph) = (first.parameters.clone(), first.attributes[GRAPH].as_str().unwrap().to_owned());
    let attributes = vec![("note".to_owned(), json!("again"))];
    let again = Enqueued { parameters: parameters.into_iter().collect(), graph, attributes };
    study.enqueue_missing(&[again], &["note"]).unwrap();
    let said = search("3");
    assert_eq!(said.lines().filter(|line| line.contains("trial 1 is the graph of trial 0")).count(), 1, "{said}");
    let shown = good(ktg(here, &["study", "show", "s"]));
    assert!(shown.contains("3 trials (2 complete, 1 failed)"), "{shown}");
    assert!(shown.contains("1  the graph of trial 0"), "{shown}");
}

/// The files of a folder, what is in them and when they were changed.
fn files(folder: &Path) -> BTreeMap<OsString, (Vec<u8>, SystemTime)> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries.map(|e| (e.file_name(), (fs::read(e.path()).unwrap(), e.metadata().unwrap().modified().unwrap()))).collect()
}

#[test]
fn commands_that_read_leave_a_storage_as_it_is() {
    let temporary = tempfile::tempdir().unwrap();
    let (here, storage) = (temporary.path(), temporary.path().join("storage"));
    fs::create_dir(&storage).unwrap();
    let study = with_graphs(here);
    // As if the worker died now.
    for name in ["ktg.db", "ktg.db-wal"] {
        fs::copy(here.join(name), storage.join(name)).unwrap();
    }
    drop(study);
    let before = files(&storage);
    assert_eq!(before.len(), 2);
    let url = "sqlite:///storage/ktg.db";
    for arguments in [
        &["study", "list"][..],
        &["study", "show", "s"],
        &["study", "best", "s", "-o", "best"],
        &["study", "export", "s"],
        &["watch", "s", "--once"],
        &["report", "s", "-o", "r.html"],
        &["analyse", "s"],
        &["compare", "plan.toml", "--no-check"],
    ] {
        let said = good(ktg(here, &[arguments, &["--storage", url]].concat()));
        assert!(!said.is_empty());
        assert!(files(&storage) == before, "{arguments:?}");
    }
    // Whoever does not only read takes over what the worker has left.
    good(ktg(here, &["study", "close", "s", "--storage", url]));
    assert!(files(&storage) != before);
    assert!(good(ktg(here, &["study", "show", "s", "--storage", url])).contains("3 trials (3 complete)"));
}

/// The study "theirs" as DCL makes it, of accuracies: two networks that are taught by labels and by each other.
fn make_study_of_dcl(here: &Path) -> Study {
    let gates: Vec<String> = ["ThroughGate", "CutoffGate", "LinearGate"].map(str::to_owned).to_vec();
    let only = |name: &str| vec![name.to_owned()];
    let mut study = Study::open(&StorageUrl::file(here.join("theirs.db")), "theirs", true, Patience::none()).unwrap();
    // In the better trial, the second network is left alone.
    for (chosen, accuracy) in [([0, 0], 60.0), ([2, 1], 71.25)] {
        let mut parameters = BTreeMap::new();
        for (target, gate) in chosen.into_iter().enumerate() {
            parameters.insert(format!("model_{target}_name"), (only("ResNet32"), 0));
            for source in 0..2 {
                let loss = if target == source { "IndepLoss" } else { "KLLoss" };
                parameters.insert(format!("{target:02}_{source:02}_loss"), (only(loss), 0));
                parameters.insert(format!("{target:02}_{source:02}_gate"), (gates.clone(), gate));
            }
        }
        add_ended(&mut study, &parameters, State::Complete, Some(accuracy));
    }
    study
}

#[test]
fn a_study_of_the_authors_is_imported_and_not_searched_on() {
    let temporary = tempfile::tempdir().unwrap();
    let here = temporary.path();
    drop(make_study_of_dcl(here));
    let import = ["study", "import", "s", "--from", "sqlite:///theirs.db"];
    let output = ktg(here, &import).output().unwrap();
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    for sentence in [
        "its values are to be large and were taken for accuracies in percent",
        "in 1 of its graphs nobody teaches some node",
        "imported from the study \"theirs\" in sqlite:///",
        "its values are accuracies of node 1, not of an ensemble",
        "best: trial 1 with 71.25 %",
    ] {
        assert!(said.contains(sentence), "{sentence}: {said}");
    }
    let taken = bad(ktg(here, &import));
    assert!(taken.contains("study \"s\": there is a study of this name already; give another name"), "{taken}");
    // The judged node is node 1: no other numbering would do.
    let best = Document::parse_toml(&good(ktg(here, &["study", "best", "s"])), "").unwrap().graph;
    assert!(best.is_trained(0) && !best.is_trained(1), "{best:?}");

    let nodes = "[graph]\nnodes = 2\narchitecture = \"resnet-cifar-32\"\n";
    fs::write(here.join("e.toml"), EXPERIMENT.to_owned() + nodes).unwrap();
    let search = bad(ktg(here, &["search", "e.toml", "--no-check", "--study", "s", "--trials", "9"]));
    assert!(search.contains("study \"s\": it was imported from the study \"theirs\" in sqlite:///"), "{search}");
    assert!(search.contains("cannot be searched on; give another --study"), "{search}");
}

#[test]
fn every_command_says_of_an_imported_study_that_it_was_and_what_was_judged() {
    let temporary = tempfile::tempdir().unwrap();
    let here = temporary.path();
    drop(make_study_of_dcl(here));
    good(ktg(here, &["study", "import", "s", "--from", "sqlite:///theirs.db"]));
    let judged = "its values are accuracies of node 1, not of an ensemble";
    for command in [&["study", "show", "s"][..], &["study", "best", "s"], &["analyse", "s"], &["watch", "s", "--once"]]
    {
        let said = text(&ktg(here, command).output().unwrap());
        assert_eq!(
            (said.matches("imported from").count(), said.matches(judged).count()),
            (1, 1),
            "{command:?}: {said}"
        );
    }
    for command in [&["study", "show", "s", "--json"][..], &["analyse", "s", "--json"]] {
        let json: Json = serde_json::from_str(&good(ktg(here, command))).unwrap();
        assert_eq!((&json["imported"]["study"], &json["imported"]["judged"]), (&json!("theirs"), &json!("node 1")));
    }
    let watched = good(ktg(here, &["watch", "s", "--once", "--trials", "99"]));
    assert!(!watched.contains("trials an hour") && !watched.contains("left"), "{watched}");

    good(ktg(here, &["report", "s", "-o", "r.html"]));
    let page = fs::read_to_string(here.join("r.html")).unwrap();
    assert!(page.contains("node 1 accuracy in %") && !page.contains("ensemble accuracy in %"));
    assert!(page.contains("by the accuracy of node 1. The ensemble in the pictures was not judged there."));
    assert!(page.contains("node 1 is the one whose accuracy counts"));

    // The settings of the trainings are not known: any experiment file will do.
    let nodes = "[graph]\nnodes = 2\narchitecture = \"resnet-cifar-32\"\n";
    fs::write(here.join("e.toml"), EXPERIMENT.to_owned() + nodes).unwrap();
    let edges = ["analyse", "s", "e.toml", "--edges", "--no-check", "--seeds", "1"];
    let said = text(&ktg(here, &edges).output().unwrap());
    assert!(
        said.contains("what is measured now is the ensemble, while the study's graphs were chosen for node 1"),
        "{said}"
    );
}

#[test]
fn an_import_leaves_what_it_reads_as_it_is() {
    let temporary = tempfile::tempdir().unwrap();
    let (here, storage) = (temporary.path(), temporary.path().join("storage"));
    fs::create_dir(&storage).unwrap();
    let study = make_study_of_dcl(here);
    // As if the worker died now.
    for name in ["theirs.db", "theirs.db-wal"] {
        fs::copy(here.join(name), storage.join(name)).unwrap();
    }
    drop(study);
    let before = files(&storage);
    assert_eq!(before.len(), 2);
    good(ktg(here, &["study", "import", "s", "--from", "sqlite:///storage/theirs.db"]));
    assert!(files(&storage) == before);

    let all = || good(ktg(here, &["study", "export", "theirs", "--storage", "sqlite:///theirs.db"]));
    let before = all();
    let into_the_same = ["study", "import", "s", "--from", "sqlite:///theirs.db", "--study-there", "theirs"];
    good(ktg(here, &[&into_the_same[..], &["--storage", "sqlite:///theirs.db"]].concat()));
    assert_eq!(all(), before);
    assert!(good(ktg(here, &["study", "show", "s", "--storage", "sqlite:///theirs.db"])).contains("2 trials"));
}

/// Imports what Optuna has made in the manner of the authors' code, and compares what every command says with what
/// Python knows.
fn every_command_knows_what_optuna_knows(form: &str, first_line: &str) {
    let python = std::env::var("KTG_OPTUNA_PYTHON").expect("this test needs a Python with optuna 5.0.0");
    let temporary = tempfile::tempdir().unwrap();
    let here = temporary.path();
    let run = |script: &str, arguments: &[&str]| -> Json {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/optuna").join(script);
        let output = Command::new(&python).current_dir(here).arg(script).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let known = run("make_authors_study.py", &["sqlite:///optuna.db", "experiment01", form]);
    let known = known.as_array().unwrap();
    let count = |is: &dyn Fn(&Json) -> bool| known.iter().filter(|trial| is(trial)).count();
    let in_state = |state: &str| count(&|trial| trial["state"] == state);

    let import = ["study", "import", "s", "--from", "sqlite:///optuna.db", "--study-there", "experiment01"];
    let output = ktg(here, &import).output().unwrap();
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("its values are errors in percent, which became accuracies: 100 - error"), "{said}");
    assert!(said.contains("2 trials were running or waiting there, and failed here"), "{said}");
    let foreign =
        count(&|trial| trial["is_foreign"] == true && trial["value"].is_null() && trial["reports"] != json!({}));
    assert_eq!(
        said.contains("trials cannot be translated, and failed here: `model_2_name` is \"WRN28_2\""),
        foreign > 1
    );
    assert!(said.contains(first_line), "{said}");

    // Every trial, as it is exported and as it is read.
    let export: Vec<Json> = {
        good(ktg(here, &["study", "export", "s", "-o", "all.json"]));
        serde_json::from_slice(&fs::read(here.join("all.json")).unwrap()).unwrap()
    };
    let read = StudyRecord::read(&StorageUrl::file(here.join("ktg.db")), "s").unwrap();
    assert_eq!((export.len(), read.trials.len()), (known.len(), known.len()));
    for ((exported, trial), known) in export.iter().zip(&read.trials).zip(known) {
        let number = trial.number;
        for key in ["number", "state", "value", "reports", "system", "parameters"] {
            assert_eq!(exported[key], known[key], "trial {number}: {key}");
        }
        assert_eq!(exported["attributes"].get("seed").unwrap_or(&Json::Null), &known["seed"], "trial {number}");
        if !known["times"].is_null() {
            assert_eq!(json!([exported["started"], exported["completed"]]), known["times"], "trial {number}");
        }
        if known["graph"].is_null() {
            assert!(read.graph(trial).is_err(), "trial {number}");
            continue;
        }
        let expected = Document::parse_json(&known["graph"].to_string(), "").unwrap().graph;
        let mut found = read.graph(trial).unwrap();
        assert_eq!(found.hash(), expected.hash(), "trial {number}");
        if form == "dcl" {
            // Under the same numbers.
            found.name = None;
            assert_eq!(found, expected, "trial {number}");
        }
    }

    let shown: Json = serde_json::from_str(&good(ktg(here, &["study", "show", "s", "--json"]))).unwrap();
    for state in ["COMPLETE", "PRUNED", "FAIL", "RUNNING", "WAITING"] {
        assert_eq!(shown["states"][state], json!(in_state(state)), "{state}");
    }
    let complete = known.iter().filter(|trial| trial["state"] == "COMPLETE");
    let best = complete.max_by(|a, b| a["value"].as_f64().partial_cmp(&b["value"].as_f64()).unwrap()).unwrap();
    let (best, expected) = (best["number"].as_i64().unwrap(), &best["graph"]);
    assert_eq!(shown["best"][0]["trial"], json!(best));
    let shown = good(ktg(here, &["study", "show", "s"]));
    assert!(shown.contains(&format!("best: trial {best} with ")) && shown.contains("rung  trials"), "{shown}");

    let expected = Document::parse_json(&expected.to_string(), "").unwrap().graph;
    let found = Document::parse_toml(&good(ktg(here, &["study", "best", "s"])), "").unwrap().graph;
    assert_eq!(found.hash(), expected.hash());

    let analysed: Json = serde_json::from_str(&good(ktg(here, &["analyse", "s", "--json"]))).unwrap();
    let judged = in_state("COMPLETE") + in_state("PRUNED");
    assert_eq!((&analysed["graphs"], &analysed["unreadable"]), (&json!(judged), &json!(0)));
    good(ktg(here, &["analyse", "s"]));
    good(ktg(here, &["report", "s", "-o", "r.html"]));
    let page = fs::read_to_string(here.join("r.html")).unwrap();
    assert!(page.contains(&format!("The best graph is that of trial {best} with ")));
    assert!(page.contains("The study was imported from the study"));

    let seen = run("read_study.py", &["sqlite:///ktg.db", "s"]);
    assert_eq!((&seen["direction"], &seen["best"]["number"]), (&json!("maximize"), &json!(best)));
    assert_eq!(seen["states"]["COMPLETE"], json!(in_state("COMPLETE")));
}

#[test]
#[ignore = "needs Optuna: set KTG_OPTUNA_PYTHON"]
fn an_ensemble_study_that_optuna_made_as_the_authors_do_is_imported() {
    every_command_knows_what_optuna_knows("ensemble", "imported from the study \"experiment01\" in sqlite:///");
}

#[test]
#[ignore = "needs Optuna: set KTG_OPTUNA_PYTHON"]
fn a_study_of_dcl_that_optuna_made_is_imported() {
    every_command_knows_what_optuna_knows("dcl", "its values are accuracies of node 1, not of an ensemble");
}

#[test]
#[ignore = "needs Optuna: set KTG_OPTUNA_PYTHON"]
fn trials_of_optuna_are_counted_and_not_ranked_unless_they_are_graphs() {
    let python = std::env::var("KTG_OPTUNA_PYTHON").expect("this test needs a Python with optuna 5.0.0");
    let temporary = tempfile::tempdir().unwrap();
    let here = temporary.path();
    drop(with_graphs(here));
    let script = r#"
import math, optuna
from optuna.trial import TrialState, create_trial
study = optuna.load_study(study_name="s", storage="sqlite:///ktg.db")
study.add_trial(create_trial(value=999.0))
study.add_trial(create_trial(value=math.inf))
study.optimize(lambda trial: trial.suggest_float("lr", 0, 1) * 0 + 999, n_trials=2)
study.optimize(lambda trial: 999.0 + len(trial.suggest_categorical("2->1 gate", ["through", "cutoff", "linear", "correct"])), n_trials=1)
study.ask(); study.ask().suggest_float("lr", 0, 1)
study.tell(study.ask(), state=TrialState.FAIL)
"#;
    let run = |script: &str| {
        let output = Command::new(&python).current_dir(here).args(["-c", script]).output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
    };
    run(script);
    let unranked = "5 complete trials are no graphs that can be ranked: 2 without parameters, 2 with other parameters \
                    or choices than the search space, 1 without all parameters of the search space";
    every_command_ranks_graphs_only(here, unranked);
    // A trial with all parameters is a graph, whoever judged it.
    run("import optuna\nfrom optuna.trial import create_trial\n\
         study = optuna.load_study(study_name='s', storage='sqlite:///ktg.db')\n\
         first = study.trials[0]\n\
         study.add_trial(create_trial(value=80.0, params=first.params, distributions=first.distributions))");
    assert!(good(ktg(here, &["study", "best", "s"])).contains("s, trial 11"));
}
