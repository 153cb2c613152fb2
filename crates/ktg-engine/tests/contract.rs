//! The engine's contract, sentence by sentence (docs/design.md), for every engine and every level of this machine. What
//! needs whole graphs is in `crates/ktg-train/tests/steps.rs`; that random networks are computed as defined, in
//! `src/cpu/tests.rs`; gates and losses in `losses.rs`.

use ktg_engine::{
    AVERAGE, CpuNode, Factors, Images, Job, Node, Optimizer, OptimizerState, OutputGradients, Outputs, Precision,
    ReferenceNode, Rule, Scratch, Wanted,
};
#[cfg(feature = "torch")]
use ktg_engine::{Device, TorchNode};
use ktg_kernels::{Kernels, Level};
use ktg_net::{Architecture, Network, StateDict};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

#[path = "../../../fixtures/support.rs"]
mod support;

const RULE: Rule = Rule::sgd(0.1, 0.9, 0.01);
const SIDE: usize = 12;

fn network() -> Network {
    "abn-resnet-cifar-8".parse::<Architecture>().unwrap().network(3, 5)
}

/// Makes nodes of one engine.
type Maker = Box<dyn Fn(Job) -> Box<dyn Node> + Sync>;

fn fast_engines() -> Vec<(String, Maker)> {
    let engine = |level: Level| -> (String, Maker) {
        let kernels = Kernels::at(level).unwrap();
        (
            level.name().to_owned(),
            Box::new(move |job| Box::new(CpuNode::new(network(), [SIDE; 2], job, kernels, Precision::F32).unwrap())),
        )
    };
    Level::available().into_iter().map(engine).collect()
}

fn engines() -> Vec<(String, Maker)> {
    let reference: Maker = Box::new(|job| Box::new(ReferenceNode::new(network(), [SIDE; 2], job).unwrap()));
    let mut engines = fast_engines();
    engines.push(("reference".to_owned(), reference));
    #[cfg(feature = "torch")]
    engines.push(("torch".to_owned(), torch()));
    engines
}

#[cfg(feature = "torch")]
fn torch() -> Maker {
    Box::new(|job| Box::new(TorchNode::new(network(), [SIDE; 2], job, Precision::F32, Device::Torch).unwrap()))
}

fn pixels(count: usize) -> Vec<f32> {
    let mut state = 5;
    (0..count * 3 * SIDE * SIDE).map(|_| support::uniform(&mut state)).collect()
}

/// Weights of a network that has seen something: no statistic is 0 or 1.
fn weights() -> StateDict {
    support::filled(&network().initial(&mut ChaCha8Rng::seed_from_u64(1)).collect(), "", &serde_json::Value::Null)
}

fn node(maker: &Maker, job: Job) -> Box<dyn Node> {
    let mut node = maker(job);
    node.load_weights(&weights(), "test").unwrap();
    node
}

/// Any gradients, for the outputs that the job says have one.
fn gradients(outputs: &Outputs, job: Job) -> OutputGradients {
    gradients_by(outputs, job, |v| 0.1 * v + 0.01)
}

fn gradients_by(outputs: &Outputs, job: Job, gradient: impl Fn(f32) -> f32) -> OutputGradients {
    let like = |values: &[f32]| values.iter().map(|v| gradient(*v)).collect();
    let map = outputs.attention_map.as_ref().filter(|_| job.map_learns);
    OutputGradients {
        logits: job.logits_learn.then(|| like(&outputs.logits)),
        attention_logits: outputs.attention_logits.as_deref().map(like),
        attention_map: map.map(|map| like(&map.data)),
    }
}

/// A step of a node, and the weights it leaves.
fn step(node: &mut dyn Node, job: Job, images: Images) -> StateDict {
    let mut scratch = Scratch::default();
    let outputs = node.forward(images, &mut scratch).unwrap();
    node.learn(images, &gradients(&outputs, job), RULE, &mut scratch).unwrap();
    node.weights().unwrap()
}

