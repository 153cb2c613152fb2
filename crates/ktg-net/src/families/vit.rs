//! Vision transformers (Dosovitskiy et al., ICLR 2021), as in torchvision.

use crate::builder::Builder;
use crate::family::{Build, Family};
use crate::network::{Network, Value};

pub(super) const FAMILY: Family = Family {
    prefix: "vit-",
    variable: "SIZE-PATCH",
    variants: "tiny-16, small-16, base-16",
    help: "vision transformer; its attention map is what the class token sees of the patches in the last block",
    side: |_| SIDE,
    sides: "224 px",
    build,
};

/// Side of the images that it is made for, in pixels.
const SIDE: usize = 224;
/// Side of a patch.
const PATCH: usize = 16;
const BLOCKS: usize = 12;

fn build(variant: &str, build: Build) -> Option<Network> {
    let (width, heads) = match variant {
        "tiny-16" => (192, 3),
        "small-16" => (384, 6),
        "base-16" => (768, 12),
        _ => return None,
    };
    let side = build.side.unwrap_or(SIDE) / PATCH;
    let mut net = Builder::new(build.channels);
    let patches = net.patches("conv_proj", Value::IMAGES, width, PATCH);
    let tokens = net.class_token("class_token", patches);
    let mut x = net.positions("encoder.pos_embedding", tokens, 1 + side * side);
    let mut qkv = x;
    for i in 0..BLOCKS {
        let rate = build.drop_path * i as f64 / (BLOCKS - 1) as f64;
        (x, qkv) = block(&mut net, &format!("encoder.layers.encoder_layer_{i}"), x, heads, rate);
    }
    let map = net.class_attention("map", qkv, heads, [side; 2]);
    // A token's norm is of that token alone.
    let token = net.first_token("token", x);
    let normalized = net.layer_norm("encoder.ln", token);
    let logits = net.linear("heads.head", normalized, build.classes);
    let mut network = net.finish(logits, None, map);
    network.patch = PATCH;
    Some(network)
}

/// Attention among tokens, then two layers for each token, both with a shortcut. Gives the queries, keys and values, too.
fn block(net: &mut Builder, name: &str, x: Value, heads: usize, rate: f64) -> (Value, Value) {
    let layer = |end: &str| format!("{name}.{end}");
    let width = net.channels(x);
    let mut y = net.layer_norm(&layer("ln_1"), x);
    let qkv = net.linear(&layer("self_attention.in_proj"), y, 3 * width);
    y = net.attention(&layer("self_attention"), qkv, heads);
    y = net.linear(&layer("self_attention.out_proj"), y, width);
    y = net.drop_path(&layer("drop_path1"), y, rate);
    let x = net.add(&layer("add1"), y, x);
    y = net.layer_norm(&layer("ln_2"), x);
    y = net.linear(&layer("mlp.0"), y, 4 * width);
    y = net.gelu(&layer("mlp.1"), y);
    y = net.linear(&layer("mlp.3"), y, width);
    y = net.drop_path(&layer("drop_path2"), y, rate);
    (net.add(&layer("add2"), y, x), qkv)
}
