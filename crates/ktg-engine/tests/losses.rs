//! Losses, their gradients and gates against PyTorch, and what degenerate input gives.

use ktg_engine::loss::{CrossEntropy, GraphLoss, GraphLosses, Labels, LossSettings, Shown, of_term};
use ktg_engine::{Map, Outputs};
use ktg_graph::{Design, Gate, Graph, Node, Output, Transfer};
use ktg_net::StateDict;
use serde_json::Value;

#[path = "../../../fixtures/support.rs"]
mod support;
use support::{assert_close, json, tensors};

const LIMIT: f64 = 1e-4;

struct Case {
    name: String,
    target: Outputs,
    source: Outputs,
    labels: Vec<u32>,
    settings: LossSettings,
}

fn case(case: &Value, data: &StateDict) -> Case {
    let name = case["name"].as_str().unwrap().to_owned();
    let side = case["side"].as_u64().unwrap() as usize;
    let array = |what: &str| data[&format!("{name}.{what}")].data.clone();
    let node = |who: &str, attention: bool| Outputs {
        logits: array(&format!("{who}_logits")),
        attention_logits: attention.then(|| array("attention_logits")),
        attention_map: Some(Map { data: array(&format!("{who}_map")), height: side, width: side }),
    };
    Case {
        target: node("target", true),
        source: node("source", false),
        labels: serde_json::from_value(case["labels"].clone()).unwrap(),
        settings: LossSettings {
            temperature: case["temperature"].as_f64().unwrap(),
            crop_sizes: serde_json::from_value(case["crop_sizes"].clone()).unwrap(),
            ..LossSettings::default()
        },
        name,
    }
}

/// What a transfer edge between two nodes gives.
struct Edge {
    /// Sum of the terms behind the gate.
    loss: f32,
    /// Gradients at the target's logits and map.
    logits: Vec<f32>,
    map: Vec<f32>,
}

fn edge(design: Design, case: &Case, weights: &[f64]) -> Edge {
    let shown = |outputs| Shown::new(outputs, &case.labels, case.settings.temperature);
    let (source, target) = (shown(&case.source), shown(&case.target));
    let mut logits = vec![0.0; case.target.logits.len()];
    let mut map = vec![0.0; case.target.attention_map.as_ref().unwrap().data.len()];
    let mut loss = 0.0;
    for term in design.terms() {
        let gradient = match term.knowledge.output() {
            Output::Logits => &mut logits,
            Output::AttentionMap => &mut map,
        };
        loss += of_term(term, false, &case.settings).of_batch(&source, &target, weights, gradient);
    }
    let single = |values: Vec<f64>| values.into_iter().map(|v| v as f32).collect();
    Edge { loss, logits: single(logits), map: single(map) }
}

/// The losses of single samples: behind a gate that lets one through, with the weight of all.
fn of_samples(design: Design, case: &Case) -> Vec<f32> {
    let count = case.labels.len();
    let of_sample = |i: usize| {
        let mut weights = vec![0.0; count];
        weights[i] = count as f64;
        edge(design, case, &weights).loss
    };
    (0..count).map(of_sample).collect()
}

fn check_gates(what: &str, design: Design, case: &Case, correct: &[bool], expected: &Value) {
    let mean = |gate: Gate, progress: f64| {
        let weights: Vec<f64> = correct.iter().map(|&correct| gate.weight(progress, correct)).collect();
        edge(design, case, &weights).loss
    };
    let check = |gate: Gate, progress: f64, expected: &Value| {
        let (ours, expected) = (mean(gate, progress), expected.as_f64().unwrap() as f32);
        assert_close(&format!("{what} through {gate} at {progress}"), &[ours], &[expected], 1e-6, LIMIT);
    };
    check(Gate::Through, 0.3, &expected["through"]);
    check(Gate::Correct, 0.3, &expected["correct"]);
    for pair in expected["linear"].as_array().unwrap() {
        check(Gate::Linear, pair[0].as_f64().unwrap(), &pair[1]);
    }
    assert_eq!(mean(Gate::Cutoff, 1.0), 0.0);
}

