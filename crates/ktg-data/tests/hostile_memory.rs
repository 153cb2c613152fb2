//! What small files that claim to be large, and damaged ones, may cost. The peak of memory is the process's, so this is
//! the only test of its program.

#![cfg(target_os = "linux")]

use flate2::{Compression, write::GzEncoder, write::ZlibEncoder};
use ktg_base::random::{Rng, keyed};
use ktg_data::*;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const MIB: u64 = 1 << 20;

/// The most memory that this process has had.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn small_files_cost_little_memory() {
    large_images_are_refused();
    idx_files_unpack_to_what_they_claim();
    mat_files_unpack_to_little();
    mutated_files_do_no_harm();
}

fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let named = [&kind[..], data].concat();
    [&(data.len() as u32).to_be_bytes()[..], &named, &crc32fast::hash(&named).to_be_bytes()].concat()
}

/// A whole grey PNG, black all over; its rows are packed piece by piece.
fn png(width: u32, height: u32, rows: u32) -> Vec<u8> {
    let mut packed = ZlibEncoder::new(Vec::new(), Compression::fast());
    let row = vec![0; width as usize + 1];
    (0..rows).for_each(|_| packed.write_all(&row).unwrap());
    let head = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[8, 0, 0, 0, 0]].concat();
    let chunks = [chunk(b"IHDR", &head), chunk(b"IDAT", &packed.finish().unwrap()), chunk(b"IEND", &[])];
    [b"\x89PNG\r\n\x1a\n", &chunks.concat()[..]].concat()
}

/// A GIF whose screen and only image have these sides.
fn gif((width, height): (u16, u16), (image_width, image_height): (u16, u16)) -> Vec<u8> {
    let mut gif = b"GIF89a".to_vec();
    gif.extend([width.to_le_bytes(), height.to_le_bytes()].concat());
    gif.extend([0x80, 0, 0, 0, 0, 0, 255, 255, 255, 0x2C, 0, 0, 0, 0]);
    gif.extend([image_width.to_le_bytes(), image_height.to_le_bytes()].concat());
    gif.extend([0, 2, 2, 0x4C, 0x01, 0, 0x3B]);
    gif
}

fn webp(chunk: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let length = |n: usize| (n as u32).to_le_bytes();
    [b"RIFF", &length(12 + data.len())[..], b"WEBP", chunk, &length(data.len()), data].concat()
}

fn large_images_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let jpeg = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/photo.jpg")).unwrap();
    let mut large_jpeg = jpeg;
    let frame = large_jpeg.windows(2).position(|pair| pair == [0xFF, 0xC0]).unwrap();
    large_jpeg[frame + 5..frame + 9].fill(0xFF);
    // 14 bits less one for each side of lossless WebP, 24 for the canvas.
    let lossless = [0x2F, 0xFE, 0xBF, 0xFF, 0x0F, 0, 0, 0, 0, 0];
    let canvas = [0x10, 0, 0, 0, 0xFF, 0xFF, 0, 0xFF, 0xFF, 0];
    for (name, content, parts) in [
        ("whole.png", png(10_000, 10_000, 10_000), &["10000 x 10000 pixels", "1 pixel and 67 megapixels"][..]),
        ("head.png", png(60_000, 60_000, 0), &["60000 x 60000 pixels", "67 megapixels"]),
        ("largest.png", png(i32::MAX as u32, i32::MAX as u32, 0).to_vec(), &[]),
        ("beyond.png", [&png(1, 1, 1)[..16], &[0xFF; 8], &png(1, 1, 1)[24..]].concat(), &[]),
        ("cut.png", png(8_000, 8_000, 8), &["damaged or cut off"]),
        ("screen.gif", gif((65_535, 65_535), (1, 1)), &["65535 x 65535 pixels", "67 megapixels"]),
        ("image.gif", gif((1, 1), (65_535, 65_535)), &[]),
        ("a.jpg", large_jpeg, &["65535 x 65535 pixels", "67 megapixels"]),
        ("lossless.webp", webp(b"VP8L", &lossless), &["16383 x 16383 pixels", "67 megapixels"]),
        ("canvas.webp", webp(b"VP8X", &canvas), &[]),
    ] {
        let path = folder.path().join(name);
        assert!(content.len() < 500_000, "{name}");
        std::fs::write(&path, content).unwrap();
        let error = Image::open(&path, 3).unwrap_err().to_string();
        assert!([name].iter().chain(parts).all(|part| error.contains(part)), "{error}");
        assert!(peak() < 300 * MIB, "{name} took {} MiB", peak() / MIB);
    }
}

