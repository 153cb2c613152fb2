//! Optimizers, averages, clipping, accumulation, smoothed and weighted labels and frozen stages, two steps each, against
//! PyTorch (`fixtures/make_recipes.py`).

use ktg_data::Batch;
use ktg_engine::loss::{GraphLoss, LossSettings};
use ktg_engine::{Computing, OptimizerState};
use ktg_graph::{Factor, Gate, Graph, Node};
use ktg_net::{Architecture, StateDict};
use ktg_train::schedule::{Length, Position};
use ktg_train::{Schedule, Start, TrainSettings, Trainer};
use serde::de::DeserializeOwned;
use serde_json::Value;

mod common;
#[path = "../../../fixtures/support.rs"]
mod support;
use common::batch;
use support::{check_summary, filled, json, tensors};

/// A value of a recipe, or what it is without.
fn value<T: DeserializeOwned + Default>(recipe: &Value, key: &str) -> T {
    recipe.get(key).map(|value| serde_json::from_value(value.clone()).unwrap()).unwrap_or_default()
}

fn check(recipe: &Value, fixture: &Value, data: &StateDict) {
    let size = |key: &str| fixture[key].as_u64().unwrap() as usize;
    let name = fixture["network"].as_str().unwrap();
    let network = name.parse::<Architecture>().unwrap().network(size("in_channels"), size("num_classes"));
    let frozen: Vec<String> = value(recipe, "frozen");
    let is_in =
        |layer: &str, path: &String| layer.strip_prefix(path).is_some_and(|r| r.is_empty() || r.starts_with('.'));
    let is_frozen = |layer: &usize| frozen.iter().any(|path| is_in(&network.layers[*layer].name, path));
    let start = Start {
        frozen: (0..network.layers.len()).filter(is_frozen).collect(),
        loaded: value(recipe, "slow"),
        learning_rate_factor: recipe.get("factor").and_then(|factor| Factor::new(factor.as_f64()?)),
        ..Start::default()
    };

    let mut graph = Graph::new(vec![Node::new(name)]);
    graph.set_label_gate(0, Gate::Through);
    let mut train: TrainSettings = value(recipe, "train");
    train.schedule = Schedule::Constant {};
    let loss: LossSettings = value(recipe, "loss");
    let images: Vec<usize> = value(fixture, "images_of_classes");
    let loss = GraphLoss::new(&graph, &loss, &images);
    let side = data["images.1"].shape[2];
    let mut trainer =
        Trainer::new(&graph, vec![network], [side, side], &[start], 0, loss, Computing::default()).unwrap();
    let weights = filled(&trainer.state(0).unwrap().0, "node1.", &Value::Null);
    trainer.restore(0, &weights, &OptimizerState::new(), "filled").unwrap();
    if !train.decay_norms_and_biases {
        trainer.spare_norms_and_biases();
    }

    let limit = 1e-4;
    let losses = recipe["losses"].as_array().unwrap();
    let length = Length { epochs: 1, batches: losses.len() };
    for (step, expected) in losses.iter().enumerate() {
        let first = step * train.accumulate;
        let batches: Vec<Batch> = (first..first + train.accumulate)
            .map(|which| batch(&data[&format!("images.{}", which % 3 + 1)], &fixture["labels"][which % 3]))
            .collect();
        let at = Position { step: step as u64, epoch: 0, batch: step };
        let report = trainer.step(&batches, at, length, train.rule(at, length)).unwrap();
        let (ours, theirs) = (report.nodes[0].loss.unwrap(), expected.as_f64().unwrap());
        assert!((ours - theirs).abs() <= limit * theirs, "step {}: loss {ours}, not {theirs}", step + 1);
    }
    let (weights, state) = trainer.state(0).unwrap();
    for (kind, expected) in recipe["after"].as_object().unwrap() {
        let ours = if kind == "weights" { &weights } else { &state[kind] };
        for (name, expected) in expected.as_object().unwrap() {
            check_summary(&format!("{kind} of {name}"), &ours[name].data, expected, limit);
        }
    }
}

#[test]
fn recipes_are_pytorchs() {
    let (fixture, data) = (json("recipes.json"), tensors("recipes.safetensors"));
    let recipes = fixture["recipes"].as_array().unwrap();
    assert_eq!(recipes.len(), 15);
    for recipe in recipes {
        println!("{}", recipe["name"]);
        check(recipe, &fixture, &data);
    }
}