#[test]
fn losses_gradients_and_gates_are_pytorchs() {
    let (fixture, data) = (json("losses.json"), tensors("losses.safetensors"));
    for entry in fixture["cases"].as_array().unwrap() {
        let case = case(entry, &data);
        let correct = Shown::new(&case.source, &case.labels, 1.0).correct;
        let expected: Vec<f32> = serde_json::from_value(entry["source_correct"].clone()).unwrap();
        let ours: Vec<f32> = correct.iter().map(|&correct| f32::from(u8::from(correct))).collect();
        assert_eq!(ours, expected, "{}", case.name);
        let through = vec![1.0; case.labels.len()];
        for design in Design::THESIS {
            let name = design.to_string().replace(' ', "_");
            let key = format!("{}.{name}", case.name);
            let edge = edge(design, &case, &through);
            // Cosines and distances of unit vectors: differences count relative to a length of 1 where they vanish.
            assert_close(&key, &of_samples(design, &case), &data[&format!("{key}.loss")].data, 1e-4, LIMIT);
            check_gates(&key, design, &case, &correct, &entry["gates"][&name]);
            if entry["gradients"] == Value::Bool(false) {
                continue;
            }
            for (what, ours) in [("grad_logits", &edge.logits), ("grad_map", &edge.map)] {
                let expected = &data[&format!("{key}.{what}")].data;
                // Where target equals source the true gradient is zero and rounding leaves 1e-8.
                assert_close(&format!("{key}.{what}"), ours, expected, 1e-3, LIMIT);
            }
        }
    }
}

/// Correlations are of a batch and so have no losses of single samples: the gate's weights are within.
#[test]
fn relation_is_pytorchs_behind_every_gate() {
    let (fixture, data) = (json("relation.json"), tensors("relation.safetensors"));
    let mut compared = 0;
    for entry in fixture["cases"].as_array().unwrap() {
        let name = entry["name"].as_str().unwrap();
        let node = |who: &str| Outputs {
            logits: data[&format!("{name}.{who}_logits")].data.clone(),
            attention_logits: None,
            attention_map: None,
        };
        let (source, target) = (node("source"), node("target"));
        let labels: Vec<u32> = serde_json::from_value(entry["labels"].clone()).unwrap();
        let settings = LossSettings { temperature: entry["temperature"].as_f64().unwrap(), ..LossSettings::default() };
        let shown = |outputs| Shown::new(outputs, &labels, settings.temperature);
        let (shown_source, shown_target) = (shown(&source), shown(&target));
        for edge in entry["edges"].as_array().unwrap() {
            let design: Design = edge["design"].as_str().unwrap().parse().unwrap();
            let gate: Gate = edge["gate"].as_str().unwrap().parse().unwrap();
            let progress = edge["progress"].as_f64().unwrap();
            let term = design.terms().next().unwrap();
            let weights: Vec<f64> =
                shown_source.correct.iter().map(|correct| gate.weight(progress, *correct)).collect();
            let mut gradient = vec![0.0; target.logits.len()];
            let loss = of_term(term, false, &settings).of_batch(&shown_source, &shown_target, &weights, &mut gradient);
            let what = format!("{name}, {design} through {gate} at {progress}");
            assert_close(&what, &[loss], &[edge["loss"].as_f64().unwrap() as f32], 1e-5, 1e-5);
            let ours: Vec<f32> = gradient.into_iter().map(|v| v as f32).collect();
            let theirs = &data[&format!("{name}.{}.{gate}.{progress:?}.grad_logits", term.direction)].data;
            // Of equal nodes the true gradient is zero.
            assert_close(&what, &ours, theirs, 1e-4, 1e-5);
            compared += 1;
        }
    }
    assert_eq!(compared, 12 * 2 * 6);
}

