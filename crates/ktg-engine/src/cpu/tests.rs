//! Random networks, planned and run, against the definitions: a buffer that is overwritten too early, a gradient that is
//! added to the wrong sum or a layer that is left out would show.

use ktg_kernels::{Kernels, Level};
use ktg_net::{Builder, Network, NormStyle, Op, Padding, StateDict, Value};

use super::CpuNode;
use crate::numbers::Numbers;
use crate::{Images, Job, Node, Optimizer, OutputGradients, Outputs, Precision, ReferenceNode, Rule, Scratch, Wanted};

pub(super) const SIDE: usize = 6;
const RULE: Rule = Rule::sgd(0.1, 0.9, 0.1);
/// What several batch norms in a row make of rounding; mistakes of a plan are of the size of the values themselves.
const LIMIT: f32 = 1e-3;

/// A network of about a dozen layers that read whatever there is: some values have several readers, some none.
pub(super) fn network(numbers: &mut Numbers) -> Network {
    let mut net = Builder::new(3);
    let mut x = Value::IMAGES;
    if numbers.below(3) == 0 {
        x = net.max_pool("pool", x, 3, 1, 1);
    }
    let mut values = vec![net.conv2d("first", x, 8, 3, 1)];
    let mut maps = Vec::new();
    for i in 0..10 + numbers.below(5) {
        let x = values[values.len() - 1 - numbers.below(values.len().min(3))];
        let other = values[numbers.below(values.len())];
        let name = |kind: &str| format!("{kind}{i}");
        let y = match numbers.below(21) {
            0 => net.conv2d(&name("conv"), x, 8, 3, 1),
            1 => net.conv2d(&name("conv"), x, 8, 1, 1),
            2 | 3 => net.batch_norm(&name("bn"), x),
            4 => net.relu(&name("relu"), x),
            5 | 6 => net.add(&name("add"), x, other),
            7 => {
                let map = net.conv2d(&name("att_conv"), x, 1, 3, 1);
                let map = if numbers.below(2) == 0 { net.batch_norm(&name("att_bn"), map) } else { map };
                let map = net.sigmoid(&name("sigmoid"), map);
                maps.push(map);
                net.attend(&name("attend"), other, map)
            }
            9 => {
                let kernel = 3 + 2 * numbers.below(2);
                let before = numbers.below(kernel);
                net.depthwise(&name("depthwise"), x, kernel, 1, Padding { before, after: kernel - 1 - before })
            }
            10 => net.relu6(&name("relu6"), x),
            11 => {
                let before = numbers.below(3);
                let y = net.padded_conv2d(&name("conv"), x, 8, 3, 1, Padding { before, after: 2 - before });
                net.styled_batch_norm(&name("bn"), y, NormStyle::TensorFlow)
            }
            12 => net.layer_norm(&name("ln"), x),
            13 => net.gelu(&name("gelu"), x),
            14 => {
                let y = net.layer_scale(&name("scale"), x);
                net.add(&name("sum"), y, other)
            }
            15 => {
                let y = net.layer_scale(&name("scale"), x);
                net.drop_path(&name("drop"), y, 0.5)
            }
            16 => net.linear(&name("linear"), x, 8),
            17 => net.biased_depthwise(&name("depthwise"), x, 3),
            18 => net.biased_conv2d(&name("conv"), x, 8, 2, 1, Padding { before: 0, after: 1 }),
            // As ConvNeXt does it.
            19 => {
                let y = net.layer_norm(&name("ln"), x);
                let y = net.linear(&name("linear"), y, 16);
                let y = net.gelu(&name("gelu"), y);
                net.linear(&name("linear_back"), y, 8)
            }
            // As residual networks do it.
            _ => {
                let y = net.batch_norm(&name("bn"), x);
                let sum = net.add(&name("sum"), y, other);
                net.relu(&name("relu"), sum)
            }
        };
        values.push(y);
    }
    let last = values[values.len() - 1];
    if numbers.below(3) == 0 {
        return with_tokens(net, last, values[0], numbers);
    }
    let map = if maps.is_empty() || numbers.below(3) == 0 {
        net.mean_square("map", last)
    } else {
        maps[numbers.below(maps.len())]
    };
    let branch = values[numbers.below(values.len())];
    let branch = net.global_average_pool("branch_gap", branch);
    let branch = (numbers.below(3) > 0).then(|| net.linear("branch_fc", branch, 4));
    let pooled = net.global_average_pool("gap", last);
    let logits = net.linear("fc", pooled, 4);
    net.finish(logits, branch, map)
}