fn gzip(start: &[u8], zeros: u64) -> Vec<u8> {
    let mut encoder = GzEncoder::new(start.to_vec(), Compression::fast());
    encoder.get_mut().clear();
    encoder.write_all(start).unwrap();
    std::io::copy(&mut std::io::Read::take(std::io::repeat(0), zeros), &mut encoder).unwrap();
    encoder.finish().unwrap()
}

fn idx(magic: u32, sizes: &[u32]) -> Vec<u8> {
    [magic].iter().chain(sizes).flat_map(|word| word.to_be_bytes()).collect()
}

fn source(name: &str) -> DataSource {
    serde_json::from_value(serde_json::json!({"source": name, "root": "."})).unwrap()
}

fn idx_files_unpack_to_what_they_claim() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, content: Vec<u8>| std::fs::write(folder.path().join(name), content).unwrap();
    write("t10k-images-idx3-ubyte", [idx(0x803, &[1, 1, 1]), vec![0]].concat());
    write("t10k-labels-idx1-ubyte", [idx(0x801, &[1]), vec![0]].concat());
    write("train-labels-idx1-ubyte.gz", gzip(&idx(0x801, &[1]), 1));
    let source = source("idx");
    for (head, zeros, part) in [
        (idx(0x803, &[1, 1, 1]), 400 * MIB, "its head says [1, 1, 1] values, but"),
        (idx(0x803, &[60_000, 200, 200]), 0, "2400000000 values; more than 1024 MiB must be unpacked with `gunzip`"),
        (idx(0x803, &[u32::MAX; 3]), 0, "more than 1024 MiB"),
        (idx(0x803, &[1000, 1000, 1000]), 5, "[1000, 1000, 1000] values, but 5 follow"),
        (Vec::new(), 400 * MIB, "not an IDX file of images"),
        (vec![0, 0, 8], 0, "cut off within its head"),
    ] {
        write("train-images-idx3-ubyte.gz", gzip(&head, zeros));
        let error = source.open(folder.path()).unwrap_err().to_string();
        assert!(error.contains(part) && error.contains("train-images-idx3-ubyte.gz"), "{error}");
        assert!(peak() < 300 * MIB, "{part} took {} MiB", peak() / MIB);
    }
    write("train-images-idx3-ubyte.gz", gzip(&idx(0x803, &[2, 1, 1]), 2));
    write("train-labels-idx1-ubyte.gz", gzip(&[idx(0x801, &[2]), vec![1]].concat(), 1));
    source.open(folder.path()).unwrap();
}

/// An element of a MATLAB file, padded to eight bytes.
fn element(kind: u32, data: &[u8]) -> Vec<u8> {
    let mut element = [kind.to_le_bytes(), (data.len() as u32).to_le_bytes()].concat();
    element.extend(data);
    element.resize(element.len().next_multiple_of(8), 0);
    element
}

/// A file with one packed array of structs: of that many elements, all empty, with fields of these names.
fn mat_of_structs(count: u32, length: u32, names: &[u8]) -> Vec<u8> {
    let empty = [14u32.to_le_bytes(), 0u32.to_le_bytes()].concat();
    let fields = names.len() / length as usize;
    let array = [
        element(6, &[2, 0, 0, 0, 0, 0, 0, 0]),
        element(5, &[count.to_le_bytes(), 1u32.to_le_bytes()].concat()),
        element(1, b"annotations"),
        element(5, &length.to_le_bytes()),
        element(1, names),
        empty.repeat(count as usize * fields),
    ];
    let mut packed = ZlibEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(&element(14, &array.concat())).unwrap();
    let mut head = b"MATLAB 5.0".to_vec();
    head.resize(124, b' ');
    head.extend([0, 1, b'I', b'M']);
    let packed = packed.finish().unwrap();
    // Not padded.
    [head, [15, packed.len() as u32].map(u32::to_le_bytes).concat(), packed].concat()
}

