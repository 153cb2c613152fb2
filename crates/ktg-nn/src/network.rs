//! ResNet with or without an attention branch, for large and for CIFAR-sized images: one structure, four families.

use std::collections::HashMap;

use burn::module::{Module, ModuleMapper, Param, ParamId};
use burn::tensor::{Device, Tensor};
use rand::Rng;

use crate::architecture::NetworkConfig;
use crate::attention::AttentionBranch;
use crate::block::{Block, BlockKind, forward_stage, stage};
use crate::layers::{BATCH_NORM_MOMENTUM, BatchNorm, BatchStatistics, Conv2d, Linear, Pass};
use crate::ops::{self, global_average_pool, in_single, stem_pool};

/// How the parts of a network are put together.
pub(crate) struct Layout {
    pub kind: BlockKind,
    /// Blocks per stage; stage i has `width << i` channels (times the block's expansion), each but the first strides.
    pub blocks: Vec<usize>,
    pub width: usize,
    /// 7x7 stride 2 and max-pool (ImageNet) or 3x3 stride 1 (CIFAR).
    pub large_stem: bool,
    pub attention: bool,
    /// The perception branch sees `x * map + x` instead of `x * map`.
    pub residual_attention: bool,
}

impl Layout {
    pub fn map_side(&self, side: usize) -> usize {
        // The attention branch sits before the last strided stage, a plain network's map behind it.
        let strided_stages = self.blocks.len() - 1 - usize::from(self.attention);
        let halvings = strided_stages + if self.large_stem { 2 } else { 0 };
        (0..halvings).fold(side, |side, _| side.div_ceil(2))
    }
}

/// What a forward pass gives, for a batch of `n` images: in `f32`, whatever the network computes in.
#[derive(Clone, Debug)]
pub struct Outputs {
    /// Class logits of the perception branch, `[n, classes]`.
    pub logits: Tensor<2>,
    /// Class logits of the attention branch, `[n, classes]`; absent in plain networks or where not wanted.
    pub attention_logits: Option<Tensor<2>>,
    /// Attention map, `[n, height, width]`: the branch's sigmoid, or in a plain network the channel mean of the
    /// squared last feature map (Zagoruyko & Komodakis 2017). Absent where not wanted.
    pub attention_map: Option<Tensor<3>>,
}

impl Outputs {
    /// The same values, cut off from the tape: what a source shows to its targets.
    pub fn detach(self) -> Self {
        Self {
            logits: self.logits.detach(),
            attention_logits: self.attention_logits.map(Tensor::detach),
            attention_map: self.attention_map.map(Tensor::detach),
        }
    }
}

/// Which optional outputs a forward pass computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The attention branch's logits.
    pub attention_logits: bool,
    /// The attention map. (An attention branch always needs its own.)
    pub attention_map: bool,
}

impl Wanted {
    /// Everything.
    pub const ALL: Wanted = Wanted { attention_logits: true, attention_map: true };
    /// The map but not the attention branch's logits.
    pub const MAP: Wanted = Wanted { attention_logits: false, attention_map: true };
}

/// An image classifier: ResNet or Attention Branch Network. Made by [`NetworkConfig::init`].
#[derive(Module, Debug)]
pub struct Network {
    conv1: Conv2d,
    bn1: BatchNorm,
    stages: Vec<Vec<Block>>,
    attention: Option<AttentionBranch>,
    fc: Linear,
    #[module(skip)]
    large_stem: bool,
    #[module(skip)]
    residual_attention: bool,
}

