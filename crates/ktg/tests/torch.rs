//! Runs on PyTorch's CPU, which every machine with PyTorch has (feature `torch`).
#![cfg(feature = "torch")]

use std::fs;
use std::path::Path;

use ktg_train::{RunDirectory, RunRecord};

mod common;
use common::{good, ktg, text};

const EXPERIMENT: &str = "side = 28\n[data]\nsource = \"fashion-mnist\"\n[graph]\nfile = \"graph.toml\"\n[train]\n\
                          epochs = 2\nbatch_size = 50\nlearning_rate = 0.02\nlog_every = 1\n\
                          schedule = { kind = \"multi-step\", milestones = [1, 3], factor = 0.5 }\n[split]\n\
                          evaluate_on = \"search-split\"\nsearch_share = 0.05\n";

/// All designs and gates: attention is compared, and nodes run ahead of each other.
const GRAPH: &str = "[nodes]\n1 = \"abn-resnet-cifar-8\"\n2 = \"abn-resnet-cifar-8\"\n[edges]\n\
                     \"label -> 1\" = \"through\"\n\"label -> 2\" = \"falling\"\n\"1 -> 2\" = \"both closer, linear\"\n\
                     \"2 -> 1\" = \"probability closer + attention apart, correct\"\n";

fn experiment(here: &Path) {
    fs::write(here.join("e.toml"), EXPERIMENT).unwrap();
    fs::write(here.join("graph.toml"), GRAPH).unwrap();
}

/// The same without what depends on the length, so that a run can be made longer.
fn experiment_of_any_length(here: &Path) {
    experiment(here);
    fs::write(here.join("graph.toml"), GRAPH.replace("falling", "through").replace(", linear", "")).unwrap();
}

/// Trains on devices, a run of its own for each of them.
fn train(here: &Path, devices: &str, run: &str, options: &[&str]) {
    let mut command = ktg(here, &["train", "e.toml", "--out", run, "--device", devices, "--no-check"]);
    command.args(options);
    good(command);
}

/// What a finished run wrote about each step, and its last weights.
fn bits(here: &Path, run: &str) -> Vec<Vec<u8>> {
    let directory = RunDirectory::new(here.join(run));
    assert!(RunRecord::read(&directory).unwrap().result.is_some(), "{run} is not finished");
    let metrics = fs::read(here.join(run).join("metrics.jsonl")).unwrap();
    let checkpoints = fs::read_dir(here.join(run).join("checkpoints")).unwrap().map(|entry| entry.unwrap().path());
    let newest = checkpoints.max().unwrap();
    let node = |m: usize| fs::read(newest.join(format!("node{m}.safetensors"))).unwrap();
    vec![metrics, node(1), node(2)]
}

#[test]
fn two_devices_of_one_kind_give_the_bits_of_one() {
    let temporary = tempfile::tempdir().unwrap();
    let here = temporary.path();
    experiment(here);
    train(here, "torch", "one", &[]);
    train(here, "torch,torch", "two", &[]);
    assert!(bits(here, "one") == bits(here, "two"));
}

/// Losses of the first steps, edge by edge.
fn losses(here: &Path, run: &str, steps: usize) -> Vec<f64> {
    let text = fs::read_to_string(here.join(run).join("metrics.jsonl")).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let of_steps: Vec<serde_json::Value> = lines.filter(|line| line["kind"] == "step").take(steps).collect();
    assert_eq!(of_steps.len(), steps);
    let edges = of_steps.iter().flat_map(|line| line["edges"].as_array().unwrap());
    edges.map(|edge| edge["loss"].as_f64().unwrap()).collect()
}

#[test]
fn five_steps_agree_with_the_cpu_engine() {
    let temporary = tempfile::tempdir().unwrap();
    let here = temporary.path();
    experiment(here);
    // At a rate at which rounding does not grow fast.
    let slowly = ["--epochs", "1", "--learning-rate", "0.001"];
    train(here, "cpu", "ours", &slowly);
    train(here, "torch", "theirs", &slowly);
    for (ours, theirs) in losses(here, "ours", 5).into_iter().zip(losses(here, "theirs", 5)) {
        assert!((ours - theirs).abs() <= 1e-3 * ours.abs().max(0.01), "{ours} is not {theirs}");
    }
}

