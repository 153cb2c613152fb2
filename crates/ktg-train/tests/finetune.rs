//! Fine-tuning from a file that PyTorch wrote, against what PyTorch makes of it (`fixtures/make_finetune.py`); and such runs
//! resume to the same bits.

use std::path::Path;

use ktg_engine::loss::GraphLoss;
use ktg_engine::{Computing, OptimizerState};
use ktg_graph::{Factor, Freeze};
use ktg_train::schedule::{Length, Position};
use ktg_train::{Experiment, GraphSettings, Schedule, Settings, Trainer};
use serde_json::Value;

mod common;
#[path = "../../../fixtures/support.rs"]
mod support;
use common::{assert_same_contents, batch, finish, is_step, stop_at, train};
use support::{check_summary, fill, json, path, tensors};

/// One node, from the file, on the built-in data: grey images of 10 classes.
fn settings(fixture: &Value, freeze: &[String]) -> Settings {
    let number = |key: &str| fixture[key].as_f64().unwrap();
    let mut settings = Settings { side: 8, seed: 3, ..common::settings() };
    settings.graph = GraphSettings {
        preset: Some("independent".to_owned()),
        nodes: Some(1),
        architecture: Some(fixture["network"].as_str().unwrap().to_owned()),
        pretrained: Some(path("finetune.pth")),
        freeze: (!freeze.is_empty()).then(|| Freeze::Stages(freeze.iter().cloned().collect())),
        learning_rate_factor: Factor::new(number("learning_rate_factor")),
        ..GraphSettings::default()
    };
    settings.train.learning_rate = number("learning_rate");
    settings.train.weight_decay = number("weight_decay");
    settings.train.momentum = number("momentum");
    settings.train.nesterov = true;
    settings.train.schedule = Schedule::Constant {};
    settings
}

/// The head that PyTorch was given, in place of our random one.
fn replace_head(trainer: &mut Trainer) {
    let (mut weights, _) = trainer.state(0).unwrap();
    let inputs = weights["fc.weight"].shape[1];
    for name in ["fc.weight", "fc.bias"] {
        let head = weights.get_mut(name).unwrap();
        head.data = fill(&format!("head.{name}"), &head.shape, inputs);
    }
    trainer.restore(0, &weights, &OptimizerState::new(), "test").unwrap();
}

#[test]
fn five_steps_from_a_file_are_pytorchs() {
    let (fixture, data) = (json("finetune.json"), tensors("finetune.safetensors"));
    for case in fixture["cases"].as_array().unwrap() {
        let freeze: Vec<String> = serde_json::from_value(case["freeze"].clone()).unwrap();
        let settings = settings(&fixture, &freeze);
        let experiment = Experiment::open(settings.clone(), Path::new(".")).unwrap();
        let notes = experiment.warnings.join("\n");
        assert!(notes.contains("`state_dict`") && notes.contains("`module.`"), "{notes}");
        let loss = GraphLoss::new(&experiment.graph, &settings.loss, &[]);
        let Experiment { graph, networks, starts, .. } = experiment;
        let mut trainer =
            Trainer::new(&graph, networks, [8, 8], &starts, settings.seed, loss, Computing::default()).unwrap();
        replace_head(&mut trainer);
        let losses = case["losses"].as_array().unwrap();
        let length = Length { epochs: 1, batches: losses.len() };
        for (step, expected) in losses.iter().enumerate() {
            let at = Position { step: step as u64, epoch: 0, batch: step };
            let batch = batch(&data[&format!("images.{}", step + 1)], &fixture["labels"][step]);
            let report = trainer.step(&[batch], at, length, settings.train.rule(at, length)).unwrap();
            let (ours, theirs) = (report.nodes[0].loss.unwrap(), expected.as_f64().unwrap());
            assert!(
                (ours - theirs).abs() <= 1e-4 * theirs,
                "{}, step {}: {ours}, not {theirs}",
                case["name"],
                step + 1
            );
        }
        let (weights, _) = trainer.state(0).unwrap();
        for (name, expected) in case["after"].as_object().unwrap() {
            check_summary(&format!("{}: {name}", case["name"]), &weights[name].data, expected, 1e-4);
        }
    }
}

#[test]
fn a_fine_tuned_run_resumes_to_the_same_bits() {
    let fixture = json("finetune.json");
    let temporary = tempfile::tempdir().unwrap();
    let through = temporary.path().join("through");
    let stopped = temporary.path().join("stopped");
    let mut settings = settings(&fixture, &["conv1".to_owned(), "bn1".to_owned(), "layer1".to_owned()]);
    settings.train.average = Some(0.9);
    let expected = train(settings.clone(), &through).unwrap();
    assert_eq!(stop_at(settings, &stopped, is_step(4)), 4);
    assert_eq!(finish(&stopped).measures, expected.measures);
    assert_same_contents(&stopped, &through, "after stopping at 4");
}