#[test]
fn forward_and_backward_change_no_state() {
    let pixels = pixels(4);
    let images = Images::new(&pixels, 4);
    for (name, maker) in engines() {
        let mut node = node(&maker, Job::TRAINING);
        let mut scratch = Scratch::default();
        let outputs = node.forward(images, &mut scratch).unwrap();
        assert!(node.forward(images, &mut scratch).unwrap() == outputs, "{name}: a second pass");
        node.backward(images, &gradients(&outputs, Job::TRAINING), &mut scratch).unwrap();
        assert!(node.weights().unwrap() == weights() && node.optimizer_state().unwrap().is_empty(), "{name}");
        node.update(4, RULE, &scratch).unwrap();
        let after = node.weights().unwrap();
        assert!(after.iter().all(|(name, array)| *array != weights()[name]), "{name}: all tensors move in the update");
    }
}

#[test]
fn nodes_that_are_not_trained_run_in_inference_mode_and_trained_ones_in_training_mode() {
    let pixels = pixels(4);
    let images = Images::new(&pixels, 4);
    for (name, maker) in engines() {
        let mut scratch = Scratch::default();
        let mut teacher = node(&maker, Job::INFERENCE);
        let shown = teacher.forward(images, &mut scratch).unwrap();
        assert!(shown == teacher.infer(images, Wanted::MAP, &mut scratch).unwrap(), "{name}");
        teacher.update(4, RULE, &scratch).unwrap();
        assert!(teacher.weights().unwrap() == weights(), "{name}: an update leaves it alone");
        let mut student = node(&maker, Job::TRAINING);
        assert!(
            student.forward(images, &mut scratch).unwrap().logits != shown.logits,
            "{name}: statistics of the batch"
        );
        assert!(student.infer(images, Wanted::MAP, &mut scratch).unwrap() == shown, "{name}");
    }
}

#[test]
fn statistics_move_where_a_layer_is_reached_and_weights_where_a_gradient_is() {
    let pixels = pixels(4);
    let images = Images::new(&pixels, 4);
    // Only the map learns: nothing comes back to the last stage, the classifier and the branch's scores.
    let wanted = Wanted { attention_logits: false, attention_map: true };
    let job = Job { trained: true, needed: true, wanted, logits_learn: false, map_learns: true };
    for (name, maker) in engines() {
        let mut node = node(&maker, job);
        let after = step(&mut *node, job, images);
        let moves = |tensor: &str| after[tensor] != weights()[tensor];
        assert!(moves("layer3.0.bn1.running_mean") && moves("bn1.running_var"), "{name}");
        for tensor in ["layer3.0.bn1.weight", "layer3.0.conv1.weight", "fc.weight", "fc.bias", "att_conv2.weight"] {
            assert!(!moves(tensor), "{name}: {tensor}");
            assert!(!node.optimizer_state().unwrap()["momentum"].contains_key(tensor), "{name}: momentum of {tensor}");
        }
        assert!(moves("att_conv3.weight") && moves("conv1.weight"), "{name}");
    }
}

#[test]
fn gradients_of_zero_let_weight_decay_and_momentum_act() {
    let pixels = pixels(4);
    let images = Images::new(&pixels, 4);
    for (name, maker) in engines() {
        let mut node = node(&maker, Job::TRAINING);
        let mut scratch = Scratch::default();
        let outputs = node.forward(images, &mut scratch).unwrap();
        let at_outputs = gradients_by(&outputs, Job::TRAINING, |_| 0.0);
        node.learn(images, &at_outputs, RULE, &mut scratch).unwrap();
        let (after, before) = (&node.weights().unwrap()["conv1.weight"], &weights()["conv1.weight"]);
        for (after, before) in after.data.iter().zip(&before.data) {
            let expected = before * (1.0 - 0.1 * 0.01);
            assert!((after - expected).abs() <= 1e-6 * before.abs(), "{name}: {after}, not {expected}");
        }
        assert!(node.optimizer_state().unwrap()["momentum"]["conv1.weight"].data.iter().any(|v| *v != 0.0), "{name}");
    }
}

