//! Attention Branch Network on a ResNet for large images (Fukui et al., CVPR 2019).

use super::attention_branch::attention_branch_network;
use super::residual::{IMAGENET_DEPTHS, imagenet_stages, large_stem};
use crate::builder::Builder;
use crate::family::{Build, Family};
use crate::network::{Network, Value};

pub(super) const FAMILY: Family = Family {
    prefix: "abn-resnet-",
    variable: "DEPTH",
    variants: IMAGENET_DEPTHS,
    help: "Attention Branch Network on a ResNet, made for 224 px",
    side: |_| 224,
    sides: "224 px",
    build,
};

fn build(depth: &str, build: Build) -> Option<Network> {
    let stages = imagenet_stages(depth)?;
    let mut net = Builder::new(build.channels);
    let x = large_stem(&mut net, Value::IMAGES, stages[0].width);
    attention_branch_network(net, &stages, x, build.classes, false)
}
