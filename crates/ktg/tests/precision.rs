//! `--precision auto`: decided once, and kept with the run, the study or the comparison.

mod common;

use std::fs;
use std::path::Path;

use common::{good, ktg, text};
use serde_json::Value as Json;

const EXPERIMENT: &str = r#"
side = 8
augment = "none"
[graph]
nodes = 2
architecture = "abn-resnet-cifar-8"
[split]
train_share = 0.02
[train]
epochs = 1
batch_size = 5
"#;

const PLAN: &str = r#"
experiment = "e.toml"
nodes = [2]
seeds = [1]
[set]
"train.precision" = "auto"
[[method]]
name = "DML"
preset = "dml"
"#;

fn experiment() -> tempfile::TempDir {
    let temporary = tempfile::tempdir().unwrap();
    fs::write(temporary.path().join("e.toml"), EXPERIMENT).unwrap();
    temporary
}

/// The precision of a run, as it is kept; what is not there is f32.
fn precision_of(run: &Path) -> String {
    let settings = fs::read_to_string(run.join("settings.toml")).unwrap();
    let precision = settings.lines().find_map(|line| line.strip_prefix("precision = "));
    precision.unwrap_or("f32").trim_matches('"').to_owned()
}

#[test]
fn a_run_keeps_what_auto_was_and_says_it() {
    let temporary = experiment();
    let here = temporary.path();
    let output = ktg(here, &["train", "e.toml", "--precision", "auto", "--out", "run"]).output().unwrap();
    let said = text(&output);
    assert!(output.status.success() && said.contains("`train.precision` is auto: "), "{said}");
    let precision = precision_of(&here.join("run"));
    assert!(said.contains(&format!("is auto: {precision}")), "{precision}: {said}");
}

#[test]
fn a_comparison_goes_on_with_what_was_decided_when_it_was_begun() {
    let temporary = experiment();
    let here = temporary.path();
    fs::write(here.join("plan.toml"), PLAN).unwrap();
    good(ktg(here, &["compare", "plan.toml", "--no-check"]));
    let index = here.join("plan/comparison.json");
    let mut json: Json = serde_json::from_str(&fs::read_to_string(&index).unwrap()).unwrap();
    let run = here.join("plan").join(json["groups"][0]["runs"][0].as_str().unwrap());
    let data = json["data_sets"][0].as_str().unwrap().to_owned();
    assert_eq!(json["precisions"][&data], precision_of(&run).as_str());
    // As if another machine had begun it.
    fs::remove_dir_all(&run).unwrap();
    json["precisions"][&data] = "bf16".into();
    fs::write(&index, json.to_string()).unwrap();
    good(ktg(here, &["compare", "plan.toml", "--no-check"]));
    assert_eq!(precision_of(&run), "bf16");
    // And what is done is of this plan.
    good(ktg(here, &["compare", "plan.toml", "--no-check"]));
}

#[test]
fn workers_of_a_study_do_as_its_first_one_did() {
    let temporary = experiment();
    let here = temporary.path();
    let search = |study: &str, trials: &str, precision: &str| {
        good(ktg(here, &["search", "e.toml", "--study", study, "--trials", trials, "--precision", precision]));
        let runs = fs::read_dir(here.join(format!("{study}.runs"))).unwrap().map(|run| run.unwrap().path());
        runs.filter(|run| run.join("settings.toml").exists()).map(|run| precision_of(&run)).collect::<Vec<_>>()
    };
    assert_eq!(search("given", "1", "bf16"), ["bf16"]);
    assert_eq!(search("given", "2", "auto"), ["bf16", "bf16"]);
    let decided = search("auto", "1", "auto").remove(0);
    assert_ne!(decided, "auto");
    assert_eq!(search("auto", "2", &decided), [decided.clone(), decided.clone()]);
}