impl Network {
    pub(crate) fn init(config: &NetworkConfig, layout: &Layout, device: &Device, rng: &mut impl Rng) -> Self {
        let &NetworkConfig { classes, channels, .. } = config;
        let (kind, last) = (layout.kind, layout.blocks.len() - 1);
        let width = |i: usize| layout.width << i;
        let features = |i: usize| width(i) * kind.expansion();
        let (kernel, stride) = if layout.large_stem { (7, 2) } else { (3, 1) };
        let conv1 = Conv2d::init(channels, layout.width, kernel, stride, device, rng);
        let build = |i: usize, rng: &mut _| {
            let (input, stride) = if i == 0 { (layout.width, 1) } else { (features(i - 1), 2) };
            stage(kind, layout.blocks[i], input, width(i), stride, device, rng)
        };
        Self {
            conv1,
            bn1: BatchNorm::init(layout.width, device),
            stages: (0..=last).map(|i| build(i, rng)).collect(),
            attention: layout.attention.then(|| {
                let input = features(last - 1);
                AttentionBranch::init(kind, layout.blocks[last], input, width(last), classes, device, rng)
            }),
            fc: Linear::init(features(last), classes, device, rng),
            large_stem: layout.large_stem,
            residual_attention: layout.residual_attention,
        }
    }

    /// Number of stages, which PyTorch's names of the last stage and the attention branch contain.
    pub(crate) fn stage_count(&self) -> usize {
        self.stages.len()
    }

    /// Inference: batch norm uses its running statistics. `images` is `[n, channels, height, width]`.
    pub fn forward(&self, images: Tensor<4>, wanted: Wanted) -> Outputs {
        self.pass(images, wanted, &mut Pass::Eval)
    }

    /// Training: batch norm uses the batch's statistics, which are returned; give them to
    /// [`update_running`](Self::update_running). `images` is `[n, channels, height, width]`.
    pub fn forward_train(&self, images: Tensor<4>, wanted: Wanted) -> (Outputs, Vec<BatchStatistics>) {
        let mut statistics = Vec::new();
        let outputs = self.pass(images, wanted, &mut Pass::Train(&mut statistics));
        (outputs, statistics)
    }

    fn pass(&self, images: Tensor<4>, wanted: Wanted, pass: &mut Pass) -> Outputs {
        let mut x = self.bn1.forward_relu(self.conv1.forward(images), pass);
        if self.large_stem {
            x = stem_pool(x);
        }
        let (last, earlier) = self.stages.split_last().expect("a network has stages");
        for stage in earlier {
            x = forward_stage(stage, x, pass);
        }
        let (mut attention_logits, mut map) = (None, None);
        if let Some(branch) = &self.attention {
            let (logits, attention) = branch.forward(x.clone(), wanted.attention_logits, pass);
            let attended = x.clone() * attention.clone();
            x = if self.residual_attention { attended + x } else { attended };
            (attention_logits, map) = (logits, Some(attention));
        }
        let features = forward_stage(last, x, pass);
        if map.is_none() && wanted.attention_map {
            map = Some(in_single(features.clone()).square().mean_dim(1));
        }
        Outputs {
            logits: self.fc.forward(global_average_pool(features)),
            attention_logits,
            attention_map: map.filter(|_| wanted.attention_map).map(|map| in_single(map).squeeze_dim(1)),
        }
    }

    /// Weights of the first convolution, `[out, in, kernel, kernel]`.
    pub fn first_weights(&self) -> Tensor<4> {
        self.conv1.weight.val()
    }

    /// Moves the running statistics towards those of a training pass: `running += 0.1 (batch - running)`.
    pub fn update_running(&mut self, statistics: Vec<BatchStatistics>) {
        let mut batch = HashMap::with_capacity(2 * statistics.len());
        for s in statistics {
            batch.insert(s.mean_id, (s.mean, BATCH_NORM_MOMENTUM));
            batch.insert(s.variance_id, (s.variance, s.unbias * BATCH_NORM_MOMENTUM));
        }
        *self = self.clone().map(&mut RunningUpdate { batch });
    }
}

struct RunningUpdate {
    /// By buffer, what the batch has, and how much of it is added.
    batch: HashMap<ParamId, (Tensor<1>, f64)>,
}

impl ModuleMapper for RunningUpdate {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some((batch, share)) = self.batch.remove(&param.id) else {
            return param;
        };
        param.map(|running| {
            let blended = ops::blend(running.inner(), 1.0 - BATCH_NORM_MOMENTUM, batch.unsqueeze().inner(), share);
            Tensor::from_inner(blended)
        })
    }
}