#[test]
fn label_losses_are_pytorchs() {
    let (fixture, data) = (json("losses.json"), tensors("losses.safetensors"));
    for entry in fixture["cases"].as_array().unwrap() {
        let Case { name, target, labels, .. } = case(entry, &data);
        let classes = target.logits.len() / labels.len();
        for key in ["label", "label_plain"] {
            let name = format!("{name}.{key}");
            let branch = target.attention_logits.as_ref().filter(|_| key == "label");
            let branches: Vec<(&str, &Vec<f32>)> = [("grad_logits", &target.logits)]
                .into_iter()
                .chain(branch.map(|b| ("grad_attention_logits", b)))
                .collect();
            let of_sample = |i: usize| {
                let labels = Labels { own: &labels[i..=i], mixed: None };
                let row = |logits: &Vec<f32>| {
                    CrossEntropy::default().mean(
                        &logits[i * classes..][..classes],
                        labels,
                        1.0,
                        &mut vec![0.0; classes],
                    )
                };
                branches.iter().map(|(_, logits)| row(logits)).sum()
            };
            let losses: Vec<f32> = (0..labels.len()).map(of_sample).collect();
            assert_close(&name, &losses, &data[&format!("{name}.loss")].data, 0.0, LIMIT);
            let labels = Labels { own: &labels, mixed: None };
            let mean = |gate: Gate, progress: f64| -> f32 {
                let weight = gate.weight(progress, true);
                let of = |logits: &Vec<f32>| {
                    CrossEntropy::default().mean(logits, labels, weight, &mut vec![0.0; logits.len()])
                };
                branches.iter().map(|(_, logits)| of(logits)).sum()
            };
            let gates = &entry["gates"][key];
            let mut expected = vec![(Gate::Through, 0.3, &gates["through"]), (Gate::Correct, 0.3, &gates["correct"])];
            for pair in gates["linear"].as_array().unwrap() {
                expected.push((Gate::Linear, pair[0].as_f64().unwrap(), &pair[1]));
            }
            for (gate, progress, expected) in expected {
                let expected = expected.as_f64().unwrap() as f32;
                assert_close(&format!("{name} through {gate}"), &[mean(gate, progress)], &[expected], 1e-6, LIMIT);
            }
            if entry["gradients"] == Value::Bool(false) {
                continue;
            }
            for (what, logits) in &branches {
                let mut gradient = vec![0.0; logits.len()];
                CrossEntropy::default().mean(logits, labels, 1.0, &mut gradient);
                let ours: Vec<f32> = gradient.iter().map(|g| *g as f32).collect();
                assert_close(&name, &ours, &data[&format!("{name}.{what}")].data, 1e-4, LIMIT);
            }
        }
    }
}

/// Outputs of one sample: logits of three classes and a map of 4 x 4.
fn sample(logits: [f32; 3], map: [f32; 16]) -> Outputs {
    let map = Map { data: map.to_vec(), height: 4, width: 4 };
    Outputs { logits: logits.to_vec(), attention_logits: None, attention_map: Some(map) }
}

/// Loss and target gradients of every design for given logits and maps of target and source.
fn degenerate(logits: [[f32; 3]; 2], maps: [[f32; 16]; 2]) -> Vec<(Design, f32, Vec<f32>)> {
    let [target, source] = [0, 1].map(|i| sample(logits[i], maps[i]));
    let settings = LossSettings::default();
    let case = Case { name: String::new(), target, source, labels: vec![0], settings };
    let of = |design| {
        let Edge { loss, logits, map } = edge(design, &case, &[1.0]);
        (design, loss, [logits, map].concat())
    };
    Design::all().into_iter().map(of).collect()
}

