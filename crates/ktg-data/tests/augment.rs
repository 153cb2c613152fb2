//! Augmentation settings and steps.

use ktg_data::sources::List;
use ktg_data::*;
use serde_json::{from_value, json};

fn settings(value: serde_json::Value) -> Result<Augment, String> {
    from_value(value).map_err(|error| error.to_string())
}

fn grey(width: usize, height: usize) -> Image {
    let pixels = (0..width * height).map(|i| (i % 251) as u8).collect();
    Image::new(width, height, 1, pixels).unwrap()
}

fn apply(pipeline: &Pipeline, image: &Image, seed: u64) -> Vec<u8> {
    let mut out = vec![0.0; pipeline.values()];
    pipeline.apply(image, &mut rng(seed, Purpose::Augment, 0, 0), &mut out).unwrap();
    out.into_iter().map(|value| (value * 255.0).round() as u8).collect()
}

#[test]
fn settings_are_a_name_or_a_table() {
    for (name, preset) in [
        ("fine-grained", Preset::FineGrained),
        ("cifar", Preset::Cifar),
        ("whole", Preset::Whole),
        ("none", Preset::None),
        ("resize", Preset::None),
    ] {
        assert_eq!(settings(json!(name)), Ok(Augment::preset(preset)));
    }
    let table = settings(json!({"preset": "cifar", "flip": false, "mean": [0.3], "std": [0.4]})).unwrap();
    assert!(!table.flip && table.mean == Some(vec![0.3]));
    let own = settings(json!({
        "train": [{"step": "random-resized-crop", "scale": [0.3, 1.0]}, {"step": "horizontal-flip"}],
        "eval": [{"step": "resize", "size": 40}, {"step": "center-crop"}],
    }))
    .unwrap();
    assert_eq!(own.train.as_ref().unwrap().len(), 2);
    for augment in [table, own, Augment::default()] {
        assert_eq!(settings(serde_json::to_value(&augment).unwrap()), Ok(augment));
    }
}

#[test]
fn settings_are_read_from_toml() {
    #[derive(serde::Deserialize)]
    struct File {
        data: DataSource,
        augment: Augment,
    }
    let read = |text: &str| toml::from_str::<File>(text).map_err(|error| error.to_string());
    let named = read("augment = \"fine-grained\"\n[data]\nsource = \"list\"\nroot = \"grocery\"").unwrap();
    assert_eq!(named.augment, Augment::preset(Preset::FineGrained));
    let list = List { root: Some("grocery".into()), ..List::default() };
    assert_eq!(named.data, DataSource { kind: SourceKind::List(list), skip: None });
    let table = read(
        r#"
        [data]
        [augment]
        flip = false
        mean = [0.286]
        std = [0.353]
        train = [
            { step = "random-resized-crop", scale = [0.3, 1] },
            { step = "horizontal-flip" },
        ]
        eval = [{ step = "resize", size = 256 }, { step = "center-crop" }]
        "#,
    )
    .unwrap();
    assert!(Transform::new(&table.augment, 224, 1).is_ok());
    let written = toml::to_string(&table.augment).unwrap();
    assert_eq!(toml::from_str::<Augment>(&written).unwrap(), table.augment);
    // What is left out stays left out: runs are known by this text.
    let end = "[[eval]]\nstep = \"resize\"\nsize = 256\n\n[[eval]]\nstep = \"center-crop\"\n";
    assert!(written.starts_with("preset = \"cifar\"\nflip = false\nmean = ") && written.ends_with(end), "{written}");
    let written = toml::to_string(&named.data).unwrap();
    assert_eq!(written, "source = \"list\"\nroot = \"grocery\"\n");
    assert_eq!(toml::from_str::<DataSource>(&written).unwrap(), named.data);
    let all = "source = \"list\"\nroot = \"a\"\ntrain = \"b\"\ntest = \"c\"\nval = \"d\"\nlabel_column = 2\nclasses = \"e\"\n\
               first_label = 1\nchannels = 3\nexif_orientation = true\ncache_mib = 5\nskip = \"f\"\n";
    assert_eq!(toml::to_string(&toml::from_str::<DataSource>(all).unwrap()).unwrap(), all);
    let error = read("[data]\n[augment]\nflp = false").err().unwrap();
    assert!(error.contains("line 3") && error.contains("`flp`"), "{error}");
}

#[test]
fn wrong_settings_say_what_is_wrong() {
    let unknown = settings(json!("imagenet")).unwrap_err();
    assert!(unknown.contains("`imagenet`") && unknown.contains("`fine-grained`"), "{unknown}");
    assert!(settings(json!({"flips": true})).unwrap_err().contains("`flips`"));
    assert!(settings(json!({"train": [{"step": "blur"}]})).unwrap_err().contains("`blur`"));
    assert!(settings(json!({"train": [{"step": "pad", "fill": [256]}]})).unwrap_err().contains("256"));
    let unknown = settings(json!({"normalize": "half"})).unwrap_err();
    assert!(unknown.contains("`half`") && unknown.contains("`imagenet`"), "{unknown}");
    assert!(settings(json!({"train": [{"step": "resize", "side": 3}]})).unwrap_err().contains("`side`"));
    assert!(settings(json!(3)).unwrap_err().contains("name of an augmentation preset"));
}

