//! What of a file a network starts from.

use ktg_net::{Architecture, Array, Build, Fit, Network, StateDict, weights};

#[path = "../../../fixtures/support.rs"]
mod support;

fn network(name: &str, channels: usize, classes: usize) -> Network {
    name.parse::<Architecture>().unwrap().network(channels, classes)
}

/// Weights that differ by name and place.
fn weights_of(network: &Network) -> StateDict {
    let array = |name: &str, shape: Vec<usize>| {
        let start: usize = name.bytes().map(usize::from).sum();
        let data = (0..shape.iter().product()).map(|i: usize| ((start + 7 * i) % 1009) as f32 / 1009.0 - 0.5).collect();
        Array { shape, data }
    };
    let parameters = network.parameters().into_iter();
    parameters.map(|parameter| (parameter.name.clone(), array(&parameter.name, parameter.shape))).collect()
}

/// The file of one network for another.
fn fit(of: &Network, network: &Network) -> Result<Fit, String> {
    weights::fit(network, &weights_of(of), "w.pth").map_err(|e| e.to_string())
}

fn message(of: &Network, network: &Network) -> String {
    fit(of, network).unwrap_err()
}

/// Everything is either loaded, with the values of the file, or fresh.
fn check(of: &Network, network: &Network, fit: &Fit) {
    let file = weights_of(of);
    let mut names: Vec<String> = fit.arrays.keys().cloned().chain(fit.fresh.clone()).collect();
    names.sort();
    let mut expected: Vec<String> = network.parameters().into_iter().map(|parameter| parameter.name).collect();
    expected.sort();
    assert_eq!(names, expected);
    for parameter in network.parameters() {
        if let Some(array) = fit.arrays.get(&parameter.name) {
            assert_eq!(array.shape, parameter.shape, "{}", parameter.name);
            if parameter.name != "conv1.weight" {
                let original = parameter.name.strip_prefix("att_").filter(|_| !file.contains_key(&parameter.name));
                assert_eq!(array, &file[original.unwrap_or(&parameter.name)], "{}", parameter.name);
            }
        }
    }
}

#[test]
fn a_network_s_own_file_is_taken_whole_and_nothing_is_said() {
    for name in ["abn-resnet-18", "resnet-50", "abn-resnet-cifar-8"] {
        let network = network(name, 3, 7);
        let fit = fit(&network, &network).unwrap();
        assert_eq!(fit.arrays, weights_of(&network));
        assert!(fit.fresh.is_empty() && fit.unused.is_empty() && fit.summary().is_none());
    }
}

#[test]
fn another_number_of_classes_makes_the_head_fresh() {
    let (of, network) = (network("resnet-18", 3, 1000), network("resnet-18", 3, 200));
    let fit = fit(&of, &network).unwrap();
    check(&of, &network, &fit);
    assert_eq!(fit.fresh, ["fc.weight", "fc.bias"]);
    assert_eq!(fit.unused, ["fc.bias", "fc.weight"]);
    assert_eq!(fit.summary().unwrap(), "100 of its 102 tensors are taken; new: `fc`; not used: `fc`");
}

#[test]
fn a_head_is_taken_whole_or_not_at_all() {
    let network = network("resnet-18", 3, 10);
    let mut file = weights_of(&network);
    file.remove("fc.weight");
    let fit = weights::fit(&network, &file, "w").unwrap();
    assert_eq!(fit.fresh, ["fc.weight", "fc.bias"]);
    assert_eq!(fit.unused, ["fc.bias"]);
}