#[test]
fn bits_depend_neither_on_threads_nor_on_what_ran_before() {
    let pixels = pixels(6);
    let images = Images::new(&pixels, 6);
    for (name, maker) in fast_engines() {
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let mut node = node(&maker, Job::TRAINING);
                (
                    step(&mut *node, Job::TRAINING, images),
                    node.infer(images, Wanted::ALL, &mut Scratch::default()).unwrap(),
                )
            })
        };
        let expected = on(1);
        assert!([2, 3, 5].into_iter().all(|threads| on(threads) == expected), "{name}: threads");

        // Memory that others have used, and batches of other sizes, which the plan has to hold too.
        let (mut node, mut other) = (node(&maker, Job::TRAINING), node(&maker, Job::TRAINING));
        let mut scratch = Scratch::default();
        other.forward(images, &mut scratch).unwrap();
        other.infer(images, Wanted::ALL, &mut scratch).unwrap();
        for count in [1, 6] {
            let some = Images::new(&pixels[..count * 3 * SIDE * SIDE], count);
            let outputs = node.forward(some, &mut scratch).unwrap();
            other.forward(some, &mut scratch).unwrap();
            if count == 6 {
                node.learn(some, &gradients(&outputs, Job::TRAINING), RULE, &mut scratch).unwrap();
            }
        }
        assert!(node.weights().unwrap() == expected.0, "{name}: memory used before");
    }
}

#[test]
fn an_images_bits_do_not_depend_on_its_batch_in_inference() {
    let pixels = pixels(7);
    let whole = Images::new(&pixels, 7);
    // PyTorch chooses its kernels by the batch: it does not promise that.
    for (name, maker) in engines().into_iter().filter(|(name, _)| name != "torch") {
        let node = node(&maker, Job::INFERENCE);
        let mut scratch = Scratch::default();
        let together = node.infer(whole, Wanted::MAP, &mut scratch).unwrap();
        let map = together.attention_map.unwrap();
        for i in 0..7 {
            let image = Images::new(&pixels[i * 3 * SIDE * SIDE..][..3 * SIDE * SIDE], 1);
            let alone = node.infer(image, Wanted::MAP, &mut scratch).unwrap();
            assert_eq!(alone.logits, together.logits[i * 5..][..5], "{name}: image {i}");
            assert_eq!(alone.attention_map.unwrap().data, map.data[i * map.pixels()..][..map.pixels()], "{name}");
        }
    }
}

#[test]
fn only_trained_nodes_keep_anything_and_inference_needs_three_buffers() {
    let kernels = Kernels::new();
    let network = || "resnet-18".parse::<Architecture>().unwrap().network(3, 10);
    let [kept, shared] =
        CpuNode::new(network(), [64; 2], Job::INFERENCE, kernels, Precision::F32).unwrap().memory_per_image();
    // The first convolution's result is the largest value; its pool needs both that and a quarter of it.
    let largest = 64 * 32 * 32;
    assert!(kept == 0 && shared <= largest * 5 / 4, "{kept} and {shared}");
    let [kept, _] =
        CpuNode::new(network(), [64; 2], Job::TRAINING, kernels, Precision::F32).unwrap().memory_per_image();
    let all: usize = network().shapes([64; 2]).unwrap().iter().map(|shape| shape.len()).sum();
    assert!(kept > 0 && kept < all / 2, "{kept} of {all}");
}

