//! Three steps of single networks against PyTorch's optimizer (fixtures/make_backbones.py).

use ktg_engine::loss::{CrossEntropy, Labels};
use ktg_engine::{Computing, Images, Job, MOMENTUM, Node, OutputGradients, Rule, Scratch, node};
use ktg_net::{Architecture, Build, StateDict};
use serde_json::Value;

#[path = "../../../fixtures/support.rs"]
mod support;
use support::{check_summary, filled, json, tensors};

/// Relative error of f32 after three steps.
const LIMIT: f64 = 1e-4;

#[test]
fn steps_are_pytorchs() {
    let images = tensors("steps_backbones.safetensors");
    let runs = json("steps_backbones.json");
    for run in runs.as_array().unwrap() {
        check(run, &images);
    }
}

fn check(run: &Value, tensors: &StateDict) {
    let name = run["network"].as_str().unwrap();
    let size = |key: &str| run[key].as_u64().unwrap() as usize;
    let number = |key: &str| run[key].as_f64().unwrap();
    let build = Build { side: Some(size("side")), ..Build::plain(size("in_channels"), size("num_classes")) };
    let network = name.parse::<Architecture>().unwrap().build(build);
    // The map has no loss.
    let job = Job { map_learns: false, ..Job::TRAINING };
    let mut node: Box<dyn Node> = node(network, [size("side"); 2], job, 0, Computing::default()).unwrap();
    node.load_weights(&filled(&node.weights().unwrap(), "", &run["scales"]), "filled").unwrap();
    let images = Images::new(&tensors[&format!("{name}.images")].data, size("batch"));
    let rule = Rule::sgd(number("learning_rate"), number("momentum"), number("weight_decay"));
    let mut scratch = Scratch::default();

    let labels: Vec<Vec<u32>> = serde_json::from_value(run["labels"].clone()).unwrap();
    let losses: Vec<f64> = serde_json::from_value(run["losses"].clone()).unwrap();
    for (step, (labels, expected)) in labels.iter().zip(&losses).enumerate() {
        let outputs = node.forward(images, &mut scratch).unwrap();
        let mut gradient = vec![0.0; outputs.logits.len()];
        let labels = Labels { own: labels, mixed: None };
        let loss = f64::from(CrossEntropy::default().mean(&outputs.logits, labels, 1.0, &mut gradient));
        assert!((loss - expected).abs() <= LIMIT * expected, "{name}, step {step}: loss {loss}, not {expected}");
        let logits = Some(gradient.into_iter().map(|g| g as f32).collect());
        let at_outputs = OutputGradients { logits, attention_logits: None, attention_map: None };
        let rule = Rule { number: step as u64 + 1, ..rule };
        node.learn(images, &at_outputs, rule, &mut scratch).unwrap();
    }
    let weights = node.weights().unwrap();
    let momenta = &node.optimizer_state().unwrap()[MOMENTUM];
    let mut checked = 0;
    for (what, found) in [("parameters", &weights), ("statistics", &weights), ("momentum", momenta)] {
        for (key, expected) in run["after"][what].as_object().unwrap() {
            check_summary(&format!("{name}, {what} of {key}"), &found[key].data, expected, LIMIT);
            checked += 1;
        }
    }
    // Of networks without batch norm, some blocks are stored.
    let least = if run["after"]["statistics"].as_object().unwrap().is_empty() { 25 } else { 40 };
    assert!(checked > least, "only {checked} tensors were compared");
}