#[test]
fn an_attention_branch_starts_from_the_last_stage() {
    for (of, name, stage) in [("resnet-50", "abn-resnet-50", 4), ("resnet-cifar-8", "abn-resnet-cifar-8", 3)] {
        let (of, network) = (network(of, 3, 1000), network(name, 3, 200));
        let fit = fit(&of, &network).unwrap();
        check(&of, &network, &fit);
        let prefix = format!("att_layer{stage}.");
        let file = weights_of(&of);
        let copied: Vec<&String> = fit.arrays.keys().filter(|name| name.starts_with(&prefix)).collect();
        assert!(copied.len() > 10 && copied.iter().all(|name| fit.arrays[*name] == file[&name[4..]]));
        let is_fresh = |name: &str| fit.fresh.iter().any(|fresh| fresh.starts_with(name));
        assert!(
            ["fc.", "bn_att.", "att_conv.", "bn_att2.", "att_conv2.", "att_conv3.", "bn_att3."]
                .into_iter()
                .all(is_fresh)
        );
        let taken = file.len() - 2;
        let expected = format!(
            "{taken} of its {} tensors are taken; new: `fc`, the attention branch (but for `att_layer{stage}`, which starts \
             from `layer{stage}`); not used: `fc`",
            file.len()
        );
        assert_eq!(fit.summary().unwrap(), expected);
    }
}

#[test]
fn of_a_branch_of_its_own_only_what_depends_on_the_classes_is_fresh() {
    let (of, network) = (network("abn-resnet-18", 3, 10), network("abn-resnet-18", 3, 20));
    let fit = fit(&of, &network).unwrap();
    check(&of, &network, &fit);
    let layers: std::collections::BTreeSet<&str> =
        fit.fresh.iter().map(|name| name.split_once('.').unwrap().0).collect();
    assert_eq!(layers.into_iter().collect::<Vec<_>>(), ["att_conv", "att_conv2", "att_conv3", "bn_att2", "fc"]);
    let summary = fit.summary().unwrap();
    assert!(
        summary.contains("new: `fc`, the attention branch (but for `att_layer4`, `bn_att`, `bn_att3`)"),
        "{summary}"
    );
}

#[test]
fn a_plain_network_leaves_the_branch_of_a_file() {
    let (of, network) = (network("abn-resnet-18", 3, 10), network("resnet-18", 3, 10));
    let fit = fit(&of, &network).unwrap();
    assert!(fit.fresh.is_empty());
    let summary = fit.summary().unwrap();
    assert!(summary.starts_with("102 of its 142 tensors are taken; not used: `att_conv`, `att_conv2`"), "{summary}");
}

#[test]
fn first_convolutions_take_other_channels() {
    let (color, grey) = (network("resnet-18", 3, 10), network("resnet-18", 1, 10));
    let of_color = &weights_of(&color)["conv1.weight"].data;
    let to_grey = fit(&color, &grey).unwrap();
    check(&color, &grey, &to_grey);
    let summary = to_grey.summary().unwrap();
    assert_eq!(summary, "102 of its 102 tensors are taken; `conv1` is summed over its 3 channels");
    let conv1 = &to_grey.arrays["conv1.weight"].data;
    for (i, value) in conv1.iter().enumerate() {
        let (output, pixel) = (i / 49, i % 49);
        let sum: f32 = (0..3).map(|channel| of_color[(output * 3 + channel) * 49 + pixel]).sum();
        assert!((value - sum).abs() <= 1e-6 * sum.abs().max(0.01), "{i}: {value} instead of {sum}");
    }

    let of_grey = &weights_of(&grey)["conv1.weight"].data;
    let to_color = fit(&grey, &color).unwrap();
    check(&grey, &color, &to_color);
    assert!(to_color.summary().unwrap().ends_with("`conv1` is repeated for 3 channels and scaled by 1/3"));
    for (i, value) in to_color.arrays["conv1.weight"].data.iter().enumerate() {
        let (output, pixel) = (i / 147, i % 49);
        assert!((value - of_grey[output * 49 + pixel] / 3.0).abs() <= 1e-7, "{i}");
    }
}