#[test]
fn what_the_optimizer_remembers_is_named_and_of_others_refused_by_name() {
    let pixels = pixels(4);
    let images = Images::new(&pixels, 4);
    for (name, maker) in engines() {
        let mut node = node(&maker, Job::TRAINING);
        step(&mut *node, Job::TRAINING, images);
        let state = node.optimizer_state().unwrap();
        let learned = weights().into_keys().filter(|name| !name.contains("running")).collect::<Vec<_>>();
        assert_eq!(state.keys().collect::<Vec<_>>(), ["momentum"], "{name}");
        assert_eq!(state["momentum"].keys().cloned().collect::<Vec<_>>(), learned, "{name}");
        // Resumed, it goes on to the same bits.
        let mut resumed = maker(Job::TRAINING);
        resumed.load_weights(&node.weights().unwrap(), "test").unwrap();
        resumed.load_optimizer_state(&state, "test").unwrap();
        let [a, b] = [&mut node, &mut resumed].map(|node| step(&mut **node, Job::TRAINING, images));
        assert!(a == b, "{name}: resumed");

        let before = node.optimizer_state().unwrap();
        let mut wrong = state.clone();
        wrong.get_mut("momentum").unwrap().get_mut("fc.bias").unwrap().shape = vec![4];
        let message = node.load_optimizer_state(&wrong, "run/optimiser.safetensors").unwrap_err().to_string();
        let expected = "run/optimiser.safetensors does not fit the network: its optimizer has a `momentum` of shape [4] for `fc.bias`";
        assert_eq!(message, expected, "{name}");
        let other = OptimizerState::from([("hessian".to_owned(), state["momentum"].clone())]);
        let message = node.load_optimizer_state(&other, "x").unwrap_err().to_string();
        assert!(message.contains("a `hessian`"), "{name}: {message}");
        assert!(node.optimizer_state().unwrap() == before, "{name}: unchanged");
        let mut broken = weights();
        broken.remove("bn1.bias");
        let before = node.weights().unwrap();
        let message = node.load_weights(&broken, "w.safetensors").unwrap_err().to_string();
        assert_eq!(message, "w.safetensors does not fit the network: `bn1.bias` is missing", "{name}");
        assert!(node.weights().unwrap() == before, "{name}: unchanged");
    }
}

#[test]
fn numbers_that_are_none_go_through_as_such() {
    let mut pixels = pixels(4);
    pixels[5] = f32::NAN;
    let images = Images::new(&pixels, 4);
    for (name, maker) in engines() {
        let outputs = node(&maker, Job::TRAINING).forward(images, &mut Scratch::default()).unwrap();
        assert!(outputs.logits.iter().all(|logit| logit.is_nan()), "{name}: the batch's statistics are NaN");
    }
}

/// Rules of every kind, the two optimizers among them.
fn rules() -> Vec<Rule<'static>> {
    let adamw = Optimizer::AdamW { betas: [0.9, 0.99], epsilon: 1e-3 };
    let nesterov = Optimizer::Sgd { momentum: 0.9, nesterov: true };
    vec![
        RULE,
        Rule { optimizer: nesterov, average: Some(0.9), ..RULE },
        Rule { optimizer: adamw, clip_norm: Some(0.1), ..RULE },
        Rule { optimizer: adamw, average: Some(0.9), ..RULE },
    ]
}

/// Steps `first..last` of a node.
fn train(node: &mut dyn Node, images: Images, rule: Rule, numbers: std::ops::Range<u64>) {
    let mut scratch = Scratch::default();
    for number in numbers {
        let outputs = node.forward(images, &mut scratch).unwrap();
        node.learn(images, &gradients(&outputs, Job::TRAINING), Rule { number, ..rule }, &mut scratch).unwrap();
    }
}

#[test]
fn every_optimizer_goes_on_from_its_state() {
    let pixels = pixels(4);
    let images = Images::new(&pixels, 4);
    for (name, maker) in engines() {
        for rule in rules() {
            let mut node = node(&maker, Job::TRAINING);
            train(&mut *node, images, rule, 1..3);
            let mut resumed = maker(Job::TRAINING);
            resumed.load_weights(&node.weights().unwrap(), "test").unwrap();
            resumed.load_optimizer_state(&node.optimizer_state().unwrap(), "test").unwrap();
            train(&mut *node, images, rule, 3..5);
            train(&mut *resumed, images, rule, 3..5);
            assert!(node.weights().unwrap() == resumed.weights().unwrap(), "{name}, {rule:?}");
            assert!(node.optimizer_state().unwrap() == resumed.optimizer_state().unwrap(), "{name}, {rule:?}");
        }
    }
}

