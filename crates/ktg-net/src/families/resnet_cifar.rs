//! ResNet for CIFAR-sized images (He et al., CVPR 2016, section 4.2).

use super::residual::{CIFAR_VARIANTS, cifar_stages, plain_network, small_stem};
use crate::builder::Builder;
use crate::family::{Build, Family};
use crate::network::{Network, Value};

pub(super) const FAMILY: Family = Family {
    prefix: "resnet-cifar-",
    variable: "DEPTH",
    variants: CIFAR_VARIANTS,
    help: "plain CIFAR ResNet",
    side: |_| 32,
    sides: "32 px",
    build,
};

fn build(variant: &str, build: Build) -> Option<Network> {
    let stages = cifar_stages(variant)?;
    let mut net = Builder::new(build.channels);
    let x = small_stem(&mut net, Value::IMAGES, stages[0].width);
    Some(plain_network(net, &stages, x, build.classes))
}
