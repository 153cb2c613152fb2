//! Where data comes from: settings, the table of sources, and what opening one gives.

use crate::cache::Budget;
use crate::{Dataset, Error, Splits, builtin, cifar, cub, folder, idx, list, pack, stanford_cars, stanford_dogs};
use serde::{Deserialize, Serialize};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// Which data to use. Every option but `source` may be left out; an option that means nothing to
/// the source is an error.
///
/// ```toml
/// source = "list"
/// root = "grocery"
/// label_column = 2      # the coarse labels
/// val = "val.txt"
/// ```
///
/// Relative paths are relative to `root`; and `root`, `file` and `skip` to the folder given to [`open`](Self::open).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSource {
    /// Name of an entry of [`SOURCES`].
    #[serde(default = "built_in")]
    pub source: String,
    /// Folder that everything lies in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<PathBuf>,
    /// Training data: a folder (`folder`), a list file (`list`) or a file of images (`idx`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train: Option<PathBuf>,
    /// Test data, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<PathBuf>,
    /// Validation data, likewise; there is none unless this is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub val: Option<PathBuf>,
    /// `list` only: which column holds the label. Column 0 is the path. Default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_column: Option<usize>,
    /// `list` and `idx`: a file of class names, one a line (or `name, number`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<PathBuf>,
    /// `list` and `idx`: the number of the first class. Default 0; 1 for EMNIST letters and other sets that count from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_label: Option<u32>,
    /// 1 (grey) or 3 (colour), whatever the files hold. Default: 3 for files, 1 for IDX.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channels: Option<usize>,
    /// `cifar-100` only: `fine` (100 classes, default) or `coarse` (20).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<String>,
    /// `pack` only: the file that `ktg data pack` wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// Published data sets only: use a part of the set too. Default: false, another number of images than was published
    /// is an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incomplete: Option<bool>,
    /// Turn and mirror photos as their EXIF data says. Default: false, as torchvision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exif_orientation: Option<bool>,
    /// A file with the names of images to leave out, one a line, as `ktg data check` writes it. Relative to the folder given
    /// to [`open`](Self::open), as `file` and `root`. For all sources.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skip: Option<PathBuf>,
    /// Decoded images kept in memory, in MiB, for all splits together. Default 1024.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_mib: Option<usize>,
}

fn built_in() -> String {
    "fashion-mnist".into()
}

impl Default for DataSource {
    /// The built-in Fashion-MNIST subset.
    fn default() -> Self {
        Self {
            source: built_in(),
            root: None,
            train: None,
            test: None,
            val: None,
            label_column: None,
            classes: None,
            first_label: None,
            channels: None,
            labels: None,
            file: None,
            incomplete: None,
            exif_orientation: None,
            skip: None,
            cache_mib: None,
        }
    }
}

/// One kind of data source. A new one is an entry in [`SOURCES`] and its opening function.
#[derive(Debug)]
pub struct Source {
    /// What `source = "..."` names it.
    pub name: &'static str,
    /// One sentence for people.
    pub help: &'static str,
    /// The options of [`DataSource`] that it understands, besides `source`.
    pub options: &'static [&'static str],
    /// Opens it; paths are resolved against the folder given.
    pub open: fn(&DataSource, &Path) -> Result<Splits, Error>,
}

