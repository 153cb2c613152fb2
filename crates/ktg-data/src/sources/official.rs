//! What the official data sets have in common: where to get them, how they are laid out, how large they are.

use super::place;
use crate::{Dataset, Error, Splits, classes};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Options of a published data set of image files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Published {
    /// Folder that everything lies in.
    pub root: Option<PathBuf>,
    /// 1 (grey) or 3 (colour), whatever the files hold. Default 3.
    pub channels: Option<usize>,
    /// Use a part of the set too. Default: false, another number of images than was published is an error.
    pub incomplete: Option<bool>,
    /// Turn and mirror photos as their EXIF data says. Default: false, as torchvision.
    pub exif_orientation: Option<bool>,
    /// Decoded images kept in memory, in MiB, for all splits together. Default 1024.
    pub cache_mib: Option<usize>,
}

/// A data set that others published.
pub(crate) struct Official {
    /// As people call it.
    pub name: &'static str,
    /// Where to get it.
    pub from: &'static str,
    /// What must lie in the root folder.
    pub layout: &'static str,
    /// The folder that its archive makes, which may be the root or lie in it.
    pub folder: Option<&'static str>,
    pub classes: usize,
    pub train: usize,
    pub test: usize,
}

/// The class that the files number from 1 on as a label from 0 on, if there is such a class.
pub(crate) fn label(number: usize, classes: usize) -> Result<u32, String> {
    let label = number.checked_sub(1).filter(|&label| label < classes).map(|label| label as u32);
    label.ok_or_else(|| format!("has class {number}, but the classes go from 1 to {classes}"))
}

/// Image files with their labels, of one split. The labels have class names.
pub(crate) type Labeled = Vec<(PathBuf, u32)>;

impl Official {
    /// The folder that holds the layout: `root` or the one that the archive makes in it. One of `marks`, files or folders,
    /// must be there.
    pub fn root(&self, root: &Path, marks: &[&str]) -> Result<PathBuf, Error> {
        if root.is_file() {
            return Err(Error::file(root, "is a file; `root` must be the folder that the data lies in"));
        }
        let inside = self.folder.map(|folder| root.join(folder));
        let is_there = |place: &PathBuf| marks.iter().any(|mark| place.join(mark).exists());
        let place = inside.into_iter().chain([root.to_path_buf()]).find(is_there);
        place.ok_or_else(|| self.missing(root, &format!("there is no {}", marks.join(" or "))))
    }

    /// The data set is not there, or not whole: where to get it and what it looks like.
    pub fn missing(&self, place: &Path, problem: &str) -> Error {
        let Self { name, from, layout, .. } = self;
        Error::file(place, format!("{problem}. {name} is at {from}; lay it out as {layout} (see docs/data.md)"))
    }

    /// The bytes of a file of the data set, which must be there.
    pub fn read(&self, path: &Path) -> Result<Vec<u8>, Error> {
        std::fs::read(path).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => self.missing(path, "there is no such file"),
            _ => Error::read(path, source),
        })
    }

    /// Both splits from image files. They lie in `root`; `list` is the file that names them.
    pub fn files(
        &self,
        options: &Published,
        (root, list): (&Path, &Path),
        class_names: Vec<String>,
        [train, test]: [Labeled; 2],
    ) -> Result<Splits, Error> {
        let Published { channels, incomplete, exif_orientation, cache_mib, .. } = *options;
        let files = place::files(root, channels, exif_orientation, cache_mib)?;
        let is_part_enough = incomplete.unwrap_or(false);
        let mut seen = HashSet::new();
        let mut missing = Vec::new();
        for (path, _) in train.iter().chain(&test) {
            if !path.is_file() {
                missing.push(path);
            }
            if !seen.insert(path) {
                return Err(Error::file(list, format!("{} is in it twice", path.display())));
            }
        }
        let mut warnings = Vec::new();
        if let Some(first) = missing.first() {
            let count = format!("{} of the {} image files are not there, such as this one", missing.len(), seen.len());
            let is_absent = |part: &Labeled| part.iter().all(|(path, _)| !path.is_file());
            if is_absent(&train) || is_absent(&test) || !is_part_enough {
                let problem = format!("{count} (`incomplete = true` leaves that to `--skip-bad`)");
                return Err(self.missing(first, &problem));
            }
            warnings.push(format!("{}: {count}", first.display()));
        }
        let class_names: Arc<[String]> = class_names.into();
        let dataset = |(split, images): (&str, Labeled)| {
            Dataset::from_files(split, class_names.clone(), images.into_iter().unzip(), &files)
        };
        let mut splits = self.splits(is_part_enough, list, [("train", train), ("test", test)].map(dataset))?;
        splits.warnings.extend(warnings);
        Ok(splits)
    }

    /// The splits, if they are as large as they were published, or a part is enough.
    pub fn splits(&self, is_part_enough: bool, place: &Path, [train, test]: [Dataset; 2]) -> Result<Splits, Error> {
        let problem = match (train.is_empty(), classes::missing(&train)) {
            (true, _) => Some("no training images".to_string()),
            (false, missing) if !missing.is_empty() => {
                Some(format!("no training image of {}", classes::in_words(&missing)))
            }
            _ if test.is_empty() => Some("no test images".to_string()),
            _ => None,
        };
        if let Some(problem) = problem {
            return Err(Error::file(place, problem));
        }
        let found = (train.classes(), train.len(), test.len());
        let published = (self.classes, self.train, self.test);
        if found != published && !is_part_enough {
            let words = |(classes, train, test)| format!("{classes} classes, {train} training and {test} test images");
            let (Self { name, from, .. }, published, found) = (self, words(published), words(found));
            let problem = format!("not the whole of {name}, which has {published}; here are {found}");
            let advice = format!("Get the rest from {from}, or set `incomplete = true` to use what is here");
            return Err(Error::file(place, format!("{problem}. {advice}")));
        }
        Splits::from_parts(vec![train, test], Vec::new())
    }
}
