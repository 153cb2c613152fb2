//! Losses, their gradients and gates against PyTorch, and what degenerate input gives.

use burn::tensor::{Device, Int, Tensor, TensorData};
use ktg_graph::{Design, Gate, Graph, Node, Transfer};
use ktg_nn::loss::{self, EdgeParts, GateWeights, GraphLoss, LossSettings, NodeLabels, Pairs};
use ktg_nn::{Outputs, StateDict, burn, device, weights};
use serde_json::Value;

#[path = "../../../fixtures/support.rs"]
mod support;
use support::{assert_close, json, label_loss, tensors};

const LIMIT: f64 = 1e-4;

/// A leaf that collects a gradient.
fn leaf<const D: usize>(dict: &StateDict, name: &str, shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(dict[name].data.clone(), shape), device).require_grad()
}

struct Case {
    name: String,
    target: Outputs,
    source: Outputs,
    labels: Tensor<1, Int>,
    settings: LossSettings,
}

fn case(case: &Value, data: &StateDict, device: &Device) -> Case {
    let name = case["name"].as_str().unwrap().to_owned();
    let size = |key: &str| case[key].as_u64().unwrap() as usize;
    let (n, classes, side) = (size("batch"), size("classes"), size("side"));
    let node = |who: &str, attention: bool| Outputs {
        logits: leaf(data, &format!("{name}.{who}_logits"), [n, classes], device),
        attention_logits: attention.then(|| leaf(data, &format!("{name}.attention_logits"), [n, classes], device)),
        attention_map: Some(leaf(data, &format!("{name}.{who}_map"), [n, side, side], device)),
    };
    let labels: Vec<i64> = serde_json::from_value(case["labels"].clone()).unwrap();
    Case {
        target: node("target", true),
        source: node("source", false),
        labels: Tensor::from_ints(labels.as_slice(), device),
        settings: LossSettings {
            temperature: case["temperature"].as_f64().unwrap(),
            crop_sizes: serde_json::from_value(case["crop_sizes"].clone()).unwrap(),
        },
        name,
    }
}

/// Sum of the parts, per sample, of an edge from `source` to `target`.
fn transfer(design: Design, target: &Outputs, source: &Outputs, settings: &LossSettings) -> Tensor<1> {
    let pairs = Pairs::new(&[(1, 0)], &target.logits.device());
    let both = [target, source];
    let probability = design.probability().then(|| {
        let logits = Tensor::stack::<3>(both.map(|o| o.logits.clone()).to_vec(), 0);
        loss::probability(design.direction(), logits, &pairs, settings.temperature)
    });
    let attention = design.attention().then(|| {
        let maps = Tensor::stack::<4>(both.map(|o| o.attention_map.clone().unwrap()).to_vec(), 0);
        loss::attention(design.direction(), maps, &pairs, &settings.crop_sizes)
    });
    let sum = [probability, attention].into_iter().flatten().reduce(|a, b| a + b);
    sum.unwrap().squeeze_dim::<1>(0)
}

/// Batch mean of losses `[n]` behind a gate, where the source is right as `correct` `[n]` says.
fn gated_mean(gate: Gate, losses: Tensor<1>, progress: f64, correct: &Tensor<1>) -> Tensor<1> {
    GateWeights::at([gate], progress).means(losses.unsqueeze(), || correct.clone().unsqueeze())
}

fn check_gates(what: &str, losses: Tensor<1>, correct: &Tensor<1>, expected: &Value) {
    let check = |gate: Gate, progress: f64, expected: &Value| {
        let ours = weights::values(gated_mean(gate, losses.clone(), progress, correct))[0];
        let expected = expected.as_f64().unwrap() as f32;
        assert_close(&format!("{what} through {gate} at {progress}"), &[ours], &[expected], 1e-6, LIMIT);
    };
    check(Gate::Through, 0.3, &expected["through"]);
    check(Gate::Correct, 0.3, &expected["correct"]);
    for pair in expected["linear"].as_array().unwrap() {
        check(Gate::Linear, pair[0].as_f64().unwrap(), &pair[1]);
    }
    assert_eq!(weights::values(gated_mean(Gate::Cutoff, losses, 1.0, correct)), [0.0]);
}

