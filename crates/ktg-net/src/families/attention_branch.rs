//! The attention branch of an Attention Branch Network (Fukui et al., CVPR 2019).

use std::ops::Range;

use super::residual::{Stage, build_stages, classifier};
use crate::builder::Builder;
use crate::network::{Network, Value};

/// Builds everything behind the stem of an Attention Branch Network. Its last stage reads the features weighted by the map,
/// to which, where it `adds`, the features themselves are added: `x * map + x`.
pub(super) fn attention_branch_network(
    mut net: Builder,
    stages: &[Stage],
    x: Value,
    classes: usize,
    adds: bool,
) -> Option<Network> {
    let (last, earlier) = stages.split_last()?;
    let number = stages.len();
    let x = build_stages(&mut net, earlier, x);
    let first_of_branch = net.len();
    let (branch, map) = attention_branch(&mut net, x, *last, number, classes);
    let first_behind = net.len();
    let mut attended = net.attend("attention", x, map);
    if adds {
        attended = net.add("attention_add", attended, x);
    }
    let features = last.build(&mut net, &format!("layer{number}"), attended);
    let logits = classifier(&mut net, features, classes);
    let mut network = net.finish(logits, Some(branch), map);
    declare_branch_last(&mut network, first_of_branch..first_behind);
    Some(network)
}

/// The branch, which consists of these layers, is computed before the last stage, and declared after it, before the classifier's layer.
pub(super) fn declare_branch_last(network: &mut Network, branch: Range<usize>) {
    let classifier = network.declared.len() - 1;
    network.declared[branch.start..classifier].rotate_left(branch.len());
}

/// Builds the branch on `x`; `last` is the perception branch's last stage, of which it has a copy with stride 1, and
/// `number` that stage's number. Gives class logits of its own and the map, `[1, height, width]`, in (0, 1).
fn attention_branch(net: &mut Builder, x: Value, last: Stage, number: usize, classes: usize) -> (Value, Value) {
    let copy = Stage { stride: 1, ..last }.build(net, &format!("att_layer{number}"), x);
    branch_end(net, copy, classes)
}

/// Ends the branch behind the copy of the last stage: class logits and the map, `[1, height, width]`, in (0, 1).
pub(super) fn branch_end(net: &mut Builder, features: Value, classes: usize) -> (Value, Value) {
    let mut a = net.batch_norm("bn_att", features);
    a = net.conv2d("att_conv", a, classes, 1, 1);
    a = net.batch_norm("bn_att2", a);
    a = net.relu("relu_att", a);
    let scores = net.conv2d("att_conv2", a, classes, 1, 1);
    let logits = net.global_average_pool("att_gap", scores);
    let mut map = net.conv2d("att_conv3", a, 1, 3, 1);
    map = net.batch_norm("bn_att3", map);
    map = net.sigmoid("sigmoid", map);
    (logits, map)
}
