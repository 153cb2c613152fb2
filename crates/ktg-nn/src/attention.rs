//! The attention branch of an Attention Branch Network (Fukui et al., CVPR 2019).

use burn::module::Module;
use burn::tensor::activation::sigmoid;
use burn::tensor::{Device, Tensor};
use rand::Rng;

use crate::block::{Block, BlockKind, forward_stage, stage};
use crate::layers::{BatchNorm, Conv2d, Pass};
use crate::ops::global_average_pool;

/// Turns a feature map into class logits of its own and a one-channel attention map of the same size.
#[derive(Module, Debug)]
pub(crate) struct AttentionBranch {
    /// A stride-1 copy of the perception branch's last stage.
    layer: Vec<Block>,
    bn_att: BatchNorm,
    att_conv: Conv2d,
    bn_att2: BatchNorm,
    att_conv2: Conv2d,
    att_conv3: Conv2d,
    bn_att3: BatchNorm,
}

impl AttentionBranch {
    pub fn init(
        kind: BlockKind,
        blocks: usize,
        input: usize,
        width: usize,
        classes: usize,
        device: &Device,
        rng: &mut impl Rng,
    ) -> Self {
        let features = width * kind.expansion();
        Self {
            layer: stage(kind, blocks, input, width, 1, device, rng),
            bn_att: BatchNorm::init(features, device),
            att_conv: Conv2d::init(features, classes, 1, 1, device, rng),
            bn_att2: BatchNorm::init(classes, device),
            att_conv2: Conv2d::init(classes, classes, 1, 1, device, rng),
            att_conv3: Conv2d::init(classes, 1, 3, 1, device, rng),
            bn_att3: BatchNorm::init(1, device),
        }
    }

    /// `x`: `[batch, channels, h, w]`. Returns the attention logits `[batch, classes]`, where they are wanted, and
    /// the attention map `[batch, 1, h, w]` with values in (0, 1).
    pub fn forward(&self, x: Tensor<4>, want_logits: bool, pass: &mut Pass) -> (Option<Tensor<2>>, Tensor<4>) {
        let a = self.bn_att.forward(forward_stage(&self.layer, x, pass), pass);
        let a = self.bn_att2.forward_relu(self.att_conv.forward(a), pass);
        let map = sigmoid(self.bn_att3.forward(self.att_conv3.forward(a.clone()), pass));
        let logits = want_logits.then(|| global_average_pool(self.att_conv2.forward(a)));
        (logits, map)
    }
}
