//! Three optimiser steps of a three-node graph, learning rates and measures against PyTorch (fixtures/README.md).

use ktg_data::{Batch, Mixed};
use ktg_engine::loss::{GraphLoss, LossSettings};
use ktg_engine::{Computing, OptimizerState, Rule};
use ktg_graph::{Graph, Node, Transfer};
use ktg_net::Architecture;
use ktg_train::measures::{Accumulator, MemberOutputs};
use ktg_train::schedule::{Length, Position, factor};
use ktg_train::{Schedule, Trainer};
use serde_json::Value;

mod common;
#[path = "../../../fixtures/support.rs"]
mod support;
use common::batch;
use support::{check_summary, filled, json, tensors};

const LIMIT: f64 = 1e-4;

fn graph(fixture: &Value) -> Graph {
    let network = fixture["network"].as_str().unwrap();
    let mut graph = Graph::new(vec![Node::new(network); fixture["nodes"].as_u64().unwrap() as usize]);
    for edge in fixture["graph"].as_array().unwrap() {
        let target = edge["to"].as_u64().unwrap() as usize - 1;
        let gate = edge["gate"].as_str().unwrap().parse().unwrap();
        match edge["from"].as_u64() {
            None => graph.set_label_gate(target, gate),
            Some(source) => {
                let design = edge["design"].as_str().unwrap().parse().unwrap();
                graph.set_transfer(source as usize - 1, target, Some(Transfer::new(design, gate)));
            }
        }
    }
    graph
}

fn usual_loss(graph: &Graph) -> GraphLoss {
    GraphLoss::new(graph, &LossSettings::default(), &[])
}

/// Where fixtures give no other.
const RULE: Rule = Rule::sgd(0.1, 0.9, 0.1);
const TEN_STEPS: Length = Length { epochs: 1, batches: 10 };

fn check_variant(file: &str, name: &str) {
    let (fixture, data) = (json(&format!("{file}.json")), tensors(&format!("{file}.safetensors")));
    let variant = fixture["variants"].as_array().unwrap().iter().find(|v| v["name"] == name).unwrap();
    let graph = graph(&fixture);
    let size = |key: &str| fixture[key].as_u64().unwrap() as usize;
    let architecture: Architecture = fixture["network"].as_str().unwrap().parse().unwrap();
    let networks = vec![architecture.network(size("in_channels"), size("num_classes")); graph.len()];
    let loss = LossSettings {
        temperature: variant["temperature"].as_f64().unwrap(),
        crop_sizes: serde_json::from_value(variant["crop_sizes"].clone()).unwrap(),
        ..LossSettings::default()
    };
    let loss = GraphLoss::new(&graph, &loss, &[]);
    let number = |key: &str| variant[key].as_f64().unwrap();
    let shape = &data["images.1"].shape;
    let mut trainer = Trainer::new(&graph, networks, [shape[2], shape[3]], &[], 0, loss, Computing::default()).unwrap();
    for m in 0..graph.len() {
        let weights = filled(&trainer.state(m).unwrap().0, &format!("node{}.", m + 1), &Value::Null);
        trainer.restore(m, &weights, &OptimizerState::new(), "filled").unwrap();
    }
    let steps = variant["steps"].as_array().unwrap();
    for (i, expected) in steps.iter().enumerate() {
        let at = Position { step: i as u64, ..Position::default() };
        let length = Length { epochs: 1, batches: variant["iterations"].as_u64().unwrap() as usize };
        let learning_rate = variant["learning_rates"][i].as_f64().unwrap();
        let rule = Rule::sgd(learning_rate, number("momentum"), number("weight_decay"));
        let report = trainer
            .step(&[batch(&data[&format!("images.{}", i + 1)], &variant["labels"][i])], at, length, rule)
            .unwrap();
        for (node, expected) in report.nodes.iter().zip(expected["nodes"].as_array().unwrap()) {
            let (ours, theirs) = (node.loss.unwrap(), expected["loss"].as_f64().unwrap());
            assert!((ours - theirs).abs() <= LIMIT * theirs, "step {}: node loss {ours}, not {theirs}", i + 1);
        }
        let edges = expected["edges"].as_array().unwrap();
        assert_eq!(edges.len(), report.edges.len());
        for expected in edges {
            let key = format!("{} -> {}", expected["from"].to_string().trim_matches('"'), expected["to"]);
            let edge = report.edges.iter().find(|e| e.to_string() == key).unwrap();
            let theirs = expected["loss"].as_f64().unwrap();
            let difference = (edge.loss - theirs).abs() / theirs.abs().max(1e-3);
            assert!(difference <= LIMIT, "step {}, {key}: {} is not {theirs}", i + 1, edge.loss);
        }
    }
    for m in 0..graph.len() {
        let (weights, optimizer) = trainer.state(m).unwrap();
        let momentum = &optimizer["momentum"];
        let after = &variant["after"][format!("node{}", m + 1)];
        for (what, dict) in [("parameters", &weights), ("momentum", momentum), ("statistics", &weights)] {
            let expected = after[what].as_object().unwrap();
            assert!(!expected.is_empty());
            for (name, expected) in expected {
                check_summary(&format!("node {} {name}", m + 1), &dict[name].data, expected, LIMIT);
            }
        }
    }
}

