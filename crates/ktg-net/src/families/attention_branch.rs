//! The attention branch of an Attention Branch Network (Fukui et al., CVPR 2019).

use super::residual::Stage;
use crate::builder::Builder;
use crate::network::{Network, Value};

/// What the branch gives for a feature map `[channels, height, width]`.
pub(super) struct Branch {
    /// Class logits of its own.
    pub logits: Value,
    /// `[1, height, width]`, in (0, 1).
    pub map: Value,
    /// Indices of its layers.
    layers: std::ops::Range<usize>,
}

/// Builds the branch on `x`; `last` is the perception branch's last stage, of which it has a copy with stride 1, and
/// `number` that stage's number.
pub(super) fn attention_branch(net: &mut Builder, x: Value, last: Stage, number: usize, classes: usize) -> Branch {
    let first = net.len();
    let mut a = Stage { stride: 1, ..last }.build(net, &format!("att_layer{number}"), x);
    a = net.batch_norm("bn_att", a);
    a = net.conv2d("att_conv", a, classes, 1, 1);
    a = net.batch_norm("bn_att2", a);
    a = net.relu("relu_att", a);
    let scores = net.conv2d("att_conv2", a, classes, 1, 1);
    let logits = net.global_average_pool("att_gap", scores);
    let mut map = net.conv2d("att_conv3", a, 1, 3, 1);
    map = net.batch_norm("bn_att3", map);
    map = net.sigmoid("sigmoid", map);
    Branch { logits, map, layers: first..net.len() }
}

/// The branch is computed before the last stage, and declared after it, before the classifier `fc`.
pub(super) fn declared_after_the_stages(mut network: Network, branch: &Branch) -> Network {
    let is_of_branch = |index: &usize| branch.layers.contains(index);
    let (inside, mut outside): (Vec<usize>, Vec<usize>) =
        network.declared.iter().partition(|index| is_of_branch(index));
    let classifier = outside.pop();
    network.declared = outside.into_iter().chain(inside).chain(classifier).collect();
    network
}
