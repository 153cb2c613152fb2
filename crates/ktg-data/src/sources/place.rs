//! What sources have in common: where the parts of a data set lie, and how image files are read.

use crate::Error;
use crate::cache::Budget;
use crate::dataset::Files;
use std::path::{Component, Path, PathBuf};

/// The parts with their names for people and their places below `root`: those `named`, or else the `usual` ones; there is
/// no validation data unless it is named.
pub(super) fn parts(
    root: &Path,
    [train, test, val]: [&Option<PathBuf>; 3],
    [usual_train, usual_test]: [&str; 2],
) -> Vec<(&'static str, PathBuf)> {
    let place = |named: &Option<PathBuf>, usual: &str| root.join(named.as_deref().unwrap_or(Path::new(usual)));
    let mut parts = vec![("train", place(train, usual_train)), ("test", place(test, usual_test))];
    parts.extend(val.as_ref().map(|val| ("val", root.join(val))));
    parts
}

/// Whether a part is the test images that nobody `named` and that are not where they usually are. Not everything needs
/// some: see [`Splits::test`](crate::Splits::test).
pub(super) fn goes_without(split: &str, named: &Option<PathBuf>, place: &Path) -> bool {
    split == "test" && named.is_none() && !place.exists()
}

/// An error if the root folder is not there.
pub(super) fn check_root(root: &Path) -> Result<(), Error> {
    match std::fs::metadata(root) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(Error::file(root, "is a file; `root` must be the folder that the data lies in")),
        Err(source) => Err(Error::read(root, source)),
    }
}

/// The number of channels that is given, or else the usual one.
pub(super) fn channels(given: Option<usize>, usual: usize) -> Result<usize, Error> {
    match given.unwrap_or(usual) {
        channels @ (1 | 3) => Ok(channels),
        channels => Err(Error::Setting(format!("channels = {channels}: images have 1 channel (grey) or 3 (colour)"))),
    }
}

/// How image files below `root` are read, for all splits together.
pub(super) fn files(
    root: &Path,
    given_channels: Option<usize>,
    exif_orientation: Option<bool>,
    cache_mib: Option<usize>,
) -> Result<Files, Error> {
    Ok(Files {
        root: root.to_path_buf(),
        channels: channels(given_channels, 3)?,
        upright: exif_orientation.unwrap_or(false),
        budget: Budget::new(cache_mib.map_or(Budget::DEFAULT_BYTES, |mib| mib.saturating_mul(1 << 20))),
    })
}

/// The path of `relative` in `root`; nothing if it is absolute, empty, or climbs out with `..`.
pub(super) fn path_inside(root: &Path, relative: &str) -> Option<PathBuf> {
    let path = Path::new(relative);
    let stays = |part: Component| matches!(part, Component::Normal(_) | Component::CurDir);
    (!relative.is_empty() && path.components().all(stays)).then(|| root.join(path))
}