#[test]
fn three_steps_at_a_constant_rate_are_pytorchs() {
    check_variant("steps", "constant");
}

#[test]
fn three_steps_with_temperature_and_a_cosine_are_pytorchs() {
    check_variant("steps", "cosine");
}

/// Mixed designs, relation and the falling gate.
#[test]
fn three_steps_beyond_the_thesis_are_pytorchs() {
    check_variant("steps_beyond", "beyond");
}

#[test]
fn learning_rates_are_pytorchs() {
    for case in json("schedules.json").as_array().unwrap() {
        let number = |key: &str| case[key].as_f64();
        let epochs = number("epochs").unwrap() as usize;
        let schedule = match case["kind"].as_str().unwrap() {
            "cosine" => Schedule::Cosine {},
            _ => Schedule::MultiStep {
                milestones: serde_json::from_value(case["milestones"].clone()).unwrap(),
                factor: number("gamma").unwrap(),
            },
        };
        let warmup = number("warmup_epochs").unwrap_or(0.0) as usize;
        let steps = number("steps_per_epoch").unwrap_or(1.0) as usize;
        let expected = case["per_step"].as_array().or(case["per_epoch"].as_array()).unwrap();
        assert_eq!(expected.len(), epochs * steps);
        for (i, expected) in expected.iter().enumerate() {
            let at = Position { step: i as u64, epoch: i / steps, batch: i % steps };
            let length = Length { epochs, batches: steps };
            let ours = number("learning_rate").unwrap() * factor(&schedule, warmup, at, length);
            let expected = expected.as_f64().unwrap();
            assert!((ours - expected).abs() < 1e-8, "{} at {i}: {ours}, not {expected}", case["name"]);
        }
    }
}