/// Ends a network as transformers do; other values have logits of their own, or none.
fn with_tokens(mut net: Builder, last: Value, other: Value, numbers: &mut Numbers) -> Network {
    let tokens = net.class_token("class_token", last);
    let mut x = net.positions("positions", tokens, 1 + SIDE * SIDE);
    let mut qkv = x;
    for i in 0..1 + numbers.below(2) {
        let y = net.layer_norm(&format!("norm{i}"), x);
        qkv = net.linear(&format!("in_proj{i}"), y, 24);
        let y = net.attention(&format!("attention{i}"), qkv, 2);
        let y = net.drop_path(&format!("attention_drop{i}"), y, 0.3);
        x = net.add(&format!("attention_add{i}"), y, x);
    }
    let map = if numbers.below(3) == 0 {
        net.mean_square("map", last)
    } else {
        net.class_attention("map", qkv, 2, [SIDE; 2])
    };
    let branch = net.global_average_pool("branch_gap", other);
    let branch = (numbers.below(3) > 0).then(|| net.linear("branch_fc", branch, 4));
    let token = net.first_token("token", x);
    let normalized = net.layer_norm("token_norm", token);
    let logits = net.linear("fc", normalized, 4);
    net.finish(logits, branch, map)
}

/// Freezes nothing, the first layers, or any: every layer that may be frozen in the end of a backward pass or within it.
fn freeze(network: &mut Network, numbers: &mut Numbers) {
    let (how, first) = (numbers.below(3), numbers.below(network.layers.len()));
    for (i, layer) in network.layers.iter_mut().enumerate() {
        layer.frozen = match how {
            0 => false,
            1 => i < first,
            _ => numbers.below(3) == 0,
        };
    }
}

/// Any optimizer. Its steps do not depend on the signs of gradients that are nearly zero.
fn rule(numbers: &mut Numbers) -> Rule<'static> {
    let optimizer = match numbers.below(3) {
        0 => RULE.optimizer,
        1 => Optimizer::Sgd { momentum: 0.9, nesterov: true },
        _ => Optimizer::AdamW { betas: [0.9, 0.99], epsilon: 1.0 },
    };
    let clip_norm = (numbers.below(3) == 0).then_some(1.0);
    let average = (numbers.below(3) == 0).then_some(0.5);
    Rule { optimizer, clip_norm, average, ..RULE }
}

/// What a node did with a batch.
struct Done {
    outputs: Outputs,
    inferred: Outputs,
    gradients: StateDict,
    after: StateDict,
}

fn work(node: &mut dyn Node, weights: &StateDict, images: Images, at_outputs: &OutputGradients, rule: Rule) -> Done {
    let mut scratch = Scratch::default();
    node.load_weights(weights, "test").unwrap();
    let inferred = node.infer(images, Wanted::ALL, &mut scratch).unwrap();
    let outputs = node.forward(images, &mut scratch).unwrap();
    node.backward(images, at_outputs, &mut scratch).unwrap();
    let gradients = node.gradients(&scratch).unwrap();
    node.update(images.count, rule, &scratch).unwrap();
    Done { outputs, inferred, gradients, after: node.weights().unwrap() }
}

/// Whether rounding decides nothing: no ReLU has an input near its kinks, and no norm makes large numbers of a channel, or pixel, that
/// hardly varies.
fn is_decided(network: &Network, node: &ReferenceNode) -> bool {
    let near = |values: &[f64], kink: f64| values.iter().any(|v| (v - kink).abs() < 1e-5 && *v != kink);
    network.layers.iter().all(|layer| {
        let values = node.value(layer.inputs[0]);
        match layer.op {
            Op::Relu => !near(values, 0.0),
            Op::Relu6 => !near(values, 0.0) && !near(values, 6.0),
            Op::BatchNorm { channels, .. } => (0..channels).all(|channel| spread(values, channels, channel) > 1e-2),
            Op::LayerNorm { channels } => pixels_vary(values, channels),
            _ => true,
        }
    })
}

/// Whether the channels of every pixel differ.
fn pixels_vary(values: &[f64], channels: usize) -> bool {
    // Vectors, tokens, or maps.
    let pixels = if values.len().is_multiple_of(channels * (1 + SIDE * SIDE)) { 1 + SIDE * SIDE } else { SIDE * SIDE };
    let pixels = if values.len() < channels * pixels * 2 { 1 } else { pixels };
    values.chunks_exact(channels * pixels).all(|image| {
        (0..pixels).all(|pixel| {
            let of_pixel = image.iter().skip(pixel).step_by(pixels);
            let (least, most) = of_pixel.fold((f64::MAX, f64::MIN), |(least, most), v| (v.min(least), v.max(most)));
            most - least > 1e-2
        })
    })
}

/// Distance of the largest and the smallest value of a channel.
fn spread(values: &[f64], channels: usize, channel: usize) -> f64 {
    let of_channel = values.chunks_exact(SIDE * SIDE).skip(channel).step_by(channels).flatten();
    let (least, most) = of_channel.fold((f64::MAX, f64::MIN), |(least, most), v| (v.min(least), v.max(most)));
    most - least
}

fn largest(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |most, v| most.max(v.abs()))
}

