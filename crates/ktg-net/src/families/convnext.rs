//! ConvNeXt (Liu et al., CVPR 2022), as in torchvision.

use crate::builder::Builder;
use crate::family::{Build, Family};
use crate::network::{Network, Padding, Value};

pub(super) const FAMILY: Family = Family {
    prefix: "convnext-",
    variable: "SIZE",
    variants: VARIANTS,
    help: "ConvNeXt; its attention map is the mean square of the last features",
    side: |_| 224,
    sides: "224 px",
    build,
};

/// The sizes there are, for messages.
pub(super) const VARIANTS: &str = "tiny, small, base";

/// The side of the image's squares that the first layer sees.
const PATCH: usize = 4;

fn build(size: &str, build: Build) -> Option<Network> {
    let mut layers = Layers::new(size, build)?;
    let mut x = layers.stem();
    for stage in 0..STAGES {
        x = layers.stage(stage, x, None);
    }
    let mut net = layers.net;
    let map = net.mean_square("map", x);
    let logits = classifier(&mut net, x, build.classes);
    Some(net.finish(logits, None, map))
}

/// How many stages there are.
pub(super) const STAGES: usize = 4;

/// The layers so far, and what the network's stages are like.
pub(super) struct Layers {
    pub net: Builder,
    /// Blocks of each stage.
    blocks: [usize; STAGES],
    /// Channels of the first stage; each further one has twice as many.
    width: usize,
    /// How often stochastic depth drops the last block.
    drop_path: f64,
}

impl Layers {
    /// Of a size; `None` if there is no such.
    pub fn new(size: &str, build: Build) -> Option<Self> {
        let (blocks, width) = match size {
            "tiny" => ([3, 3, 9, 3], 96),
            "small" => ([3, 3, 27, 3], 96),
            "base" => ([3, 3, 27, 3], 128),
            _ => return None,
        };
        Some(Self { net: Builder::new(build.channels), blocks, width, drop_path: build.drop_path })
    }

    /// The first layers.
    pub fn stem(&mut self) -> Value {
        let x = self.net.patches("features.0.0", Value::IMAGES, self.width, PATCH);
        self.net.layer_norm("features.0.1", x)
    }

    /// A stage, from 0 on: the layers that halve the sides, which the first stage has none of, and its blocks. What the norm gives is
    /// weighted by a map if there is one: weights before the norm would cancel in it.
    pub fn stage(&mut self, stage: usize, x: Value, map: Option<Value>) -> Value {
        let mut x = x;
        if stage > 0 {
            let name = format!("features.{}", 2 * stage);
            x = self.net.layer_norm(&format!("{name}.0"), x);
            if let Some(map) = map {
                x = self.net.attend("attention", x, map);
            }
            x = self.net.patches(&format!("{name}.1"), x, self.width << stage, 2);
        }
        self.blocks(stage, "features", x)
    }

    /// A stage whose windows lie one pixel apart instead of two, with zeros behind the last pixels, so that sides stay. Its names begin
    /// differently.
    pub fn stage_of_stride_1(&mut self, stage: usize, start: &str, x: Value) -> Value {
        let name = format!("{start}.{}", 2 * stage);
        let x = self.net.layer_norm(&format!("{name}.0"), x);
        let padding = Padding { before: 0, after: 1 };
        let x = self.net.biased_conv2d(&format!("{name}.1"), x, self.width << stage, 2, 1, padding);
        self.blocks(stage, start, x)
    }

    fn blocks(&mut self, stage: usize, start: &str, x: Value) -> Value {
        let before: usize = self.blocks[..stage].iter().sum();
        let last = self.blocks.iter().sum::<usize>() - 1;
        let mut x = x;
        for i in 0..self.blocks[stage] {
            let rate = self.drop_path * (before + i) as f64 / last as f64;
            x = self.block(&format!("{start}.{}.{i}", 2 * stage + 1), x, rate);
        }
        x
    }

    /// A wide window for each channel, two layers for each pixel, of which the first has four times as many channels, and a shortcut.
    fn block(&mut self, name: &str, x: Value, rate: f64) -> Value {
        let layer = |end: &str| format!("{name}.{end}");
        let net = &mut self.net;
        let channels = net.channels(x);
        let mut y = net.biased_depthwise(&layer("block.0"), x, 7);
        y = net.layer_norm(&layer("block.2"), y);
        y = net.linear(&layer("block.3"), y, 4 * channels);
        y = net.gelu(&layer("block.4"), y);
        y = net.linear(&layer("block.5"), y, channels);
        y = net.layer_scale(&layer("layer_scale"), y);
        y = net.drop_path(&layer("stochastic_depth"), y, rate);
        net.add(&layer("add"), y, x)
    }
}

/// Class logits of the last features.
pub(super) fn classifier(net: &mut Builder, features: Value, classes: usize) -> Value {
    let pooled = net.global_average_pool("avgpool", features);
    let normalized = net.layer_norm("classifier.0", pooled);
    net.linear("classifier.2", normalized, classes)
}