#[test]
fn measures_are_pytorchs() {
    let fixture = json("measures.json");
    let labels: Vec<u32> = serde_json::from_value(fixture["labels"].clone()).unwrap();
    let flat = |value: &Value| -> Vec<f32> {
        let rows: Vec<Vec<f32>> = serde_json::from_value(value.clone()).unwrap();
        rows.concat()
    };
    let (logits, maps) = (fixture["logits"].as_array().unwrap(), fixture["maps"].as_array().unwrap());
    let classes = fixture["classes"].as_u64().unwrap() as usize;
    let mut all = Accumulator::new(logits.len(), classes);
    // In two batches, so that sums over batches are tested too.
    let cut = 17;
    for (from, to) in [(0, cut), (cut, labels.len())] {
        let members: Vec<MemberOutputs> = logits
            .iter()
            .zip(maps)
            .map(|(logits, maps)| {
                let (logits, maps) = (flat(logits), flat(maps));
                let size = maps.len() / labels.len();
                MemberOutputs {
                    logits: logits[from * classes..to * classes].to_vec(),
                    maps: Some((maps[from * size..to * size].to_vec(), size)),
                }
            })
            .collect();
        all.add(&members, &labels[from..to]);
    }
    let measures = all.finish();
    let close = |what: &str, ours: f64, expected: &Value| {
        let expected = expected.as_f64().unwrap();
        assert!((ours - expected).abs() < 1e-5 * expected.abs().max(1.0), "{what}: {ours}, not {expected}");
    };
    for (node, expected) in measures.nodes.iter().zip(fixture["nodes"].as_array().unwrap()) {
        close("node top-1", node.top1, &expected["top1"]);
        close("node top-5", node.top5, &expected["top5"]);
    }
    close("node average", measures.node_average.top1, &fixture["node_average"]["top1"]);
    let (ensemble, expected) = (&measures.ensemble, &fixture["ensemble"]);
    close("ensemble top-1", ensemble.accuracy.top1, &expected["top1"]);
    close("ensemble top-5", ensemble.accuracy.top5, &expected["top5"]);
    close("NLL", ensemble.nll, &expected["nll"]);
    close("ECE", ensemble.ece, &expected["ece"]);
    for (i, pair) in measures.pairs.iter().enumerate() {
        close("disagreement", pair.disagreement, &fixture["disagreement"]["pairs"][i]["value"]);
        close("probability", pair.probability_cosine, &fixture["probability_cosine"]["pairs"][i]["value"]);
        close("map", pair.attention_cosine.unwrap(), &fixture["map_cosine"]["pairs"][i]["value"]);
    }
}

#[test]
fn label_losses_of_mixed_samples_are_those_of_both_labels() {
    let mut graph = Graph::new(vec![Node::new("abn-resnet-cifar-20")]);
    graph.set_label_gate(0, "through".parse().unwrap());
    let loss = |labels: [u32; 4], mixed: Option<Mixed>| {
        let batch = Batch {
            indices: (0..4).collect(),
            images: (0..4 * 3 * 16 * 16).map(|i| ((i * 37 % 101) as f32) / 101.0).collect(),
            labels: labels.to_vec(),
            channels: 3,
            height: 16,
            width: 16,
            mixed,
        };
        let network = "abn-resnet-cifar-20".parse::<Architecture>().unwrap().network(3, 5);
        let mut trainer =
            Trainer::new(&graph, vec![network], [16, 16], &[], 1, usual_loss(&graph), Computing::default()).unwrap();
        let rule = Rule { weight_decay: 0.0, ..RULE };
        trainer.step(std::slice::from_ref(&batch), Position::default(), TEN_STEPS, rule).unwrap().nodes[0].loss.unwrap()
    };
    let (own, partners) = ([0, 1, 2, 3], [3, 1, 4, 0]);
    let mixed = loss(own, Some(Mixed { labels: partners.to_vec(), share: 0.7 }));
    let expected = 0.7 * loss(own, None) + 0.3 * loss(partners, None);
    assert!((mixed - expected).abs() < 1e-5 * expected, "{mixed}, not {expected}");
    assert!((loss(own, None) - loss(partners, None)).abs() > 1e-3, "the labels must matter");
}

