//! Colour jitter, cutout, RandAugment and TrivialAugment as steps of a pipeline.

use ktg_data::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A part of a photograph.
fn photo(channels: usize) -> Image {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/photo.png");
    Image::open(&file, channels).unwrap().square(10, 10, 32)
}

/// The bytes of the image after one step, for images of the network's size.
fn after(step: &Step, image: &Image, seed: u64) -> Vec<u8> {
    let pipeline = Pipeline::new(image.width, image.channels, vec![step.clone()]).unwrap();
    let mut values = vec![0.0; pipeline.values()];
    pipeline.apply(image, &mut rng(seed, Purpose::Augment, 0, 0), &mut values).unwrap();
    let plane = image.width * image.height;
    let interleaved = (0..plane).flat_map(|i| values.iter().skip(i).step_by(plane));
    interleaved.map(|value| (value * 255.0).round() as u8).collect()
}

fn step(value: Value) -> Step {
    serde_json::from_value(value).unwrap()
}

fn some_steps() -> Vec<Step> {
    let values = [
        json!({"step": "color-jitter", "brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1}),
        json!({"step": "cutout", "size": 16}),
        json!({"step": "rand-augment"}),
        json!({"step": "trivial-augment"}),
    ];
    values.into_iter().map(step).collect()
}

/// How often each came up; all are expected equally often.
fn assert_even<T: Ord + std::fmt::Debug>(seen: impl IntoIterator<Item = T>, kinds: usize) {
    let mut counts = BTreeMap::new();
    seen.into_iter().for_each(|item| *counts.entry(item).or_insert(0) += 1);
    let expected = counts.values().sum::<usize>() as f64 / kinds as f64;
    let chi_squared: f64 = counts.values().map(|&count| (count as f64 - expected).powi(2) / expected).sum();
    // Its mean is kinds - 1, its variance twice that.
    let limit = kinds as f64 + 5.0 * (2.0 * kinds as f64).sqrt();
    assert!(counts.len() == kinds && chi_squared < limit, "{counts:?}: {chi_squared} of {limit}");
}

#[test]
fn cutouts_are_centred_on_any_pixel() {
    let white = Image::new(9, 9, 1, vec![255; 81]).unwrap();
    let holes = |cutout: Value, n: u64| {
        let (cutout, white) = (step(cutout), &white);
        (0..n).map(move |seed| after(&cutout, white, seed))
    };
    let corners = |pixels: Vec<u8>| {
        let black: Vec<_> = (0..81).filter(|i| pixels[*i] == 0).collect();
        let (width, height) =
            (1 + black.last().unwrap() % 9 - black[0] % 9, 1 + black.last().unwrap() / 9 - black[0] / 9);
        assert_eq!(black.len(), width * height, "not a rectangle");
        (black[0], width, height)
    };
    // One hole for every centre: clipped ones have other sizes.
    assert_even(holes(json!({"step": "cutout", "size": 4}), 8100).map(corners), 81);
    assert_even(holes(json!({"step": "cutout", "size": 1}), 8100).map(corners), 81);
    let cut = holes(json!({"step": "cutout", "size": 3, "p": 0.25}), 4000).filter(|pixels| pixels.contains(&0)).count();
    assert!((860..1140).contains(&cut), "{cut} of 4000");
    let colour = Image::new(3, 2, 3, vec![9; 18]).unwrap();
    assert_eq!(colour.cutout(1, -1, 2).pixels[..], [9, 9, 9, 0, 0, 0, 0, 0, 0, 9, 9, 9, 9, 9, 9, 9, 9, 9]);
    for (left, top) in [(3, 0), (0, 2), (-2, 0), (0, -2), (isize::MAX, isize::MIN)] {
        assert_eq!(colour.cutout(left, top, 2).pixels[..], colour.pixels[..]);
    }
    assert!(colour.cutout(-1, -1, usize::MAX).pixels.iter().all(|&value| value == 0));
}

#[test]
fn steps_keep_the_size_and_repeat_with_the_seed() {
    for channels in [1, 3] {
        let image = photo(channels);
        for step in some_steps() {
            let results: Vec<_> = (0..40).map(|seed| after(&step, &image, seed)).collect();
            let again: Vec<_> = (0..40).map(|seed| after(&step, &image, seed)).collect();
            assert!(results == again && results.iter().all(|pixels| pixels.len() == image.pixels.len()), "{step:?}");
            let changed = results.iter().filter(|pixels| pixels[..] != image.pixels[..]).count();
            assert!(changed >= 30, "{step:?} changed {changed} of 40");
        }
    }
    // In any place of a pipeline, on images that have another size.
    let mut steps = some_steps();
    steps.push(step(json!({"step": "random-resized-crop"})));
    steps.extend(some_steps());
    steps.push(step(json!({"step": "horizontal-flip"})));
    let pipeline = Pipeline::new(24, 3, steps).unwrap();
    let run = |seed| {
        let mut out = vec![-1.0; pipeline.values()];
        pipeline.apply(&photo(3), &mut rng(seed, Purpose::Augment, 0, 0), &mut out).unwrap();
        out
    };
    assert!(run(1) == run(1) && run(1) != run(2) && run(3).iter().all(|value| (0.0..=1.0).contains(value)));
}

#[test]
fn steps_apply_what_they_draw() {
    let image = photo(3);
    let generator = |seed| rng(seed, Purpose::Augment, 0, 0);
    for seed in 0..60 {
        let rng = &mut generator(seed);
        let jittered =
            color_jitter([0.3, 0.2, 0.9, 0.5], rng).iter().fold(image.clone(), |image, (a, f)| a.apply(&image, *f));
        let jitter = json!({"step": "color-jitter", "brightness": 0.3, "contrast": 0.2, "saturation": 0.9, "hue": 0.5});
        assert_eq!(after(&step(jitter), &image, seed), jittered.pixels[..]);
        let rng = &mut generator(seed);
        let drawn = (0..3).fold(image.clone(), |image, _| {
            let (operation, magnitude) = AugmentationSpace::Rand.draw(Some(20), 32, 32, rng);
            operation.apply(&image, magnitude)
        });
        let rand = json!({"step": "rand-augment", "operations": 3, "magnitude": 20});
        assert_eq!(after(&step(rand), &image, seed), drawn.pixels[..]);
        let (operation, magnitude) = AugmentationSpace::TrivialWide.draw(None, 32, 32, &mut generator(seed));
        let trivial = operation.apply(&image, magnitude);
        assert_eq!(after(&step(json!({"step": "trivial-augment"})), &image, seed), trivial.pixels[..]);
    }
}

#[test]
fn steps_are_off_unless_asked_for() {
    for preset in [Preset::FineGrained, Preset::Cifar, Preset::None] {
        let transform = Transform::new(&Augment::preset(preset), 32, 3).unwrap();
        let steps = format!("{transform:?}");
        let new = ["ColorJitter", "Cutout", "RandAugment", "TrivialAugment"];
        assert!(new.iter().all(|name| !steps.contains(name)), "{steps}");
    }
    let nothing = step(json!({"step": "color-jitter"}));
    let image = photo(3);
    assert_eq!(after(&nothing, &image, 0), image.pixels[..]);
}

#[test]
fn steps_are_read_from_toml_and_written() {
    let text = r#"
        train = [
            { step = "color-jitter", brightness = 0.4, hue = 0.1 },
            { step = "cutout", size = 16 },
            { step = "rand-augment" },
            { step = "rand-augment", operations = 3, magnitude = 15 },
            { step = "trivial-augment" },
        ]
    "#;
    let augment: Augment = toml::from_str(text).unwrap();
    let expected = vec![
        Step::ColorJitter { brightness: 0.4, contrast: 0.0, saturation: 0.0, hue: 0.1 },
        Step::Cutout { size: 16, p: 1.0 },
        Step::RandAugment { operations: 2, magnitude: 9 },
        Step::RandAugment { operations: 3, magnitude: 15 },
        Step::TrivialAugment {},
    ];
    assert_eq!(augment.train, Some(expected));
    assert_eq!(toml::from_str::<Augment>(&toml::to_string(&augment).unwrap()).unwrap(), augment);
    let unknown = |step: &str| toml::from_str::<Augment>(&format!("train = [{{ {step} }}]")).unwrap_err().to_string();
    assert!(unknown(r#"step = "trivial-augment", bins = 3"#).contains("`bins`"));
    assert!(unknown(r#"step = "color-jitter", hues = 3"#).contains("`hues`"));
    assert!(unknown(r#"step = "cutout""#).contains("`size`"));
}

#[test]
fn numbers_out_of_range_are_refused() {
    for (value, part) in [
        (json!({"step": "color-jitter", "brightness": -0.1}), "brightness = -0.1; it must be a number of 0 or more"),
        (json!({"step": "color-jitter", "saturation": -1}), "saturation = -1"),
        (json!({"step": "color-jitter", "hue": 0.51}), "hue = 0.51; it must be 0 to 0.5"),
        (json!({"step": "cutout", "size": 0}), "a cutout of size 0"),
        (json!({"step": "cutout", "size": 4, "p": 1.01}), "a cutout probability of 1.01"),
        (json!({"step": "rand-augment", "operations": 0}), "operations = 0; it must be 1 to 14"),
        (json!({"step": "rand-augment", "magnitude": 31}), "magnitude = 31; it must be 0 to 30"),
    ] {
        let error = Pipeline::new(32, 3, vec![step(value)]).unwrap_err().to_string();
        assert!(error.contains(part), "{part}: {error}");
    }
    for bad in [f64::NAN, f64::INFINITY] {
        let step = Step::ColorJitter { brightness: 0.0, contrast: bad, saturation: 0.0, hue: 0.0 };
        assert!(Pipeline::new(32, 3, vec![step]).unwrap_err().to_string().contains("contrast"));
    }
}