#[test]
fn a_run_that_began_on_one_engine_goes_on_on_the_other() {
    let temporary = tempfile::tempdir().unwrap();
    let here = temporary.path();
    experiment_of_any_length(here);
    for (from, to) in [("cpu", "torch"), ("torch", "cpu")] {
        let run = format!("{from}-first");
        train(here, from, &run, &["--epochs", "1"]);
        let longer = ["train", "--resume", &run, "--epochs", "2", "--device", to, "--no-check"];
        let output = ktg(here, &longer).output().unwrap();
        let said = text(&output);
        assert!(output.status.success(), "{said}");
        assert!(said.contains(&format!("the run was computed on {from} and goes on on {to}")), "{said}");
        assert_eq!(RunDirectory::new(here.join(&run)).result().unwrap().unwrap().epochs, 2);
    }
}

#[test]
fn half_precision_is_near_single_resumes_to_the_same_bits_and_is_judged_anywhere() {
    let temporary = tempfile::tempdir().unwrap();
    let here = temporary.path();
    experiment_of_any_length(here);
    let slowly = ["--learning-rate", "0.001"];
    train(here, "torch", "f32", &slowly);
    let single = losses(here, "f32", 5);
    for precision in ["bf16", "f16"] {
        let half = ["--learning-rate", "0.001", "--precision", precision];
        train(here, "torch", precision, &half);
        let losses = losses(here, precision, 5);
        assert!(losses != single, "{precision} is not single precision");
        for (half, single) in losses.iter().zip(&single) {
            assert!((half - single).abs() <= 0.05 * single.abs().max(0.1), "{precision}: {half} is not {single}");
        }
        let resumed = format!("{precision}-resumed");
        train(here, "torch", &resumed, &[&half[..], &["--epochs", "1"]].concat());
        let longer = ["train", "--resume", &resumed, "--epochs", "2", "--no-check"];
        if precision == "f16" {
            let refused = text(&ktg(here, &[&longer[..], &["--device", "cpu"]].concat()).output().unwrap());
            let sentence = "`train.precision` is f16, in which networks are not computed on cpu; leave it out";
            assert!(refused.contains(sentence), "{refused}");
        }
        good(ktg(here, &[&longer[..], &["--device", "torch"]].concat()));
        assert!(bits(here, precision) == bits(here, &resumed), "{precision}");
        good(ktg(here, &["eval", precision, "--device", "cpu"]));
    }
}

/// Two runs of a data set that is opened once.
const PLAN: &str = "experiment = \"e.toml\"\nnodes = [2]\nrepeats = 2\narchitecture = \"abn-resnet-cifar-8\"\n\
                    [[method]]\nname = \"DML\"\npreset = \"dml\"\n[[data]]\nname = \"clothes\"\n";

#[test]
fn runs_side_by_side_are_dealt_devices_and_end_as_alone() {
    let temporary = tempfile::tempdir().unwrap();
    let here = temporary.path();
    fs::write(here.join("e.toml"), EXPERIMENT.replace("[graph]\nfile = \"graph.toml\"\n", "")).unwrap();
    fs::write(here.join("plan.toml"), PLAN).unwrap();
    for (devices, jobs, out) in [("torch", "1", "alone"), ("torch,torch", "2", "dealt")] {
        good(ktg(here, &["compare", "plan.toml", "--out", out, "--device", devices, "--jobs", jobs]));
    }
    let tables = |out: &str| {
        let files = fs::read_dir(here.join(out).join("tables")).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|end| end == "csv")).collect();
        files.sort();
        assert!(!files.is_empty());
        files.iter().map(|path| fs::read_to_string(path).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(tables("alone"), tables("dealt"));
}

#[test]
fn devices_are_listed_and_wrong_ones_refused() {
    let temporary = tempfile::tempdir().unwrap();
    let here = temporary.path();
    let listed = good(ktg(here, &["devices"]));
    assert!(listed.contains("torch") && listed.contains("by PyTorch") && listed.contains("cpu"), "{listed}");
    let refused = ktg(here, &["--device", "torch,cpu", "devices"]).output().unwrap();
    assert!(text(&refused).contains("devices of a list are of one kind"), "{}", text(&refused));
    let refused = ktg(here, &["--device", "torch", "--tf32", "devices"]).output().unwrap();
    assert!(
        text(&refused).contains("--tf32 is for NVIDIA's GPUs, and networks are computed on torch"),
        "{}",
        text(&refused)
    );
}