fn assert_finite(results: &[(Design, f32, Vec<f32>)]) {
    for (design, loss, gradients) in results {
        assert!(loss.is_finite(), "{design}: {loss}");
        assert!(gradients.iter().all(|v| v.is_finite()), "{design}: {gradients:?}");
    }
}

#[test]
fn all_zero_maps_have_no_direction_and_no_gradient() {
    let ones = [1.0; 16];
    for maps in [[[0.0; 16], ones], [ones, [0.0; 16]], [[0.0; 16]; 2]] {
        let results = degenerate([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]], maps);
        assert_finite(&results);
        let apart = results.iter().find(|r| r.0 == Design::ATTENTION_APART).unwrap();
        assert_eq!(apart.1, 0.0);
        assert!(apart.2.iter().all(|v| *v == 0.0));
    }
    // Values so small that their squares count as zero.
    assert_finite(&degenerate([[1.0, 2.0, 3.0]; 2], [[1e-30; 16]; 2]));
}

#[test]
fn probabilities_of_zero_and_one_are_finite() {
    let maps = [[0.5; 16]; 2];
    for logits in [
        [[500.0, 0.0, 0.0], [0.0, 500.0, 0.0]],
        [[500.0, 0.0, 0.0], [500.0, 0.0, 0.0]],
        [[0.0, 0.0, 0.0], [-500.0, 500.0, 0.0]],
        [[1e30, 0.0, -1e30], [-1e30, 1e30, 0.0]],
    ] {
        assert_finite(&degenerate(logits, maps));
    }
}

#[test]
fn what_is_no_number_gives_a_loss_that_is_none() {
    let fine = [[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]];
    let mut map = [0.5; 16];
    map[3] = f32::NAN;
    for (design, loss, _) in degenerate([[f32::NAN, 1.0, 2.0], fine[1]], [map, [0.5; 16]]) {
        assert!(loss.is_nan(), "{design} of a target that is NaN: {loss}");
    }
    for (design, loss, _) in degenerate([fine[0], [1.0, f32::NAN, 2.0]], [[0.5; 16], [f32::NAN; 16]]) {
        assert!(loss.is_nan(), "{design} of a source that is NaN: {loss}");
    }
}

#[test]
fn of_equal_peaks_the_first_in_row_major_order_is_cropped() {
    // Source peaks at (0, 5) and (5, 0); the target is bright only around the first.
    let mut source = vec![0.1; 36];
    (source[5], source[30]) = (1.0, 1.0);
    let mut target = vec![0.0; 36];
    target[5] = 1.0;
    let node = |map: Vec<f32>| Outputs {
        logits: vec![0.0, 0.0],
        attention_logits: None,
        attention_map: Some(Map { data: map, height: 6, width: 6 }),
    };
    let settings = LossSettings { crop_sizes: vec![3], ..LossSettings::default() };
    let (target, source) = (node(target), node(source));
    let case = Case { name: String::new(), target, source, labels: vec![0], settings };
    // The crop around (0, 5) has 1 and eight times 0.1 in the source.
    let expected = 1.0 / (1.0_f32 + 8.0 * 0.01).sqrt();
    assert!((edge(Design::ATTENTION_APART, &case, &[1.0]).loss - expected).abs() < 1e-6);
}

const BATCH: usize = 40;
const CLASSES: usize = 4;

/// Random outputs of five nodes with maps of two sizes.
fn random_outputs() -> Vec<Option<Outputs>> {
    let mut state = 7;
    let mut numbers = |n: usize| -> Vec<f32> { (0..n).map(|_| support::uniform(&mut state) + 1.0).collect() };
    let sides = [5, 5, 8, 8, 5].into_iter();
    let node = |side: usize| {
        let logits = numbers(BATCH * CLASSES);
        let map = Map { data: numbers(BATCH * side * side), height: side, width: side };
        Some(Outputs { logits, attention_logits: None, attention_map: Some(map) })
    };
    sides.map(node).collect()
}

