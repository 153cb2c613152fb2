//! Damaged input: every parser of files that others write, or that a disk can spoil, comes back with an answer or a
//! sentence, never with a panic.
//!
//! `KTG_DAMAGED` says how many damaged inputs each parser gets (default: 10,000), `KTG_DAMAGED_SEED` which.

use std::fs;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Instant;

use flate2::read::GzDecoder;
use ktg_base::random::keyed;
use ktg_graph::{Document, import_authors_config};
use ktg_report::compare::Plan;
use ktg_search::{SearchSettings, Space};
use ktg_train::{Experiment, GraphSettings, Run, RunDirectory, RunRecord, SavedRun, Settings};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../ktg-data/tests/fixtures")
}

/// All files below a folder whose names end so.
fn files(folder: &Path, ending: &str) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, ending));
        } else if path.to_str().unwrap().ends_with(ending) {
            found.push(fs::read(path).unwrap());
        }
    }
    found
}

/// JPEGs of every kind.
fn jpegs() -> Vec<Vec<u8>> {
    let entries: Vec<serde_json::Value> =
        serde_json::from_slice(&fs::read(fixtures().join("jpegs.json")).unwrap()).unwrap();
    let mut content = GzDecoder::new(fs::File::open(fixtures().join("jpegs.bin.gz")).unwrap());
    let mut take = |length: u64| {
        let mut bytes = vec![0; length as usize];
        content.read_exact(&mut bytes).unwrap();
        bytes
    };
    let mut jpegs = Vec::new();
    for entry in entries {
        let number = |key: &str| entry[key].as_u64().unwrap_or(0);
        jpegs.push(take(number("bytes")));
        take(3 * number("width") * number("height"));
    }
    jpegs
}

/// A PNG, a BMP, a GIF and a WebP file.
fn other_images() -> Vec<Vec<u8>> {
    let pixels = image::RgbImage::from_fn(9, 7, |x, y| image::Rgb([(x * 20) as u8, (y * 30) as u8, 128]));
    let formats = [image::ImageFormat::Png, image::ImageFormat::Bmp, image::ImageFormat::Gif, image::ImageFormat::WebP];
    let encoded = formats.map(|format| {
        let mut bytes = std::io::Cursor::new(Vec::new());
        pixels.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    });
    encoded.into()
}

fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// `seed`, changed in one to eight places.
fn damaged(seed: &[u8], all: &[Vec<u8>], rng: &mut ChaCha8Rng) -> Vec<u8> {
    const NUMBERS: [&str; 10] = [
        "-1",
        "0",
        "1e999",
        "NaN",
        "18446744073709551616",
        "99999999999",
        "\"\"",
        "[]",
        "null",
        "-9223372036854775808",
    ];
    let mut bytes = seed.to_vec();
    for _ in 0..rng.random_range(1..=8) {
        let at = rng.random_range(0..=bytes.len());
        let end = (at + rng.random_range(0..=16)).min(bytes.len());
        match rng.random_range(0..8) {
            0 if at < bytes.len() => bytes[at] ^= 1 << rng.random_range(0..8),
            1 if at < bytes.len() => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][rng.random_range(0..5)],
            2 => bytes.truncate(at),
            3 => drop(bytes.drain(at..end)),
            4 => {
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy);
            }
            5 => {
                let other = &all[rng.random_range(0..all.len())];
                let from = rng.random_range(0..=other.len());
                let to = (from + rng.random_range(0..=64)).min(other.len());
                bytes.splice(at..end, other[from..to].iter().copied());
            }
            6 => drop(bytes.splice(at..end, NUMBERS[rng.random_range(0..NUMBERS.len())].bytes())),
            _ => drop(bytes.splice(at..at, [rng.random::<u8>()])),
        }
    }
    bytes
}

