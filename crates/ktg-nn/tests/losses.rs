//! Losses, their gradients and gates against PyTorch, and what degenerate input gives.

use burn::tensor::{Device, Int, Tensor, TensorData};
use ktg_graph::{Design, Gate};
use ktg_nn::loss::{self, LossSettings};
use ktg_nn::{Outputs, StateDict, burn, weights};
use serde_json::Value;

#[path = "../../../fixtures/support.rs"]
mod support;
use support::{assert_close, json, tensors};

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

/// Sum of the parts, per sample.
fn per_sample(case: &Case, design: Design) -> Tensor<1> {
    let parts = loss::transfer(design, &case.target, &case.source.clone().detach(), &case.settings);
    [parts.probability, parts.attention].into_iter().flatten().reduce(|a, b| a + b).unwrap()
}

fn check_gates(what: &str, losses: Tensor<1>, correct: &Tensor<1>, expected: &Value) {
    let check = |gate: Gate, progress: f64, expected: &Value| {
        let ours = weights::values(loss::gated_mean(gate, losses.clone(), progress, Some(correct)))[0];
        let expected = expected.as_f64().unwrap() as f32;
        assert_close(&format!("{what} through {gate} at {progress}"), &[ours], &[expected], 1e-6, LIMIT);
    };
    check(Gate::Through, 0.3, &expected["through"]);
    check(Gate::Correct, 0.3, &expected["correct"]);
    for pair in expected["linear"].as_array().unwrap() {
        check(Gate::Linear, pair[0].as_f64().unwrap(), &pair[1]);
    }
    assert_eq!(weights::values(loss::gated_mean(Gate::Cutoff, losses, 1.0, Some(correct))), [0.0]);
}

#[test]
fn losses_gradients_and_gates_are_pytorchs() {
    let device = Device::flex().autodiff();
    let (fixture, data) = (json("losses.json"), tensors("losses.safetensors"));
    for entry in fixture["cases"].as_array().unwrap() {
        let case = case(entry, &data, &device);
        let correct = loss::correct(case.source.logits.clone().detach(), case.labels.clone());
        let expected: Vec<f32> = serde_json::from_value(entry["source_correct"].clone()).unwrap();
        assert_eq!(weights::values(correct.clone()), expected, "{}", case.name);
        for design in Design::ALL {
            let key = format!("{}.{}", case.name, design.name().replace(' ', "_"));
            let losses = per_sample(&case, design);
            // Cosines and distances of unit vectors: differences count relative to a length of 1 where they vanish.
            assert_close(&key, &weights::values(losses.clone()), &data[&format!("{key}.loss")].data, 1e-4, LIMIT);
            check_gates(&key, losses.clone(), &correct, &entry["gates"][design.name().replace(' ', "_")]);
            if entry["gradients"] == Value::Bool(false) {
                continue;
            }
            let gradients = loss::gated_mean(Gate::Through, losses, 1.0, None).backward();
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
            assert!(case.source.logits.grad(&gradients).is_none(), "{key}: gradient at the source's logits");
            assert!(case.source.attention_map.as_ref().unwrap().grad(&gradients).is_none(), "{key}");
        }
    }
}

#[test]
fn label_losses_are_pytorchs() {
    let device = Device::flex().autodiff();
    let (fixture, data) = (json("losses.json"), tensors("losses.safetensors"));
    for entry in fixture["cases"].as_array().unwrap() {
        let mut case = case(entry, &data, &device);
        let all = Tensor::ones([case.labels.dims()[0]], &device);
        for key in ["label", "label_plain"] {
            if key == "label_plain" {
                case.target.attention_logits = None;
            }
            let name = format!("{}.{key}", case.name);
            let losses = loss::label(&case.target, case.labels.clone());
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
    let device = Device::flex().autodiff();
    let node = |i: usize| Outputs {
        logits: Tensor::<2>::from_floats([logits[i]], &device).require_grad(),
        attention_logits: None,
        attention_map: Some(Tensor::<2>::from_floats([maps[i]], &device).reshape([1, 4, 4]).detach().require_grad()),
    };
    let (target, source) = (node(0), node(1));
    Design::ALL
        .map(|design| {
            let parts = loss::transfer(design, &target, &source.clone().detach(), &LossSettings::default());
            let loss = [parts.probability, parts.attention].into_iter().flatten().reduce(|a, b| a + b).unwrap();
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
    let device = Device::flex();
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
    let loss = loss::transfer(Design::AttentionApart, &node(target), &node(source), &settings).attention.unwrap();
    // The crop around (0, 5) has 1 and eight times 0.1 in the source.
    let expected = 1.0 / (1.0_f32 + 8.0 * 0.01).sqrt();
    assert!((weights::values(loss)[0] - expected).abs() < 1e-6);
}

#[test]
fn the_ensemble_is_the_mean_of_logits() {
    let device = Device::flex();
    let member = |v: [f32; 2]| Tensor::<2>::from_floats([v], &device);
    let mean = ktg_nn::ensemble_logits(&[member([1.0, 2.0]), member([3.0, -2.0])]);
    assert_eq!(weights::values(mean), [2.0, 0.0]);
}
