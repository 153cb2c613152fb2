//! Networks against PyTorch: outputs, running statistics and gradients (fixtures/README.md).

use ktg_engine::loss::{CrossEntropy, Labels};
use ktg_engine::{Computing, Images, Job, Node, OutputGradients, Outputs, Rule, Scratch, Wanted, node};
use ktg_net::{Architecture, Build, Network, StateDict};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde_json::Value;

#[path = "../../../fixtures/support.rs"]
mod support;
use support::{assert_close, filled, json, tensors};

/// Limit of the issue: relative error of f32.
const LIMIT: f64 = 1e-4;

fn network(fixture: &Value) -> Network {
    let size = |key: &str| fixture[key].as_u64().unwrap() as usize;
    let architecture: Architecture = fixture["network"].as_str().unwrap().parse().unwrap();
    architecture.build(Build { side: Some(size("side")), ..Build::plain(size("in_channels"), size("num_classes")) })
}

/// Checks the outputs of one forward pass.
fn check_outputs(outputs: &Outputs, fixture: &StateDict, mode: &str) {
    let check = |what: &str, ours: &[f32]| {
        let what = format!("{mode}.{what}");
        assert_close(&what, ours, &fixture[&what].data, 0.0, LIMIT);
    };
    check("logits", &outputs.logits);
    check("map", &outputs.attention_map.as_ref().unwrap().data);
    match &outputs.attention_logits {
        Some(logits) => check("attention_logits", logits),
        None => assert!(!fixture.contains_key(&format!("{mode}.attention_logits"))),
    }
}

/// The loss of the fixtures, cross-entropies of both branches and the mean square of the map, and its gradients.
fn loss(outputs: &Outputs, labels: &[u32]) -> (f64, OutputGradients) {
    let label = |logits: &[f32]| {
        let mut gradient = vec![0.0; logits.len()];
        let loss = CrossEntropy::default().mean(logits, Labels { own: labels, mixed: None }, 1.0, &mut gradient);
        (f64::from(loss), gradient.into_iter().map(|g| g as f32).collect::<Vec<f32>>())
    };
    let (of_logits, logits) = label(&outputs.logits);
    let branch = outputs.attention_logits.as_deref().map(label);
    let map = &outputs.attention_map.as_ref().unwrap().data;
    let count = map.len() as f64;
    let of_map = map.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / count;
    let value = of_logits + branch.as_ref().map_or(0.0, |(loss, _)| *loss) + of_map;
    let attention_map = Some(map.iter().map(|v| (2.0 * f64::from(*v) / count) as f32).collect());
    let attention_logits = branch.map(|(_, gradient)| gradient);
    (value, OutputGradients { logits: Some(logits), attention_logits, attention_map })
}

fn check_gradients(gradients: &StateDict, weights: &StateDict, tensors: &StateDict, fixture: &Value) {
    let norms = &fixture["grad_norms"];
    let total = fixture["grad_norm_total"].as_f64().unwrap();
    let (at_least, mut all_squares, mut checked) = (1e-3 * total, 0.0, 0);
    for name in weights.keys().filter(|name| !name.contains("running_")) {
        let gradient = &gradients[name].data;
        let squares: f64 = gradient.iter().map(|&v| f64::from(v).powi(2)).sum();
        all_squares += squares;
        let norm = norms[name].as_f64().unwrap();
        let difference = (squares.sqrt() - norm).abs() / norm.max(at_least);
        assert!(difference <= LIMIT, "norm of the gradient of {name}: relative difference {difference:.1e}");
        if let Some(expected) = tensors.get(&format!("grad.{name}")) {
            let n = expected.data.len();
            assert_close(&format!("gradient of {name}"), &gradient[..n], &expected.data, at_least, LIMIT);
            checked += 1;
        }
    }
    assert!(gradients.keys().all(|name| !name.contains("running_")), "statistics have no gradient");
    assert!((all_squares.sqrt() - total).abs() <= LIMIT * total);
    assert!(checked >= 5, "only {checked} gradients were compared");
}

