//! Attention Branch Network on a ResNet for large images (Fukui et al., CVPR 2019).

use super::attention_branch::attention_branch_network;
use super::residual::{imagenet_stages, large_stem};
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
    let mut net = Builder::new(channels);
    let x = large_stem(&mut net, Value::IMAGES, stages[0].width);
    attention_branch_network(net, &stages, x, classes, false)
}
