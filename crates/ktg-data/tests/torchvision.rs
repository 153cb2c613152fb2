//! The same numbers as torchvision's usual training scripts (fixtures/make.py and fixtures/formats.py made what is
//! compared with).

use flate2::read::GzDecoder;
use ktg_data::*;
use serde_json::Value;
use std::io::Read;
use std::path::PathBuf;

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn json(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(fixture(name)).unwrap()).unwrap()
}

fn cases() -> Value {
    json("cases.json")
}

fn unpacked(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    GzDecoder::new(std::fs::File::open(fixture(name)).unwrap()).read_to_end(&mut bytes).unwrap();
    bytes
}

fn number(value: &Value, key: &str) -> usize {
    value[key].as_u64().unwrap() as usize
}

/// A pipeline of evaluation steps, applied, as bytes in the order row, column, channel.
fn apply(image: &Image, size: usize, steps: Vec<Step>) -> Vec<u8> {
    let pipeline = Pipeline::new(size, image.channels, steps).unwrap();
    let mut values = vec![0.0; pipeline.values()];
    pipeline.apply(image, &mut rng(0, Purpose::Augment, 0, 0), &mut values).unwrap();
    let plane = size * size;
    let hwc = (0..plane).flat_map(|i| values.iter().skip(i).step_by(plane));
    hwc.map(|value| (value * 255.0).round() as u8).collect()
}

fn ours(case: &Value, image: &Image) -> Vec<u8> {
    match case["kind"].as_str().unwrap() {
        "flip" => {
            let mut image = image.clone();
            image.flip();
            image.pixels.to_vec()
        }
        "resized_crop" => {
            let [left, top] = ["left", "top"].map(|key| number(case, key));
            let [width, height] = ["width", "height"].map(|key| number(case, key));
            let size = number(case, "size");
            image.resize(CropBox { left, top, width, height }, size, size).unwrap().pixels.to_vec()
        }
        "resize_center_crop" => {
            let resize = Step::Resize { size: Some(number(case, "short")) };
            apply(image, number(case, "size"), vec![resize, Step::CenterCrop { size: None }])
        }
        "flip_crop" => {
            let resize = Step::Resize { size: Some(number(case, "short")) };
            let flip = Step::HorizontalFlip { p: 1.0 };
            apply(image, number(case, "size"), vec![resize, Step::CenterCrop { size: None }, flip])
        }
        "pad_crop" => {
            let size = number(case, "size");
            let steps = vec![Step::Resize { size: None }, Step::CenterCrop { size: None }];
            let square = Image::new(size, size, image.channels, apply(image, size, steps)).unwrap();
            let [left, top] = ["left", "top"].map(|key| number(case, key) as isize);
            let padding = number(case, "padding") as isize;
            square.square(left - padding, top - padding, size).pixels.to_vec()
        }
        other => panic!("unknown kind of case {other}"),
    }
}

/// Mean and maximum of the absolute differences.
fn difference(ours: &[u8], theirs: &[u8]) -> (f64, u8) {
    assert_eq!(ours.len(), theirs.len());
    let differences = || ours.iter().zip(theirs).map(|(a, b)| a.abs_diff(*b));
    (differences().map(f64::from).sum::<f64>() / ours.len() as f64, differences().max().unwrap())
}

#[test]
fn images_come_out_as_from_torchvision() {
    let theirs = unpacked("results.bin.gz");
    let mut theirs = theirs.as_slice();
    for case in cases()["cases"].as_array().unwrap() {
        let source = case["source"].as_str().unwrap();
        let image = Image::open(&fixture(source), number(case, "channels")).unwrap();
        let ours = ours(case, &image);
        let (expected, rest) = theirs.split_at(ours.len());
        theirs = rest;
        let (mean, max) = difference(&ours, expected);
        eprintln!("{case}: mean {mean:.4}/255, max {max}/255");
        let (mean_limit, max_limit) = if source.ends_with("jpg") {
            JPEG_LIMITS
        } else if case["height"].as_u64() > case["width"].as_u64() {
            // Pillow 13, which made the fixtures, resizes tall parts in the other order.
            (0.25, 1)
        } else {
            (0.02, 1)
        };
        assert!(mean <= mean_limit && max <= max_limit, "{case}: mean {mean}/255, max {max}/255");
    }
    assert!(theirs.is_empty());
}

