//! The kinds of data sources.

use super::builtin::BuiltIn;
use super::cifar::{Cifar10, Cifar100};
use super::folder::Folder;
use super::idx::Idx;
use super::list::List;
use super::official::Published;
use super::pack::PackFile;
use super::{cub, stanford_cars, stanford_dogs};
use crate::{Error, Splits};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// A kind of data source, with its options. A new one is a file with a struct of options that can open it, and a variant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "source", rename_all = "kebab-case")]
pub enum SourceKind {
    /// The built-in subset of Fashion-MNIST.
    FashionMnist(BuiltIn),
    /// One folder a class.
    Folder(Folder),
    /// List files.
    List(List),
    /// IDX files.
    Idx(Idx),
    /// Stanford Dogs.
    StanfordDogs(Published),
    /// Stanford Cars.
    StanfordCars(Published),
    /// Caltech-UCSD Birds.
    #[serde(rename = "cub-200-2011")]
    Cub(Published),
    /// CIFAR-10.
    #[serde(rename = "cifar-10")]
    Cifar10(Cifar10),
    /// CIFAR-100.
    #[serde(rename = "cifar-100")]
    Cifar100(Cifar100),
    /// What `ktg data pack` wrote.
    Pack(PackFile),
}

impl Default for SourceKind {
    /// The built-in Fashion-MNIST subset.
    fn default() -> Self {
        Self::FashionMnist(BuiltIn::default())
    }
}

impl SourceKind {
    /// What `source = "..."` names it.
    pub fn name(&self) -> &'static str {
        self.name_and_help().0
    }

    /// One sentence for people.
    pub fn help(&self) -> &'static str {
        self.name_and_help().1
    }

    fn name_and_help(&self) -> (&'static str, &'static str) {
        match self {
            Self::FashionMnist(_) => (
                "fashion-mnist",
                "built in: 5,000 training and 5,000 test images of clothes, 28 x 28, grey, 10 classes",
            ),
            Self::Folder(_) => ("folder", "one folder a class: ROOT/train/CLASS/*.jpg and ROOT/test/CLASS/*.jpg"),
            Self::List(_) => ("list", "list files ROOT/train.txt and ROOT/test.txt with lines `path, label, ...`"),
            Self::Idx(_) => {
                ("idx", "IDX files as MNIST has them, ROOT/train-images-idx3-ubyte and so on, plain or .gz")
            }
            Self::StanfordDogs(_) => {
                ("stanford-dogs", "Stanford Dogs: ROOT/Images and ROOT/lists/*.mat; 120 classes, 12,000 + 8,580 images")
            }
            Self::StanfordCars(_) => (
                "stanford-cars",
                "Stanford Cars: ROOT/cars_annos.mat, or the development kit; 196 classes, 8,144 + 8,041 images",
            ),
            Self::Cub(_) => {
                ("cub-200-2011", "Caltech-UCSD Birds: ROOT/images.txt and so on; 200 classes, 5,994 + 5,794 images")
            }
            Self::Cifar10(_) => (
                "cifar-10",
                "the binary version, ROOT/data_batch_1.bin and so on; 10 classes, 50,000 + 10,000 images, 32 x 32",
            ),
            Self::Cifar100(_) => (
                "cifar-100",
                "the binary version, ROOT/train.bin and so on; 100 classes or 20, 50,000 + 10,000 images, 32 x 32",
            ),
            Self::Pack(_) => (
                "pack",
                "FILE, which `ktg data pack` wrote: decoded images of any of the other sources, mapped into memory",
            ),
        }
    }

    pub(super) fn open(&self, base: &Path) -> Result<Splits, Error> {
        let root = |root: &Option<PathBuf>| self.root(root, base);
        match self {
            Self::FashionMnist(options) => options.open(),
            Self::Folder(options) => options.open(&root(&options.root)?),
            Self::List(options) => options.open(&root(&options.root)?),
            Self::Idx(options) => options.open(&root(&options.root)?),
            Self::StanfordDogs(options) => stanford_dogs::open(options, &root(&options.root)?),
            Self::StanfordCars(options) => stanford_cars::open(options, &root(&options.root)?),
            Self::Cub(options) => cub::open(options, &root(&options.root)?),
            Self::Cifar10(options) => options.open(&root(&options.root)?),
            Self::Cifar100(options) => options.open(&root(&options.root)?),
            Self::Pack(options) => options.open(base),
        }
    }

    /// Where the root folder should be.
    fn root(&self, root: &Option<PathBuf>, base: &Path) -> Result<PathBuf, Error> {
        // Without a `.` in the middle, which `.` as root would put into every name.
        let place = |root| base.join(root).components().collect();
        root.as_ref().map(place).ok_or_else(|| {
            let source = self.name();
            Error::Setting(format!("the data source \"{source}\" needs `root`, the folder that the data lies in"))
        })
    }

    /// The name and the value of the option that says where the data lies, `root` or `file`.
    pub fn place_mut(&mut self) -> Option<(&'static str, &mut Option<PathBuf>)> {
        match self {
            Self::FashionMnist(_) => None,
            Self::Folder(Folder { root, .. })
            | Self::List(List { root, .. })
            | Self::Idx(Idx { root, .. })
            | Self::StanfordDogs(Published { root, .. })
            | Self::StanfordCars(Published { root, .. })
            | Self::Cub(Published { root, .. })
            | Self::Cifar10(Cifar10 { root, .. })
            | Self::Cifar100(Cifar100 { root, .. }) => Some(("root", root)),
            Self::Pack(PackFile { file }) => Some(("file", file)),
        }
    }

    /// The same without `root`, `file` and `cache_mib`.
    pub(super) fn without_places(&self) -> Self {
        let mut kind = self.clone();
        if let Some((_, place)) = kind.place_mut() {
            *place = None;
        }
        if let Self::Folder(Folder { cache_mib, .. })
        | Self::List(List { cache_mib, .. })
        | Self::StanfordDogs(Published { cache_mib, .. })
        | Self::StanfordCars(Published { cache_mib, .. })
        | Self::Cub(Published { cache_mib, .. }) = &mut kind
        {
            *cache_mib = None;
        }
        kind
    }
}
