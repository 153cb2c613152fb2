//! Whole images in squares: the same pixels as from Pillow's `ImageOps.pad` (fixtures/make_pads.py made what is compared
//! with).

use flate2::read::GzDecoder;
use ktg_data::*;
use serde_json::Value;
use std::io::Read;
use std::path::PathBuf;

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// What a pipeline of one step makes of an image, as bytes in the order row, column, channel.
fn apply(step: Step, image: &Image, side: usize) -> Vec<u8> {
    let pipeline = Pipeline::new(side, image.channels, vec![step]).unwrap();
    let mut values = vec![0.0; pipeline.values()];
    pipeline.apply(image, &mut rng(0, Purpose::Augment, 0, 0), &mut values).unwrap();
    let plane = side * side;
    let by_pixel = (0..plane).flat_map(|i| values.iter().skip(i).step_by(plane));
    by_pixel.map(|value| (value * 255.0).round() as u8).collect()
}

#[test]
fn whole_images_come_out_as_from_pillow() {
    let mut theirs = Vec::new();
    GzDecoder::new(std::fs::File::open(fixture("pads.bin.gz")).unwrap()).read_to_end(&mut theirs).unwrap();
    let mut theirs = theirs.as_slice();
    let cases: Value = serde_json::from_slice(&std::fs::read(fixture("pads.json")).unwrap()).unwrap();
    for case in cases["cases"].as_array().unwrap() {
        let number = |key: &str| case[key].as_u64().unwrap() as usize;
        let [left, top, right, bottom] = serde_json::from_value(case["part"].clone()).unwrap();
        let part = CropBox { left, top, width: right - left, height: bottom - top };
        let photo = Image::open(&fixture("photo.png"), number("channels")).unwrap();
        let image = photo.resize(part, part.width, part.height).unwrap();
        let side = number("side");
        let fill: Vec<u8> = serde_json::from_value(case["fill"].clone()).unwrap();

        let ours = image.pad(side, &fill).unwrap();
        assert_eq!((ours.width, ours.height), (side, side));
        let step = Step::Pad { size: None, fill: fill.iter().any(|&value| value > 0).then_some(fill) };
        assert_eq!(apply(step, &image, side)[..], ours.pixels[..], "{case}");

        let (expected, rest) = theirs.split_at(ours.pixels.len());
        theirs = rest;
        let differences: Vec<u8> = ours.pixels.iter().zip(expected).map(|(a, b)| a.abs_diff(*b)).collect();
        let mean = differences.iter().map(|&d| f64::from(d)).sum::<f64>() / differences.len() as f64;
        let max = *differences.iter().max().unwrap();
        eprintln!("{case}: mean {mean:.4}/255, max {max}/255");
        // Limits of tests/torchvision.rs.
        assert!(mean <= 0.02 && max <= 1, "{case}: mean {mean}/255, max {max}/255");
    }
    assert!(theirs.is_empty());
}

#[test]
fn nothing_of_an_image_is_lost() {
    // Where Pillow would round a side to nothing, one row is left.
    let line = Image::new(100, 1, 3, vec![200; 300]).unwrap().pad(9, &[1, 2, 3]).unwrap();
    let rows: Vec<&[u8]> = line.pixels.chunks_exact(27).collect();
    assert_eq!(rows[4], [200; 27]);
    assert!(rows.iter().enumerate().all(|(y, row)| y == 4 || row.chunks_exact(3).all(|pixel| pixel == [1, 2, 3])));

    let error = line.pad(9, &[0]).unwrap_err().to_string();
    assert!(error.contains("1 value(s) to fill an image of 3 channel(s)"), "{error}");
    assert!(line.pad(0, &[0; 3]).is_err());
}

#[test]
fn the_preset_trains_and_judges_on_whole_images() {
    let image = Image::new(4, 2, 1, vec![10, 20, 30, 40, 50, 60, 70, 80]).unwrap();
    let whole = [[0; 4], [10, 20, 30, 40], [50, 60, 70, 80], [0; 4]].concat();
    let mirrored = [[0; 4], [40, 30, 20, 10], [80, 70, 60, 50], [0; 4]].concat();
    let transform = Transform::new(&Augment::preset(Preset::Whole), 4, 1).unwrap();
    let seen = |pipeline: &Pipeline, seed: u64| {
        let mut values = vec![0.0; 16];
        pipeline.apply(&image, &mut rng(seed, Purpose::Augment, 0, 0), &mut values).unwrap();
        values.into_iter().map(|value| (value * 255.0f32).round() as u8).collect::<Vec<_>>()
    };
    assert!((0..20).all(|seed| seen(&transform.eval, seed) == whole));
    let trained: Vec<_> = (0..200).map(|seed| seen(&transform.train, seed)).collect();
    assert!(trained.iter().all(|pixels| *pixels == whole || *pixels == mirrored));
    let flips = trained.iter().filter(|pixels| **pixels == mirrored).count();
    assert!((65..=135).contains(&flips), "{flips} of 200");
    let still = Augment { flip: false, ..Augment::preset(Preset::Whole) };
    let transform = Transform::new(&still, 4, 1).unwrap();
    assert_eq!(transform.train, transform.eval);
}

#[test]
fn the_step_is_read_and_written() {
    let text = "eval = [{ step = \"pad\", fill = [124, 116, 104] }, { step = \"pad\", size = 9 }]";
    let augment: Augment = toml::from_str(text).unwrap();
    let steps =
        vec![Step::Pad { size: None, fill: Some(vec![124, 116, 104]) }, Step::Pad { size: Some(9), fill: None }];
    assert_eq!(augment.eval, Some(steps));
    assert_eq!(toml::from_str::<Augment>(&toml::to_string(&augment).unwrap()).unwrap(), augment);
}
