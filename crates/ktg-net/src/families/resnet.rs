//! ResNet for large images (He et al., CVPR 2016), as in torchvision.

use super::residual::{imagenet_stages, large_stem, plain_network};
use crate::builder::Builder;
use crate::family::Family;
use crate::network::{Network, Value};

pub(super) const FAMILY: Family = Family {
    name: "resnet",
    depths: "18, 34, 50",
    help: "plain ResNet; its attention map is the mean square of the last features",
    side: 224,
    build,
};

fn build(depth: usize, channels: usize, classes: usize) -> Option<Network> {
    let stages = imagenet_stages(depth)?;
    let mut net = Builder::new(channels);
    let x = large_stem(&mut net, Value::IMAGES, stages[0].width);
    Some(plain_network(net, &stages, x, classes))
}
