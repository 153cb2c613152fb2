//! Networks as data against PyTorch: names and shapes, weight files, published figures (fixtures/README.md).

use ktg_net::{Architecture, Array, Build, Network, Op, Parameter, Role, StateDict, WeightsFile, table, weights};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use safetensors::tensor::{Dtype, TensorView};

#[path = "../../../fixtures/support.rs"]
mod support;
use support::{assert_close, fnv1a, json, splitmix64};

fn network(name: &str, channels: usize, classes: usize) -> Network {
    name.parse::<Architecture>().unwrap().network(channels, classes)
}

#[test]
fn filling_is_as_in_python() {
    for case in json("fill.json").as_array().unwrap() {
        let key = case["key"].as_str().unwrap();
        assert_eq!(format!("{:016x}", fnv1a(key)), case["fnv1a"].as_str().unwrap());
        let mut state = fnv1a(key);
        for expected in case["splitmix64"].as_array().unwrap() {
            assert_eq!(format!("{:016x}", splitmix64(&mut state)), expected.as_str().unwrap());
        }
        let shape: Vec<usize> =
            case["shape"].as_array().unwrap().iter().map(|v| v.as_u64().unwrap() as usize).collect();
        let values = support::fill(key, &shape, case["fc_in"].as_u64().unwrap() as usize);
        let first: Vec<f32> = case["first"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap() as f32).collect();
        assert_close(key, &values[..first.len()], &first, 0.0, 1e-7);
    }
}

#[test]
fn names_and_shapes_are_pytorchs() {
    for case in json("state_dict_names.json").as_array().unwrap() {
        let size = |key: &str| case[key].as_u64().unwrap() as usize;
        let network = network(case["network"].as_str().unwrap(), size("in_channels"), size("num_classes"));
        let mut ours: Vec<(String, Vec<usize>)> =
            network.parameters().into_iter().map(|parameter| (parameter.name, parameter.shape)).collect();
        ours.sort();
        let mut theirs: Vec<(String, Vec<usize>)> = serde_json::from_value(case["state"].clone()).unwrap();
        theirs.sort();
        assert_eq!(ours, theirs, "{}", case["network"]);
        let initial: StateDict = network.initial(&mut ChaCha8Rng::seed_from_u64(1)).collect();
        weights::check(&network.parameters(), &initial, "initial").unwrap();
    }
}

/// Of many parameters, their names and shapes as a hash.
#[test]
fn names_and_shapes_of_large_networks_are_pytorchs() {
    for case in json("state_dict_hashes.json").as_array().unwrap() {
        let size = |key: &str| case[key].as_u64().unwrap() as usize;
        let network = network(case["network"].as_str().unwrap(), size("in_channels"), size("num_classes"));
        let parameters = network.parameters();
        let line = |parameter: &Parameter| {
            let shape: Vec<String> = parameter.shape.iter().map(|side| side.to_string()).collect();
            format!("{} {}\n", parameter.name, shape.join(" "))
        };
        let mut lines: Vec<String> = parameters.iter().map(line).collect();
        lines.sort();
        let learned: usize = parameters.iter().filter(|p| p.role == Role::Learned).map(Parameter::len).sum();
        assert_eq!((lines.len(), learned), (size("tensors"), size("parameters")), "{}", case["network"]);
        assert_eq!(format!("{:016x}", fnv1a(&lines.concat())), case["fnv1a"].as_str().unwrap(), "{}", case["network"]);
    }
}

/// Parameters and multiply-adds, in millions, of all layers.
fn totals(name: &str, side: usize, classes: usize) -> (usize, f64) {
    let rows = table::rows(&network(name, 3, classes), [side, side]).unwrap();
    let multiply_adds: u64 = rows.iter().map(|row| row.multiply_adds).sum();
    (rows.iter().map(|row| row.parameters).sum(), multiply_adds as f64 / 1e6)
}