#[test]
fn what_is_frozen_runs_in_inference_mode_and_stays() {
    let pixels = pixels(4);
    let images = Images::new(&pixels, 4);
    let mut network = network();
    let is_frozen = |name: &str| !name.starts_with("layer3") && !name.starts_with("fc");
    network.layers.iter_mut().for_each(|layer| layer.frozen = is_frozen(&layer.name));
    let kernels = Level::available().into_iter().map(|level| Kernels::at(level).unwrap());
    let mut nodes: Vec<Box<dyn Node>> =
        vec![Box::new(ReferenceNode::new(network.clone(), [SIDE; 2], Job::TRAINING).unwrap())];
    for kernels in kernels {
        nodes.push(Box::new(CpuNode::new(network.clone(), [SIDE; 2], Job::TRAINING, kernels, Precision::F32).unwrap()));
    }
    for node in &mut nodes {
        node.load_weights(&weights(), "test").unwrap();
        let mut scratch = Scratch::default();
        let (trained, inferred) =
            (node.forward(images, &mut scratch).unwrap(), node.infer(images, Wanted::ALL, &mut scratch).unwrap());
        // The branch is frozen: its map is that of inference; the last stage is not.
        assert!(trained.attention_map == inferred.attention_map && trained.logits != inferred.logits);
        node.backward(images, &gradients(&trained, Job::TRAINING), &mut scratch).unwrap();
        assert!(node.gradients(&scratch).unwrap().keys().all(|name| !is_frozen(name)));
        node.update(4, RULE, &scratch).unwrap();
        for (name, array) in node.weights().unwrap() {
            assert_eq!(array == weights()[&name], is_frozen(&name), "{name}");
        }
    }
}

#[test]
fn accumulated_batches_count_as_one() {
    let pixels = pixels(6);
    let batch = |i: usize| Images::new(&pixels[i * 2 * 3 * SIDE * SIDE..][..2 * 3 * SIDE * SIDE], 2);
    let rule = Rule { learning_rate: 1.0, weight_decay: 0.0, ..RULE };
    for (name, maker) in engines() {
        let mut node = node(&maker, Job::TRAINING);
        let mut scratch = Scratch::default();
        let mut parts = Vec::new();
        for i in 0..3 {
            let outputs = node.forward(batch(i), &mut scratch).unwrap();
            let at_outputs = gradients(&outputs, Job::TRAINING);
            node.backward(batch(i), &at_outputs, &mut scratch).unwrap();
            parts.push(node.gradients(&scratch).unwrap());
            assert!(i == 0 || node.weights().unwrap()["conv1.weight"] == weights()["conv1.weight"], "{name}");
            // What the way back has overwritten is computed again.
            node.forward(batch(i), &mut scratch).unwrap();
            match i {
                2 => node.learn(batch(i), &at_outputs, rule, &mut scratch).unwrap(),
                _ => node.accumulate(2, &scratch).unwrap(),
            }
        }
        let (before, after) = (weights(), node.weights().unwrap());
        for (parameter, gradient) in &parts[0] {
            for i in 0..gradient.data.len() {
                let sum: f32 = parts.iter().map(|part| part[parameter].data[i]).sum();
                let expected = before[parameter].data[i] - sum / 3.0;
                let ours = after[parameter].data[i];
                assert!(
                    (ours - expected).abs() <= 1e-5 * expected.abs().max(1.0),
                    "{name}: {parameter}: {ours} {expected}"
                );
            }
        }
        // The next step begins anew.
        let mut fresh = maker(Job::TRAINING);
        fresh.load_weights(&after, "test").unwrap();
        fresh.load_optimizer_state(&node.optimizer_state().unwrap(), "test").unwrap();
        let [a, b] = [&mut node, &mut fresh].map(|node| step(&mut **node, Job::TRAINING, batch(0)));
        assert!(a == b, "{name}");
    }
}

