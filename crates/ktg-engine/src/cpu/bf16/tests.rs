//! What bf16 changes is what rounding changes: networks against the definitions in double precision, with and without the same values
//! rounded.

use ktg_kernels::{Bf16, Kernels};
use ktg_net::{Architecture, Build, Network, Op, StateDict};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::super::call::calls;
use super::super::format::{Format, formats};
use super::super::tests::{SIDE, network};
use crate::numbers::Numbers;
use crate::{CpuNode, Images, Job, Node, OutputGradients, Precision, ReferenceNode, Scratch, Wanted};

/// By value, whether it is bf16 in memory, or read as such by a convolution. What a call has in between is not rounded.
fn rounded(network: &Network, image: [usize; 2]) -> Vec<bool> {
    let shapes = network.shapes(image).unwrap();
    let formats = formats(network, &shapes, Precision::Bf16);
    let mut rounded = vec![false; shapes.len()];
    for call in calls(network, Wanted::ALL) {
        rounded[call.gives.index()] |= formats[call.gives.index()] == Format::Bf16;
        let is_convolved = matches!(network.layers[call.layer].op, Op::Conv2d { .. } | Op::Linear { .. });
        if is_convolved && formats[call.gives.index()] == Format::Bf16 {
            rounded[call.reads[0].index()] = true;
        }
    }
    rounded
}

/// The weights of convolutions, and of fully connected layers of maps, rounded to bf16, as the kernels have them; all others as they are.
fn with_rounded_filters(network: &Network, side: usize, weights: &StateDict) -> StateDict {
    let formats = formats(network, &network.shapes([side; 2]).unwrap(), Precision::Bf16);
    let is_filter = |name: &str| {
        let layer = network.layers.iter().position(|layer| name == format!("{}.weight", layer.name));
        layer.is_some_and(|layer| {
            let is_convolved = matches!(network.layers[layer].op, Op::Conv2d { .. } | Op::Linear { .. });
            is_convolved && formats[layer + 1] == Format::Bf16
        })
    };
    let mut weights = weights.clone();
    for (_, array) in weights.iter_mut().filter(|(name, _)| is_filter(name)) {
        array.data.iter_mut().for_each(|weight| *weight = Bf16::from_f32(*weight).to_f32());
    }
    weights
}

/// What was computed: logits, map, and gradients of all weights.
fn results(node: &mut dyn Node, weights: &StateDict, images: Images, at: &OutputGradients) -> [Vec<f32>; 3] {
    let mut scratch = Scratch::default();
    node.load_weights(weights, "test").unwrap();
    let outputs = node.forward(images, &mut scratch).unwrap();
    node.backward(images, at, &mut scratch).unwrap();
    let gradients = node.gradients(&scratch).unwrap();
    [
        outputs.logits,
        outputs.attention_map.unwrap().data,
        gradients.into_values().flat_map(|array| array.data).collect(),
    ]
}

/// Norm of the difference.
fn distance(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>().sqrt()
}

/// How far something is from the definition in double precision.
struct Distances {
    /// The definition with the same values rounded.
    rounding: f64,
    /// The kernels in bf16.
    kernels: f64,
    /// The kernels from the definition with rounded values: what rounding does not explain. Where sums in f32 and in f64 end on two
    /// sides of a middle, a number is rounded otherwise; so this is not zero.
    unexplained: f64,
}

/// Distances of logits, map and gradients.
fn distances(
    network: &Network,
    weights: &StateDict,
    images: Images,
    at: &OutputGradients,
    side: usize,
) -> [Distances; 3] {
    let reference = || ReferenceNode::new(network.clone(), [side; 2], Job::TRAINING).unwrap();
    let exact = results(&mut reference(), weights, images, at);
    let mut definition = reference();
    definition.round(rounded(network, [side; 2]));
    let definition = results(&mut definition, &with_rounded_filters(network, side, weights), images, at);
    let mut kernels = CpuNode::new(network.clone(), [side; 2], Job::TRAINING, Kernels::new(), Precision::Bf16).unwrap();
    let kernels = results(&mut kernels, weights, images, at);
    std::array::from_fn(|i| Distances {
        rounding: distance(&definition[i], &exact[i]),
        kernels: distance(&kernels[i], &exact[i]),
        unexplained: distance(&kernels[i], &definition[i]),
    })
}