#[test]
fn totals_are_the_published_ones() {
    // torchvision's documentation: parameters, and "GFLOPS", which are billions of multiply-adds.
    for (name, parameters, billions) in [
        ("resnet-18", 11_689_512, 1.81),
        ("resnet-34", 21_797_672, 3.66),
        ("resnet-50", 25_557_032, 4.09),
        ("resnet-101", 44_549_160, 7.80),
        ("resnet-152", 60_192_808, 11.51),
        ("convnext-tiny", 28_589_128, 4.46),
        ("convnext-small", 50_223_688, 8.68),
        ("convnext-base", 88_591_464, 15.36),
        ("vit-base-16", 86_567_656, 17.56),
    ] {
        let (ours, millions) = totals(name, 224, 1000);
        assert_eq!(ours, parameters, "{name}");
        assert!((millions / 1e3 - billions).abs() < 0.01, "{name}: {millions} million");
    }
    // He et al. 2016, table 6: 0.27 and 1.7 million.
    assert_eq!(totals("resnet-cifar-20", 32, 10).0 / 10_000, 27);
    assert_eq!(totals("resnet-cifar-110", 32, 10).0 / 100_000, 17);
    // Of the usual PyTorch code.
    assert_eq!(totals("wide-resnet-28-10", 32, 10).0, 36_479_194);
    assert_eq!(totals("wide-resnet-28-10", 32, 100).0, 36_536_884);
    // Of the PyTorch packages; the authors' page says 4.7, 5.4, 6.1, 8.2 and 13.0 million.
    let of_lite = [4_652_008, 5_416_680, 6_092_072, 8_197_096, 13_006_568];
    for (variant, parameters) in of_lite.into_iter().enumerate() {
        assert_eq!(totals(&format!("efficientnet-lite{variant}"), 224, 1000).0, parameters, "{variant}");
    }
}

/// Names and rates of the layers of stochastic depth, for a rate of 0.1.
fn drop_rates(name: &str) -> Vec<(String, f64)> {
    let network = name.parse::<Architecture>().unwrap().build(Build { drop_path: 0.1, ..Build::plain(3, 10) });
    let rate = |op: &Op| match op {
        Op::DropPath { rate } => Some(rate.get()),
        _ => None,
    };
    network.layers.iter().filter_map(|layer| Some((layer.name.clone(), rate(&layer.op)?))).collect()
}

#[track_caller]
fn check_rates(name: &str, expected: &[(String, f64)]) {
    let ours = drop_rates(name);
    let names = |rates: &[(String, f64)]| rates.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&ours), names(expected), "{name}");
    for ((layer, ours), (_, expected)) in ours.iter().zip(expected) {
        assert!((ours - expected).abs() < 1e-6, "{name}, {layer}: {ours} instead of {expected}");
    }
}

#[test]
fn stochastic_depth_drops_later_blocks_more_often() {
    // torchvision's `stochastic_depth_prob`: from 0 for the first block to the rate for the last one.
    let of_blocks = |start: &str, stage: usize, before: usize, blocks: usize| -> Vec<(String, f64)> {
        let block = |i: usize| (format!("{start}.{stage}.{i}.stochastic_depth"), 0.1 * (before + i) as f64 / 17.0);
        (0..blocks).map(block).collect()
    };
    let stages = [(1, 0, 3), (3, 3, 3), (5, 6, 9), (7, 15, 3)];
    let mut rates: Vec<_> =
        stages.into_iter().flat_map(|(stage, before, blocks)| of_blocks("features", stage, before, blocks)).collect();
    rates.remove(0);
    check_rates("convnext-tiny", &rates);
    // The copy of the last stage has its rates, and is computed before it.
    rates.splice(14..14, of_blocks("att_features", 7, 15, 3));
    check_rates("abn-convnext-tiny", &rates);

    // As in DeiT, the same for both halves of a block.
    let halves = |i: usize| {
        let half = |half: usize| (format!("encoder.layers.encoder_layer_{i}.drop_path{half}"), 0.1 * i as f64 / 11.0);
        [half(1), half(2)]
    };
    check_rates("vit-tiny-16", &(1..12).flat_map(halves).collect::<Vec<_>>());

    // `drop_connect_rate` of the EfficientNets: to the rate for a block behind the last one. Only blocks with a shortcut have any.
    let block = |i: usize| (format!("_blocks.{i}.drop_path"), 0.1 * i as f64 / 16.0);
    check_rates("efficientnet-lite0", &[2, 4, 6, 7, 9, 10, 12, 13, 14].map(block));

    assert!(drop_rates("resnet-18").is_empty());
    let plain = network("convnext-tiny", 3, 10);
    assert!(!plain.layers.iter().any(|layer| matches!(layer.op, Op::DropPath { .. })), "no rate, no layer");
}

#[test]
fn images_that_are_too_small_are_refused_by_name() {
    let network = network("resnet-18", 3, 10);
    assert!(network.shapes([1, 1]).is_ok(), "padding makes one pixel enough");
    let mut net = ktg_net::Builder::new(1);
    let pooled = net.max_pool("pool", ktg_net::Value::IMAGES, 5, 1, 0);
    let logits = net.global_average_pool("mean", pooled);
    let network = net.finish(logits, None, pooled);
    assert_eq!(
        network.shapes([8, 4]).unwrap_err().to_string(),
        "images of 8 x 4 pixels are too small for layer `pool`, whose window has side 5"
    );
    assert_eq!(network.map_side(4), 0);
}

