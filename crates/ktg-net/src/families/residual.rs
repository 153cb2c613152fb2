//! Residual blocks (He et al., CVPR 2016) and what all residual networks share.

use crate::builder::Builder;
use crate::family::number;
use crate::network::{Network, Value};

/// The two kinds of residual block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Block {
    /// Two 3x3 convolutions.
    Basic,
    /// 1x1, 3x3 (which carries the stride, as in torchvision), 1x1 with four times the channels.
    Bottleneck,
}

impl Block {
    /// Channels of the result per unit of width.
    fn expansion(self) -> usize {
        match self {
            Block::Basic => 1,
            Block::Bottleneck => 4,
        }
    }

    /// `relu(convolutions(x) + shortcut(x))`; the shortcut is a projection where the shape changes.
    fn build(self, net: &mut Builder, name: &str, x: Value, width: usize, stride: usize) -> Value {
        let layer = |end: &str| format!("{name}.{end}");
        let output = width * self.expansion();
        let (first, stride_of_first) = match self {
            Block::Basic => (3, stride),
            Block::Bottleneck => (1, 1),
        };
        let mut y = net.conv2d(&layer("conv1"), x, width, first, stride_of_first);
        y = net.batch_norm(&layer("bn1"), y);
        y = net.relu(&layer("relu1"), y);
        y = net.conv2d(&layer("conv2"), y, width, 3, if self == Block::Basic { 1 } else { stride });
        y = net.batch_norm(&layer("bn2"), y);
        if self == Block::Bottleneck {
            y = net.relu(&layer("relu2"), y);
            y = net.conv2d(&layer("conv3"), y, output, 1, 1);
            y = net.batch_norm(&layer("bn3"), y);
        }
        let mut shortcut = x;
        if stride != 1 || net.channels(x) != output {
            shortcut = net.conv2d(&layer("downsample.0"), x, output, 1, stride);
            shortcut = net.batch_norm(&layer("downsample.1"), shortcut);
        }
        let sum = net.add(&layer("add"), y, shortcut);
        net.relu(&layer("relu"), sum)
    }
}

/// A stage: `blocks` residual blocks, the first of which may change stride and channels.
#[derive(Clone, Copy)]
pub(super) struct Stage {
    pub block: Block,
    pub blocks: usize,
    pub width: usize,
    pub stride: usize,
}

impl Stage {
    pub fn build(self, net: &mut Builder, name: &str, x: Value) -> Value {
        let mut x = x;
        for i in 0..self.blocks {
            let stride = if i == 0 { self.stride } else { 1 };
            x = self.block.build(net, &format!("{name}.{i}"), x, self.width, stride);
        }
        x
    }
}

/// The depths of ResNets for large images, for messages.
pub(super) const IMAGENET_DEPTHS: &str = "18, 34, 50, 101, 152";

/// The four stages of a ResNet for large images; `None` if there is none of this depth.
pub(super) fn imagenet_stages(depth: &str) -> Option<Vec<Stage>> {
    let (block, blocks) = match number(depth)? {
        18 => (Block::Basic, [2, 2, 2, 2]),
        34 => (Block::Basic, [3, 4, 6, 3]),
        50 => (Block::Bottleneck, [3, 4, 6, 3]),
        101 => (Block::Bottleneck, [3, 4, 23, 3]),
        152 => (Block::Bottleneck, [3, 8, 36, 3]),
        _ => return None,
    };
    Some(stages(block, &blocks, 64))
}

/// The variants of ResNets for CIFAR-sized images, for messages.
pub(super) const CIFAR_VARIANTS: &str = "6n+2 from 8 up: 8, 14, 20, 32, 56, 110; K times as wide: 8x4, 20x2";

/// The three stages of a ResNet for CIFAR-sized images, of depth 6n + 2, or of that and a width factor of 2 to 64 (`20x4`); `None` if
/// there is no such network.
pub(super) fn cifar_stages(variant: &str) -> Option<Vec<Stage>> {
    let (depth, factor) = match variant.split_once('x') {
        Some((depth, factor)) => (depth, number(factor).filter(|factor| (2..=64).contains(factor))?),
        None => (variant, 1),
    };
    let depth = number(depth).filter(|depth| *depth >= 8 && depth % 6 == 2)?;
    Some(stages(Block::Basic, &[(depth - 2) / 6; 3], 16 * factor))
}

/// Every stage but the first halves the sides and doubles the width.
fn stages(block: Block, blocks: &[usize], width: usize) -> Vec<Stage> {
    let stage =
        |(i, &blocks): (usize, &usize)| Stage { block, blocks, width: width << i, stride: if i == 0 { 1 } else { 2 } };
    blocks.iter().enumerate().map(stage).collect()
}

/// The first layers for large images: 7x7 of stride 2, and a max-pool.
pub(super) fn large_stem(net: &mut Builder, images: Value, width: usize) -> Value {
    let mut x = net.conv2d("conv1", images, width, 7, 2);
    x = net.batch_norm("bn1", x);
    x = net.relu("relu", x);
    net.max_pool("maxpool", x, 3, 2, 1)
}

/// The first layers for CIFAR-sized images: 3x3 of stride 1.
pub(super) fn small_stem(net: &mut Builder, images: Value, width: usize) -> Value {
    let mut x = net.conv2d("conv1", images, width, 3, 1);
    x = net.batch_norm("bn1", x);
    net.relu("relu", x)
}

/// The last layers: class logits of a feature map.
pub(super) fn classifier(net: &mut Builder, features: Value, classes: usize) -> Value {
    let pooled = net.global_average_pool("avgpool", features);
    net.linear("fc", pooled, classes)
}

/// Builds stages one after the other, from number 1 on.
pub(super) fn build_stages(net: &mut Builder, stages: &[Stage], x: Value) -> Value {
    let mut x = x;
    for (i, stage) in stages.iter().enumerate() {
        x = stage.build(net, &format!("layer{}", i + 1), x);
    }
    x
}

/// Builds everything behind the stem of a plain network; its attention map is the mean square of the last features.
pub(super) fn plain_network(mut net: Builder, stages: &[Stage], x: Value, classes: usize) -> Network {
    let x = build_stages(&mut net, stages, x);
    plain_end(net, x, classes)
}

/// Ends a plain network behind its last features, whose mean square is its attention map.
pub(super) fn plain_end(mut net: Builder, features: Value, classes: usize) -> Network {
    let map = net.mean_square("map", features);
    let logits = classifier(&mut net, features, classes);
    net.finish(logits, None, map)
}