/// Gradients at all outputs.
fn gradients(network: &Network, count: usize, map: usize, numbers: &mut Numbers) -> OutputGradients {
    OutputGradients {
        logits: Some(numbers.values(count * 4)),
        attention_logits: network.attention_logits.map(|_| numbers.values(count * 4)),
        attention_map: Some(numbers.values(count * map)),
    }
}

fn random_weights(network: &Network, side: usize, numbers: &mut Numbers) -> StateDict {
    let mut weights = ReferenceNode::new(network.clone(), [side; 2], Job::TRAINING).unwrap().weights().unwrap();
    for array in weights.values_mut() {
        let count = array.data.len();
        array.data = numbers.values(count);
    }
    weights
}

#[test]
fn random_networks_are_as_far_from_the_definition_as_rounding_makes_them() {
    let mut shares = [const { Vec::new() }; 3];
    for seed in 0..300 {
        let mut numbers = Numbers(seed);
        let network = network(&mut numbers);
        let weights = random_weights(&network, SIDE, &mut numbers);
        let count = 4;
        let pixels = numbers.values(count * 3 * SIDE * SIDE);
        let at = gradients(&network, count, SIDE * SIDE, &mut numbers);
        let found = distances(&network, &weights, Images::new(&pixels, count), &at, SIDE);
        for ((what, shares), found) in ["logits", "map", "gradients"].iter().zip(&mut shares).zip(found) {
            let Distances { rounding, kernels, unexplained } = found;
            assert!(kernels <= 1.25 * rounding, "seed {seed}, {what}: {kernels}, by rounding {rounding}");
            shares.push(if rounding > 0.0 { unexplained / rounding } else { unexplained });
        }
    }
    for (what, mut shares) in ["logits", "map", "gradients"].into_iter().zip(shares) {
        shares.sort_by(f64::total_cmp);
        let [median, most] = [0.5, 0.95].map(|share| shares[(share * shares.len() as f64) as usize]);
        println!("{what}: unexplained {median:.1e} of the rounding's distance in the median, 95 % at most {most:.1e}");
        // Of a value that several layers read, the definition may add up and round the gradients in another order.
        assert!(median < 1e-3 && most < 0.3, "{what}: {shares:?}");
    }
}

/// Deep networks double what rounding otherwise makes, layer by layer; so it explains how far they are, not every number.
#[test]
fn whole_networks_are_as_far_from_the_definition_as_rounding_makes_them() {
    let all = ["abn-resnet-cifar-8", "resnet-cifar-8", "abn-resnet-cifar-20", "vit-tiny-16", "convnext-tiny"];
    for (seed, architecture) in all.into_iter().enumerate() {
        let side = if seed < 3 { 16 } else { 32 };
        let build = Build { side: Some(side), ..Build::plain(3, 4) };
        let network = architecture.parse::<Architecture>().unwrap().build(build);
        let mut numbers = Numbers(seed as u64);
        let initial = network.initial(&mut ChaCha8Rng::seed_from_u64(seed as u64)).collect();
        let map = network.shapes([side; 2]).unwrap()[network.attention_map.index()];
        let count = 6;
        let pixels = numbers.values(count * 3 * side * side);
        let at = gradients(&network, count, map.height * map.width, &mut numbers);
        let found = distances(&network, &initial, Images::new(&pixels, count), &at, side);
        for (what, found) in ["logits", "map", "gradients"].iter().zip(found) {
            let Distances { rounding, kernels, unexplained } = found;
            println!(
                "{architecture}, {what}: {kernels:.2e}, by rounding {rounding:.2e}, unexplained {unexplained:.2e}"
            );
            assert!(kernels <= 1.25 * rounding, "{architecture}, {what}: {kernels}, by rounding {rounding}");
        }
    }
}