#[test]
fn normalising_agrees_with_torchvision() {
    let case = &cases()["normalise"];
    let list = |key: &str| serde_json::from_value::<Vec<f32>>(case[key].clone()).unwrap();
    let augment = Augment { mean: Some(list("mean")), std: Some(list("std")), ..Augment::preset(Preset::Cifar) };
    let pipeline = Transform::new(&augment, number(case, "size"), 3).unwrap().eval;
    let image = Image::open(&fixture("photo.png"), 3).unwrap();
    let mut ours = vec![0.0; pipeline.values()];
    pipeline.apply(&image, &mut rng(0, Purpose::Augment, 0, 0), &mut ours).unwrap();
    let bytes = std::fs::read(fixture(case["file"].as_str().unwrap())).unwrap();
    let (words, rest) = bytes.as_chunks::<4>();
    assert!(rest.is_empty() && words.len() == ours.len());
    let mut same = 0;
    for (ours, theirs) in ours.iter().zip(words.iter().map(|word| f32::from_le_bytes(*word))) {
        // One 8-bit step (a rounding in the resizing), divided by the smallest standard deviation.
        assert!((ours - theirs).abs() <= 1.001 / 255.0 / 0.2435, "{ours} {theirs}");
        same += usize::from((ours - theirs).abs() < 1e-6);
    }
    assert!(same * 100 >= words.len() * 98, "{same} of {} values agree", words.len());
}

/// Whether two samples of the same size may come from the same distribution: the chi-square statistic of their counts
/// against its limit, which is passed with a probability of 1e-4 (fixtures/draws.py).
fn assert_same_distribution(ours: &[u64], theirs: &Value, what: &str) {
    let list = theirs["counts"].as_array().unwrap();
    let limit = theirs["limit"].as_f64().unwrap();
    let counts: Vec<_> = list.iter().map(|count| count.as_u64().unwrap()).collect();
    assert_eq!(ours.iter().sum::<u64>(), counts.iter().sum::<u64>());
    let pairs = ours.iter().zip(&counts).filter(|&(a, b)| a + b > 0);
    let statistic: f64 = pairs.map(|(&a, &b)| a.abs_diff(b).pow(2) as f64 / (a + b) as f64).sum();
    eprintln!("{what}: {} counts, chi-square {statistic:.1}, limit {limit:.1}", counts.len());
    assert!(statistic <= limit, "{what}: chi-square {statistic:.1} is above {limit:.1}\n{ours:?}\n{counts:?}");
}

#[test]
fn random_resized_crops_are_distributed_as_in_torchvision() {
    for case in json("draws.json")["resized_crops"].as_array().unwrap() {
        let (width, height) = (number(case, "width"), number(case, "height"));
        let pair = |key: &str| serde_json::from_value::<[f64; 2]>(case[key].clone()).unwrap();
        let list = |value: &Value| serde_json::from_value::<Vec<f64>>(value.clone()).unwrap();
        let mut rng = rng(1, Purpose::Augment, 0, 0);
        let draws: Vec<[f64; 4]> = (0..number(case, "draws"))
            .map(|_| {
                let CropBox { left, top, width: w, height: h } =
                    random_resized_crop_box(width, height, pair("scale"), pair("ratio"), &mut rng);
                assert!(w > 0 && h > 0 && left + w <= width && top + h <= height);
                let [w, h, left, top] = [w, h, left, top].map(|n| n as f64);
                [w * h, (w / h).ln(), left, top]
            })
            .collect();
        for (i, name) in ["area", "log_ratio", "left", "top"].into_iter().enumerate() {
            let column = &case["columns"][name];
            let edges = list(&column["edges"]);
            let mut counts = vec![0; edges.len() + 1];
            draws.iter().for_each(|values| counts[edges.partition_point(|edge| *edge <= values[i])] += 1);
            assert_same_distribution(&counts, column, &format!("{name} of crops from {width} x {height}"));
        }
        let medians = list(&case["together"]["medians"]);
        let mut counts = [0; 16];
        for values in &draws {
            let above = (0..4).map(|i| usize::from(values[i] > medians[i]) << i);
            counts[above.sum::<usize>()] += 1;
        }
        assert_same_distribution(&counts, &case["together"], &format!("crops from {width} x {height}, all together"));
    }
}

