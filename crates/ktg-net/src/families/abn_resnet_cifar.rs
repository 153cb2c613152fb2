//! Attention Branch Network on a ResNet for CIFAR-sized images (Fukui et al., CVPR 2019).

use super::attention_branch::attention_branch_network;
use super::residual::{cifar_stages, small_stem};
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
    let mut net = Builder::new(channels);
    let x = small_stem(&mut net, Value::IMAGES, stages[0].width);
    attention_branch_network(net, &stages, x, classes, true)
}
