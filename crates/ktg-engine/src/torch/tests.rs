//! What only GPUs do, on PyTorch's CPU.

use ktg_net::Architecture;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::*;
use crate::{Factors, Optimizer};

const SIDE: usize = 16;
const IMAGES: usize = 4;

/// A node whose first layer learns nothing, and whose gradients come in one piece, or tensor by tensor.
fn node(is_joined: bool, is_frozen: bool) -> TorchNode {
    let mut network = "abn-resnet-cifar-8".parse::<Architecture>().unwrap().network(3, 5);
    network.layers[0].frozen = is_frozen;
    let initial: StateDict = network.initial(&mut ChaCha8Rng::seed_from_u64(1)).collect();
    let mut node = TorchNode::new(network, [SIDE; 2], Job::TRAINING, Precision::F32, Device::Torch).unwrap();
    node.load_weights(&initial, "test").unwrap();
    node.state().tensors.is_joined = is_joined;
    node
}

/// Weights and memories after a step of two batches and one more, of which only the map may learn.
fn learn(node: &mut TorchNode, rule: Rule, only_map: bool) -> (StateDict, OptimizerState) {
    let pixels: Vec<f32> = (0..IMAGES * 3 * SIDE * SIDE).map(|i| (i * i % 251) as f32 / 251.0).collect();
    let (images, mut scratch) = (Images::new(&pixels, IMAGES), Scratch::default());
    for batch in 0..3 {
        let outputs = node.forward(images, &mut scratch).unwrap();
        let like = |values: &[f32]| values.iter().map(|value| 0.1 * value + 0.01 * batch as f32).collect();
        let gradients = OutputGradients {
            logits: (!only_map).then(|| like(&outputs.logits)),
            attention_logits: outputs.attention_logits.as_deref().filter(|_| !only_map).map(like),
            attention_map: outputs.attention_map.as_ref().map(|map| like(&map.data)),
        };
        node.backward(images, &gradients, &mut scratch).unwrap();
        match batch {
            0 => node.accumulate(IMAGES, &scratch).unwrap(),
            _ => node.update(IMAGES, Rule { number: batch, ..rule }, &scratch).unwrap(),
        }
    }
    (node.weights().unwrap(), node.optimizer_state().unwrap())
}

/// The largest difference between two of these.
fn difference(a: &StateDict, b: &StateDict) -> f32 {
    assert!(a.keys().eq(b.keys()));
    let values = |dict: &StateDict| dict.values().flat_map(|array| array.data.clone()).collect::<Vec<f32>>();
    values(a).iter().zip(values(b)).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn gradients_in_one_piece_move_weights_as_those_of_each_tensor_do() {
    let count = node(false, false).computation.network.parameters().len();
    let special = |i: usize| Factors { learning_rate: 1.0 - 0.01 * i as f64, weight_decay: (i % 2) as f64 };
    let factors: Vec<Factors> = (0..count).map(special).collect();
    let momentum = |nesterov| Optimizer::Sgd { momentum: 0.9, nesterov };
    let adam = Optimizer::AdamW { betas: [0.9, 0.999], epsilon: 1e-8 };
    for optimizer in [momentum(false), momentum(true), adam] {
        for (factors, clip_norm, is_frozen, only_map) in
            [(&[][..], None, false, false), (&factors, Some(0.1), true, false), (&factors, None, false, true)]
        {
            let rule = Rule { optimizer, factors, clip_norm, ..Rule::sgd(0.01, 0.9, 0.01) };
            let (joined, memories) = learn(&mut node(true, is_frozen), rule, only_map);
            let (expected, expected_memories) = learn(&mut node(false, is_frozen), rule, only_map);
            let name = format!("{optimizer:?}, {clip_norm:?}, {is_frozen}, {only_map}");
            // The norm of all gradients is summed up in another order.
            let limit = match (clip_norm, optimizer) {
                (None, _) => 0.0,
                (_, Optimizer::Sgd { .. }) => 1e-5,
                // Divided by their own size, vanishing gradients count as much as others.
                (_, Optimizer::AdamW { .. }) => 1e-3,
            };
            assert!(difference(&joined, &expected) <= limit, "{name}: {}", difference(&joined, &expected));
            assert!(memories.keys().eq(expected_memories.keys()) && !memories.is_empty(), "{name}");
            for (kind, memory) in &memories {
                let difference = difference(memory, &expected_memories[kind]);
                assert!(difference <= limit, "{name}: {kind} {difference}");
            }
            assert!(difference(&joined, &node(true, is_frozen).weights().unwrap()) > 1e-4, "{name}: nothing moved");
        }
    }
}

#[test]
fn parameters_begin_where_the_fastest_kernels_want_them() {
    let node = node(true, false);
    let state = node.state();
    for i in 0..state.tensors.parameters.len() {
        let address = state.tensors.get(i).unwrap().data_ptr() as usize;
        assert_eq!(address % 64, 0, "{}", state.tensors.parameters[i].name);
    }
}