/// All kinds of data sources.
pub const SOURCES: &[Source] = &[
    Source {
        name: "fashion-mnist",
        help: "built in: 5,000 training and 5,000 test images of clothes, 28 x 28, grey, 10 classes",
        options: &["channels"],
        open: builtin::open,
    },
    Source {
        name: "folder",
        help: "one folder a class: ROOT/train/CLASS/*.jpg and ROOT/test/CLASS/*.jpg",
        options: &["root", "train", "test", "val", "channels", "exif_orientation", "cache_mib"],
        open: folder::open,
    },
    Source {
        name: "list",
        help: "list files ROOT/train.txt and ROOT/test.txt with lines `path, label, ...`",
        options: &[
            "root",
            "train",
            "test",
            "val",
            "label_column",
            "classes",
            "first_label",
            "channels",
            "exif_orientation",
            "cache_mib",
        ],
        open: list::open,
    },
    Source {
        name: "idx",
        help: "IDX files as MNIST has them, ROOT/train-images-idx3-ubyte and so on, plain or .gz",
        options: &["root", "train", "test", "val", "classes", "first_label", "channels"],
        open: idx::open,
    },
    Source {
        name: "stanford-dogs",
        help: "Stanford Dogs: ROOT/Images and ROOT/lists/*.mat; 120 classes, 12,000 + 8,580 images",
        options: PUBLISHED_FILES,
        open: stanford_dogs::open,
    },
    Source {
        name: "stanford-cars",
        help: "Stanford Cars: ROOT/cars_annos.mat, or the development kit; 196 classes, 8,144 + 8,041 images",
        options: PUBLISHED_FILES,
        open: stanford_cars::open,
    },
    Source {
        name: "cub-200-2011",
        help: "Caltech-UCSD Birds: ROOT/images.txt and so on; 200 classes, 5,994 + 5,794 images",
        options: PUBLISHED_FILES,
        open: cub::open,
    },
    Source {
        name: "cifar-10",
        help: "the binary version, ROOT/data_batch_1.bin and so on; 10 classes, 50,000 + 10,000 images, 32 x 32",
        options: &["root", "channels", "incomplete"],
        open: cifar::open_10,
    },
    Source {
        name: "cifar-100",
        help: "the binary version, ROOT/train.bin and so on; 100 classes or 20, 50,000 + 10,000 images, 32 x 32",
        options: &["root", "channels", "incomplete", "labels"],
        open: cifar::open_100,
    },
    Source {
        name: "pack",
        help: "FILE, which `ktg data pack` wrote: decoded images of any of the other sources, mapped into memory",
        options: &["file"],
        open: pack::open,
    },
];

const PUBLISHED_FILES: &[&str] = &["root", "channels", "incomplete", "exif_orientation", "cache_mib"];

impl DataSource {
    /// Opens the data set: lists its images and checks its structure, but decodes no image file.
    ///
    /// `base` is the folder that a relative `root` starts from.
    ///
    /// # Errors
    /// Unknown source, options that do not suit it, missing or unreadable files, unreadable list
    /// lines, empty splits or classes, labels with gaps, classes in test that training lacks.
    pub fn open(&self, base: &Path) -> Result<Splits, Error> {
        let Some(source) = SOURCES.iter().find(|source| source.name == self.source) else {
            let names: Vec<_> = SOURCES.iter().map(|source| source.name).collect();
            return Err(Error::Setting(format!(
                "unknown data source \"{}\"; there are: {}",
                self.source,
                names.join(", ")
            )));
        };
        if let Some(option) = self.given().into_iter().find(|option| !source.options.contains(option)) {
            return Err(Error::Setting(format!(
                "option `{option}` means nothing to the data source \"{}\"; it understands: {}",
                source.name,
                source.options.join(", ")
            )));
        }
        if let Some(channels) = self.channels
            && !matches!(channels, 1 | 3)
        {
            return Err(Error::Setting(format!("channels = {channels}: images have 1 channel (grey) or 3 (colour)")));
        }
        let splits = (source.open)(self, base)?;
        if splits.train.classes() < 2 {
            return Err(Error::Setting(format!(
                "all images are of one class, {}, and there is nothing to tell apart; correct the labels",
                some(splits.train.class_names())
            )));
        }
        match &self.skip {
            Some(file) => splits.without_listed(&base.join(file)),
            None => Ok(splits),
        }
    }

