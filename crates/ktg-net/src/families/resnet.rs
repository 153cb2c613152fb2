//! ResNet for large images (He et al., CVPR 2016), as in torchvision.

use super::residual::{IMAGENET_DEPTHS, imagenet_stages, large_stem, plain_network};
use crate::builder::Builder;
use crate::family::{Build, Family};
use crate::network::{Network, Value};

pub(super) const FAMILY: Family = Family {
    prefix: "resnet-",
    variable: "DEPTH",
    variants: IMAGENET_DEPTHS,
    help: "plain ResNet; its attention map is the mean square of the last features",
    side: |_| 224,
    sides: "224 px",
    build,
};

fn build(depth: &str, build: Build) -> Option<Network> {
    let stages = imagenet_stages(depth)?;
    let mut net = Builder::new(build.channels);
    let x = large_stem(&mut net, Value::IMAGES, stages[0].width);
    Some(plain_network(net, &stages, x, build.classes))
}
