//! Attention Branch Network on a ResNet for CIFAR-sized images (Fukui et al., CVPR 2019).

use super::attention_branch::attention_branch_network;
use super::residual::{CIFAR_VARIANTS, cifar_stages, small_stem};
use crate::builder::Builder;
use crate::family::{Build, Family};
use crate::network::{Network, Value};

pub(super) const FAMILY: Family = Family {
    prefix: "abn-resnet-cifar-",
    variable: "DEPTH",
    variants: CIFAR_VARIANTS,
    help: "Attention Branch Network on a CIFAR ResNet, made for 32 px",
    side: |_| 32,
    sides: "32 px",
    build,
};

fn build(variant: &str, build: Build) -> Option<Network> {
    let stages = cifar_stages(variant)?;
    let mut net = Builder::new(build.channels);
    let x = small_stem(&mut net, Value::IMAGES, stages[0].width);
    attention_branch_network(net, &stages, x, build.classes, true)
}