#[test]
fn random_crops_and_flips_are_distributed_as_in_torchvision() {
    for case in json("draws.json")["crops"].as_array().unwrap() {
        let [width, height, size] = ["width", "height", "size"].map(|key| number(case, key));
        // A pixel says where it is: column + 1, row + 1. The border is 0.
        let position = |i: usize| [(i % width) as u8 + 1, (i / width) as u8 + 1, 0];
        let pixels: Vec<u8> = (0..width * height).flat_map(position).collect();
        let image = Image::new(width, height, 3, pixels).unwrap();
        let crop = Step::RandomCrop { size: None, padding: number(case, "padding") };
        let flip = Step::HorizontalFlip { p: case["p"].as_f64().unwrap() };
        let places: Vec<[isize; 3]> = serde_json::from_value(case["places"].clone()).unwrap();
        // Mirroring last is another piece of code than mirroring before.
        let stretch = Step::Stretch { size: None };
        for steps in [vec![crop.clone(), flip.clone()], vec![crop, flip, stretch]] {
            let what = format!("{steps:?} from {width} x {height}");
            let pipeline = Pipeline::new(size, 3, steps).unwrap();
            let mut values = vec![0.0; pipeline.values()];
            let mut counts = vec![0; places.len()];
            for draw in 0..number(case, "draws") {
                pipeline.apply(&image, &mut rng(2, Purpose::Augment, 0, draw as u64), &mut values).unwrap();
                let place = place_of_crop(&values, size);
                let known = places.binary_search(&place);
                counts[known.unwrap_or_else(|_| panic!("{what}: never at {place:?} in torchvision"))] += 1;
            }
            assert_same_distribution(&counts, case, &what);
        }
    }
}

/// Left, top, and 1 if mirrored: from pixels that say where they were.
fn place_of_crop(values: &[f32], size: usize) -> [isize; 3] {
    let planes = [&values[..size * size], &values[size * size..2 * size * size]];
    let first = planes[1].iter().position(|row| *row > 0.0).unwrap();
    let (row, column) = (first / size, first % size);
    let at = |plane: &[f32], i: usize| (plane[i] * 255.0).round() as isize;
    let is_mirrored = at(planes[0], first) > at(planes[0], first + 1);
    let from_left = if is_mirrored { size - 1 - column } else { column };
    let [x, y] = planes.map(|plane| at(plane, first) - 1);
    [x - from_left as isize, y - row as isize, is_mirrored.into()]
}

/// An entry of formats.json: a file and what Pillow and torchvision make of it.
#[derive(Clone)]
struct Format {
    name: String,
    file: Vec<u8>,
    rgb: Image,
    cases: Vec<(Value, Vec<u8>)>,
}

