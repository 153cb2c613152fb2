//! Residual blocks (He et al., CVPR 2016).

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use rand::Rng;

use crate::layers::{BatchNorm, Conv2d, Pass};

/// The two kinds of residual block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BlockKind {
    /// Two 3x3 convolutions.
    Basic,
    /// 1x1, 3x3 (which carries the stride, as in torchvision), 1x1 with four times the channels.
    Bottleneck,
}

impl BlockKind {
    /// Output channels per unit of width.
    pub fn expansion(self) -> usize {
        match self {
            BlockKind::Basic => 1,
            BlockKind::Bottleneck => 4,
        }
    }
}

/// A residual block: `relu(convolutions(x) + shortcut(x))`.
#[derive(Module, Debug)]
pub(crate) struct Block {
    conv1: Conv2d,
    bn1: BatchNorm,
    conv2: Conv2d,
    bn2: BatchNorm,
    conv3: Option<Conv2d>,
    bn3: Option<BatchNorm>,
    /// Projection of the shortcut where the shape changes; a pair, so that its names are `downsample.0`, `.1`.
    downsample: Option<(Conv2d, BatchNorm)>,
}

impl Block {
    fn init(kind: BlockKind, input: usize, width: usize, stride: usize, device: &Device, rng: &mut impl Rng) -> Self {
        let output = width * kind.expansion();
        let norm = |channels| BatchNorm::init(channels, device);
        let (conv1, conv2, conv3) = match kind {
            BlockKind::Basic => (
                Conv2d::init(input, width, 3, stride, device, rng),
                Conv2d::init(width, width, 3, 1, device, rng),
                None,
            ),
            BlockKind::Bottleneck => (
                Conv2d::init(input, width, 1, 1, device, rng),
                Conv2d::init(width, width, 3, stride, device, rng),
                Some(Conv2d::init(width, output, 1, 1, device, rng)),
            ),
        };
        let downsample = (stride != 1 || input != output)
            .then(|| (Conv2d::init(input, output, 1, stride, device, rng), norm(output)));
        Self {
            conv1,
            bn1: norm(width),
            conv2,
            bn2: norm(width),
            bn3: conv3.is_some().then(|| norm(output)),
            conv3,
            downsample,
        }
    }

    fn forward(&self, x: Tensor<4>, pass: &mut Pass) -> Tensor<4> {
        let shortcut = match &self.downsample {
            Some((conv, bn)) => bn.forward(conv.forward(x.clone()), pass),
            None => x.clone(),
        };
        let y = self.conv2.forward(self.bn1.forward_relu(self.conv1.forward(x), pass));
        match (&self.conv3, &self.bn3) {
            (Some(conv), Some(bn)) => bn.forward_add_relu(conv.forward(self.bn2.forward_relu(y, pass)), shortcut, pass),
            _ => self.bn2.forward_add_relu(y, shortcut, pass),
        }
    }
}

/// A stage: `blocks` residual blocks, the first of which may change stride and channels.
pub(crate) fn stage(
    kind: BlockKind,
    blocks: usize,
    input: usize,
    width: usize,
    stride: usize,
    device: &Device,
    rng: &mut impl Rng,
) -> Vec<Block> {
    (0..blocks)
        .map(|i| match i {
            0 => Block::init(kind, input, width, stride, device, rng),
            _ => Block::init(kind, width * kind.expansion(), width, 1, device, rng),
        })
        .collect()
}

/// Runs a stage.
pub(crate) fn forward_stage(stage: &[Block], x: Tensor<4>, pass: &mut Pass) -> Tensor<4> {
    stage.iter().fold(x, |x, block| block.forward(x, pass))
}
