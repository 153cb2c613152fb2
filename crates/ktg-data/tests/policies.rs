//! The operations of ColorJitter, RandAugment and TrivialAugment: the same pixels as from torchvision
//! (fixtures/make_policies.py made what is compared with), and the right distributions.

use flate2::read::GzDecoder;
use ktg_data::*;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn fixtures() -> Value {
    serde_json::from_slice(&std::fs::read(fixture("policies.json")).unwrap()).unwrap()
}

fn list<'a>(value: &'a Value, key: &str) -> &'a Vec<Value> {
    value[key].as_array().unwrap()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap()
}

fn photo(channels: usize) -> Image {
    Image::open(&fixture("photo.png"), channels).unwrap()
}

fn part(image: &Image, left: usize, top: usize, width: usize, height: usize) -> Image {
    let row = image.width * image.channels;
    let rows = image.pixels.chunks_exact(row).skip(top).take(height);
    let pixels: Vec<u8> =
        rows.flat_map(|row| &row[left * image.channels..][..width * image.channels]).copied().collect();
    Image::new(width, height, image.channels, pixels).unwrap()
}

/// The first 8 digits of the SHA-256 sum of the pixels.
fn digest(images: &[Image]) -> String {
    let mut sum = Sha256::new();
    images.iter().for_each(|image| sum.update(&image.pixels[..]));
    sum.finalize().iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

/// Digests, which stand in one string.
fn sums(value: &Value, key: &str) -> Vec<String> {
    let (digests, _) = text(value, key).as_bytes().as_chunks::<8>();
    digests.iter().map(|digits| String::from_utf8_lossy(digits).into()).collect()
}

fn apply(operation: &str, image: &Image, value: f64) -> Image {
    match operation {
        "brightness" => image.brightness(value),
        "contrast" => image.contrast(value),
        "saturation" => image.saturation(value),
        "sharpness" => image.sharpness(value),
        "hue" => image.hue(value),
        "posterize" => image.posterize(value as u32),
        "solarize" => image.solarize(value),
        "autocontrast" => image.autocontrast(),
        "equalize" => image.equalize(),
        "shear_x" => image.shear_x(value),
        "shear_y" => image.shear_y(value),
        "translate_x" => image.translate(value as isize, 0),
        "translate_y" => image.translate(0, value as isize),
        "rotate" => image.rotate(value),
        other => panic!("unknown operation {other}"),
    }
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
fn operations_give_the_pixels_of_torchvision() {
    let fixtures = fixtures();
    let mut theirs = Vec::new();
    let file = std::fs::File::open(fixture("policies.bin.gz")).unwrap();
    GzDecoder::new(file).read_to_end(&mut theirs).unwrap();
    let [left, top, right, bottom] = serde_json::from_value(fixtures["box"].clone()).unwrap();
    let mut theirs = theirs.as_slice();
    for case in list(&fixtures, "cases") {
        let image = part(&photo(case["channels"].as_u64().unwrap() as usize), left, top, right - left, bottom - top);
        let ours = apply(text(case, "operation"), &image, case["value"].as_f64().unwrap());
        let (expected, rest) = theirs.split_at(image.pixels.len());
        theirs = rest;
        let wrong = ours.pixels.iter().zip(expected).filter(|(ours, theirs)| ours != theirs).count();
        assert_eq!(wrong, 0, "{case}: so many of {} values differ", expected.len());
    }
    assert!(theirs.is_empty());
}

#[test]
fn more_images_and_parameters_give_the_pixels_of_torchvision() {
    let fixtures = fixtures();
    for case in list(&fixtures, "digests") {
        let image = match text(case, "image") {
            "colours" => {
                let pixels = |y: usize| (0..256).flat_map(move |x| [x, y, (7 * x + 13 * y) % 256].map(|v| v as u8));
                Image::new(256, 256, 3, (0..256).flat_map(pixels).collect::<Vec<u8>>()).unwrap()
            }
            name => {
                let [width, height, mode] = name.split(' ').collect::<Vec<_>>().try_into().unwrap();
                let channels = if mode == "L" { 1 } else { 3 };
                part(&photo(channels), 0, 0, width.parse().unwrap(), height.parse().unwrap())
            }
        };
        for (operation, values) in fixtures["values"].as_object().unwrap() {
            let sums = sums(&case["sums"], operation);
            assert!(sums.len() >= values.as_array().unwrap().len().min(4));
            for (value, theirs) in values.as_array().unwrap().iter().zip(sums) {
                let ours = digest(&[apply(operation, &image, value.as_f64().unwrap())]);
                assert_eq!(ours, theirs, "{operation} {value} of {image:?}");
            }
        }
    }
}

#[test]
fn policies_have_the_magnitudes_of_torchvision() {
    let images = [photo(3), photo(1)];
    let fixtures = fixtures();
    let cases = list(&fixtures, "policies");
    assert_eq!(cases.len(), 2 * Operation::ALL.len());
    for (case, operation) in cases.iter().zip(Operation::ALL.into_iter().cycle()) {
        assert_eq!(text(case, "operation"), format!("{operation:?}"));
        let space = match text(case, "policy") {
            "rand" => AugmentationSpace::Rand,
            _ => AugmentationSpace::TrivialWide,
        };
        let sums = sums(case, "sums");
        assert_eq!(sums.len(), MAGNITUDES);
        for (index, sum) in sums.iter().enumerate() {
            let magnitude = space.magnitude(operation, index, images[0].width, images[0].height);
            let theirs = case["magnitudes"][index].as_f64().unwrap();
            // Single precision.
            assert!((magnitude - theirs).abs() <= 1e-6 * theirs.abs(), "{space:?} {operation:?} {index}: {magnitude}");
            let signs: &[f64] = if case["signed"] == true { &[1.0, -1.0] } else { &[1.0] };
            let signed = signs.iter().flat_map(|sign| images.iter().map(move |image| (image, sign * magnitude)));
            let results: Vec<_> = signed.map(|(image, magnitude)| operation.apply(image, magnitude)).collect();
            assert_eq!(digest(&results), *sum, "{space:?} {operation:?} {index}: {magnitude}");
        }
    }
}

#[test]
fn policies_draw_evenly() {
    let mut rng = rng(1, Purpose::Augment, 0, 0);
    let names = |operation: Operation| format!("{operation:?}");
    let rand: Vec<_> = (0..20_000).map(|_| AugmentationSpace::Rand.draw(Some(9), 100, 80, &mut rng)).collect();
    assert_even(rand.iter().map(|(operation, _)| names(*operation)), 14);
    for (operation, magnitude) in &rand {
        assert_eq!(magnitude.abs(), AugmentationSpace::Rand.magnitude(*operation, 9, 100, 80));
    }
    let signed = rand.iter().filter(|(operation, _)| *operation == Operation::Rotate);
    assert_even(signed.map(|(_, magnitude)| *magnitude > 0.0), 2);
    assert!(rand.iter().all(|(operation, magnitude)| *operation != Operation::Solarize || *magnitude > 0.0));

    let wide: Vec<_> = (0..60_000).map(|_| AugmentationSpace::TrivialWide.draw(None, 100, 80, &mut rng)).collect();
    assert_even(wide.iter().map(|(operation, _)| names(*operation)), 14);
    let of = |wanted: Operation| wide.iter().filter(move |(operation, _)| *operation == wanted).map(|(_, m)| *m);
    assert_even(of(Operation::Solarize).map(|magnitude| (magnitude * 2.0) as i64), MAGNITUDES);
    let numbers = of(Operation::Rotate).map(|degrees| (degrees / 4.5).abs().round() as i64);
    assert_even(numbers, MAGNITUDES);
}

#[test]
fn jitter_factors_are_uniform_and_in_any_order() {
    let mut rng = rng(2, Purpose::Augment, 0, 0);
    let amounts = [0.4, 1.5, 0.2, 0.1];
    let draws: Vec<_> = (0..24_000).map(|_| color_jitter(amounts, &mut rng)).collect();
    let order = |draw: &Vec<(Adjustment, f64)>| draw.iter().map(|(which, _)| format!("{which:?}")).collect::<Vec<_>>();
    assert_even(draws.iter().map(order), 24);
    let ranges = [(0.6, 1.4), (0.0, 2.5), (0.8, 1.2), (-0.1, 0.1)];
    for (wanted, (low, high)) in Adjustment::ALL.into_iter().zip(ranges) {
        let factors = draws.iter().flatten().filter(|(which, _)| *which == wanted).map(|(_, factor)| *factor);
        let tenths: Vec<_> = factors.map(|factor| ((factor - low) / (high - low) * 10.0).floor() as i64).collect();
        assert_eq!(tenths.len(), draws.len());
        assert!(tenths.iter().all(|tenth| (0..10).contains(tenth)));
        assert_even(tenths, 10);
    }
    assert!(color_jitter([0.0; 4], &mut rng).is_empty());
    let only_hue = color_jitter([0.0, 0.0, 0.0, 0.5], &mut rng);
    assert!(matches!(only_hue[..], [(Adjustment::Hue, factor)] if factor.abs() <= 0.5));
}

#[test]
fn nonsensical_numbers_do_no_harm() {
    let image = part(&photo(3), 0, 0, 9, 7);
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN, -3.0, 1e9] {
        for operation in Operation::ALL {
            assert_eq!(operation.apply(&image, value).pixels.len(), image.pixels.len());
        }
        for adjustment in Adjustment::ALL {
            assert_eq!(adjustment.apply(&image, value).pixels.len(), image.pixels.len());
        }
    }
}
