//! CIFAR-10 and CIFAR-100 in their binary versions: records of label bytes and 32 x 32 pixels, plane by plane.

use super::class_names;
use super::official::Official;
use crate::{DataSource, Dataset, Error, Image, Splits};
use std::path::Path;

pub(crate) const CIFAR_10: Official = Official {
    name: "CIFAR-10",
    from: "https://www.cs.toronto.edu/~kriz/cifar.html (the binary version, cifar-10-binary.tar.gz)",
    layout: "ROOT/data_batch_1.bin to data_batch_5.bin, ROOT/test_batch.bin and ROOT/batches.meta.txt",
    folder: Some("cifar-10-batches-bin"),
    classes: 10,
    train: 50_000,
    test: 10_000,
};

const CIFAR_100: Official = Official {
    name: "CIFAR-100",
    from: "https://www.cs.toronto.edu/~kriz/cifar.html (the binary version, cifar-100-binary.tar.gz)",
    layout: "ROOT/train.bin, ROOT/test.bin, ROOT/fine_label_names.txt and ROOT/coarse_label_names.txt",
    folder: Some("cifar-100-binary"),
    classes: 100,
    train: 50_000,
    test: 10_000,
};

const SIDE: usize = 32;
const VALUES: usize = 3 * SIDE * SIDE;

pub(crate) fn open_10(settings: &DataSource, base: &Path) -> Result<Splits, Error> {
    let batches = (1..=5).map(|i| format!("data_batch_{i}.bin")).collect();
    open(&CIFAR_10, settings, base, [batches, vec!["test_batch.bin".into()]], "batches.meta.txt", (1, 0))
}

pub(crate) fn open_100(settings: &DataSource, base: &Path) -> Result<Splits, Error> {
    let parts = [vec!["train.bin".into()], vec!["test.bin".into()]];
    // A record has the coarse label, then the fine one.
    match settings.labels.as_deref().unwrap_or("fine") {
        "fine" => open(&CIFAR_100, settings, base, parts, "fine_label_names.txt", (2, 1)),
        "coarse" => {
            let official = Official { classes: 20, ..CIFAR_100 };
            open(&official, settings, base, parts, "coarse_label_names.txt", (2, 0))
        }
        other => Err(Error::Setting(format!("labels = \"{other}\": CIFAR-100 has \"fine\" and \"coarse\" labels"))),
    }
}

/// A record has `labels.0` label bytes, of which number `labels.1` counts.
fn open(
    official: &Official,
    settings: &DataSource,
    base: &Path,
    parts: [Vec<String>; 2],
    names: &str,
    labels: (usize, usize),
) -> Result<Splits, Error> {
    let root = official.root(settings, base, &[&parts[0][0]])?;
    let names_file = root.join(names);
    let names = class_names::parse(&official.read(&names_file)?, &names_file, 1)?;
    let part = |split: &str, files: &[String]| {
        let (mut images, mut classes) = (Vec::new(), Vec::new());
        for file in files.iter().map(|file| root.join(file)) {
            let records = parse(&official.read(&file)?, labels, names.len(), settings.channels.unwrap_or(3));
            let (more_images, more_classes) = records.map_err(|problem| Error::file(&file, problem))?;
            images.extend(more_images);
            classes.extend(more_classes);
        }
        Dataset::from_images(split, names.clone(), images, classes)
    };
    official.splits(settings, &root, [part("train", &parts[0])?, part("test", &parts[1])?])
}

/// Images and labels of one file.
pub(crate) fn parse(
    bytes: &[u8],
    (label_bytes, label): (usize, usize),
    classes: usize,
    channels: usize,
) -> Result<(Vec<Image>, Vec<u32>), String> {
    let record = label_bytes + VALUES;
    if bytes.is_empty() || !bytes.len().is_multiple_of(record) {
        let length = bytes.len();
        return Err(format!("{length} bytes, which are no whole records of {record}; it is cut off or something else"));
    }
    let mut labels = Vec::new();
    let mut images = Vec::new();
    for (i, record) in bytes.chunks_exact(record).enumerate() {
        let (head, planes) = record.split_at(label_bytes);
        if usize::from(head[label]) >= classes {
            return Err(format!("record {i} has label {}, of {classes} classes", head[label]));
        }
        labels.push(u32::from(head[label]));
        let values = |p: usize| [planes[p], planes[p + SIDE * SIDE], planes[p + 2 * SIDE * SIDE]];
        let colors =
            Image { width: SIDE, height: SIDE, channels: 3, pixels: (0..SIDE * SIDE).flat_map(values).collect() };
        images.push(colors.with_channels(channels));
    }
    Ok((images, labels))
}