fn random_graph() -> Graph {
    let edges = [
        (0, 1, Design::PROBABILITY_CLOSER, Gate::Through),
        (1, 0, Design::BOTH_APART, Gate::Correct),
        (2, 3, Design::ATTENTION_CLOSER, Gate::Linear),
        (3, 2, Design::BOTH_CLOSER, Gate::Correct),
        (4, 0, Design::BOTH_CLOSER, Gate::Linear),
        (4, 1, Design::ATTENTION_APART, Gate::Through),
        (0, 3, Design::PROBABILITY_APART, Gate::Linear),
        (1, 4, "probability closer + attention apart + relation closer".parse().unwrap(), Gate::Falling),
        (1, 2, Design::PROBABILITY_CLOSER, Gate::Cutoff),
    ];
    let mut graph = Graph::new(vec![Node::new("abn-resnet-8"); 5]);
    (0..5).for_each(|m| graph.set_label_gate(m, Gate::Cutoff));
    graph.set_label_gate(2, Gate::Linear);
    for (source, target, design, gate) in edges {
        graph.set_transfer(source, target, Some(Transfer::new(design, gate)));
    }
    graph
}

fn labels() -> Vec<u32> {
    (0..BATCH as u32).map(|i| i % CLASSES as u32).collect()
}

fn graph_losses(graph: &Graph) -> GraphLosses {
    let settings = LossSettings { temperature: 1.5, crop_sizes: vec![3, 9], ..LossSettings::default() };
    let labels = labels();
    GraphLoss::new(graph, &settings, &[]).step(&random_outputs(), Labels { own: &labels, mixed: None }, 0.3)
}

/// The graph with all edges into other nodes than `target` cut, but the one from `source`.
fn only(graph: &Graph, source: Option<usize>, target: usize) -> Graph {
    let mut single = graph.clone();
    for t in 0..graph.len() {
        if (source, target) != (None, t) {
            single.set_label_gate(t, Gate::Cutoff);
        }
        for s in (0..graph.len()).filter(|s| *s != t && (source, target) != (Some(*s), t)) {
            single.set_transfer(s, t, None);
        }
    }
    single
}

#[test]
fn a_graphs_gradients_are_the_sums_of_its_edges() {
    let graph = random_graph();
    let whole = graph_losses(&graph);
    let ends: Vec<_> = whole.edges.iter().map(|edge| (edge.source, edge.target)).collect();
    let expected = [
        (None, 2),
        (Some(1), 0),
        (Some(4), 0),
        (Some(0), 1),
        (Some(4), 1),
        (Some(3), 2),
        (Some(0), 3),
        (Some(2), 3),
        (Some(1), 4),
    ];
    assert_eq!(ends, expected, "label edges first, then target by target; none that is cut");
    for target in 0..5 {
        let mut sums: [Vec<f32>; 2] = [Vec::new(), Vec::new()];
        for edge in whole.edges.iter().filter(|edge| edge.target == target) {
            let alone = graph_losses(&only(&graph, edge.source, target));
            assert_eq!(&alone.edges, std::slice::from_ref(edge));
            let gradients = &alone.gradients[target];
            for (sum, part) in sums.iter_mut().zip([&gradients.logits, &gradients.attention_map]) {
                let Some(part) = part else { continue };
                sum.resize(part.len(), 0.0);
                sum.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
            }
        }
        let gradients = &whole.gradients[target];
        for (sum, ours) in sums.iter().zip([&gradients.logits, &gradients.attention_map]) {
            assert_eq!(ours.is_some(), !sum.is_empty(), "node {target}");
            if let Some(ours) = ours {
                assert_close(&format!("gradients at node {target}"), ours, sum, 0.0, 1e-6);
            }
        }
    }
}

#[test]
fn losses_do_not_depend_on_the_number_of_threads() {
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| graph_losses(&random_graph()))
    };
    assert_eq!(on(1), on(3));
}
