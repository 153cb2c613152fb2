//! Training on the chosen device against training on the CPU, and half precision against single.
//! `KTG_DEVICE=vulkan cargo test --features vulkan ...` chooses a GPU.

use ktg_data::Batch;
use ktg_graph::{Graph, presets};
use ktg_nn::burn::tensor::Device;
use ktg_nn::loss::LossSettings;
use ktg_nn::{NetworkConfig, StateDict, device, kernels};
use ktg_train::trainer::Moment;
use ktg_train::{Precision, SgdSettings, StepBatch, StepReport, Trainer};

#[path = "../../../fixtures/support.rs"]
mod support;

const STEPS: u64 = 5;

fn batch(step: u64) -> Batch {
    let (n, side) = (8, 20);
    let mut state = step;
    let number = |_| support::uniform(&mut state);
    Batch {
        indices: (0..n).collect(),
        images: (0..n * 3 * side * side).map(number).collect(),
        labels: (0..n).map(|i| (i as u64 + step) as u32 % 5).collect(),
        channels: 3,
        height: side,
        width: side,
        mixed: None,
    }
}

fn trainer(graph: &Graph, device: &Device, precision: Precision) -> Trainer {
    let config = NetworkConfig { architecture: "abn-resnet-cifar-8".parse().unwrap(), classes: 5, channels: 3 };
    let sgd = SgdSettings { momentum: 0.9, weight_decay: 1e-4 };
    let loss = LossSettings { temperature: 2.0, crop_sizes: vec![3, 7] };
    let trainer = Trainer::new(graph, &vec![config; graph.len()], &[], 1, loss, sgd, device).unwrap();
    trainer.with_precision(precision).unwrap()
}

fn moment(step: u64) -> Moment {
    Moment { step, steps: STEPS, epoch: 1, learning_rate: 0.05 }
}

/// The reports of the first steps, all of which are submitted before the first loss is asked for.
fn train(trainer: &mut Trainer, device: &Device) -> Vec<StepReport> {
    for step in 1..=STEPS {
        let batch = StepBatch::new(batch(step), &device.clone().autodiff(), trainer.precision());
        trainer.submit(batch, moment(step)).unwrap();
    }
    trainer.wait().unwrap();
    trainer.known_reports()
}

/// Distance relative to the second's length.
fn apart(a: &StateDict, b: &StateDict) -> f64 {
    let (mut off, mut all) = (0.0, 0.0);
    for (name, b) in b {
        for (a, b) in a[name].data.iter().zip(&b.data) {
            off += f64::from((a - b) * (a - b));
            all += f64::from(b * b);
        }
    }
    (off / all).sqrt()
}

fn largest_difference(ours: &[StepReport], theirs: &[StepReport]) -> Vec<f64> {
    assert_eq!(ours.len(), theirs.len());
    let step = |(a, b): (&StepReport, &StepReport)| {
        assert_eq!((a.step, a.edges.len()), (b.step, b.edges.len()));
        let edge = |(a, b): (&ktg_train::EdgeReport, &ktg_train::EdgeReport)| {
            assert_eq!((a.from, a.to), (b.from, b.to));
            (a.loss - b.loss).abs() / b.loss.abs().max(1e-2)
        };
        a.edges.iter().zip(&b.edges).map(edge).fold(0.0, f64::max)
    };
    ours.iter().zip(theirs).map(step).collect()
}

fn list(numbers: &[f64]) -> String {
    numbers.iter().map(|number| format!("{number:.1e}")).collect::<Vec<_>>().join(", ")
}

fn graphs() -> [Graph; 2] {
    [presets::dml(2, "abn-resnet-cifar-8"), presets::diverse(3, "abn-resnet-cifar-8").unwrap()]
}