#[test]
fn gradients_are_clipped_together() {
    let pixels = pixels(4);
    let images = Images::new(&pixels, 4);
    let clipped = Rule { clip_norm: Some(0.01), ..Rule::sgd(1.0, 0.0, 0.0) };
    for (name, maker) in engines() {
        let mut node = node(&maker, Job::TRAINING);
        train(&mut *node, images, clipped, 1..2);
        let learned = |name: &&String| !name.contains("running");
        let after = node.weights().unwrap();
        let before = weights();
        let moved = after.keys().filter(learned).flat_map(|name| {
            let pairs = before[name].data.iter().zip(&after[name].data);
            pairs.map(|(a, b)| f64::from(a - b).powi(2))
        });
        let norm = moved.sum::<f64>().sqrt();
        assert!((norm - 0.01).abs() < 1e-5, "{name}: moved by {norm}");
        // A large limit changes nothing.
        let mut free = maker(Job::TRAINING);
        let mut loose = maker(Job::TRAINING);
        free.load_weights(&weights(), "test").unwrap();
        loose.load_weights(&weights(), "test").unwrap();
        train(&mut *free, images, RULE, 1..2);
        train(&mut *loose, images, Rule { clip_norm: Some(1e6), ..RULE }, 1..2);
        assert!(free.weights().unwrap() == loose.weights().unwrap(), "{name}");
    }
}

#[test]
fn a_node_answers_by_its_average() {
    let pixels = pixels(4);
    let images = Images::new(&pixels, 4);
    let rule = Rule { average: Some(0.9), ..RULE };
    for (name, maker) in engines() {
        let mut node = node(&maker, Job::TRAINING);
        train(&mut *node, images, rule, 1..2);
        assert!(
            node.optimizer_state().unwrap()[AVERAGE] == node.weights().unwrap(),
            "{name}: the first one is the weights"
        );
        let before = node.weights().unwrap();
        train(&mut *node, images, rule, 2..3);
        let (average, after) = (&node.optimizer_state().unwrap()[AVERAGE], node.weights().unwrap());
        for (parameter, array) in average {
            for (i, value) in array.data.iter().enumerate() {
                let (old, new) = (before[parameter].data[i], after[parameter].data[i]);
                let expected = old + (1.0 - 2.0 / 11.0) * (new - old);
                assert!((value - expected).abs() <= 1e-6 * expected.abs().max(1.0), "{name}: {parameter}");
            }
        }
        let mut other = maker(Job::INFERENCE);
        other.load_weights(average, "test").unwrap();
        let mut scratch = Scratch::default();
        let [a, b] = [&node, &other].map(|node| node.infer(images, Wanted::ALL, &mut scratch).unwrap());
        assert!(a == b, "{name}");
    }
}

#[test]
fn tensors_have_factors_of_their_own() {
    let pixels = pixels(4);
    let images = Images::new(&pixels, 4);
    let parameters = network().parameters();
    let factors = |name: &str| match name {
        "conv1.weight" => Factors { learning_rate: 0.0, weight_decay: 1.0 },
        "fc.weight" => Factors { learning_rate: 0.5, weight_decay: 0.0 },
        _ => Factors::ONE,
    };
    let factors: Vec<Factors> = parameters.iter().map(|parameter| factors(&parameter.name)).collect();
    for (name, maker) in engines() {
        let run = |rule: Rule| {
            let mut node = node(&maker, Job::TRAINING);
            train(&mut *node, images, rule, 1..2);
            node.weights().unwrap()
        };
        let (plain, special) = (run(RULE), run(Rule { factors: &factors, ..RULE }));
        let half = run(Rule { learning_rate: 0.05, weight_decay: 0.0, ..RULE });
        assert!(special["conv1.weight"] == weights()["conv1.weight"], "{name}");
        assert!(special["fc.weight"] == half["fc.weight"] && special["fc.bias"] == plain["fc.bias"], "{name}");
    }
}