#[test]
fn layers_that_no_loss_reaches_are_left_alone() {
    // Node 1 is taught its attention map alone, so its classifier has no gradient: no weight decay either, as in PyTorch.
    let mut graph = Graph::new(vec![Node::new("abn-resnet-cifar-8"); 2]);
    graph.set_label_gate(0, "cutoff".parse().unwrap());
    graph.set_label_gate(1, "through".parse().unwrap());
    let attention = Transfer::new("attention closer".parse().unwrap(), "through".parse().unwrap());
    graph.set_transfer(1, 0, Some(attention));
    let networks = vec!["abn-resnet-cifar-8".parse::<Architecture>().unwrap().network(3, 3); 2];
    let mut trainer =
        Trainer::new(&graph, networks, [16, 16], &[], 1, usual_loss(&graph), Computing::default()).unwrap();
    let before = [trainer.state(0).unwrap().0, trainer.state(1).unwrap().0];
    let batch = Batch {
        indices: (0..4).collect(),
        images: (0..4 * 3 * 16 * 16).map(|i| ((i * 37 % 101) as f32) / 101.0).collect(),
        labels: vec![0, 1, 2, 0],
        channels: 3,
        height: 16,
        width: 16,
        mixed: None,
    };
    trainer.step(std::slice::from_ref(&batch), Position::default(), TEN_STEPS, RULE).unwrap();
    let after = [trainer.state(0).unwrap(), trainer.state(1).unwrap()];
    let unchanged = |m: usize, name: &str| before[m][name] == after[m].0[name];
    for name in ["fc.weight", "fc.bias", "layer3.0.conv1.weight", "att_conv2.weight"] {
        assert!(unchanged(0, name) && !after[0].1["momentum"].contains_key(name), "{name} of node 1");
        assert!(!unchanged(1, name) && after[1].1["momentum"].contains_key(name), "{name} of node 2");
    }
    assert!(!unchanged(0, "conv1.weight") && !unchanged(0, "att_conv3.weight"));
}

/// Two nodes; the second learns from the first alone, where that is right.
fn taught_where_right() -> Trainer {
    let mut graph = Graph::new(vec![Node::new("abn-resnet-cifar-8"); 2]);
    graph.set_label_gate(0, "through".parse().unwrap());
    graph.set_label_gate(1, "cutoff".parse().unwrap());
    let edge = Transfer::new("probability closer".parse().unwrap(), "correct".parse().unwrap());
    graph.set_transfer(0, 1, Some(edge));
    let networks = vec!["abn-resnet-cifar-8".parse::<Architecture>().unwrap().network(3, 3); 2];
    Trainer::new(&graph, networks, [16, 16], &[], 1, usual_loss(&graph), Computing::default()).unwrap()
}

fn one_image_of(label: u32) -> Batch {
    let images = (0..3 * 16 * 16).map(|i| ((i * 37 % 101) as f32) / 101.0).collect();
    Batch { indices: vec![0], images, labels: vec![label], channels: 3, height: 16, width: 16, mixed: None }
}

#[test]
fn a_source_that_is_never_right_gives_gradients_of_zero() {
    let mut seen = [false; 2];
    for label in 0..3 {
        let mut trainer = taught_where_right();
        let before = trainer.state(1).unwrap().0;
        let report = trainer.step(&[one_image_of(label)], Position::default(), TEN_STEPS, RULE).unwrap();
        let (after, optimizer) = trainer.state(1).unwrap();
        let is_right = report.nodes[0].accuracy == Some(100.0);
        seen[usize::from(is_right)] = true;
        let (after, before) = (&after["conv1.weight"].data, &before["conv1.weight"].data);
        let is_decay = after.iter().zip(before).all(|(a, b)| (a - b * 0.99).abs() <= 1e-6 * b.abs());
        assert_eq!(is_decay, !is_right, "weight decay alone acts where the source is wrong");
        assert!(optimizer["momentum"]["conv1.weight"].data.iter().any(|v| *v != 0.0));
    }
    assert_eq!(seen, [true, true]);
}

#[test]
fn a_step_that_diverges_changes_nothing() {
    let mut trainer = taught_where_right();
    trainer.step(&[one_image_of(0)], Position::default(), TEN_STEPS, RULE).unwrap();
    let before = [trainer.state(0).unwrap(), trainer.state(1).unwrap()];
    let mut batch = one_image_of(0);
    batch.images[7] = f32::NAN;
    let second = Position { step: 1, epoch: 0, batch: 1 };
    let error = trainer.step(std::slice::from_ref(&batch), second, TEN_STEPS, RULE).unwrap_err();
    assert!(matches!(error, ktg_train::Error::Diverged { node: 1, step: 2, .. }), "{error}");
    assert!([trainer.state(0).unwrap(), trainer.state(1).unwrap()] == before);
}