#[test]
fn first_convolutions_with_a_bias_take_other_channels_and_their_bias() {
    for (name, layer) in [("vit-tiny-16", "conv_proj"), ("convnext-tiny", "features.0.0")] {
        let (color, grey) = (network(name, 3, 10), network(name, 1, 10));
        let file = weights_of(&color);
        let fit = weights::fit(&grey, &file, "w").unwrap();
        assert!(fit.fresh.is_empty() && fit.unused.is_empty());
        let n = file.len();
        let summary = format!("{n} of its {n} tensors are taken; `{layer}` is summed over its 3 channels");
        assert_eq!(fit.summary().unwrap(), summary);
        let weight = format!("{layer}.weight");
        let (ours, of_file) = (&fit.arrays[&weight], &file[&weight]);
        let [outputs, _, side, _] = of_file.shape[..] else { panic!("{:?}", of_file.shape) };
        assert_eq!(ours.shape, [outputs, 1, side, side]);
        for (i, value) in ours.data.iter().enumerate() {
            let (output, pixel) = (i / (side * side), i % (side * side));
            let sum: f32 = (0..3).map(|channel| of_file.data[(output * 3 + channel) * side * side + pixel]).sum();
            assert!((value - sum).abs() <= 1e-6 * sum.abs().max(0.01), "{i}: {value} instead of {sum}");
        }
        assert!(file.iter().all(|(name, array)| *name == weight || fit.arrays[name] == *array));
    }
}

#[test]
fn heads_of_convnext_and_transformers_are_fresh_for_other_classes() {
    for (name, head, stage) in [("convnext-tiny", "classifier.2", "classifier"), ("vit-tiny-16", "heads.head", "heads")]
    {
        let (of, network) = (network(name, 3, 1000), network(name, 3, 10));
        let fit = fit(&of, &network).unwrap();
        check(&of, &network, &fit);
        assert_eq!(fit.fresh, [format!("{head}.weight"), format!("{head}.bias")]);
        let summary = fit.summary().unwrap();
        assert!(summary.ends_with(&format!("; new: `{head}`; not used: `{stage}`")), "{summary}");
    }
}

#[test]
fn the_branch_of_a_convnext_starts_from_its_last_stage() {
    let (of, network) = (network("convnext-tiny", 3, 10), network("abn-convnext-tiny", 3, 10));
    let fit = fit(&of, &network).unwrap();
    check(&of, &network, &fit);
    let file = weights_of(&of);
    let copied: Vec<&String> = fit.arrays.keys().filter(|name| name.starts_with("att_features.")).collect();
    assert_eq!(copied.len(), 4 + 3 * 9);
    assert!(copied.into_iter().all(|name| fit.arrays[name] == file[&name[4..]]));
    assert!(
        fit.unused.is_empty()
            && fit.fresh.iter().all(|name| name.starts_with("att_conv") || name.starts_with("bn_att"))
    );
    let n = file.len();
    let expected = format!(
        "{n} of its {n} tensors are taken; new: the attention branch (but for `att_features`, which starts from `features`)"
    );
    assert_eq!(fit.summary().unwrap(), expected);
}

/// Against torchvision's `interpolate_embeddings`, for the first few channels.
#[test]
fn embeddings_of_positions_are_resized_as_in_torchvision() {
    const NAME: &str = "encoder.pos_embedding";
    const CHANNELS: usize = 8;
    let fixture = support::tensors("positions.safetensors");
    let architecture: Architecture = "vit-tiny-16".parse().unwrap();
    for (old, new) in [(5, 3), (3, 4), (2, 5), (3, 1)] {
        let [of, network] =
            [old, new].map(|side: usize| architecture.build(Build { side: Some(16 * side), ..Build::plain(3, 10) }));
        let mut file = weights_of(&of);
        let embeddings = file.get_mut(NAME).unwrap();
        let width = embeddings.shape[2];
        let before = &fixture[&format!("{old}-{new}.before")].data;
        for (all, first) in embeddings.data.chunks_exact_mut(width).zip(before.chunks_exact(CHANNELS)) {
            all[..CHANNELS].copy_from_slice(first);
        }

        let fit = weights::fit(&network, &file, "w").unwrap();
        assert!(fit.fresh.is_empty() && fit.unused.is_empty());
        assert_eq!(
            fit.summary().unwrap(),
            format!("152 of its 152 tensors are taken; `{NAME}` is resized from {old}x{old} to {new}x{new} patches")
        );
        let resized = &fit.arrays[NAME];
        assert_eq!(resized.shape, [1, 1 + new * new, width]);
        let ours: Vec<f32> = resized.data.chunks_exact(width).flat_map(|all| all[..CHANNELS].to_vec()).collect();
        let after = &fixture[&format!("{old}-{new}.after")].data;
        support::assert_close(&format!("{old} to {new}"), &ours, after, 0.0, 1e-6);
        assert!(file.iter().all(|(name, array)| name == NAME || fit.arrays[name] == *array));
    }
}