/// Gives a parser so many damaged inputs; they are the same whenever the seed is.
fn feed(parser: &str, seeds: &[Vec<u8>], mut parse: impl FnMut(&[u8])) {
    let number = |variable: &str, otherwise| std::env::var(variable).map_or(otherwise, |text| text.parse().unwrap());
    let (count, seed): (u64, u64) = (number("KTG_DAMAGED", 10_000), number("KTG_DAMAGED_SEED", 0));
    assert!(!seeds.is_empty(), "{parser}");
    let started = Instant::now();
    for i in 0..count {
        let mut rng = keyed([seed, i, 0, 0]);
        let bytes = damaged(&seeds[rng.random_range(0..seeds.len())], seeds, &mut rng);
        if catch_unwind(AssertUnwindSafe(|| parse(&bytes))).is_err() {
            let path = std::env::temp_dir().join(format!("ktg-damaged-{parser}-{seed}-{i}"));
            fs::write(&path, &bytes).unwrap();
            panic!("{parser}: input {i} of seed {seed} panicked; it is in {}", path.display());
        }
    }
    println!("{parser}: {count} damaged inputs in {:.0?}", started.elapsed());
}

/// A parser of ktg-data, by its name.
fn feed_data(parser: &str, seeds: &[Vec<u8>]) {
    feed(parser, seeds, |bytes| assert!(ktg_data::fuzzing::parse(parser, bytes), "there is no parser {parser}"));
}

fn feed_text(parser: &str, seeds: &[Vec<u8>], mut parse: impl FnMut(&str)) {
    feed(parser, seeds, |bytes| parse(&String::from_utf8_lossy(bytes)));
}

#[test]
fn jpeg_files() {
    let jpegs: Vec<Vec<u8>> = jpegs().into_iter().filter(|jpeg| jpeg.len() < 3000).collect();
    feed("jpeg", &jpegs, |bytes| assert!(ktg_data::fuzzing::parse("image", bytes)));
}

#[test]
fn other_image_files() {
    feed_data("image", &other_images());
}

