//! Searches as a user runs them: real trainings, killed and interrupted, and what can be made of the study.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use common::{bad, good, ktg, text};
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
[train]
epochs = 3
batch_size = 5
learning_rate = 0.05
[search]
pruner = "promotion"
"#;

/// A directory with the experiment file.
fn experiment() -> tempfile::TempDir {
    let temporary = tempfile::tempdir().unwrap();
    fs::write(temporary.path().join("e.toml"), EXPERIMENT).unwrap();
    temporary
}

fn search(here: &Path, study: &str, trials: &str) -> Command {
    // Lost trials are found fast, as nobody else works here; and a slow machine may lose one often.
    let times = ["--heartbeat", "0.3", "--silence", "1", "--retries", "50"];
    let mut command = ktg(here, &["search", "e.toml", "--study", study, "--trials", trials, "--sampler-seed", "1"]);
    command.args(times);
    command
}

fn export(here: &Path, study: &str) -> Vec<Json> {
    good(ktg(here, &["study", "export", study, "-o", "trials.json"]));
    serde_json::from_str(&fs::read_to_string(here.join("trials.json")).unwrap()).unwrap()
}

/// State, value and reports by graph, of the trials that were not repeated.
fn outcome(trials: &[Json]) -> BTreeMap<String, (Json, Json, Json)> {
    let dead = |trial: &&Json| trial["state"] != "FAIL";
    let outcome = |trial: &Json| (trial["state"].clone(), trial["value"].clone(), trial["reports"].clone());
    trials.iter().filter(dead).map(|t| (t["attributes"]["graph"].to_string(), outcome(t))).collect()
}

#[test]
fn a_search_ends_in_graphs_that_can_be_trained() {
    let temporary = experiment();
    let here = temporary.path();
    let said = good(search(here, "first \"🐶\"", "6"));
    assert!(said.contains("6 trials") && said.contains("best: trial"), "{said}");
    let trials = export(here, "first \"🐶\"");
    assert_eq!(outcome(&trials).len(), 6, "every graph once");
    for trial in &trials {
        let run = Path::new(trial["attributes"]["run"].as_str().unwrap());
        // Never the test images; and nothing is left that only a continuation needs.
        assert!(fs::read_to_string(run.join("settings.toml")).unwrap().contains("evaluate_on = \"search-split\""));
        assert_eq!(fs::read_dir(run.join("checkpoints")).unwrap().count(), 0, "{trial}");
        let epochs = trial["reports"].as_object().unwrap().len();
        let lines = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
        assert_eq!(lines.matches("\"kind\":\"epoch\"").count(), epochs);
        assert_eq!(run.join("result.json").exists(), trial["state"] == "COMPLETE", "{trial}");
    }
    let csv = good(ktg(here, &["study", "export", "first \"🐶\""]));
    assert!(csv.lines().count() == 7 && csv.contains("1->2 gate") && csv.contains("step 3"), "{csv}");
    let list = good(ktg(here, &["study", "list"]));
    assert!(list.contains("first \"🐶\"") && list.contains("6"), "{list}");
    let shown = good(ktg(here, &["study", "show", "first \"🐶\""]));
    assert!(shown.contains("rung") && shown.contains("label -> 1"), "{shown}");
    let json: Json = serde_json::from_str(&good(ktg(here, &["study", "show", "first \"🐶\"", "--json"]))).unwrap();
    good(ktg(here, &["study", "best", "first \"🐶\"", "--top", "2", "-o", "best"]));
    assert!(fs::read_to_string(here.join("best/first-----1.svg")).unwrap().starts_with("<svg"));
    let graph = good(ktg(here, &["graph", "show", "--json", "best/first-----1.toml"]));
    let graph: Json = serde_json::from_str(&graph).unwrap();
    assert_eq!(graph["edges"], json["best"][0]["graph"]["edges"]);
    // The same file trains, on all training images, judged on the test images.
    let train = ["train", "e.toml", "--graph", "best/first-----1.toml", "--epochs", "1", "--out", "found", "--json"];
    let result: Json = serde_json::from_str(&good(ktg(here, &train))).unwrap();
    assert_eq!(result["train_images"], 100);
    assert_eq!(result["measures"]["images"], 5000);
}