fn check_network(name: &str) {
    let fixture = json(&format!("{name}.json"));
    // Of deep networks, the statistics of the whole batch are not stored.
    let has_calibrated = fixture["calibrated"] != false;
    let data = tensors(&format!("{name}.safetensors"));
    let shape = &data["images"].shape;
    let images = Images::new(&data["images"].data, shape[0]);
    let mut node: Box<dyn Node> =
        node(network(&fixture), [shape[2], shape[3]], Job::TRAINING, 0, Computing::default()).unwrap();
    let mut scratch = Scratch::default();
    let start = filled(&node.weights().unwrap(), "", &fixture["scales"]);
    node.load_weights(&start, "filled").unwrap();

    // Inference, first with statistics that do not fit the weights, then with those of the batch.
    check_outputs(&node.infer(images, Wanted::ALL, &mut scratch).unwrap(), &data, "eval");
    let mut calibrated = start.clone();
    for (name, array) in &mut calibrated {
        if let Some(replacement) = data.get(&format!("calibrated_stats.{name}")) {
            array.data.clone_from(&replacement.data);
        }
    }
    if has_calibrated {
        node.load_weights(&calibrated, "calibrated").unwrap();
        check_outputs(&node.infer(images, Wanted::ALL, &mut scratch).unwrap(), &data, "calibrated");
    }

    // Training.
    node.load_weights(&start, "filled").unwrap();
    let outputs = node.forward(images, &mut scratch).unwrap();
    check_outputs(&outputs, &data, "train");
    let labels: Vec<u32> = serde_json::from_value(fixture["labels"].clone()).unwrap();
    let (value, at_outputs) = loss(&outputs, &labels);
    let expected = fixture["loss"].as_f64().unwrap();
    assert!((value - expected).abs() <= LIMIT * expected, "loss {value} instead of {expected}");
    node.backward(images, &at_outputs, &mut scratch).unwrap();
    check_gradients(&node.gradients(&scratch).unwrap(), &start, &data, &fixture);
    node.update(images.count, Rule::sgd(0.0, 0.0, 0.0), &scratch).unwrap();
    let momentum = fixture["momentum"].as_f64().unwrap_or(0.1) as f32;
    let mut seen = 0;
    for (name, array) in node.weights().unwrap() {
        let before = &start[&name].data;
        // Statistics that are not stored follow from those of the batch.
        let expected = match (data.get(&format!("stats.{name}")), data.get(&format!("calibrated_stats.{name}"))) {
            (Some(stored), _) => stored.data.clone(),
            (None, Some(batch)) => {
                before.iter().zip(&batch.data).map(|(a, b)| (1.0 - momentum) * a + momentum * b).collect()
            }
            (None, None) if !has_calibrated && name.contains("running_") => continue,
            (None, None) => before.clone(),
        };
        seen += usize::from(expected != *before);
        assert_close(&name, &array.data, &expected, 0.0, LIMIT);
    }
    // Networks with few statistics, or none, must change all of them.
    let statistics = start.keys().filter(|name| name.contains("running_")).count();
    let least = statistics.min(if has_calibrated { 11 } else { 4 });
    assert!(seen >= least, "only {seen} running statistics changed");
}

macro_rules! parity {
    ($($test:ident: $name:literal),* $(,)?) => { $(#[test] fn $test() { check_network($name); })* };
}

parity! {
    abn_resnet_18: "abn-resnet-18-64px",
    abn_resnet_34: "abn-resnet-34-64px",
    abn_resnet_50: "abn-resnet-50-64px",
    resnet_18: "resnet-18-64px",
    resnet_34: "resnet-34-64px",
    resnet_50: "resnet-50-64px",
    abn_resnet_cifar_8: "abn-resnet-cifar-8-28px",
    abn_resnet_cifar_8_odd_side: "abn-resnet-cifar-8-17px",
    abn_resnet_cifar_20: "abn-resnet-cifar-20-16px",
    resnet_cifar_8: "resnet-cifar-8-28px",
    resnet_cifar_20: "resnet-cifar-20-32px",
    resnet_101: "resnet-101-64px",
    resnet_152: "resnet-152-64px",
    abn_resnet_101: "abn-resnet-101-64px",
    resnet_cifar_8_wide: "resnet-cifar-8x4-16px",
    abn_resnet_cifar_8_wide: "abn-resnet-cifar-8x2-17px",
    wide_resnet_16_4: "wide-resnet-16-4-16px",
    wide_resnet_16_1_gray: "wide-resnet-16-1-14px",
    wide_resnet_28_10: "wide-resnet-28-10-8px",
    efficientnet_lite0: "efficientnet-lite0-64px",
    efficientnet_lite0_odd_side: "efficientnet-lite0-75px",
    efficientnet_lite1: "efficientnet-lite1-60px",
    efficientnet_lite2: "efficientnet-lite2-50px",
    efficientnet_lite3: "efficientnet-lite3-62px",
    efficientnet_lite4: "efficientnet-lite4-44px",
    convnext_tiny: "convnext-tiny-32px",
    convnext_small_gray: "convnext-small-32px",
    abn_convnext_tiny_gray: "abn-convnext-tiny-48px",
    vit_tiny_16_gray: "vit-tiny-16-48px",
    vit_small_16_gray: "vit-small-16-32px",
    vit_base_16: "vit-base-16-32px",
}

#[test]
fn a_batch_of_one_and_a_tiny_image_give_finite_outputs_and_gradients() {
    for (name, side) in [
        ("abn-resnet-18", 1),
        ("abn-resnet-cifar-8", 3),
        ("resnet-18", 1),
        ("resnet-cifar-8", 1),
        ("wide-resnet-10-1", 1),
        ("efficientnet-lite0", 32),
    ] {
        let network = name.parse::<Architecture>().unwrap().network(3, 3);
        let initial: StateDict = network.initial(&mut ChaCha8Rng::seed_from_u64(4)).collect();
        let (mut node, mut scratch) =
            (node(network, [side, side], Job::TRAINING, 0, Computing::default()).unwrap(), Scratch::default());
        node.load_weights(&initial, "initial").unwrap();
        let pixels = vec![1.0; 3 * side * side];
        let images = Images::new(&pixels, 1);
        let outputs = node.forward(images, &mut scratch).unwrap();
        let (value, at_outputs) = loss(&outputs, &[2]);
        node.backward(images, &at_outputs, &mut scratch).unwrap();
        let gradients = node.gradients(&scratch).unwrap();
        node.update(1, Rule::sgd(0.1, 0.9, 1e-4), &scratch).unwrap();
        let is_finite = |dict: &StateDict| dict.values().all(|array| array.data.iter().all(|v| v.is_finite()));
        assert!(value.is_finite() && is_finite(&gradients) && is_finite(&node.weights().unwrap()), "{name}");
        assert_eq!(gradients.len(), initial.keys().filter(|name| !name.contains("running_")).count());
    }
}
