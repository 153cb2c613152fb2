//! Attention Branch Network (Fukui et al., CVPR 2019) on a ConvNeXt.

use super::attention_branch::{branch_end, declare_branch_last};
use super::convnext::{Layers, STAGES, VARIANTS, classifier};
use crate::family::{Build, Family};
use crate::network::Network;

pub(super) const FAMILY: Family = Family {
    prefix: "abn-convnext-",
    variable: "SIZE",
    variants: VARIANTS,
    help: "Attention Branch Network on a ConvNeXt",
    side: |_| 224,
    sides: "224 px",
    build,
};

/// The branch reads what the last stage reads, and begins with a copy of that stage that keeps the sides.
fn build(size: &str, build: Build) -> Option<Network> {
    let mut layers = Layers::new(size, build)?;
    let mut x = layers.stem();
    for stage in 0..STAGES - 1 {
        x = layers.stage(stage, x, None);
    }
    let first_of_branch = layers.net.len();
    let copy = layers.stage_of_stride_1(STAGES - 1, "att_features", x);
    let (branch, map) = branch_end(&mut layers.net, copy, build.classes);
    let first_behind = layers.net.len();
    let features = layers.stage(STAGES - 1, x, Some(map));
    let mut net = layers.net;
    let logits = classifier(&mut net, features, build.classes);
    let mut network = net.finish(logits, Some(branch), map);
    declare_branch_last(&mut network, first_of_branch..first_behind);
    Some(network)
}