#[test]
fn killed_and_interrupted_searches_end_like_uninterrupted_ones() {
    let temporary = experiment();
    let here = temporary.path();
    // After a kill, the next worker cannot know at once that a trial is lost, and makes another one first. Pruning depends
    // on the order of the trials, so killed searches are compared without it.
    for (study, signal, pruner) in [("killed", "KILL", "none"), ("stopped", "INT", "promotion")] {
        let through = format!("through-{pruner}");
        let search = |study: &str| {
            let mut command = search(here, study, "8");
            command.args(["--pruner", pruner]);
            command
        };
        good(search(&through));
        let expected = outcome(&export(here, &through));
        assert_eq!(expected.len(), 8);
        let states: Vec<&Json> = expected.values().map(|(state, ..)| state).collect();
        assert!(states.contains(&&Json::from("COMPLETE")), "{states:?}");
        assert_eq!(states.contains(&&Json::from("PRUNED")), pruner != "none", "{states:?}");
        let started = Instant::now();
        let mut signals = 0;
        loop {
            let mut child = search(study).spawn().unwrap();
            // From start-up to the end of several trials: later and later, so that each attempt gets further.
            std::thread::sleep(Duration::from_millis(150 + 80 * signals));
            if child.try_wait().unwrap().is_some() {
                break;
            }
            Command::new("kill").args(["-s", signal, &child.id().to_string()]).status().unwrap();
            let output = child.wait_with_output().unwrap();
            if signal == "INT" && output.status.code() != Some(0) {
                assert_eq!(output.status.code(), Some(130), "{}", text(&output));
                let trials = export(here, study);
                let has_heartbeat =
                    |trial: &&Json| trial["state"] == "RUNNING" && trial["attributes"]["paused"].is_null();
                assert!(!trials.iter().any(|t| has_heartbeat(&t)), "a trial was not given back: {}", text(&output));
            }
            signals += 1;
            assert!(started.elapsed() < Duration::from_secs(150), "the search never ends");
        }
        assert!(signals >= 3, "only {signals} signals");
        good(search(study));
        let trials = export(here, study);
        let numbers: Vec<i64> = trials.iter().map(|trial| trial["number"].as_i64().unwrap()).collect();
        assert_eq!(numbers, (0..trials.len() as i64).collect::<Vec<_>>());
        let failed = trials.iter().filter(|trial| trial["state"] == "FAIL");
        let reasons: Vec<&Json> = failed.map(|trial| &trial["attributes"]["reason"]).collect();
        assert_eq!(outcome(&trials), expected, "{study} after {signals} signals; failed: {reasons:?}");
        if signal == "INT" {
            assert_eq!(trials.len(), 8, "nothing was lost, so nothing was repeated");
        }
    }
}

/// The values of the trainings that confirm a study's best graphs, by trial of the search and seed.
fn confirmed(here: &Path, study: &str) -> BTreeMap<(i64, u64), f64> {
    let trials = export(here, &format!("{study} confirmed"));
    let is_kept = |trial: &&Json| trial["state"] != "FAIL";
    let training = |trial: &Json| {
        assert_eq!(trial["state"], "COMPLETE", "{trial}");
        let of = |name: &str| &trial["attributes"][name];
        let training = (of("confirms trial").as_i64().unwrap(), of("seed").as_u64().unwrap());
        (training, trial["value"].as_f64().unwrap())
    };
    let values: BTreeMap<_, _> = trials.iter().filter(is_kept).map(training).collect();
    assert_eq!(values.len(), trials.iter().filter(is_kept).count(), "none twice");
    values
}