#[test]
fn losses_gradients_and_gates_are_pytorchs() {
    let device = device::chosen().autodiff();
    let (fixture, data) = (json("losses.json"), tensors("losses.safetensors"));
    for entry in fixture["cases"].as_array().unwrap() {
        let case = case(entry, &data, &device);
        let logits = case.source.logits.clone().detach().unsqueeze::<3>();
        let correct = loss::correct(logits, case.labels.clone()).squeeze_dim::<1>(0);
        let expected: Vec<f32> = serde_json::from_value(entry["source_correct"].clone()).unwrap();
        assert_eq!(weights::values(correct.clone()), expected, "{}", case.name);
        for design in Design::ALL {
            let key = format!("{}.{}", case.name, design.name().replace(' ', "_"));
            let losses = transfer(design, &case.target, &case.source, &case.settings);
            // Cosines and distances of unit vectors: differences count relative to a length of 1 where they vanish.
            assert_close(&key, &weights::values(losses.clone()), &data[&format!("{key}.loss")].data, 1e-4, LIMIT);
            check_gates(&key, losses.clone(), &correct, &entry["gates"][design.name().replace(' ', "_")]);
            if entry["gradients"] == Value::Bool(false) {
                continue;
            }
            let gradients = losses.mean().backward();
            let check = |what: &str, ours: Option<Vec<f32>>| {
                let expected = &data[&format!("{key}.{what}")].data;
                let ours = ours.unwrap_or_else(|| vec![0.0; expected.len()]);
                // Where target equals source the true gradient is zero and rounding leaves 1e-8.
                assert_close(&format!("{key}.{what}"), &ours, expected, 1e-3, LIMIT);
            };
            check("grad_logits", case.target.logits.grad(&gradients).map(weights::values));
            let map = case.target.attention_map.as_ref().unwrap();
            check("grad_map", map.grad(&gradients).map(weights::values));
            // Only the target learns.
            let none = |gradient: Option<Vec<f32>>| gradient.is_none_or(|values| values.iter().all(|&v| v == 0.0));
            assert!(
                none(case.source.logits.grad(&gradients).map(weights::values)),
                "{key}: gradient at the source's logits"
            );
            let map = case.source.attention_map.as_ref().unwrap();
            assert!(none(map.grad(&gradients).map(weights::values)), "{key}: gradient at the source's map");
        }
    }
}

#[test]
fn label_losses_are_pytorchs() {
    let device = device::chosen().autodiff();
    let (fixture, data) = (json("losses.json"), tensors("losses.safetensors"));
    for entry in fixture["cases"].as_array().unwrap() {
        let mut case = case(entry, &data, &device);
        let all = Tensor::ones([case.labels.dims()[0]], &device);
        for key in ["label", "label_plain"] {
            if key == "label_plain" {
                case.target.attention_logits = None;
            }
            let name = format!("{}.{key}", case.name);
            let losses = label_loss(&case.target, case.labels.clone());
            assert_close(&name, &weights::values(losses.clone()), &data[&format!("{name}.loss")].data, 0.0, LIMIT);
            check_gates(&name, losses.clone(), &all, &entry["gates"][key]);
            if entry["gradients"] == Value::Bool(false) {
                continue;
            }
            let gradients = losses.mean().backward();
            let ours = weights::values(case.target.logits.grad(&gradients).unwrap());
            assert_close(&name, &ours, &data[&format!("{name}.grad_logits")].data, 1e-4, LIMIT);
            if let Some(logits) = &case.target.attention_logits {
                let ours = weights::values(logits.grad(&gradients).unwrap());
                assert_close(&name, &ours, &data[&format!("{name}.grad_attention_logits")].data, 1e-4, LIMIT);
            }
        }
    }
}