/// Differences count relative to the largest value, or to `at_least`: what cancels to zero leaves rounding.
#[track_caller]
fn assert_close(what: &str, ours: &[f32], theirs: &[f32], at_least: f32) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    let largest = largest(theirs).max(at_least);
    for (a, b) in ours.iter().zip(theirs) {
        assert!((a - b).abs() <= LIMIT * largest, "{what}: {a} is not {b} (the largest is {largest})");
    }
}

fn assert_same_outputs(what: &str, ours: &Outputs, theirs: &Outputs) {
    assert_close(&format!("{what}: logits"), &ours.logits, &theirs.logits, 1e-2);
    let branch = |outputs: &Outputs| outputs.attention_logits.clone().unwrap_or_default();
    assert_close(&format!("{what}: branch"), &branch(ours), &branch(theirs), 1e-2);
    let map = |outputs: &Outputs| outputs.attention_map.as_ref().map(|map| map.data.clone()).unwrap_or_default();
    assert_close(&format!("{what}: map"), &map(ours), &map(theirs), 1e-2);
}

/// Makes a node of an engine.
type Maker = fn(&Network, Job) -> Box<dyn Node>;

fn engines() -> Vec<(&'static str, Maker)> {
    fn at(level: Level, network: &Network, job: Job) -> Box<dyn Node> {
        Box::new(CpuNode::new(network.clone(), [SIDE; 2], job, Kernels::at(level).unwrap(), Precision::F32).unwrap())
    }
    let mut engines: Vec<(&str, Maker)> = vec![("portable", |network, job| at(Level::Portable, network, job))];
    engines.push(("fastest", |network, job| at(*Level::available().last().unwrap(), network, job)));
    #[cfg(feature = "torch")]
    engines.push(("torch", |network, job| {
        Box::new(
            crate::TorchNode::new(network.clone(), [SIDE; 2], job, crate::Precision::F32, crate::Device::Torch)
                .unwrap(),
        )
    }));
    engines
}

#[test]
fn random_networks_are_computed_as_defined() {
    let mut compared = 0;
    for seed in 0..300 {
        let mut numbers = Numbers(seed);
        let mut network = network(&mut numbers);
        let mut choices = Numbers(1000 + seed);
        freeze(&mut network, &mut choices);
        let rule = rule(&mut choices);
        let mut flag = || numbers.below(3) > 0;
        let wanted = Wanted { attention_logits: flag(), attention_map: flag() };
        let (logits_learn, map_learns) = (flag(), wanted.attention_map && flag());
        let job = Job { wanted, logits_learn, map_learns, ..Job::TRAINING };
        let mut reference = ReferenceNode::new(network.clone(), [SIDE; 2], job).unwrap();
        let mut weights = reference.weights().unwrap();
        for (name, array) in &mut weights {
            let count = array.data.len();
            array.data = numbers.values(count);
            if name.ends_with("running_var") {
                array.data.iter_mut().for_each(|v| *v = v.abs() + 0.5);
            }
        }
        let count = 1 + numbers.below(4);
        let pixels = numbers.values(count * 3 * SIDE * SIDE);
        let images = Images::new(&pixels, count);
        let has_branch = network.attention_logits.is_some() && wanted.attention_logits;
        let at_outputs = OutputGradients {
            logits: job.logits_learn.then(|| numbers.values(count * 4)),
            attention_logits: has_branch.then(|| numbers.values(count * 4)),
            attention_map: job.map_learns.then(|| numbers.values(count * SIDE * SIDE)),
        };
        let expected = work(&mut reference, &weights, images, &at_outputs, rule);
        if !is_decided(&network, &reference) || count == 1 {
            continue;
        }
        compared += 1;
        let overall = expected.gradients.values().map(|gradient| largest(&gradient.data)).fold(0.0, f32::max);
        for (engine, make) in engines() {
            let mut node = make(&network, job);
            let done = work(&mut *node, &weights, images, &at_outputs, rule);
            let what = format!("seed {seed}, {engine}");
            assert_same_outputs(&what, &done.outputs, &expected.outputs);
            assert_same_outputs(&format!("{what}, inference"), &done.inferred, &expected.inferred);
            assert!(done.gradients.keys().eq(expected.gradients.keys()), "{what}");
            for (name, gradient) in &expected.gradients {
                assert_close(&format!("{what}: {name}"), &done.gradients[name].data, &gradient.data, overall);
            }
            for (name, array) in &expected.after {
                let what = format!("{what}: {name} after the step");
                assert_close(&what, &done.after[name].data, &array.data, overall.max(1.0));
            }
            // Going backward and learning at once comes to the same bits.
            let mut again = make(&network, job);
            let mut scratch = Scratch::default();
            again.load_weights(&weights, "test").unwrap();
            again.forward(images, &mut scratch).unwrap();
            again.learn(images, &at_outputs, rule, &mut scratch).unwrap();
            assert!(again.weights().unwrap() == done.after, "{what}: learning at once");
            assert!(again.optimizer_state().unwrap() == node.optimizer_state().unwrap(), "{what}: learning at once");
        }
    }
    assert!(compared > 150, "only {compared} networks were compared");
}
