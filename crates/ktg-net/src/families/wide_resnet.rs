//! Wide residual networks for CIFAR-sized images (Zagoruyko & Komodakis, BMVC 2016): blocks begin with batch norm and ReLU. Names are
//! those of the authors' and the usual PyTorch code.

use super::residual::plain_end;
use crate::builder::Builder;
use crate::family::{Build, Family, number};
use crate::network::{Network, Value};

pub(super) const FAMILY: Family = Family {
    prefix: "wide-resnet-",
    variable: "DEPTH-WIDTH",
    variants: "depth 6n+4 from 10 up: 16-4, 28-10, 40-2",
    help: "wide ResNet, without dropout; its attention map is the mean square of the last features",
    side: |_| 32,
    sides: "32 px",
    build,
};

fn build(variant: &str, build: Build) -> Option<Network> {
    let (depth, width) = variant.split_once('-')?;
    let depth = number(depth).filter(|depth| *depth >= 10 && depth % 6 == 4)?;
    let width = number(width).filter(|width| (1..=64).contains(width))?;
    let mut net = Builder::new(build.channels);
    let mut x = net.conv2d("conv1", Value::IMAGES, 16, 3, 1);
    for stage in 0..3 {
        for i in 0..(depth - 4) / 6 {
            let stride = if stage > 0 && i == 0 { 2 } else { 1 };
            x = block(&mut net, &format!("block{}.layer.{i}", stage + 1), x, (16 * width) << stage, stride);
        }
    }
    x = net.batch_norm("bn1", x);
    x = net.relu("relu", x);
    Some(plain_end(net, x, build.classes))
}

/// Two convolutions of what went through batch norm and ReLU, and a shortcut: `x` itself, or, where the shape changes, a convolution
/// of what the first of them reads.
fn block(net: &mut Builder, name: &str, x: Value, output: usize, stride: usize) -> Value {
    let layer = |end: &str| format!("{name}.{end}");
    let mut begin = net.batch_norm(&layer("bn1"), x);
    begin = net.relu(&layer("relu1"), begin);
    let mut y = net.conv2d(&layer("conv1"), begin, output, 3, stride);
    y = net.batch_norm(&layer("bn2"), y);
    y = net.relu(&layer("relu2"), y);
    y = net.conv2d(&layer("conv2"), y, output, 3, 1);
    let shortcut = match stride != 1 || net.channels(x) != output {
        true => net.conv2d(&layer("convShortcut"), begin, output, 1, stride),
        false => x,
    };
    net.add(&layer("add"), y, shortcut)
}