#[test]
fn training_on_a_gpu_is_training_on_the_cpu() {
    let gpu = device::chosen();
    if !kernels::is_gpu(&gpu) {
        eprintln!("skipped: the device is the CPU; choose a GPU with {}", device::VARIABLE);
        return;
    }
    for graph in graphs() {
        let (mut here, mut there) =
            (trainer(&graph, &Device::flex(), Precision::F32), trainer(&graph, &gpu, Precision::F32));
        let differences = largest_difference(&train(&mut there, &gpu), &train(&mut here, &Device::flex()));
        println!("{:?}: losses differ by {}", graph.name, list(&differences));
        // The first step differs by rounding; every step multiplies what the one before left.
        for (step, difference) in differences.iter().enumerate() {
            let limit = [1e-5, 1e-4, 1e-3, 1e-2, 1e-2][step];
            assert!(*difference <= limit, "{:?}, step {}: {difference}", graph.name, step + 1);
        }
        for m in 0..graph.len() {
            let distance = apart(&there.state(m).0, &here.state(m).0);
            println!("node {}: weights differ by {distance:.1e}", m + 1);
            assert!(distance < 1e-2, "node {}: {distance}", m + 1);
        }
    }
}

#[test]
fn half_precision_follows_single() {
    let device = device::chosen();
    for graph in graphs() {
        let mut single = trainer(&graph, &device, Precision::F32);
        let expected = train(&mut single, &device);
        for (precision, limits) in [(Precision::Bf16, (0.02, 0.1)), (Precision::F16, (0.004, 0.05))] {
            if !device.supports_dtype(precision.dtype()) {
                eprintln!("skipped: {} does not compute in {}", device::name(), precision.name());
                continue;
            }
            let mut half = trainer(&graph, &device, precision);
            let differences = largest_difference(&train(&mut half, &device), &expected);
            println!("{:?} in {}: losses differ by {}", graph.name, precision.name(), list(&differences));
            for (step, difference) in differences.iter().enumerate() {
                let limit = if step == 0 { limits.0 } else { limits.1 };
                assert!(
                    *difference <= limit,
                    "{:?} in {}, step {}: {difference}",
                    graph.name,
                    precision.name(),
                    step + 1
                );
            }
            for m in 0..graph.len() {
                let (weights, momentum) = half.state(m);
                println!("node {}: weights differ by {:.1e}", m + 1, apart(&weights, &single.state(m).0));
                assert!(weights.values().chain(momentum.values()).all(|a| a.data.iter().all(|v| v.is_finite())));
                assert_eq!(momentum.contains_key("loss_scale"), precision == Precision::F16);
            }
        }
    }
}

#[test]
fn a_gradient_that_overflows_changes_no_weight_and_halves_the_scale() {
    let device = device::chosen();
    if !device.supports_dtype(Precision::F16.dtype()) {
        eprintln!("skipped: {} does not compute in f16", device::name());
        return;
    }
    let graph = presets::dml(2, "abn-resnet-cifar-8");
    let mut trainer = trainer(&graph, &device, Precision::F16);
    let first = trainer.step(batch(1), moment(1)).unwrap();
    for m in 0..2 {
        let (weights, mut momentum) = trainer.state(m);
        momentum.get_mut("loss_scale").unwrap().data = vec![1e30, 7.0];
        trainer.restore(m, &weights, &momentum, "test").unwrap();
    }
    let before: Vec<_> = (0..2).map(|m| trainer.state(m)).collect();
    let report = trainer.step(batch(2), moment(2)).unwrap();
    assert!(report.nodes[0].loss.unwrap().is_finite() && first.nodes[0].loss.unwrap().is_finite());
    for (m, (old_weights, old_momentum)) in before.iter().enumerate() {
        let (weights, momentum) = trainer.state(m);
        assert_eq!(momentum["loss_scale"].data, [5e29, 0.0], "node {}", m + 1);
        let parameters = |dict: &StateDict| -> StateDict {
            dict.iter().filter(|(name, _)| !name.contains("running")).map(|(n, a)| (n.clone(), a.clone())).collect()
        };
        assert!(parameters(&weights) == parameters(old_weights), "node {}: weights", m + 1);
        for (name, old) in old_momentum.iter().filter(|(name, _)| *name != "loss_scale") {
            assert!(momentum[name] == *old, "node {}: momentum of {name}", m + 1);
        }
    }
}
