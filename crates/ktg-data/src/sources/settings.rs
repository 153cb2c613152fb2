//! Which data to use, as a settings file says it.

use crate::Error;
use crate::cache::Budget;
use crate::dataset::Files;
use serde::{Deserialize, Serialize};
use std::path::{Component, Path, PathBuf};

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
    /// Name of an entry of [`SOURCES`](crate::SOURCES).
    #[serde(default = "built_in")]
    pub source: String,
    /// Folder that everything lies in.
    pub root: Option<PathBuf>,
    /// Training data: a folder (`folder`), a list file (`list`) or a file of images (`idx`).
    pub train: Option<PathBuf>,
    /// Test data, likewise.
    pub test: Option<PathBuf>,
    /// Validation data, likewise; there is none unless this is given.
    pub val: Option<PathBuf>,
    /// `list` only: which column holds the label. Column 0 is the path. Default 1.
    pub label_column: Option<usize>,
    /// `list` and `idx`: a file of class names, one a line (or `name, number`).
    pub classes: Option<PathBuf>,
    /// `list` and `idx`: the number of the first class. Default 0; 1 for EMNIST letters and other sets that count from 1.
    pub first_label: Option<u32>,
    /// 1 (grey) or 3 (colour), whatever the files hold. Default: 3 for files, 1 for IDX.
    pub channels: Option<usize>,
    /// `cifar-100` only: `fine` (100 classes, default) or `coarse` (20).
    pub labels: Option<String>,
    /// `pack` only: the file that `ktg data pack` wrote.
    pub file: Option<PathBuf>,
    /// Published data sets only: use a part of the set too. Default: false, another number of images than was published
    /// is an error.
    pub incomplete: Option<bool>,
    /// Turn and mirror photos as their EXIF data says. Default: false, as torchvision.
    pub exif_orientation: Option<bool>,
    /// A file with the names of images to leave out, one a line, as `ktg data check` writes it. Relative to the folder given
    /// to [`open`](Self::open), as `file` and `root`. For all sources.
    pub skip: Option<PathBuf>,
    /// Decoded images kept in memory, in MiB, for all splits together. Default 1024.
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

impl DataSource {
    /// Names of the options that are set.
    pub(super) fn given(&self) -> Vec<&'static str> {
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
    pub(super) fn root_path(&self, base: &Path) -> Result<PathBuf, Error> {
        // Without a `.` in the middle, which `.` as root would put into every name.
        let place = |root| base.join(root).components().collect();
        self.root.as_ref().map(place).ok_or_else(|| {
            let source = &self.source;
            Error::Setting(format!("the data source \"{source}\" needs `root`, the folder that the data lies in"))
        })
    }

    /// The root folder; an error if it is not there.
    pub(super) fn existing_root(&self, base: &Path) -> Result<PathBuf, Error> {
        let root = self.root_path(base)?;
        match std::fs::metadata(&root) {
            Ok(found) if found.is_dir() => Ok(root),
            Ok(_) => Err(Error::file(&root, "is a file; `root` must be the folder that the data lies in")),
            Err(source) => Err(Error::read(&root, source)),
        }
    }

    /// The parts with their names for people and their places below the root, by default `train`,
    /// `test`.
    pub(super) fn parts(&self, root: &Path, train: &str, test: &str) -> Vec<(&'static str, PathBuf)> {
        let place = |given: &Option<PathBuf>, usual: &str| root.join(given.as_deref().unwrap_or(Path::new(usual)));
        let mut parts = vec![("train", place(&self.train, train)), ("test", place(&self.test, test))];
        parts.extend(self.val.as_ref().map(|val| ("val", root.join(val))));
        parts
    }

    /// Whether a part is the test images that nobody named and that are not where they usually are. Not everything needs
    /// some: see [`Splits::test`].
    pub(super) fn goes_without(&self, split: &str, place: &Path) -> bool {
        split == "test" && self.test.is_none() && !place.exists()
    }

    /// How image files below `root` are read, for all splits together.
    pub(super) fn files(&self, root: &Path) -> Files {
        Files {
            root: root.to_path_buf(),
            channels: self.channels.unwrap_or(3),
            upright: self.exif_orientation.unwrap_or(false),
            budget: Budget::new(self.cache_mib.map_or(Budget::DEFAULT_BYTES, |mib| mib.saturating_mul(1 << 20))),
        }
    }
}

/// The path of `relative` in `root`; nothing if it is absolute, empty, or climbs out with `..`.
pub(super) fn path_inside(root: &Path, relative: &str) -> Option<PathBuf> {
    let path = Path::new(relative);
    let stays = |part: Component| matches!(part, Component::Normal(_) | Component::CurDir);
    (!relative.is_empty() && path.components().all(stays)).then(|| root.join(path))
}