#[test]
fn differences_in_the_backbone_are_named() {
    let fits = |of: &str, name: &str| message(&network(of, 3, 1000), &network(name, 3, 10));
    for (of, name, expected) in [
        ("resnet-18", "resnet-34", "a ResNet-18 for 1,000 classes, and the network is a ResNet-34"),
        ("resnet-34", "resnet-18", "a ResNet-34 for 1,000 classes, and the network is a ResNet-18"),
        ("resnet-50", "abn-resnet-18", "a ResNet-50 for 1,000 classes, and the network is a ResNet-18"),
        (
            "abn-resnet-cifar-20",
            "resnet-50",
            "an Attention Branch Network on a CIFAR ResNet of depth 20 and width 16 for 1,000 classes, and the network is a ResNet-50",
        ),
    ] {
        assert_eq!(fits(of, name), format!("w.pth does not fit the network: it looks like {expected}"));
    }

    let network = network("resnet-18", 3, 10);
    let mut file = weights_of(&network);
    file.remove("layer2.0.bn1.running_mean");
    file.insert("layer3.1.conv1.weight".to_owned(), Array { shape: vec![256, 256, 1, 1], data: vec![0.0; 65536] });
    file.insert("layer1.0.conv1.bias".to_owned(), Array { shape: vec![64], data: vec![0.0; 64] });
    assert_eq!(
        weights::fit(&network, &file, "w.pth").unwrap_err().to_string(),
        "w.pth does not fit the network: `layer2.0.bn1.running_mean` is missing, `layer3.1.conv1.weight` is [256, 256, 1, 1], the \
         network has [256, 256, 3, 3], `layer1.0.conv1.bias` is not in the network; it looks like a ResNet-18 for 10 classes"
    );
}

#[test]
fn files_of_other_networks_are_described() {
    let network = network("resnet-18", 3, 10);
    let array = |shape: &[usize]| Array { shape: shape.to_vec(), data: vec![0.0; shape.iter().product()] };
    let message = |tensors: &[(&str, &[usize])]| {
        let file = tensors.iter().map(|(name, shape)| ((*name).to_owned(), array(shape))).collect();
        let message = weights::fit(&network, &file, "w").unwrap_err().to_string();
        message.strip_prefix("w does not fit the network: ").unwrap().to_owned()
    };
    assert_eq!(
        message(&[("features.0.weight", &[64, 3, 3, 3]), ("classifier.6.bias", &[1000])]),
        "the first of its 2 tensors are `classifier.6.bias` [1000], `features.0.weight` [64, 3, 3, 3]"
    );
    assert_eq!(message(&[]), "there are no tensors of floating-point numbers in it");
    // Of torchvision: the first shapes of wide_resnet50_2 and resnext50_32x4d, with one block a stage.
    let bottleneck = |width: usize, of_group: usize| {
        let message = message(&[
            ("conv1.weight", &[64, 3, 7, 7]),
            ("layer1.0.conv1.weight", &[width, 64, 1, 1]),
            ("layer1.0.conv2.weight", &[width, of_group, 3, 3]),
            ("layer1.0.conv3.weight", &[256, width, 1, 1]),
            ("layer1.1.conv1.weight", &[width, 256, 1, 1]),
        ]);
        message.strip_suffix(" without a classifier, and the network is a ResNet-18").unwrap().to_owned()
    };
    assert_eq!(bottleneck(128, 128), "it looks like a Wide ResNet-8-2");
    assert_eq!(bottleneck(128, 4), "it looks like a ResNeXt-8 32x4d");
    assert_eq!(bottleneck(64, 64), "it looks like a ResNet-8");
}

#[test]
fn counters_are_neither_missing_nor_extra() {
    let network = network("resnet-18", 3, 10);
    let mut file = weights_of(&network);
    file.insert("bn1.num_batches_tracked".to_owned(), Array { shape: vec![], data: vec![3.0] });
    let fit = weights::fit(&network, &file, "w").unwrap();
    assert!(fit.unused.is_empty() && fit.summary().is_none());
}
