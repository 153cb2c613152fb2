//! CIFAR-10 and CIFAR-100 in their binary versions: records of label bytes and 32 x 32 pixels, plane by plane.

use super::class_names;
use super::official::Official;
use super::place;
use crate::{Dataset, Error, Image, Splits};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

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

/// Options of CIFAR-10.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cifar10 {
    /// Folder that everything lies in.
    pub root: Option<PathBuf>,
    /// 1 (grey) or 3 (colour), whatever the files hold. Default 3.
    pub channels: Option<usize>,
    /// Use a part of the set too. Default: false, another number of images than was published is an error.
    pub incomplete: Option<bool>,
}

/// Options of CIFAR-100.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cifar100 {
    /// Folder that everything lies in.
    pub root: Option<PathBuf>,
    /// 1 (grey) or 3 (colour), whatever the files hold. Default 3.
    pub channels: Option<usize>,
    /// Default: fine.
    pub labels: Option<Labels>,
    /// Use a part of the set too. Default: false, another number of images than was published is an error.
    pub incomplete: Option<bool>,
}

/// Which labels of CIFAR-100.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Labels {
    /// 100 classes.
    Fine,
    /// 20 classes.
    Coarse,
}

impl Cifar10 {
    pub(super) fn open(&self, root: &Path) -> Result<Splits, Error> {
        TEN.open(root, self.channels, self.incomplete)
    }
}

impl Cifar100 {
    pub(super) fn open(&self, root: &Path) -> Result<Splits, Error> {
        let layout = match self.labels.unwrap_or(Labels::Fine) {
            Labels::Fine => FINE,
            Labels::Coarse => COARSE,
        };
        layout.open(root, self.channels, self.incomplete)
    }
}

/// What lies where in the root folder.
struct Layout {
    official: Official,
    train: &'static [&'static str],
    test: &'static str,
    /// The file of class names.
    names: &'static str,
    /// How many label bytes a record has, and which of them counts.
    labels: (usize, usize),
}

const TEN: Layout = Layout {
    official: CIFAR_10,
    train: &["data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"],
    test: "test_batch.bin",
    names: "batches.meta.txt",
    labels: (1, 0),
};

// A record has the coarse label, then the fine one.
const FINE: Layout = Layout {
    official: CIFAR_100,
    train: &["train.bin"],
    test: "test.bin",
    names: "fine_label_names.txt",
    labels: (2, 1),
};

const COARSE: Layout =
    Layout { official: Official { classes: 20, ..CIFAR_100 }, names: "coarse_label_names.txt", labels: (2, 0), ..FINE };

impl Layout {
    fn open(&self, root: &Path, channels: Option<usize>, incomplete: Option<bool>) -> Result<Splits, Error> {
        let Self { official, train, test, names, labels } = self;
        let channels = place::channels(channels, 3)?;
        let root = official.root(root, &train[..1])?;
        let names_file = root.join(names);
        let names = class_names::parse(&official.read(&names_file)?, &names_file, 1)?;
        let part = |split: &str, files: &[&str]| {
            let (mut images, mut classes) = (Vec::new(), Vec::new());
            for file in files.iter().map(|file| root.join(file)) {
                let records = parse(&official.read(&file)?, *labels, names.len(), channels);
                let (more_images, more_classes) = records.map_err(|problem| Error::file(&file, problem))?;
                images.extend(more_images);
                classes.extend(more_classes);
            }
            Dataset::from_images(split, names.clone(), images, classes)
        };
        official.splits(incomplete.unwrap_or(false), &root, [part("train", train)?, part("test", &[test])?])
    }
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