#[test]
fn the_best_graphs_are_trained_again_and_the_winner_is_the_best() {
    let temporary = experiment();
    let here = temporary.path();
    let search = || {
        let mut command = search(here, "s", "6");
        command.args(["--pruner", "none"]);
        command
    };
    let confirming = || {
        let mut command = search();
        command.args(["--confirm", "4"]);
        command
    };
    assert!(good(search()).contains("(best of 6, trained once each)"));
    let said = good(confirming());
    assert!(said.contains("seeds), of 4 graphs that were trained again; in the search"), "{said}");

    let values = confirmed(here, "s");
    let shown: Json = serde_json::from_str(&good(ktg(here, &["study", "show", "s", "--json"]))).unwrap();
    let again = |place: usize| shown["best"][place]["trained_again"].as_array().map_or(0, Vec::len);
    // Four graphs, then two: 4 x 1 and 2 x 4 trainings.
    assert_eq!((values.len(), [0, 1, 2, 3, 4].map(again)), (12, [5, 5, 1, 1, 0]));
    assert!(values.keys().all(|(_, seed)| *seed >= 1001), "none with the seed of the search");
    let mean = |trial: i64| {
        let values: Vec<f64> = values.iter().filter(|((of, _), _)| *of == trial).map(|(_, value)| *value).collect();
        values.iter().sum::<f64>() / values.len() as f64
    };
    let trial = |place: usize| shown["best"][place]["trial"].as_i64().unwrap();
    assert!(mean(trial(0)) >= mean(trial(1)));

    // Everything that takes the best takes the winner.
    let best = ktg(here, &["study", "best", "s", "--out", "best"]).output().unwrap();
    let words = format!("trial {}, {:.2} % (95 % interval", trial(0), mean(trial(0)));
    assert!(text(&best).contains(&words), "{words}: {}", text(&best));
    let page = good(ktg(here, &["study", "show", "s"]));
    assert!(page.contains("trained again") && page.contains("5 seeds)"), "{page}");
    good(ktg(here, &["report", "s", "-o", "report.html"]));
    assert!(fs::read_to_string(here.join("report.html")).unwrap().contains("trained again"));

    // Nothing is done twice, and more trainings begin with those that are there.
    good(confirming());
    assert_eq!(confirmed(here, "s"), values);
    let mut more = confirming();
    more.args(["--confirm-trainings", "16"]);
    good(more);
    let further = confirmed(here, "s");
    assert!(further.len() > values.len() && values.iter().all(|(training, value)| further[training] == *value));
    assert!(bad(self::search(here, "s confirmed", "20")).contains("confirms what the study \"s\" found"));
}

