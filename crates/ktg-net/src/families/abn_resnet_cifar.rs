//! Attention Branch Network on a ResNet for CIFAR-sized images (Fukui et al., CVPR 2019).

use super::attention_branch::{attention_branch, declared_after_the_stages};
use super::residual::{build_stages, cifar_stages, classifier, small_stem};
use crate::builder::Builder;
use crate::family::Family;
use crate::network::{Network, Value};

pub(super) const FAMILY: Family = Family {
    name: "abn-resnet-cifar",
    depths: "6n+2 from 8 up (8, 14, 20, 32, 56, 110)",
    help: "Attention Branch Network on a CIFAR ResNet, made for 32 px",
    side: 32,
    build,
};

fn build(depth: usize, channels: usize, classes: usize) -> Option<Network> {
    let stages = cifar_stages(depth)?;
    let (last, earlier) = stages.split_last()?;
    let mut net = Builder::new(channels);
    let mut x = small_stem(&mut net, Value::IMAGES, stages[0].width);
    x = build_stages(&mut net, earlier, x);
    let branch = attention_branch(&mut net, x, *last, stages.len(), classes);
    // The attended features are added to the features: `x * map + x`.
    let attended = net.attend("attention", x, branch.map);
    x = net.add("attention_add", attended, x);
    x = last.build(&mut net, &format!("layer{}", stages.len()), x);
    let logits = classifier(&mut net, x, classes);
    Some(declared_after_the_stages(net.finish(logits, Some(branch.logits), branch.map), &branch))
}
