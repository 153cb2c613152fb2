//! Attention Branch Network on a ResNet for large images (Fukui et al., CVPR 2019).

use super::attention_branch::{attention_branch, declared_after_the_stages};
use super::residual::{build_stages, classifier, imagenet_stages, large_stem};
use crate::builder::Builder;
use crate::family::Family;
use crate::network::{Network, Value};

pub(super) const FAMILY: Family = Family {
    name: "abn-resnet",
    depths: "18, 34, 50",
    help: "Attention Branch Network on a ResNet, made for 224 px",
    side: 224,
    build,
};

fn build(depth: usize, channels: usize, classes: usize) -> Option<Network> {
    let stages = imagenet_stages(depth)?;
    let (last, earlier) = stages.split_last()?;
    let mut net = Builder::new(channels);
    let mut x = large_stem(&mut net, Value::IMAGES, stages[0].width);
    x = build_stages(&mut net, earlier, x);
    let branch = attention_branch(&mut net, x, *last, stages.len(), classes);
    x = net.attend("attention", x, branch.map);
    x = last.build(&mut net, &format!("layer{}", stages.len()), x);
    let logits = classifier(&mut net, x, classes);
    Some(declared_after_the_stages(net.finish(logits, Some(branch.logits), branch.map), &branch))
}
