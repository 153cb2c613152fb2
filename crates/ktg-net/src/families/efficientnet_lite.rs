//! EfficientNet-Lite (Tan & Le, ICML 2019, as published for small devices: ReLU6, no squeeze and excitation), with the names of the
//! PyPI packages `efficientnet-lite-pytorch`.

use crate::builder::Builder;
use crate::family::{Build, Family};
use crate::network::{Network, NormStyle, Padding, Value};

pub(super) const FAMILY: Family = Family {
    prefix: "efficientnet-lite",
    variable: "N",
    variants: "0, 1, 2, 3, 4",
    help: "EfficientNet-Lite; its attention map is the mean square of the last features",
    side: |variant| model(variant).map_or(0, |model| model.side),
    sides: "224 to 300 px",
    build,
};

/// How a model differs from the smallest one.
struct Model {
    /// Factor of the channels, in tenths.
    width: usize,
    /// Factor of the blocks of a stage, in tenths.
    depth: usize,
    /// Side of the images, in pixels.
    side: usize,
}

fn model(variant: &str) -> Option<Model> {
    let (width, depth, side) = match variant {
        "0" => (10, 10, 224),
        "1" => (10, 11, 240),
        "2" => (11, 12, 260),
        "3" => (12, 14, 280),
        "4" => (14, 18, 300),
        _ => return None,
    };
    Some(Model { width, depth, side })
}

/// Blocks, side of the window, stride, factor of the channels within a block, channels.
const STAGES: [[usize; 5]; 7] = [
    [1, 3, 1, 1, 16],
    [2, 3, 2, 6, 24],
    [2, 5, 2, 6, 40],
    [3, 3, 2, 6, 80],
    [3, 5, 1, 6, 112],
    [4, 5, 2, 6, 192],
    [1, 3, 1, 6, 320],
];
/// Channels behind the first layer and before the classifier, the same for all models.
const STEM: usize = 32;
const HEAD: usize = 1280;

fn build(variant: &str, build: Build) -> Option<Network> {
    let Model { width, depth, side } = model(variant)?;
    let blocks = STAGES.iter().enumerate().map(|(stage, of_stage)| scaled_blocks(stage, of_stage[0], depth)).sum();
    let mut net = Layers { net: Builder::new(build.channels), side, blocks, drop_path: build.drop_path };
    let mut x = net.conv2d("_conv_stem", Value::IMAGES, STEM, 3, 2);
    x = net.norm_relu("_bn0", x);
    let mut number = 0;
    for (stage, [blocks, kernel, stride, factor, output]) in STAGES.into_iter().enumerate() {
        for i in 0..scaled_blocks(stage, blocks, depth) {
            let stride = if i == 0 { stride } else { 1 };
            x = net.block(number, x, kernel, stride, factor, scaled_channels(output, width));
            number += 1;
        }
    }
    x = net.conv2d("_conv_head", x, HEAD, 1, 1);
    x = net.norm_relu("_bn1", x);
    let mut net = net.net;
    let map = net.mean_square("map", x);
    let pooled = net.global_average_pool("_avg_pooling", x);
    let logits = net.linear("_fc", pooled, build.classes);
    Some(net.finish(logits, None, map))
}

/// So many blocks times tenths, rounded up; those of the first and the last stage stay.
fn scaled_blocks(stage: usize, blocks: usize, tenths: usize) -> usize {
    let is_scaled = stage > 0 && stage + 1 < STAGES.len();
    if is_scaled { (blocks * tenths).div_ceil(10) } else { blocks }
}

/// So many channels times tenths: the nearest multiple of eight that is not more than a tenth less.
fn scaled_channels(channels: usize, tenths: usize) -> usize {
    // Everything in tenths of a channel.
    let scaled = channels * tenths;
    let rounded = ((scaled + 40) / 80 * 80).max(80);
    if 10 * rounded < 9 * scaled { (rounded + 80) / 10 } else { rounded / 10 }
}

/// The layers so far, and the side of what they give where images are of the side that the network is made for: TensorFlow's padding
/// depends on it, and stays what it is for images of other sides.
struct Layers {
    net: Builder,
    side: usize,
    /// How many blocks there are in all.
    blocks: usize,
    /// How often stochastic depth would drop a block behind the last one.
    drop_path: f64,
}

impl Layers {
    /// The padding of the next window, behind which sides are those before it over the stride, rounded up.
    fn padding(&mut self, kernel: usize, stride: usize) -> Padding {
        let result = self.side.div_ceil(stride);
        let all = ((result - 1) * stride + kernel).saturating_sub(self.side);
        self.side = result;
        Padding { before: all / 2, after: all - all / 2 }
    }

    fn conv2d(&mut self, name: &str, x: Value, output: usize, kernel: usize, stride: usize) -> Value {
        let padding = self.padding(kernel, stride);
        self.net.padded_conv2d(name, x, output, kernel, stride, padding)
    }

    fn norm(&mut self, name: &str, x: Value) -> Value {
        self.net.styled_batch_norm(name, x, NormStyle::TensorFlow)
    }

    fn norm_relu(&mut self, name: &str, x: Value) -> Value {
        let y = self.norm(name, x);
        self.net.relu6(&format!("{name}.relu"), y)
    }

    /// An inverted residual: to `factor` times as many channels, a depthwise convolution, to `output` channels.
    fn block(&mut self, number: usize, x: Value, kernel: usize, stride: usize, factor: usize, output: usize) -> Value {
        let layer = |end: &str| format!("_blocks.{number}.{end}");
        let input = self.net.channels(x);
        let mut y = x;
        if factor > 1 {
            y = self.conv2d(&layer("_expand_conv"), y, input * factor, 1, 1);
            y = self.norm_relu(&layer("_bn0"), y);
        }
        let padding = self.padding(kernel, stride);
        y = self.net.depthwise(&layer("_depthwise_conv"), y, kernel, stride, padding);
        y = self.norm_relu(&layer("_bn1"), y);
        y = self.conv2d(&layer("_project_conv"), y, output, 1, 1);
        y = self.norm(&layer("_bn2"), y);
        if stride > 1 || input != output {
            return y;
        }
        let rate = self.drop_path * number as f64 / self.blocks as f64;
        y = self.net.drop_path(&layer("drop_path"), y, rate);
        self.net.add(&layer("add"), y, x)
    }
}

#[cfg(test)]
mod tests {
    use super::scaled_channels;

    #[test]
    fn channels_are_multiples_of_eight() {
        let scaled: Vec<usize> = [16, 24, 40, 80, 112, 192, 320].iter().map(|c| scaled_channels(*c, 14)).collect();
        assert_eq!(scaled, [24, 32, 56, 112, 160, 272, 448]);
        assert_eq!((scaled_channels(16, 11), scaled_channels(24, 11), scaled_channels(40, 12)), (16, 24, 48));
    }
}
