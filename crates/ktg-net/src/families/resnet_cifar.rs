//! ResNet for CIFAR-sized images (He et al., CVPR 2016, section 4.2).

use super::residual::{cifar_stages, plain_network, small_stem};
use crate::builder::Builder;
use crate::family::Family;
use crate::network::{Network, Value};

pub(super) const FAMILY: Family = Family {
    name: "resnet-cifar",
    depths: "6n+2 from 8 up (8, 14, 20, 32, 56, 110)",
    help: "plain CIFAR ResNet",
    side: 32,
    build,
};

fn build(depth: usize, channels: usize, classes: usize) -> Option<Network> {
    let stages = cifar_stages(depth)?;
    let mut net = Builder::new(channels);
    let x = small_stem(&mut net, Value::IMAGES, stages[0].width);
    Some(plain_network(net, &stages, x, classes))
}