fn mat_files_unpack_to_little() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("cars_train")).unwrap();
    let source = source("stanford-cars");
    for (content, part) in [
        (mat_of_structs(3_000_000, 8, b"fname\0\0\0"), "annotation 0 names no file"),
        (mat_of_structs(100_000, 1 << 20, &[b'x'; 1 << 20]), "annotation 0 names no file"),
        (mat_of_structs(0, 1, &[b'x'; 20 << 20]), "more than 1000 fields"),
        (mat_of_structs(5_000_000, 8, b"fname\0\0\0"), "unpack to more than 32 MiB"),
    ] {
        assert!(content.len() < 500_000);
        std::fs::write(folder.path().join("cars_annos.mat"), content).unwrap();
        let error = source.open(folder.path()).unwrap_err().to_string();
        assert!(error.contains(part) && error.contains("cars_annos.mat"), "{error}");
        assert!(peak() < 500 * MIB, "{part} took {} MiB", peak() / MIB);
    }
}

/// Valid input for each parser.
fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let read = |path: &str| std::fs::read(fixtures.join(path)).unwrap();
    let mut seeds = vec![
        ("image", read("photo.jpg")),
        ("image", read("photo.png")),
        ("image", gif((2, 2), (2, 2))),
        ("mat", mat_of_structs(2, 8, b"fname\0\0\0class\0\0\0")),
        ("list", "\u{FEFF}a/0.png, 0, 1\r\n\"b, \"\"c\"\".png\"\t2\n# no\n".into()),
        ("classes", "Name,ID\nfig,1\n\"ap, ple\",0\n".into()),
        ("idx", [idx(0x803, &[2, 2, 3]), vec![7; 12]].concat()),
        ("idx", [idx(0x801, &[3]), vec![0, 1, 2]].concat()),
        ("cub", "1 001.Black/a.jpg\n2 002.Sooty/b.jpg\n".into()),
        ("cifar", vec![1; 2 * 3073]),
        ("split", r#"{"format": "ktg split 1", "share": 0.5, "seed": 1, "train": ["a"], "held_out": []}"#.into()),
    ];
    for format in [image::ImageFormat::Bmp, image::ImageFormat::WebP] {
        let mut bytes = std::io::Cursor::new(Vec::new());
        image::RgbImage::new(5, 4).write_to(&mut bytes, format).unwrap();
        seeds.push(("image", bytes.into_inner()));
    }
    let lists: Vec<PathBuf> =
        std::fs::read_dir(fixtures.join("sets/mat")).unwrap().map(|entry| entry.unwrap().path()).collect();
    seeds.extend(lists.into_iter().map(|path| ("mat", std::fs::read(path).unwrap())));
    let folder = tempfile::tempdir().unwrap();
    let splits = DataSource::default().open(folder.path()).unwrap();
    let few = Splits { train: splits.train.take_per_class(1), test: splits.test.take_per_class(1), ..splits };
    pack(&few, "x", Some(4), &folder.path().join("a.pack"), 1, &|_, _| true).unwrap();
    seeds.push(("pack", std::fs::read(folder.path().join("a.pack")).unwrap()));
    seeds
}

fn mutated_files_do_no_harm() {
    let seeds = seeds();
    let mut rng = keyed([7, 0, 0, 0]);
    let mut below = |n: usize| ((u64::from(rng.next_u32()) * n as u64) >> 32) as usize;
    let end = Instant::now() + Duration::from_secs(3);
    let mut rounds = 0;
    while Instant::now() < end {
        for (parser, seed) in &seeds {
            let mut bytes = seed.clone();
            for _ in 0..1 + below(4) {
                let (place, length) = (below(bytes.len()), below(12));
                let range = place..(place + length).min(bytes.len());
                match below(6) {
                    0 => bytes[place] ^= 1 << below(8),
                    1 => bytes[place] = [0, 1, 0x7F, 0x80, 0xFF, b',', b'"', b'\n'][below(8)],
                    2 => bytes[range].fill([0, 0xFF][below(2)]),
                    3 => drop(bytes.drain(range)),
                    4 => {
                        let copy = bytes[range].to_vec();
                        bytes.splice(place..place, copy);
                    }
                    _ => bytes.truncate(place),
                }
                if bytes.is_empty() {
                    break;
                }
            }
            assert!(fuzzing::parse(parser, &bytes), "there is no parser {parser}");
        }
        rounds += 1;
    }
    assert!(rounds > 10, "{rounds} rounds in 3 seconds");
    assert!(peak() < 700 * MIB, "mutated files took {} MiB", peak() / MIB);
}
