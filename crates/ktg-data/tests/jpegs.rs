//! JPEGs of every kind have Pillow's pixels, or are refused by name (fixtures/make_jpegs.py).

use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use ktg_base::random::below;
use ktg_data::sources::Folder;
use ktg_data::{DataSource, Image, Purpose, SourceKind, rng};
use serde::Deserialize;

#[derive(Deserialize)]
struct Entry {
    name: String,
    bytes: usize,
    /// None if Pillow refuses it.
    width: Option<usize>,
    height: Option<usize>,
}

/// A file, and red, green and blue of its pixels as Pillow reads them.
struct Jpeg {
    entry: Entry,
    file: Vec<u8>,
    pixels: Vec<u8>,
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn jpegs() -> Vec<Jpeg> {
    let entries: Vec<Entry> = serde_json::from_slice(&std::fs::read(fixture("jpegs.json")).unwrap()).unwrap();
    let mut content = GzDecoder::new(std::fs::File::open(fixture("jpegs.bin.gz")).unwrap());
    let mut take = |length: usize| {
        let mut bytes = vec![0; length];
        content.read_exact(&mut bytes).unwrap();
        bytes
    };
    let jpeg = |entry: Entry| {
        let file = take(entry.bytes);
        let pixels = take(3 * entry.width.unwrap_or(0) * entry.height.unwrap_or(0));
        Jpeg { entry, file, pixels }
    };
    entries.into_iter().map(jpeg).collect()
}

fn open(bytes: &[u8]) -> Result<Image, String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.jpg");
    std::fs::write(&file, bytes).unwrap();
    Image::open(&file, 3).map_err(|error| error.to_string())
}

#[test]
fn every_kind_has_pillows_pixels() {
    let jpegs = jpegs();
    assert!(jpegs.len() > 300);
    for Jpeg { entry, file, pixels } in &jpegs {
        let (Some(width), Some(height)) = (entry.width, entry.height) else { continue };
        let image = open(file).unwrap_or_else(|error| panic!("{}: {error}", entry.name));
        assert_eq!((image.width, image.height), (width, height), "{}", entry.name);
        let differences: Vec<u8> = image.pixels.iter().zip(pixels).map(|(a, b)| a.abs_diff(*b)).collect();
        let most = differences.iter().max().unwrap();
        let mean = differences.iter().map(|d| f64::from(*d)).sum::<f64>() / differences.len() as f64;
        assert!(*most <= 4 && mean <= 1.0, "{}: {most} at most, {mean} on average", entry.name);
    }
}

#[test]
fn what_is_not_read_is_refused_in_words() {
    let mut refused = 0;
    for Jpeg { entry, file, .. } in jpegs() {
        let Some(what) = entry.name.split_once("refused: ").map(|(_, what)| what) else { continue };
        let error = open(&file).unwrap_err();
        let part = match what {
            "12 bits" => "more than 8 bits a value",
            "height at the end" => "(DNL)",
            _ => "a lossless or other rare kind",
        };
        assert!(error.contains(part) && error.contains("save it"), "{what}: {error}");
        refused += 1;
    }
    assert_eq!(refused, 4);
}

#[test]
fn pictures_that_end_early_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let place = |path: &str| {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    };
    // Large enough to lose something, and each with an end marker behind the cut.
    let mut cut = 0;
    for Jpeg { entry, file, .. } in jpegs() {
        let is_large = entry.width.is_some_and(|w| w >= 16) && entry.height.is_some_and(|h| h >= 16);
        // What arithmetic coding makes of an early end is not known to be wrong.
        if !is_large || entry.name.contains("arithmetic") || !entry.name.contains("baseline 2x2") {
            continue;
        }
        let scan = file.windows(2).position(|pair| pair == [0xFF, 0xDA]).unwrap();
        let middle = scan + (file.len() - scan) / 2;
        // Not behind the first half of a marker or of a stuffed byte.
        let middle = middle - usize::from(file[middle - 1] == 0xFF);
        std::fs::write(place(&format!("train/cut/{cut}.jpg")), [&file[..middle], &[0xFF, 0xD9]].concat()).unwrap();
        std::fs::write(place(&format!("train/whole/{cut}.jpg")), &file).unwrap();
        cut += 1;
    }
    assert!(cut >= 2, "{cut}");
    let options = Folder { root: Some(".".into()), ..Folder::default() };
    let source = DataSource { kind: SourceKind::Folder(options), skip: None };
    let found = source.open(folder.path()).unwrap().inspect(2, &|_, _| {});
    assert!(found.bad.is_empty(), "{:?}", found.bad);
    let names: Vec<&str> = found.damaged.iter().map(|image| &*image.name).collect();
    assert_eq!(names.len(), cut, "{names:?}");
    assert!(names.iter().all(|name| name.starts_with("train/cut/")), "{names:?}");
    assert!(found.damaged[0].problem.contains("a part of the picture is missing"), "{:?}", found.damaged[0]);
}

#[test]
fn damage_never_ends_the_process() {
    let jpegs = jpegs();
    let mut random = rng(1, Purpose::Augment, 0, 0);
    let mut draw = |limit: usize| below(&mut random, limit as u64) as usize;
    let mut decoded = 0;
    for _ in 0..5000 {
        let mut bytes = jpegs[draw(jpegs.len())].file.clone();
        for _ in 0..1 + draw(5) {
            let at = draw(bytes.len());
            match draw(4) {
                0 => bytes[at] ^= 1 << draw(8),
                1 => bytes[at] = draw(256) as u8,
                2 => bytes[at] = 0xFF,
                _ => drop(bytes.drain(at..(at + 1 + draw(5)).min(bytes.len()))),
            }
        }
        // A frame that claims to be huge takes its time.
        let frame = bytes.windows(9).find(|w| w[0] == 0xFF && matches!(w[1], 0xC0..=0xC2 | 0xC9 | 0xCA));
        if frame.is_some_and(|frame| frame[5] > 3 || frame[7] > 3) {
            continue;
        }
        decoded += usize::from(open(&bytes).is_ok());
    }
    assert!(decoded > 500, "{decoded}");
}
