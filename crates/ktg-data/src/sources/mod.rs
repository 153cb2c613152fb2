//! Where data comes from: the table of sources, and opening one.

mod builtin;
pub(crate) mod cifar;
pub(crate) mod class_names;
pub(crate) mod cub;
mod folder;
pub(crate) mod idx;
mod list;
pub(crate) mod mat;
mod official;
mod pack;
mod settings;
pub(crate) mod stanford_cars;
pub(crate) mod stanford_dogs;
pub(crate) mod table;

use crate::{Error, Splits, classes};
use std::path::Path;

pub use pack::{PackSummary, pack};
pub use settings::DataSource;

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
            let names = SOURCES.iter().map(|source| source.name).collect::<Vec<_>>().join(", ");
            return Err(Error::Setting(format!("unknown data source \"{}\"; there are: {names}", self.source)));
        };
        if let Some(option) = self.given().into_iter().find(|option| !source.options.contains(option)) {
            let (name, options) = (source.name, source.options.join(", "));
            let problem = format!("option `{option}` means nothing to the data source \"{name}\"");
            return Err(Error::Setting(format!("{problem}; it understands: {options}")));
        }
        if let Some(channels) = self.channels
            && !matches!(channels, 1 | 3)
        {
            return Err(Error::Setting(format!("channels = {channels}: images have 1 channel (grey) or 3 (colour)")));
        }
        let splits = (source.open)(self, base)?;
        if splits.train.classes() < 2 {
            let class = classes::in_words(splits.train.class_names());
            let problem = format!("all images are of one class, {class}, and there is nothing to tell apart");
            return Err(Error::Setting(format!("{problem}; correct the labels")));
        }
        match &self.skip {
            Some(file) => splits.without_listed(&base.join(file)),
            None => Ok(splits),
        }
    }
}