#[test]
fn lists_and_tables() {
    feed_data(
        "list",
        &texts(&["\u{feff}# path, fine\r\na/0.png, 0, 0\r\n\"b, c.png\", 1, 0\r\n", "a.png\tdog\n\"b\"\tcat\n"]),
    );
    feed_data(
        "classes",
        &texts(&["apple\nfig\n", "apple, 0\nfig, 1\n", "Name,ID,Coarse,ID\nfig,1,fruit,0\napple,0,fruit,0\n"]),
    );
    feed_data("cub", &files(&fixtures().join("sets/cub-200-2011"), ".txt"));
    feed_data(
        "split",
        &texts(&[r#"{"format": "ktg split 1", "share": 0.8, "seed": 1, "train": ["a"], "held_out": ["c"]}"#]),
    );
}

#[test]
fn binary_data_sets() {
    let idx = [
        vec![0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12],
        vec![0, 0, 8, 1, 0, 0, 0, 3, 0, 1, 2],
    ];
    feed_data("idx", &idx);
    feed_data("mat", &files(&fixtures().join("sets"), ".mat"));
    let record: Vec<u8> = (0..3073u32).map(|i| (i % 9) as u8).collect();
    feed_data("cifar", &[record.clone(), [&[3][..], &record, &[4], &record].concat()]);
}

#[test]
fn packs() {
    let temporary = tempfile::tempdir().unwrap();
    let file = temporary.path().join("pack");
    let splits = ktg_data::DataSource::default().open(Path::new(".")).unwrap();
    let small =
        ktg_data::Splits { train: splits.train.take_per_class(1), test: splits.test.take_per_class(1), ..splits };
    ktg_data::pack(&small, "fashion-mnist", Some(4), &file, 1, &|_, _| true).unwrap();
    feed_data("pack", &[fs::read(file).unwrap()]);
}

#[test]
fn graphs_settings_and_plans() {
    let mut graphs = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/graphs"), ".toml");
    let json = ktg_graph::presets::dml(3, "abn-resnet-18").to_json();
    graphs.push(json.into_bytes());
    feed_text("graph", &graphs, |text| {
        let _ = (
            Document::parse_toml(text, "a.toml"),
            Document::parse_json(text, "a.json"),
            import_authors_config(text, "a"),
        );
    });
    let mut settings =
        texts(&["side = 8\n[graph]\npreset = \"dml\"\n[data]\nsource = \"list\"\nroot = \"a\"\nlabel_column = 2\n"]);
    settings.push(Settings::default().to_toml().unwrap().into_bytes());
    feed_text("settings", &settings, |text| _ = Settings::parse(text, "a.toml"));
    let search = texts(&[
        "[search]\npruner = \"asha\"\nsampler = \"tpe\"\nlabel_gates = [\"through\"]\n[search.edges]\n\"2 -> 1\" = \"cutoff\"\n",
    ]);
    feed_text("search settings", &search, |text| _ = SearchSettings::parse(text, "a.toml"));
    let nodes = vec![ktg_graph::Node::new("abn-resnet-18"); 2];
    let space = Space::new(&ktg_graph::Graph::new(nodes), &SearchSettings::default()).unwrap();
    feed_text("search space", &[space.to_json().to_string().into_bytes()], |text| {
        if let Ok(json) = serde_json::from_str(text) {
            let _ = Space::from_json(&json);
        }
    });
    let temporary = tempfile::tempdir().unwrap();
    let file = temporary.path().join("plan.toml");
    let plan = texts(&[
        "experiment = \"e.toml\"\nnodes = [2, 3]\nrepeats = 3\n[[method]]\nname = \"DML\"\npreset = \"dml\"\n[[method]]\nname = \"Found\"\nstudy = \"s\"\ntrial = 3\n",
    ]);
    feed("plan", &plan, |bytes| {
        fs::write(&file, bytes).unwrap();
        let _ = Plan::read(&file);
    });
}

#[test]
fn run_directories_and_weights() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("run");
    let mut settings = Settings { side: 8, ..Settings::default() };
    let architecture = Some("resnet-cifar-8".to_owned());
    settings.graph =
        GraphSettings { preset: Some("dml".to_owned()), nodes: Some(2), architecture, ..GraphSettings::default() };
    settings.split.train_share = 0.01;
    // One epoch has one checkpoint: there is no other to fall back to.
    (settings.train.epochs, settings.train.batch_size, settings.train.log_every) = (1, 10, 1);
    settings.split.evaluate_on = ktg_train::EvaluateOn::SearchSplit;
    let directory = RunDirectory::new(&path);
    let mut run = Run::start(Experiment::open(settings, Path::new(".")).unwrap(), &directory).unwrap();
    while run.next_epoch().unwrap().is_some() {}
    drop(run);

    for name in ["settings.toml", "graph.toml", "data.json", "metrics.jsonl", "timing.jsonl", "result.json"] {
        let file = path.join(name);
        let whole = fs::read(&file).unwrap();
        feed(name, std::slice::from_ref(&whole), |bytes| {
            fs::write(&file, bytes).unwrap();
            let _ = RunRecord::read(&directory);
        });
        fs::write(&file, whole).unwrap();
    }
    let newest = fs::read_dir(path.join("checkpoints")).unwrap().map(|entry| entry.unwrap().path()).max().unwrap();
    let state = newest.join("state.json");
    let whole = fs::read(&state).unwrap();
    feed("state.json", std::slice::from_ref(&whole), |bytes| {
        fs::write(&state, bytes).unwrap();
        let _ = SavedRun::open(&directory);
    });
    fs::write(&state, whole).unwrap();
    // The head and some of the values: most of the damage is to be in the head.
    let weights = fs::read(newest.join("node1.safetensors")).unwrap();
    let head = 8 + u64::from_le_bytes(weights[..8].try_into().unwrap()) as usize;
    let short = weights[..head + 64].to_vec();
    feed("weights", &[weights[..head].to_vec(), short], |bytes| _ = ktg_net::weights::from_bytes(bytes, "weights"));
}

#[test]
fn weights_of_pytorch() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/data/weights");
    let mut seeds = files(&folder, ".pth");
    seeds.sort();
    feed("pytorch weights", &seeds, |bytes| {
        if let Ok(file) = ktg_net::weights::from_bytes(bytes, "weights") {
            let numbers: usize = file.arrays.values().map(|array| array.data.len()).sum();
            assert!(numbers <= 8 * bytes.len());
        }
    });
}
