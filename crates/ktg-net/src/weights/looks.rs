//! What network a file of weights is of, by names and shapes.

use ktg_base::text::grouped;

use super::array::StateDict;

/// What a file looks like, such as `a ResNet-50 for 1,000 classes`; for networks that are not known, its first tensors.
pub(super) fn looks_like(arrays: &StateDict) -> String {
    match residual(arrays) {
        Some(name) => format!("it looks like {name}{}{}", classes(arrays), channels(arrays)),
        None if arrays.is_empty() => "there are no tensors of floating-point numbers in it".to_owned(),
        None => {
            let first: Vec<String> =
                arrays.iter().take(4).map(|(name, array)| format!("`{name}` {:?}", array.shape)).collect();
            format!("the first of its {} tensors are {}", grouped(arrays.len() as u64), first.join(", "))
        }
    }
}

/// The name of a residual network, as its authors write it.
fn residual(arrays: &StateDict) -> Option<String> {
    let shape = |name: &str| arrays.get(name).map(|array| &array.shape[..]);
    let &[_, _, kernel, _] = shape("conv1.weight")? else { return None };
    let &[width, _, _, _] = shape("layer1.0.conv1.weight")? else { return None };
    let &[_, input_of_group, _, _] = shape("layer1.0.conv2.weight")? else { return None };
    let is_bottleneck = arrays.contains_key("layer1.0.conv3.weight");
    let blocks = blocks_of_stages(arrays);
    let depth = 2 + blocks.iter().sum::<usize>() * if is_bottleneck { 3 } else { 2 };

    let name = if blocks.len() == 3 && kernel == 3 {
        format!("a CIFAR ResNet of depth {depth} and width {width}")
    } else if input_of_group != width && input_of_group > 0 {
        format!("a ResNeXt-{depth} {}x{input_of_group}d", width / input_of_group)
    } else if width != 64 {
        format!("a Wide ResNet-{depth}-{}", width as f64 / 64.0)
    } else {
        format!("a ResNet-{depth}")
    };
    let has_branch = arrays.contains_key("att_conv.weight");
    Some(if has_branch { format!("an Attention Branch Network on {name}") } else { name })
}

/// How many blocks stages 1, 2, ... have.
fn blocks_of_stages(arrays: &StateDict) -> Vec<usize> {
    let blocks = |stage: usize| {
        (0..).take_while(|block| arrays.contains_key(&format!("layer{stage}.{block}.conv1.weight"))).count()
    };
    (1..).map(blocks).take_while(|blocks| *blocks > 0).collect()
}

fn classes(arrays: &StateDict) -> String {
    match arrays.get("fc.weight").map(|array| &array.shape[..]) {
        Some([classes, _]) => format!(" for {} classes", grouped(*classes as u64)),
        _ => " without a classifier".to_owned(),
    }
}

fn channels(arrays: &StateDict) -> String {
    match arrays.get("conv1.weight").map(|array| &array.shape[..]) {
        Some([_, 1, ..]) => " and grey images".to_owned(),
        Some([_, channels, ..]) if *channels != 3 => format!(" and images of {channels} channels"),
        _ => String::new(),
    }
}
