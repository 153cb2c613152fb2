//! Attention maps of different size: resized by area, and compared, as PyTorch does it.

use ktg_engine::loss::{GraphLoss, Labels, LossSettings, Shown, of_term, resize_area};
use ktg_engine::{Map, Outputs};
use ktg_graph::{Design, Gate, Graph, Node, Transfer};
use ktg_net::StateDict;
use serde_json::Value;

#[path = "../../../fixtures/support.rs"]
mod support;
use support::{assert_close, json, tensors};

/// Relative to the largest value.
const LIMIT: f64 = 1e-5;

/// A case of `data/resize`.
struct Case {
    name: String,
    batch: usize,
    /// Height and width of the source's maps and of the target's.
    source: [usize; 2],
    target: [usize; 2],
}

fn cases(fixture: &Value) -> Vec<Case> {
    let size = |value: &Value| serde_json::from_value(value.clone()).unwrap();
    let case = |entry: &Value| Case {
        name: entry["name"].as_str().unwrap().to_owned(),
        batch: entry["batch"].as_u64().unwrap() as usize,
        source: size(&entry["source"]),
        target: size(&entry["target"]),
    };
    fixture["cases"].as_array().unwrap().iter().map(case).collect()
}

/// What a node with such maps gives, of two classes.
fn node(data: Vec<f32>, [height, width]: [usize; 2]) -> Outputs {
    let count = data.len() / (height * width);
    let map = Map { data, height, width };
    Outputs { logits: vec![0.0; 2 * count], attention_logits: None, attention_map: Some(map) }
}

#[test]
fn maps_are_pytorchs() {
    let (fixture, data) = (json("resize.json"), tensors("resize.safetensors"));
    for Case { name, batch, source, target } in cases(&fixture) {
        let maps = &data[&format!("{name}.source")].data;
        let resized: Vec<f32> =
            maps.chunks_exact(maps.len() / batch).flat_map(|map| resize_area(map, source, target)).collect();
        assert_close(&name, &resized, &data[&format!("{name}.resized")].data, 0.0, 1e-6);
    }
}

/// The losses of the samples, and the gradient of their mean at the target's maps.
fn edge(design: Design, case: &Case, data: &StateDict, settings: &LossSettings) -> (Vec<f32>, Vec<f32>) {
    let outputs = |who: &str, size| node(data[&format!("{}.{who}", case.name)].data.clone(), size);
    let (source, target) = (outputs("source", case.source), outputs("target", case.target));
    let labels = vec![0; case.batch];
    let [source, target] = [&source, &target].map(|outputs| Shown::new(outputs, &labels, 1.0));
    let term = design.terms().next().unwrap();
    let loss = of_term(term, true, settings);
    let pixels = case.batch * case.target[0] * case.target[1];
    let of_batch = |weights: &[f64]| {
        let mut gradient = vec![0.0; pixels];
        (loss.of_batch(&source, &target, weights, &mut gradient), gradient)
    };
    let of_sample = |i: usize| {
        // Behind a gate that lets one through, with the weight of all.
        let mut weights = vec![0.0; case.batch];
        weights[i] = case.batch as f64;
        of_batch(&weights).0
    };
    let gradient = of_batch(&vec![1.0; case.batch]).1.into_iter().map(|value| value as f32).collect();
    ((0..case.batch).map(of_sample).collect(), gradient)
}

#[test]
fn losses_and_gradients_are_pytorchs() {
    let (fixture, data) = (json("resize.json"), tensors("resize.safetensors"));
    let crop_sizes = serde_json::from_value(fixture["crop_sizes"].clone()).unwrap();
    let settings = LossSettings { crop_sizes, ..LossSettings::default() };
    for case in cases(&fixture) {
        for (direction, design) in [("closer", Design::ATTENTION_CLOSER), ("apart", Design::ATTENTION_APART)] {
            let key = format!("{}.{direction}", case.name);
            let (losses, gradient) = edge(design, &case, &data, &settings);
            assert_close(&key, &losses, &data[&format!("{key}.loss")].data, 0.0, LIMIT);
            assert_close(&key, &gradient, &data[&format!("{key}.grad_map")].data, 0.0, LIMIT);
        }
    }
}

/// Attention apart from a node with maps of 2 x 3 pixels to one with maps of this size.
fn step(size: [usize; 2], resize: bool) -> Vec<Option<Vec<f32>>> {
    let mut graph = Graph::new(vec![Node::new("a"), Node::new("b")]);
    let transfer = Transfer { design: Design::ATTENTION_APART, gate: Gate::Through, resize };
    graph.set_transfer(0, 1, Some(transfer));
    let map = |size: [usize; 2]| (0..size[0] * size[1]).map(|i| 1.0 + i as f32).collect();
    let outputs = [[2, 3], size].map(|size| Some(node(map(size), size)));
    let labels = Labels { own: &[0], mixed: None };
    let losses = GraphLoss::new(&graph, &LossSettings::default(), &[]).step(&outputs, labels, 0.5);
    losses.gradients.into_iter().map(|gradients| gradients.attention_map).collect()
}

#[test]
fn a_graphs_edge_resizes_and_only_the_target_learns() {
    let gradients = step([4, 4], true);
    assert_eq!(gradients[0], None);
    assert_eq!(gradients[1].as_ref().map(Vec::len), Some(16));
    assert_eq!(step([2, 3], true), step([2, 3], false), "of equal sizes it changes nothing");
}

#[test]
#[should_panic(expected = "maps of [2, 3] and [3, 2] pixels on an attention edge that does not resize")]
fn as_many_pixels_are_not_the_same_size() {
    step([3, 2], false);
}
