//! ResNet for large images (He et al., CVPR 2016), as in torchvision.

use super::residual::{classifier, imagenet_stages, large_stem};
use crate::architecture::Family;
use crate::builder::Builder;
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
    let mut x = large_stem(&mut net, Value::IMAGES, stages[0].width);
    for (i, stage) in stages.iter().enumerate() {
        x = stage.build(&mut net, &format!("layer{}", i + 1), x);
    }
    let map = net.mean_square("map", x);
    let logits = classifier(&mut net, x, classes);
    Some(net.finish(logits, None, map))
}
