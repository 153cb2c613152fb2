//! The gradients of the definitions against differences of their values.

use ktg_net::{Builder, NormStyle, Padding, Role};

use super::*;
use crate::numbers::Numbers;

/// A network with every operation.
fn network() -> Network {
    let mut net = Builder::new(2);
    let mut x = net.conv2d("conv1", Value::IMAGES, 4, 3, 1);
    x = net.batch_norm("bn1", x);
    x = net.relu("relu", x);
    x = net.max_pool("pool", x, 3, 2, 1);
    x = net.depthwise("depthwise", x, 3, 1, Padding { before: 0, after: 2 });
    x = net.relu6("relu6", x);
    let y = net.padded_conv2d("conv2", x, 4, 3, 2, Padding { before: 2, after: 1 });
    let y = net.styled_batch_norm("bn2", y, NormStyle::TensorFlow);
    let shortcut = net.conv2d("downsample", x, 4, 1, 2);
    let mut sum = net.add("add", y, shortcut);
    let mut map = net.conv2d("att_conv", sum, 1, 3, 1);
    map = net.batch_norm("att_bn", map);
    map = net.sigmoid("sigmoid", map);
    sum = net.biased_conv2d("conv3", sum, 4, 2, 1, Padding { before: 0, after: 1 });
    let y = net.biased_depthwise("depthwise2", sum, 3);
    let y = net.layer_norm("ln", y);
    let y = net.linear("expand", y, 6);
    let y = net.gelu("gelu", y);
    let y = net.linear("project", y, 4);
    let y = net.layer_scale("layer_scale", y);
    let y = net.drop_path("drop", y, 0.5);
    sum = net.add("add2", y, sum);
    let attended = net.attend("attend", sum, map);
    let squares = net.mean_square("square", attended);
    let weighted = net.attend("attend2", attended, squares);
    let branch = net.global_average_pool("branch", sum);
    let branch = net.linear("branch_fc", branch, 3);
    let pooled = net.global_average_pool("gap", weighted);
    let logits = net.linear("fc", pooled, 3);
    net.finish(logits, Some(branch), map)
}

#[test]
fn gradients_are_the_slopes_of_the_values() {
    check(network(), &[]);
    check(transformer(), &[]);
}

/// A small transformer.
fn transformer() -> Network {
    let mut net = Builder::new(2);
    let patches = net.patches("conv_proj", Value::IMAGES, 6, 3);
    let tokens = net.class_token("class_token", patches);
    let mut x = net.positions("positions", tokens, 10);
    let y = net.layer_norm("ln_1", x);
    let qkv = net.linear("attention.in_proj", y, 18);
    let y = net.attention("attention", qkv, 2);
    x = net.add("add", y, x);
    let map = net.class_attention("map", qkv, 2, [3, 3]);
    let pooled = net.global_average_pool("gap", patches);
    let branch = net.linear("branch_fc", pooled, 3);
    let token = net.first_token("token", x);
    let normalized = net.layer_norm("ln", token);
    let logits = net.linear("fc", normalized, 3);
    net.finish(logits, Some(branch), map)
}

#[test]
fn gradients_go_through_what_is_frozen() {
    check(network(), &["conv2", "att_bn", "fc", "layer_scale"]);
    check(network(), &["conv1", "bn1", "conv2", "ln"]);
    check(transformer(), &["positions", "ln_1"]);
}

fn check(mut network: Network, frozen: &[&str]) {
    let (count, side) = (3, 9);
    network.layers.iter_mut().for_each(|layer| layer.frozen = frozen.contains(&layer.name.as_str()));
    let mut node = ReferenceNode::new(network.clone(), [side, side], Job::TRAINING).unwrap();
    let mut weights = node.weights().unwrap();
    for (seed, (name, array)) in weights.iter_mut().enumerate() {
        let len = array.data.len();
        array.data = Numbers(seed as u64).values(len);
        if name.ends_with("running_var") {
            array.data.iter_mut().for_each(|v| *v = v.abs() + 0.5);
        }
    }
    node.load_weights(&weights, "test").unwrap();
    let pixels = Numbers(100).values(count * 2 * side * side);
    let images = Images::new(&pixels, count);
    let outputs = node.forward(images, &mut Scratch::default()).unwrap();
    let map = outputs.attention_map.unwrap().data.len();
    let [of_logits, of_branch, of_map] = [(200, 9), (300, 9), (400, map)].map(|(seed, len)| Numbers(seed).values(len));
    let value = |pass: &Pass| {
        let dot = |value: Value, with: &[f32]| -> f64 {
            pass.values[value.index()].iter().zip(with).map(|(v, w)| v * f64::from(*w)).sum()
        };
        let Network { logits, attention_logits, attention_map, .. } = network;
        dot(logits, &of_logits) + dot(attention_logits.unwrap(), &of_branch) + dot(attention_map, &of_map)
    };
    let [logits, attention_logits, attention_map] = [&of_logits, &of_branch, &of_map].map(|g| Some(g.clone()));
    let at_outputs = OutputGradients { logits, attention_logits, attention_map };
    node.backward(images, &at_outputs, &mut Scratch::default()).unwrap();
    let gradients = node.gradients.clone();
    let mut checked = 0;
    for (name, gradient) in &gradients {
        let largest = gradient.iter().fold(0.0f64, |most, g| most.max(g.abs()));
        for (i, gradient) in gradient.iter().enumerate() {
            let at = |step: f32| {
                let mut moved = weights.clone();
                let weight = &mut moved.get_mut(name).unwrap().data[i];
                *weight += step;
                let weight = f64::from(*weight);
                (weight, value(&node.run(&moved, images, true)))
            };
            let ((above, high), (below, low)) = (at(1e-4), at(-1e-4));
            let slope = (high - low) / (above - below);
            let limit = 1e-5 * largest.max(0.1);
            assert!((slope - gradient).abs() <= limit, "{name}[{i}]: slope {slope}, gradient {gradient}");
            checked += 1;
        }
    }
    let learns = |p: &&ktg_net::Parameter| p.role == Role::Learned && !network.layers[p.layer].frozen;
    let learned: usize = network.parameters().iter().filter(learns).map(|p| p.len()).sum();
    assert_eq!(checked, learned);
}