    /// Names of the options that are set.
    fn given(&self) -> Vec<&'static str> {
        [
            ("root", self.root.is_some()),
            ("train", self.train.is_some()),
            ("test", self.test.is_some()),
            ("val", self.val.is_some()),
            ("label_column", self.label_column.is_some()),
            ("classes", self.classes.is_some()),
            ("first_label", self.first_label.is_some()),
            ("channels", self.channels.is_some()),
            ("labels", self.labels.is_some()),
            ("file", self.file.is_some()),
            ("incomplete", self.incomplete.is_some()),
            ("exif_orientation", self.exif_orientation.is_some()),
            ("cache_mib", self.cache_mib.is_some()),
        ]
        .into_iter()
        .filter_map(|(name, is_set)| is_set.then_some(name))
        .collect()
    }

    /// Where the root folder should be.
    pub(crate) fn root_path(&self, base: &Path) -> Result<PathBuf, Error> {
        // Without a `.` in the middle, which `.` as root would put into every name.
        let place = |root| base.join(root).components().collect();
        self.root.as_ref().map(place).ok_or_else(|| {
            Error::Setting(format!(
                "the data source \"{}\" needs `root`, the folder that the data lies in",
                self.source
            ))
        })
    }

    /// The root folder; an error if it is not there.
    pub(crate) fn existing_root(&self, base: &Path) -> Result<PathBuf, Error> {
        let root = self.root_path(base)?;
        match std::fs::metadata(&root) {
            Ok(found) if found.is_dir() => Ok(root),
            Ok(_) => Err(Error::layout(&root, "is a file; `root` must be the folder that the data lies in")),
            Err(source) => Err(Error::read(&root, source)),
        }
    }

    /// The parts with their names for people and their places below the root, by default `train`,
    /// `test`.
    pub(crate) fn parts(&self, root: &Path, train: &str, test: &str) -> Vec<(&'static str, PathBuf)> {
        let place = |given: &Option<PathBuf>, usual: &str| root.join(given.as_deref().unwrap_or(Path::new(usual)));
        let mut parts = vec![("train", place(&self.train, train)), ("test", place(&self.test, test))];
        parts.extend(self.val.as_ref().map(|val| ("val", root.join(val))));
        parts
    }

    /// Whether a part is the test images that nobody named and that are not where they usually are. Not everything needs
    /// some: see [`Splits::test`].
    pub(crate) fn goes_without(&self, split: &str, place: &Path) -> bool {
        split == "test" && self.test.is_none() && !place.exists()
    }

    /// How image files below `root` are read, for all splits together.
    pub(crate) fn files(&self, root: &Path) -> Files {
        Files {
            root: root.to_path_buf(),
            channels: self.channels.unwrap_or(3),
            upright: self.exif_orientation.unwrap_or(false),
            budget: Budget::new(self.cache_mib.map_or(Budget::DEFAULT_BYTES, |mib| mib.saturating_mul(1 << 20))),
        }
    }
}

/// How image files are read.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    /// Folder of the data set.
    pub root: PathBuf,
    pub channels: usize,
    /// Turned as EXIF says.
    pub upright: bool,
    pub budget: Arc<Budget>,
}

/// The path of `relative` below `root`; nothing if it is absolute, empty, or climbs out with `..`.
pub(crate) fn below(root: &Path, relative: &str) -> Option<PathBuf> {
    let path = Path::new(relative);
    let stays = |part: Component| matches!(part, Component::Normal(_) | Component::CurDir);
    (!relative.is_empty() && path.components().all(stays)).then(|| root.join(path))
}

/// Names of the classes that have no image.
pub(crate) fn missing_classes(dataset: &Dataset) -> Vec<String> {
    let mut seen = vec![false; dataset.classes()];
    dataset.labels().iter().for_each(|&label| seen[label as usize] = true);
    let unseen = seen.iter().zip(dataset.class_names()).filter(|&(&seen, _)| !seen);
    unseen.map(|(_, name)| name.clone()).collect()
}

/// A few of the class names, for a message: `classes "a", "b" and 7 more`.
pub(crate) fn some(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown: Vec<_> = names.iter().take(SHOWN).map(|name| format!("\"{name}\"")).collect();
    let noun = if names.len() == 1 { "class" } else { "classes" };
    match names.len().saturating_sub(SHOWN) {
        0 => format!("{noun} {}", shown.join(", ")),
        more => format!("{noun} {} and {more} more", shown.join(", ")),
    }
}