/// Loss and target gradients of every design for given logits and maps.
fn degenerate(logits: [[f32; 3]; 2], maps: [[f32; 16]; 2]) -> Vec<(Design, f32, Vec<f32>)> {
    let device = device::chosen().autodiff();
    let node = |i: usize| Outputs {
        logits: Tensor::<2>::from_floats([logits[i]], &device).require_grad(),
        attention_logits: None,
        attention_map: Some(Tensor::<2>::from_floats([maps[i]], &device).reshape([1, 4, 4]).detach().require_grad()),
    };
    let (target, source) = (node(0), node(1));
    Design::ALL
        .map(|design| {
            let loss = transfer(design, &target, &source, &LossSettings::default());
            let gradients = loss.clone().mean().backward();
            let mut all = target.logits.grad(&gradients).map(weights::values).unwrap_or_default();
            let map = target.attention_map.as_ref().unwrap();
            all.extend(map.grad(&gradients).map(weights::values).unwrap_or_default());
            (design, weights::values(loss)[0], all)
        })
        .to_vec()
}

fn assert_finite(results: &[(Design, f32, Vec<f32>)]) {
    for (design, loss, gradients) in results {
        assert!(loss.is_finite(), "{design}: {loss}");
        assert!(!gradients.is_empty() && gradients.iter().all(|v| v.is_finite()), "{design}: {gradients:?}");
    }
}

#[test]
fn all_zero_maps_have_no_direction_and_no_gradient() {
    let ones = [1.0; 16];
    for maps in [[[0.0; 16], ones], [ones, [0.0; 16]], [[0.0; 16]; 2]] {
        let results = degenerate([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]], maps);
        assert_finite(&results);
        let apart = results.iter().find(|r| r.0 == Design::AttentionApart).unwrap();
        assert_eq!(apart.1, 0.0);
    }
    // Values so small that their squares underflow count as zero.
    assert_finite(&degenerate([[1.0, 2.0, 3.0]; 2], [[1e-30; 16]; 2]));
}

#[test]
fn probabilities_of_zero_and_one_are_finite() {
    let maps = [[0.5; 16]; 2];
    for logits in [
        [[500.0, 0.0, 0.0], [0.0, 500.0, 0.0]],
        [[500.0, 0.0, 0.0], [500.0, 0.0, 0.0]],
        [[0.0, 0.0, 0.0], [-500.0, 500.0, 0.0]],
    ] {
        assert_finite(&degenerate(logits, maps));
    }
}

#[test]
fn of_equal_peaks_the_first_in_row_major_order_is_cropped() {
    let device = device::chosen();
    // Source peaks at (0, 3) and (3, 0); the target is bright only around the first.
    let mut source = [0.1; 36];
    (source[5], source[30]) = (1.0, 1.0);
    let mut target = [0.0; 36];
    target[5] = 1.0;
    let node = |map: [f32; 36]| Outputs {
        logits: Tensor::zeros([1, 2], &device),
        attention_logits: None,
        attention_map: Some(Tensor::<1>::from_floats(map, &device).reshape([1, 6, 6])),
    };
    let settings = LossSettings { crop_sizes: vec![3], ..LossSettings::default() };
    let loss = transfer(Design::AttentionApart, &node(target), &node(source), &settings);
    // The crop around (0, 5) has 1 and eight times 0.1 in the source.
    let expected = 1.0 / (1.0_f32 + 8.0 * 0.01).sqrt();
    assert!((weights::values(loss)[0] - expected).abs() < 1e-6);
}

#[test]
fn the_ensemble_is_the_mean_of_logits() {
    let device = device::chosen();
    let member = |v: [f32; 2]| Tensor::<2>::from_floats([v], &device);
    let mean = ktg_nn::ensemble_logits(&[member([1.0, 2.0]), member([3.0, -2.0])]);
    assert_eq!(weights::values(mean), [2.0, 0.0]);
}

