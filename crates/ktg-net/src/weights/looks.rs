//! What network a file of weights is of, by names and shapes.

use std::collections::BTreeMap;

use ktg_base::text::grouped;

/// Shapes of tensors, by their names.
pub(super) type Shapes<'a> = BTreeMap<&'a str, &'a [usize]>;

/// What a file looks like, such as `a ResNet-50 for 1,000 classes`; for networks that are not known, its first tensors.
pub(super) fn looks_like(shapes: &Shapes) -> String {
    match backbone(shapes) {
        Some(name) => {
            let branch = if shapes.contains_key("att_conv.weight") { "an Attention Branch Network on " } else { "" };
            format!("it looks like {branch}{name}{}{}", classes(shapes), channels(shapes))
        }
        None if shapes.is_empty() => "there are no tensors of floating-point numbers in it".to_owned(),
        None => {
            let first: Vec<String> = shapes.iter().take(4).map(|(name, shape)| format!("`{name}` {shape:?}")).collect();
            format!("the first of its {} tensors are {}", grouped(shapes.len() as u64), first.join(", "))
        }
    }
}

/// The name of a network, as its authors write it; of an Attention Branch Network, what it is built on.
pub(super) fn backbone(shapes: &Shapes) -> Option<String> {
    let shape = |name: &str| shapes.get(name).copied();
    if shapes.contains_key("_conv_stem.weight") {
        let is_lite = !shapes.keys().any(|name| name.contains("._se_reduce."));
        let blocks = (0..).take_while(|block| shapes.contains_key(format!("_blocks.{block}._bn1.weight").as_str()));
        return Some(format!("an EfficientNet{} of {} blocks", if is_lite { "-Lite" } else { "" }, blocks.count()));
    }
    if let Some(&[_, tokens, width]) = shape("encoder.pos_embedding") {
        let layer = |i: usize| format!("encoder.layers.encoder_layer_{i}.ln_1.weight");
        let layers = (0..).take_while(|i| shapes.contains_key(layer(*i).as_str())).count();
        return Some(format!("a vision transformer of {layers} layers, width {width} and {tokens} tokens"));
    }
    if let Some(&[width, _, _, _]) = shape("features.0.0.weight")
        && shapes.contains_key("features.1.0.layer_scale")
    {
        let block = |stage: usize, i: usize| format!("features.{}.{i}.layer_scale", 2 * stage + 1);
        let blocks = |stage| (0..).take_while(|i| shapes.contains_key(block(stage, *i).as_str())).count();
        let blocks: Vec<String> = (0..4).map(|stage| blocks(stage).to_string()).collect();
        return Some(format!("a ConvNeXt of {} blocks and width {width}", blocks.join(", ")));
    }
    let &[_, _, kernel, _] = shape("conv1.weight")? else { return None };
    let &[width, _, _, _] = shape("layer1.0.conv1.weight")? else { return None };
    let &[_, input_of_group, _, _] = shape("layer1.0.conv2.weight")? else { return None };
    let is_bottleneck = shapes.contains_key("layer1.0.conv3.weight");
    let blocks = blocks_of_stages(shapes);
    let depth = 2 + blocks.iter().sum::<usize>() * if is_bottleneck { 3 } else { 2 };

    Some(if blocks.len() == 3 && kernel == 3 {
        format!("a CIFAR ResNet of depth {depth} and width {width}")
    } else if input_of_group != width && input_of_group > 0 {
        format!("a ResNeXt-{depth} {}x{input_of_group}d", width / input_of_group)
    } else if width != 64 {
        format!("a Wide ResNet-{depth}-{}", width as f64 / 64.0)
    } else {
        format!("a ResNet-{depth}")
    })
}

/// How many blocks stages 1, 2, ... have.
fn blocks_of_stages(shapes: &Shapes) -> Vec<usize> {
    let blocks = |stage: usize| {
        (0..).take_while(|block| shapes.contains_key(format!("layer{stage}.{block}.conv1.weight").as_str())).count()
    };
    (1..).map(blocks).take_while(|blocks| *blocks > 0).collect()
}

fn classes(shapes: &Shapes) -> String {
    let names = ["fc.weight", "_fc.weight", "classifier.2.weight", "heads.head.weight"];
    match names.iter().find_map(|name| shapes.get(name)) {
        Some(&&[classes, _]) => format!(" for {} classes", grouped(classes as u64)),
        _ => " without a classifier".to_owned(),
    }
}

fn channels(shapes: &Shapes) -> String {
    let names = ["conv1.weight", "_conv_stem.weight", "features.0.0.weight", "conv_proj.weight"];
    match names.iter().find_map(|name| shapes.get(name)) {
        Some([_, 1, ..]) => " and grey images".to_owned(),
        Some([_, channels, ..]) if *channels != 3 => format!(" and images of {channels} channels"),
        _ => String::new(),
    }
}