#[test]
fn a_killed_and_shared_confirmation_ends_like_another() {
    let temporary = experiment();
    let here = temporary.path();
    let search = |study: &str| {
        let mut command = search(here, study, "5");
        command.args(["--pruner", "none", "--confirm", "4"]);
        command
    };
    good(search("through"));
    let expected = confirmed(here, "through");
    assert_eq!(expected.len(), 12);

    let started = Instant::now();
    let mut kills = 0;
    loop {
        let mut child = search("killed").spawn().unwrap();
        std::thread::sleep(Duration::from_millis(300 + 100 * kills));
        if child.try_wait().unwrap().is_some() {
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
        assert!(started.elapsed() < Duration::from_secs(150), "the search never ends");
    }
    assert!(kills >= 3, "only {kills} kills");
    // Which trial has which graph depends on when a worker was killed; which graph has which value does not.
    let by_graph = |study: &str| {
        let graph = |trial: &Json| trial["attributes"]["graph"].to_string();
        let seed = |trial: &Json| trial["attributes"]["seed"].to_string();
        let trials = export(here, &format!("{study} confirmed"));
        let complete = trials.iter().filter(|trial| trial["state"] == "COMPLETE");
        complete.map(|trial| ((graph(trial), seed(trial)), trial["value"].to_string())).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(confirmed(here, "killed").len(), 12);
    assert_eq!(by_graph("killed"), by_graph("through"), "after {kills} kills");

    let workers: Vec<_> = (0..3).map(|_| search("shared").spawn().unwrap()).collect();
    for worker in workers {
        let output = worker.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
    }
    assert_eq!(confirmed(here, "shared").len(), 12);
}

#[test]
fn a_search_by_likelihood_says_so_everywhere() {
    let temporary = experiment();
    let here = temporary.path();
    let by = |objective: &str| {
        let mut command = search(here, "s", "4");
        command.args(["--pruner", "none", "--objective", objective]);
        command
    };
    let said = good(by("nll"));
    assert!(said.contains("with NLL "), "{said}");
    for trial in export(here, "s") {
        let of = |name: &str| trial["attributes"][name].as_f64().unwrap();
        let value = trial["value"].as_f64().unwrap();
        assert_eq!(value, -of("ensemble NLL, calibrated"));
        assert!(of("ensemble NLL") >= of("ensemble NLL, calibrated") && of("temperature") > 0.0);
        assert!((0.0..=100.0).contains(&of("ensemble accuracy")) && of("node average") > 0.0);
        let last = trial["reports"]["3"].as_f64().unwrap();
        assert_eq!(last, value, "every epoch is judged by the same measure");
    }
    let refused = bad(by("accuracy"));
    assert!(refused.contains("another objective (`accuracy` here, `nll` there)"), "{refused}");
    let unknown = by("loss").output().unwrap();
    assert!(text(&unknown).contains("choose from accuracy, nll"), "{}", text(&unknown));
}

/// The directories of a study's runs.
fn runs(here: &Path, study: &str) -> Vec<String> {
    export(here, study).iter().map(|trial| trial["attributes"]["run"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn runs_of_a_deleted_study_and_of_one_of_the_same_folder_are_left_alone() {
    let temporary = experiment();
    let here = temporary.path();
    good(search(here, "a b", "2"));
    let first = runs(here, "a b");
    let results = |runs: &[String]| -> Vec<String> {
        runs.iter().map(|run| fs::read_to_string(Path::new(run).join("metrics.jsonl")).unwrap()).collect()
    };
    let before = results(&first);

    // Two names, one folder.
    let said = search(here, "a-b", "2").output().unwrap();
    assert!(said.status.success(), "{}", text(&said));
    assert_eq!(text(&said).matches("a run of another study, \"a b\" in sqlite:///").count(), 1, "{}", text(&said));
    let second = runs(here, "a-b");
    assert!(second.iter().all(|run| run.contains("a-b.runs") && !first.contains(run)), "{first:?} {second:?}");
    assert_eq!(results(&second), before, "it trained the same graphs");

    // The same name after the study was deleted, with other settings.
    fs::remove_file(here.join("ktg.db")).unwrap();
    let mut shorter = search(here, "a b", "2");
    shorter.args(["--epochs", "2"]);
    good(shorter);
    let third = runs(here, "a b");
    assert!(third.iter().all(|run| !first.contains(run) && !second.contains(run)), "{first:?} {second:?} {third:?}");
    assert_eq!(results(&first), before, "the old runs are as they were");
    for trial in export(here, "a b") {
        assert!(trial["reports"].as_object().unwrap().len() <= 2, "{trial}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn timeout_ends_a_search_with_its_trial_given_back() {
    // So many times; it goes wrong by chance.
    let times: u32 = std::env::var("KTG_TIMEOUTS").map_or(3, |times| times.parse().unwrap());
    let temporary = experiment();
    let here = temporary.path();
    let mut stopped_trials = 0;
    for i in 0..times {
        let study = format!("timeout-{i}");
        let mut long = search(here, &study, "8");
        // Nothing but the signal makes it write a checkpoint.
        long.args([
            "--log-every",
            "1",
            "--set",
            "train.epochs=1",
            "--set",
            "split.train_share=1",
            "--set",
            "train.checkpoint_minutes=100",
        ]);
        let limit = format!("{:.2}", 1.0 + 0.13 * f64::from(i % 10));
        let mut command = Command::new("timeout");
        command.current_dir(here).args(["--preserve-status", &limit]).arg(long.get_program()).args(long.get_args());
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(130), "{}", text(&output));
        assert!(text(&output).contains("stopped; the study in"), "{}", text(&output));
        for trial in export(here, &study) {
            assert_eq!(trial["state"], "WAITING", "{trial}");
            let run = Path::new(trial["attributes"]["run"].as_str().unwrap());
            // Whoever had logged a step has a checkpoint.
            let steps = fs::read_to_string(run.join("metrics.jsonl")).unwrap_or_default().lines().count();
            let checkpoints = fs::read_dir(run.join("checkpoints")).map_or(0, |checkpoints| checkpoints.count());
            assert!(steps == 0 || checkpoints > 0, "{trial} has {steps} steps and no checkpoint");
            stopped_trials += checkpoints;
            fs::remove_dir_all(run).unwrap();
        }
    }
    assert!(stopped_trials > 0, "no trial had begun");
}

#[test]
fn what_cannot_be_searched_is_said_before_anything_happens() {
    let temporary = experiment();
    let here = temporary.path();
    let with = |more: &[&str]| {
        let mut command = search(here, "s", "1");
        command.args(more);
        bad(command)
    };
    let impatient = ["search", "e.toml", "--study", "s", "--trials", "1", "--silence", "30"];
    assert!(bad(ktg(here, &impatient)).contains("at least three times `--heartbeat`"));
    assert!(with(&["--storage", "mysql://host/db"]).contains("sqlite:///studies.db"));
    assert!(with(&["--storage", "sqlite:///missing/ktg.db"]).contains("missing/ktg.db"));
    assert!(with(&["--nodes", "0"]).contains("nodes"));
    fs::write(here.join("foreign.db"), "my diary").unwrap();
    assert!(with(&["--storage", "sqlite:///foreign.db"]).contains("not an SQLite database"));
    assert_eq!(fs::read_to_string(here.join("foreign.db")).unwrap(), "my diary");
    assert!(bad(ktg(here, &["study", "list"])).contains("no such file"));
    assert!(!here.join("s.runs").exists());

    good(search(here, "s", "1"));
    let other = with(&["--epochs", "5"]);
    assert!(other.contains("another experiment") && other.contains("epochs"), "{other}");
    assert!(with(&["--pruner", "asha"]).contains("another pruner"));
    assert!(bad(ktg(here, &["study", "show", "t"])).contains("no such study"));
    fs::copy(here.join("ktg.db"), here.join("other.db")).unwrap();
    let message = bad(ktg(here, &["study", "show", "t", "--storage", "sqlite:///other.db"]));
    assert!(message.contains("see `ktg study list --storage sqlite:///other.db`"), "{message}");
    assert!(with(&["--set", "search.pruner=none"]).contains("[search]"));
    // Another study in the same directory of runs meets a run of its first graph, but of other settings: it makes its own.
    let run = fs::read_dir(here.join("s.runs")).unwrap().next().unwrap().unwrap().path();
    let before = fs::read(run.join("metrics.jsonl")).unwrap();
    let mut other = search(here, "t", "1");
    other.args(["--runs", "s.runs", "--epochs", "5"]);
    good(other);
    assert_eq!(fs::read(run.join("metrics.jsonl")).unwrap(), before);
    assert_eq!(export(here, "t")[0]["state"], "COMPLETE");
    fs::write(here.join("e.toml"), EXPERIMENT.to_owned() + "gates = [\"ajar\"]\n").unwrap();
    assert!(with(&[]).contains("unknown gate \"ajar\""));
}