/// The losses of a graph's edges by their ends, and the gradients at all outputs.
fn graph_losses(graph: &Graph, outputs: &[Option<Outputs>], labels: &NodeLabels) -> (Vec<String>, Vec<Vec<f32>>) {
    let losses =
        GraphLoss::new(graph, LossSettings { temperature: 1.5, crop_sizes: vec![3, 9] }).forward(outputs, labels, 0.3);
    let values = losses.values.unwrap();
    let gradients = values.clone().sum().backward();
    let values = weights::values(values);
    let edge = |edge: &EdgeParts| {
        let sum: f32 = edge.probability.iter().chain(&edge.attention).map(|&part| values[part]).sum();
        format!("{:?} -> {}: {sum:.5}", edge.source, edge.target)
    };
    let at = |outputs: &Option<Outputs>| {
        let outputs = outputs.as_ref().unwrap();
        let logits = outputs.logits.grad(&gradients).unwrap_or_else(|| outputs.logits.zeros_like().inner());
        let map = outputs.attention_map.as_ref().unwrap();
        let map = map.grad(&gradients).unwrap_or_else(|| map.zeros_like().inner());
        [weights::values(logits), weights::values(map)].concat()
    };
    (losses.edges.iter().map(edge).collect(), outputs.iter().map(at).collect())
}

#[test]
fn edges_computed_together_are_edges_computed_alone() {
    let device = device::chosen().autodiff();
    let mut state = 7;
    let mut numbers = |n: usize| -> Vec<f32> { (0..n).map(|_| support::uniform(&mut state) + 1.0).collect() };
    let (n, classes) = (6, 4);
    // Maps of two sizes; the last node is a frozen source without gradients.
    let outputs: Vec<Option<Outputs>> = [5, 5, 8, 8, 5]
        .into_iter()
        .enumerate()
        .map(|(m, side)| {
            let grad = m != 4;
            let leaf = |values, shape| {
                let tensor = Tensor::<3>::from_data(TensorData::new(values, shape), &device);
                if grad { tensor.require_grad() } else { tensor }
            };
            let logits = Tensor::<2>::from_data(TensorData::new(numbers(n * classes), [n, classes]), &device);
            Some(Outputs {
                logits: if grad { logits.require_grad() } else { logits },
                attention_logits: None,
                attention_map: Some(leaf(numbers(n * side * side), [n, side, side])),
            })
        })
        .collect();
    let labels = NodeLabels { own: Tensor::from_ints([0, 1, 2, 3, 0, 1], &device), mixed: None };
    let edges = [
        (0, 1, Design::ProbabilityCloser, Gate::Through),
        (1, 0, Design::BothApart, Gate::Correct),
        (2, 3, Design::AttentionCloser, Gate::Linear),
        (3, 2, Design::BothCloser, Gate::Correct),
        (4, 0, Design::BothCloser, Gate::Linear),
        (4, 1, Design::AttentionApart, Gate::Through),
        (0, 3, Design::ProbabilityApart, Gate::Linear),
        (1, 2, Design::ProbabilityCloser, Gate::Cutoff),
    ];
    let empty = || {
        let mut graph = Graph::new(vec![Node::new("abn-resnet-8"); 5]);
        for m in 0..5 {
            graph.set_label_gate(m, Gate::Cutoff);
        }
        graph
    };
    let mut whole = empty();
    whole.set_label_gate(2, Gate::Linear);
    let (mut alone, mut sums) = (Vec::new(), vec![Vec::<f32>::new(); 5]);
    let mut add = |graph: &Graph| {
        let (edges, gradients) = graph_losses(graph, &outputs, &labels);
        alone.extend(edges);
        for (sum, gradient) in sums.iter_mut().zip(gradients) {
            sum.resize(gradient.len(), 0.0);
            sum.iter_mut().zip(gradient).for_each(|(s, g)| *s += g);
        }
    };
    add(&whole.clone());
    for (source, target, design, gate) in edges {
        whole.set_transfer(source, target, Some(Transfer { design, gate }));
        if !gate.is_cut() {
            let mut single = empty();
            single.set_transfer(source, target, Some(Transfer { design, gate }));
            add(&single);
        }
    }
    let (mut together, gradients) = graph_losses(&whole, &outputs, &labels);
    together.sort();
    alone.sort();
    assert_eq!(together, alone);
    for (m, (ours, sum)) in gradients.iter().zip(&sums).enumerate() {
        assert_close(&format!("gradients at node {m}"), ours, sum, 1e-3, LIMIT);
    }
}