fn formats() -> Vec<Format> {
    let bytes = unpacked("formats.bin.gz");
    let mut rest = bytes.as_slice();
    let mut take = |length: usize| {
        let (taken, after) = rest.split_at(length);
        rest = after;
        taken.to_vec()
    };
    // Stored as differences to the pixel before.
    let summed = |mut pixels: Vec<u8>| {
        (3..pixels.len()).for_each(|i| pixels[i] = pixels[i].wrapping_add(pixels[i - 3]));
        pixels
    };
    let mut formats = Vec::<Format>::new();
    for entry in json("formats.json")["files"].as_array().unwrap() {
        let name = format!("{}{}", entry["name"].as_str().unwrap(), entry["ending"].as_str().unwrap());
        let file = take(number(entry, "bytes"));
        if let Some(earlier) = entry["same_as"].as_u64() {
            formats.push(Format { name, file, ..formats[earlier as usize].clone() });
            continue;
        }
        let (width, height) = (number(entry, "width"), number(entry, "height"));
        let rgb = Image::new(width, height, 3, summed(take(width * height * 3))).unwrap();
        let results = entry["cases"].as_array().unwrap().iter();
        let cases = results.map(|case| (case.clone(), summed(take(number(case, "size").pow(2) * 3)))).collect();
        formats.push(Format { name, file, rgb, cases });
    }
    assert!(rest.is_empty());
    formats
}

/// Files that become something else than in Pillow, and the largest mean and difference in 1/255 that they have. All
/// others keep to the limits.
const DIFFERENT: [(&str, (f64, u8)); 2] = [
    // Pillow turns 16-bit grey into min(value, 255), other 16-bit values into value / 256, as we do for all.
    ("16-bit grey.png", (127.0, 252)),
    // What the first image of a GIF leaves open is the first colour in Pillow, and black here.
    ("first image in a corner.gif", (71.0, 255)),
];

/// Mean and maximum that JPEGs may differ by, in 1/255: decoders differ in rounding.
const JPEG_LIMITS: (f64, u8) = (1.0, 4);

#[test]
fn files_of_all_kinds_are_decoded_as_by_pillow() {
    let folder = tempfile::tempdir().unwrap();
    let mut wrong = Vec::new();
    for Format { name, file, rgb, cases } in formats() {
        let path = folder.path().join(name.replace([' ', ':'], "-"));
        std::fs::write(&path, &file).unwrap();
        let image = Image::open(&path, 3).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!((image.width, image.height), (rgb.width, rgb.height), "{name}");
        let grey = difference(&Image::open(&path, 1).unwrap().pixels, &grey(&rgb.pixels));
        let mut results = vec![("RGB".to_string(), difference(&image.pixels, &rgb.pixels)), ("grey".to_string(), grey)];
        for (case, expected) in &cases {
            results.push((case.to_string(), difference(&ours(case, &image), expected)));
        }
        let (mean_limit, max_limit) = if name.ends_with("jpg") { JPEG_LIMITS } else { (0.0, 0) };
        let (mut is_wrong, mut worst) = (false, (0.0f64, 0u8));
        for (what, (mean, max)) in results {
            eprintln!("{name}, {what}: mean {mean:.4}/255, max {max}/255");
            is_wrong |= mean > mean_limit || max > max_limit;
            worst = (worst.0.max(mean), worst.1.max(max));
        }
        if is_wrong {
            wrong.push(name.clone());
        }
        if let Some((_, (mean_bound, max_bound))) = DIFFERENT.iter().find(|(other, ..)| *other == name) {
            assert!(worst.0 <= *mean_bound && worst.1 <= *max_bound, "{name} differs more than it did: {worst:?}");
        }
    }
    let mut expected = DIFFERENT.map(|(name, ..)| name);
    wrong.sort();
    expected.sort();
    assert_eq!(wrong, expected, "files that differ by more than the limits");
}

/// Pillow's "L" of RGB.
fn grey(rgb: &[u8]) -> Vec<u8> {
    let weighted = |p: &[u8]| u32::from(p[0]) * 19595 + u32::from(p[1]) * 38470 + u32::from(p[2]) * 7471;
    rgb.chunks_exact(3).map(|p| ((weighted(p) + 0x8000) >> 16) as u8).collect()
}
