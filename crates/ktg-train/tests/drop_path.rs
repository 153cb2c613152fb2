//! Stochastic depth, from the settings to the weights.

use std::path::Path;

use ktg_data::Batch;
use ktg_engine::loss::{GraphLoss, LossSettings};
use ktg_engine::{Computing, Rule};
use ktg_graph::{Factor, presets};
use ktg_net::{Architecture, Build, StateDict};
use ktg_train::schedule::{Length, Position};
use ktg_train::{Experiment, Settings, Trainer};

mod common;
use common::{assert_same_contents, checkpoints, finish, is_step, stop_at, train};

const NAME: &str = "vit-tiny-16";
const SIDE: usize = 32;

fn settings(architecture: &str, rate: Option<f64>) -> Settings {
    let mut settings = Settings { side: SIDE, ..common::settings() };
    settings.graph.preset = Some("dml".to_owned());
    settings.graph.architecture = Some(architecture.to_owned());
    settings.graph.drop_path = rate.and_then(Factor::new);
    settings.split.train_share = 0.01;
    settings.train.epochs = 1;
    settings.train.learning_rate = 0.01;
    settings
}

#[test]
fn it_is_given_to_every_node_and_a_run_resumes_to_the_same_bits() {
    let directory = tempfile::tempdir().unwrap();
    let [whole, stopped, without] = ["whole", "stopped", "without"].map(|name| directory.path().join(name));
    let settings = settings(NAME, Some(0.5));
    train(settings.clone(), &whole).unwrap();
    let text = std::fs::read_to_string(whole.join("graph.toml")).unwrap();
    assert!(text.contains("2 = { architecture = \"vit-tiny-16\", drop_path = 0.5 }"), "{text}");
    stop_at(settings, &stopped, is_step(2));
    finish(&stopped);
    assert_same_contents(&whole, &stopped, "stopped and resumed");
    train(self::settings(NAME, None), &without).unwrap();
    let weights = |directory: &Path| {
        let newest = checkpoints(directory).pop().unwrap();
        std::fs::read(directory.join("checkpoints").join(newest).join("node1.safetensors")).unwrap()
    };
    assert_ne!(weights(&whole), weights(&without));
}

#[test]
fn networks_without_it_refuse_it() {
    let error = Experiment::open(settings("resnet-cifar-8", Some(0.1)), Path::new(".")).err().unwrap().to_string();
    assert!(error.contains("resnet-cifar-8 has no stochastic depth; leave out its `drop_path`"), "{error}");
}

/// What is dropped is a function of seed, step, node, layer and sample: not of how a batch is cut.
#[test]
fn parts_of_a_batch_drop_what_the_whole_drops() {
    let images = images(8);
    let whole = after_a_step(&[batch(&images, 0..8)], 3);
    let halves = after_a_step(&[batch(&images, 0..4), batch(&images, 4..8)], 3);
    let largest = largest_difference(&whole, &halves);
    // Sums of gradients are rounded in another order.
    assert!(largest < 1e-5, "{largest}");
    let of_another_seed = after_a_step(&[batch(&images, 0..8)], 4);
    assert!(largest_difference(&whole, &of_another_seed) > 1e-4);
    // Nodes drop different blocks.
    assert!(largest_difference(&whole[..1], &[whole[1].clone()]) > 1e-4);
}

fn images(count: usize) -> Vec<f32> {
    (0..count * 3 * SIDE * SIDE).map(|i| (i * 7919 % 1000) as f32 / 1000.0).collect()
}

fn batch(images: &[f32], range: std::ops::Range<usize>) -> Batch {
    let len = 3 * SIDE * SIDE;
    Batch {
        labels: range.clone().map(|i| i as u32 % 4).collect(),
        images: images[range.start * len..range.end * len].to_vec(),
        indices: range.collect(),
        channels: 3,
        height: SIDE,
        width: SIDE,
        mixed: None,
    }
}

/// The weights of two equal nodes after one step.
fn after_a_step(batches: &[Batch], seed: u64) -> Vec<StateDict> {
    let architecture: Architecture = NAME.parse().unwrap();
    let network = architecture.build(Build { side: Some(SIDE), drop_path: 0.5, ..Build::plain(3, 4) });
    let graph = presets::independent(2, NAME);
    let loss = GraphLoss::new(&graph, &LossSettings::default(), &[]);
    let computing = Computing::default();
    let mut trainer = Trainer::new(&graph, vec![network; 2], [SIDE; 2], &[], seed, loss, computing).unwrap();
    // The same start whatever the seed.
    let (start, memory) = Trainer::new(
        &graph,
        vec![architecture.build(Build { side: Some(SIDE), ..Build::plain(3, 4) }); 2],
        [SIDE; 2],
        &[],
        1,
        GraphLoss::new(&graph, &LossSettings::default(), &[]),
        computing,
    )
    .unwrap()
    .state(0)
    .unwrap();
    (0..2).for_each(|m| trainer.restore(m, &start, &memory, "start").unwrap());
    let (at, length) = (Position { step: 0, epoch: 0, batch: 0 }, Length { epochs: 1, batches: 1 });
    trainer.step(batches, at, length, Rule::sgd(0.1, 0.0, 0.0)).unwrap();
    (0..2).map(|m| trainer.state(m).unwrap().0).collect()
}

fn largest_difference(a: &[StateDict], b: &[StateDict]) -> f32 {
    let values = |all: &[StateDict]| -> Vec<f32> {
        all.iter().flat_map(StateDict::values).flat_map(|array| array.data.clone()).collect()
    };
    values(a).iter().zip(values(b)).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}