#[test]
fn weights_travel_through_safetensors_and_wrong_ones_are_refused() {
    let network = network("resnet-cifar-8", 3, 4);
    let initial = |seed| -> StateDict { network.initial(&mut ChaCha8Rng::seed_from_u64(seed)).collect() };
    let (parameters, dict) = (network.parameters(), initial(1));
    let bytes = weights::to_bytes(&dict, None);
    assert_eq!(weights::from_bytes(&bytes, "x").unwrap(), WeightsFile { arrays: dict.clone(), changes: Vec::new() });
    assert_ne!(initial(2), dict);
    let with_counters: StateDict = dict
        .clone()
        .into_iter()
        .chain([("bn1.num_batches_tracked".to_owned(), Array { shape: vec![], data: vec![3.0] })])
        .collect();
    weights::check(&parameters, &with_counters, "x").unwrap();

    let mut broken = dict.clone();
    broken.remove("bn1.bias");
    broken.get_mut("fc.bias").unwrap().shape = vec![5];
    let message = weights::check(&parameters, &broken, "w.safetensors").unwrap_err().to_string();
    assert_eq!(
        message,
        "w.safetensors does not fit the network: `bn1.bias` is missing, `fc.bias` is [5], the network has [4]"
    );
    let message = weights::from_bytes(&bytes[..bytes.len() - 1], "w.safetensors").unwrap_err().to_string();
    assert!(message.starts_with("w.safetensors is not a whole safetensors file"), "{message}");
}

/// A file with tensors of these names, of one number each.
fn file_of(names: &[&str], kind: Dtype) -> Vec<u8> {
    let size = match kind {
        Dtype::F32 => 4,
        _ => 1,
    };
    let bytes = vec![0; size];
    let tensors = names.iter().map(|name| (*name, TensorView::new(kind, vec![1], &bytes).unwrap()));
    safetensors::serialize(tensors, None).unwrap()
}

#[test]
fn weights_of_other_programs_are_converted_and_it_is_said() {
    let read = |name: &str| weights::read(&support::path(name)).unwrap();
    let (ours, expected) = (read("weights_of_others.safetensors"), read("weights_of_others_f32.safetensors"));
    assert!(expected.changes.is_empty());
    assert_eq!(ours.arrays.keys().collect::<Vec<_>>(), expected.arrays.keys().collect::<Vec<_>>());
    for (name, array) in &expected.arrays {
        let bits = |array: &Array| array.data.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!((&ours.arrays[name].shape, bits(&ours.arrays[name])), (&array.shape, bits(array)), "{name}");
    }
    assert_eq!(
        ours.changes,
        ["`_orig_mod.model.` is stripped from all names", "numbers are converted from BF16 and F16 and F64 to F32",]
    );
}

#[test]
fn only_prefixes_of_all_names_are_stripped() {
    let names = |names: &[&str]| {
        let file = weights::from_bytes(&file_of(names, Dtype::F32), "x").unwrap();
        file.arrays.into_keys().collect::<Vec<_>>()
    };
    assert_eq!(names(&["module.backbone.a", "module.backbone.b.c"]), ["a", "b.c"]);
    assert_eq!(names(&["encoder.module.encoder.a"]), ["a"]);
    assert_eq!(names(&["backbone.a", "head.b"]), ["backbone.a", "head.b"]);
    assert_eq!(names(&["model.", "model.a"]), ["model.", "model.a"]);
    assert_eq!(names(&["models.a", "modelx"]), ["models.a", "modelx"]);
    assert!(names(&[]).is_empty());
    let message = weights::from_bytes(&file_of(&["a"], Dtype::F8_E4M3), "w").unwrap_err().to_string();
    assert_eq!(
        message,
        "w: tensor `a` is F8_E4M3, which is not read; save it as float32, float16, bfloat16 or float64"
    );
}

#[test]
fn fresh_weights_have_the_published_spread() {
    let dict: StateDict = network("abn-resnet-18", 3, 10).initial(&mut ChaCha8Rng::seed_from_u64(3)).collect();
    let weights = &dict["layer3.0.conv2.weight"].data;
    let n = weights.len() as f64;
    let mean = weights.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
    let std = (weights.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n).sqrt();
    let expected = (2.0 / (256.0 * 9.0_f64)).sqrt();
    // Standard errors are expected / sqrt(n) and expected / sqrt(2n); five of them.
    assert!(mean.abs() < 5.0 * expected / n.sqrt(), "{mean}");
    assert!((std - expected).abs() < 5.0 * expected / (2.0 * n).sqrt(), "{std} instead of {expected}");
    let bound = (1.0 / 512.0_f64).sqrt() as f32;
    let fc = &dict["fc.weight"].data;
    let largest = fc.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
    assert!(largest <= bound && largest > 0.99 * bound, "{largest} of {bound}");
    assert!(dict["bn1.weight"].data.iter().all(|&v| v == 1.0) && dict["bn1.bias"].data.iter().all(|&v| v == 0.0));
}