#[test]
fn impossible_pipelines_are_refused() {
    let error = |steps: serde_json::Value| {
        let augment = settings(json!({"train": steps})).unwrap();
        Transform::new(&augment, 32, 3).unwrap_err().to_string()
    };
    for (steps, part) in [
        (json!([{"step": "resize"}]), "longer side varies"),
        (json!([{"step": "center-crop", "size": 30}]), "a side of 30"),
        (json!([{"step": "center-crop", "size": 0}]), "a size of 0"),
        (json!([{"step": "random-crop", "padding": 99999}]), "padding of 99999"),
        (json!([{"step": "pad", "size": 30}]), "a side of 30"),
        (json!([{"step": "pad", "size": 0}]), "a size of 0"),
        (json!([{"step": "pad", "fill": [0]}]), "fill = [0] for images of 3 channel(s); it takes one value a channel"),
        (json!([{"step": "horizontal-flip", "p": 1.5}]), "probability of 1.5"),
        (json!([{"step": "random-resized-crop", "scale": [0.0, 1.0]}]), "scale = [0.0, 1.0]"),
        (json!([{"step": "random-resized-crop", "scale": [0.5, 2.0]}]), "scale = [0.5, 2.0]"),
        (json!([{"step": "random-resized-crop", "ratio": [2.0, 1.0]}]), "ratio = [2.0, 1.0]"),
        (json!([{"step": "normalise", "mean": [0.0], "std": [1.0]}]), "1 means"),
        (json!([{"step": "normalise", "mean": [0.0, 0.0, 0.0], "std": [1.0, 0.0, 1.0]}]), "std above 0"),
        (
            json!([{"step": "normalise", "mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0]}, {"step": "stretch"}]),
            "last step",
        ),
    ] {
        let error = error(steps);
        assert!(error.contains(part), "{part}: {error}");
    }
    let half = Augment { mean: Some(vec![0.5; 3]), ..Augment::default() };
    assert!(Transform::new(&half, 32, 3).unwrap_err().to_string().contains("go together"));
    assert!(Transform::new(&Augment::default(), 0, 3).is_err());
    assert!(Transform::new(&Augment::default(), 32, 2).is_err());
}

#[test]
fn presets_give_the_side_for_any_image() {
    for preset in [Preset::FineGrained, Preset::Cifar, Preset::Whole, Preset::None] {
        let transform = Transform::new(&Augment::preset(preset), 32, 1).unwrap();
        for (width, height) in [(32, 32), (1, 1), (1, 90), (200, 3), (33, 50), (31, 32)] {
            for pipeline in [&transform.train, &transform.eval] {
                assert_eq!(apply(pipeline, &grey(width, height), 1).len(), 32 * 32);
            }
        }
    }
}

#[test]
fn images_of_the_right_size_stay_as_they_are_in_evaluation() {
    let image = grey(32, 32);
    for preset in [Preset::Cifar, Preset::Whole, Preset::None] {
        let transform = Transform::new(&Augment::preset(preset), 32, 1).unwrap();
        assert_eq!(apply(&transform.eval, &image, 0), image.pixels);
    }
    assert_eq!(
        Transform::new(&Augment::preset(Preset::None), 32, 1).unwrap().train,
        Transform::new(&Augment::preset(Preset::None), 32, 1).unwrap().eval
    );
}

#[test]
fn random_crops_are_every_shift_of_the_padded_image() {
    let image = grey(8, 8);
    let flat = Augment { flip: false, ..Augment::preset(Preset::Cifar) };
    let pipeline = Transform::new(&flat, 8, 1).unwrap().train;
    let mut possible = std::collections::BTreeSet::new();
    for top in -4..=4 {
        for left in -4..=4 {
            possible.insert(image.square(left, top, 8).pixels.to_vec());
        }
    }
    let seen: std::collections::BTreeSet<_> = (0..2000).map(|seed| apply(&pipeline, &image, seed)).collect();
    assert_eq!(seen, possible);
}

#[test]
fn half_of_the_images_are_flipped() {
    let image = grey(5, 5);
    let mut mirrored = image.clone();
    mirrored.flip();
    assert_eq!(mirrored.pixels[..5], [4, 3, 2, 1, 0]);
    let pipeline = Pipeline::new(5, 1, vec![Step::HorizontalFlip { p: 0.5 }]).unwrap();
    let results: Vec<_> = (0..400).map(|seed| apply(&pipeline, &image, seed)).collect();
    assert!(results.iter().all(|result| *result == image.pixels || *result == mirrored.pixels));
    let flipped = results.iter().filter(|result| **result == mirrored.pixels).count();
    assert!((150..250).contains(&flipped), "{flipped} of 400");
    let never = Pipeline::new(5, 1, vec![Step::HorizontalFlip { p: 0.0 }]).unwrap();
    assert!((0..50).all(|seed| apply(&never, &image, seed) == image.pixels));
}

#[test]
fn colours_go_to_planes() {
    let image = Image::new(2, 1, 3, vec![1, 2, 3, 4, 5, 6]).unwrap();
    let pipeline = Pipeline::new(2, 3, vec![Step::CenterCrop { size: None }]).unwrap();
    // The row above (rounded down half a row) is black.
    let planes = apply(&pipeline, &image, 0);
    assert_eq!(planes, [1, 4, 0, 0, 2, 5, 0, 0, 3, 6, 0, 0]);
}

#[test]
fn misuse_is_an_error() {
    let pipeline = Pipeline::new(4, 1, vec![]).unwrap();
    let mut generator = rng(0, Purpose::Augment, 0, 0);
    assert!(pipeline.apply(&grey(4, 4), &mut generator, &mut [0.0; 15]).is_err());
    assert!(pipeline.apply(&grey(5, 4), &mut generator, &mut [0.0; 16]).is_err());
    let colour = Image::new(1, 1, 3, vec![0; 3]).unwrap();
    assert!(pipeline.apply(&colour, &mut generator, &mut [0.0; 16]).is_err());
    let area = CropBox { left: 3, top: 0, width: 2, height: 1 };
    assert!(grey(4, 4).resize(area, 8, 8).is_err());
    // A line of pixels would become 8 million pixels long.
    let thin = Pipeline::new(256, 1, vec![Step::Resize { size: None }, Step::CenterCrop { size: None }]).unwrap();
    assert!(thin.apply(&grey(1_000_000, 1), &mut generator, &mut vec![0.0; 256 * 256]).is_err());
    assert!(Image::new(2, 2, 3, vec![0; 11]).is_err());
    assert!(Image::new(0, 2, 3, vec![]).is_err());
    assert!(Image::new(1, 1, 2, vec![0; 2]).is_err());
}

/// What an image of one color becomes in training and in evaluation, a value a channel.
fn normalized(augment: &Augment, color: &[u8]) -> Vec<f32> {
    let channels = color.len();
    let transform = Transform::new(augment, 2, channels).unwrap();
    let image = Image::new(2, 2, channels, color.repeat(4)).unwrap();
    let values = |pipeline: &Pipeline| {
        let mut values = vec![0.0; pipeline.values()];
        pipeline.apply(&image, &mut rng(0, Purpose::Augment, 0, 0), &mut values).unwrap();
        values
    };
    assert_eq!(values(&transform.train), values(&transform.eval));
    values(&transform.eval).into_iter().step_by(4).collect()
}

#[test]
fn imagenet_normalizes_by_name() {
    let named = settings(json!({"preset": "none", "normalize": "imagenet"})).unwrap();
    // As torchvision.transforms.functional.normalize has it.
    let expected = [(1.0 - 0.485) / 0.229, (0.0 - 0.456) / 0.224, (0.2 - 0.406) / 0.225];
    for (ours, expected) in normalized(&named, &[255, 0, 51]).iter().zip(expected) {
        assert!((ours - expected).abs() < 1e-6, "{ours}, not {expected}");
    }
    let grey = normalized(&named, &[51])[0];
    assert!((grey - (0.2 - 0.449) / 0.226).abs() < 1e-6, "{grey}");
    // Otherwise values stay as they are, and nothing is written.
    let plain = Augment::preset(Preset::None);
    assert_eq!(normalized(&plain, &[255, 0, 51]), [1.0, 0.0, 0.2]);
    assert_eq!(toml::to_string(&plain).unwrap(), "preset = \"none\"\nflip = true\n");
    assert_eq!(toml::to_string(&named).unwrap(), "preset = \"none\"\nflip = true\nnormalize = \"imagenet\"\n");

    let both = [
        Augment { mean: Some(vec![0.5; 3]), std: Some(vec![0.5; 3]), ..named.clone() },
        Augment { mean: Some(vec![0.5; 3]), ..named.clone() },
        Augment { std: Some(vec![0.5; 3]), ..named.clone() },
    ];
    for augment in both {
        let error = Transform::new(&augment, 32, 3).unwrap_err().to_string();
        assert!(error.contains("leave out either it or `mean` and `std`"), "{error}");
    }
    let step = settings(json!({
        "normalize": "imagenet",
        "train": [{"step": "stretch"}, {"step": "normalise", "mean": [0.5], "std": [0.5]}],
    }));
    assert!(Transform::new(&step.unwrap(), 32, 1).unwrap_err().to_string().contains("must come once"));
}
