//! One folder a class: `ROOT/train/CLASS/**`, `ROOT/test/CLASS/**`.

use super::place;
use crate::{Dataset, Error, Splits, classes};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use walkdir::WalkDir;

/// What the names of image files end in, in small or large letters.
pub const ENDINGS: [&str; 6] = ["jpg", "jpeg", "png", "bmp", "gif", "webp"];

/// The image files of each class of one part, sorted by name.
type Classes = BTreeMap<String, Vec<PathBuf>>;

/// Options of folders of classes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Folder {
    /// Folder that everything lies in.
    pub root: Option<PathBuf>,
    /// Training data: a folder. Default: `train`; and `test`.
    pub train: Option<PathBuf>,
    /// Test data, likewise.
    pub test: Option<PathBuf>,
    /// Validation data, likewise; there is none unless this is given.
    pub val: Option<PathBuf>,
    /// 1 (grey) or 3 (colour), whatever the files hold. Default 3.
    pub channels: Option<usize>,
    /// Turn and mirror photos as their EXIF data says. Default: false, as torchvision.
    pub exif_orientation: Option<bool>,
    /// Decoded images kept in memory, in MiB, for all splits together. Default 1024.
    pub cache_mib: Option<usize>,
}

impl Folder {
    pub(super) fn open(&self, root: &Path) -> Result<Splits, Error> {
        place::check_root(root)?;
        let how = place::files(root, self.channels, self.exif_orientation, self.cache_mib)?;
        let mut warnings = Vec::new();
        let mut parts = Vec::new();
        for (split, place) in place::parts(root, [&self.train, &self.test, &self.val], ["train", "test"]) {
            let classes = match place::goes_without(split, &self.test, &place) {
                true => Classes::new(),
                false => read_part(root, &place, split, &mut warnings)?,
            };
            parts.push((split, classes, place));
        }

        let (_, training, training_place) = &parts[0];
        check_levels(training, training_place, root, &mut warnings)?;
        let class_names: Arc<[String]> = training.keys().cloned().collect();
        for (split, classes, place) in &parts[1..] {
            let unknown: Vec<_> = classes.keys().filter(|name| !training.contains_key(*name)).cloned().collect();
            if !unknown.is_empty() {
                let what = classes::in_words(&unknown);
                return Err(Error::file(place, format!("{split} has the {what}, which the training folder lacks")));
            }
        }
        let dataset = |(split, classes, _): (&str, Classes, PathBuf)| {
            let mut files = (Vec::new(), Vec::new());
            for (name, paths) in classes {
                // Every name is there (checked above), and the names are sorted.
                let label = class_names.partition_point(|class| *class < name) as u32;
                files.1.extend(std::iter::repeat_n(label, paths.len()));
                files.0.extend(paths);
            }
            Dataset::from_files(split, class_names.clone(), files, &how)
        };
        Splits::from_parts(parts.into_iter().map(dataset).collect(), warnings)
    }
}

fn read_part(root: &Path, place: &Path, split: &str, warnings: &mut Vec<String>) -> Result<Classes, Error> {
    if !place.is_dir() {
        let there: Vec<_> = std::fs::read_dir(root)
            .map_err(|source| Error::read(root, source))?
            .filter_map(|entry| Some(entry.ok()?).filter(|entry| entry.path().is_dir()))
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        let there = if there.is_empty() { "no folders at all".into() } else { there.join(", ") };
        let advice = format!("name it with `{split} = \"...\"` ({} has: {there})", root.display());
        return Err(Error::file(place, format!("there is no such folder for the {split} images; {advice}")));
    }
    let (mut classes, mut left_out) = (Classes::new(), Vec::new());
    let walk = WalkDir::new(place).min_depth(1).follow_links(true).sort_by_file_name();
    for entry in walk.into_iter().filter_entry(|entry| !is_hidden(entry)) {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                let path = error.path().unwrap_or(place).to_path_buf();
                // It is an image that cannot be read, or another file that is not used.
                let is_dead = is_dead_link(&path, &error);
                match class_of(place, &path).filter(|_| is_dead && is_image(&path) && error.depth() > 1) {
                    Some(class) => classes.entry(class).or_default().push(path),
                    None if is_dead => left_out.push(path),
                    None => return Err(Error::read(&path, error.into())),
                }
                continue;
            }
        };
        // Two names could look alike when shown.
        let Some(class) = class_of(place, entry.path()) else {
            let folder = entry.path().ancestors().nth(entry.depth() - 1).unwrap_or(place);
            return Err(Error::file(folder, "the name of a class folder must be UTF-8; rename it"));
        };
        if entry.file_type().is_dir() {
            if entry.depth() == 1 {
                classes.entry(class).or_default();
            }
        } else if entry.depth() > 1 && entry.file_type().is_file() && is_image(entry.path()) {
            classes.entry(class).or_default().push(entry.into_path());
        } else {
            left_out.push(entry.into_path());
        }
    }
    if let Some(first) = left_out.first() {
        let (count, folder, first, endings) = (left_out.len(), place.display(), first.display(), ENDINGS.join(", ."));
        warnings.push(format!(
            "{count} of the files in {folder} are not used, because they lie in no class folder, do not end in .{endings}, \
             or are no regular files; the first is {first}"
        ));
    }
    let empty: Vec<_> = classes.iter().filter(|(_, files)| files.is_empty()).map(|(name, _)| name.clone()).collect();
    if classes.len() == empty.len() {
        return Err(Error::file(place, "has no images in class folders (CLASS/image.jpg)"));
    }
    if !empty.is_empty() {
        let problem = format!("{} without an image; add images or remove the folder", classes::in_words(&empty));
        return Err(Error::file(place, problem));
    }
    Ok(classes)
}

/// The class folder that a file lies in, if its name is UTF-8.
fn class_of(place: &Path, file: &Path) -> Option<String> {
    file.strip_prefix(place).ok()?.iter().next()?.to_str().map(str::to_string)
}

/// Looks whether the training folder is one level too high, so that folders of classes are taken for images of one class.
fn check_levels(classes: &Classes, place: &Path, root: &Path, warnings: &mut Vec<String>) -> Result<(), Error> {
    let deeper = |(name, files): (&String, &Vec<PathBuf>)| {
        let folder = place.join(name);
        let inside = |file: &PathBuf| {
            let mut below = file.strip_prefix(&folder).ok()?.iter();
            let first = below.next()?.to_string_lossy().into_owned();
            below.next().map(|_| first)
        };
        // None as soon as an image lies in the class folder itself.
        let folders: Option<BTreeSet<String>> = files.iter().map(inside).collect();
        folders.map(|folders| (folder, Vec::from_iter(folders)))
    };
    let nested: Vec<(PathBuf, Vec<String>)> = classes.iter().filter_map(deeper).collect();
    if classes.len() == 1 {
        let problem = match nested.first() {
            Some((folder, inside)) => {
                let below_root = folder.strip_prefix(root).unwrap_or(folder).display();
                let (folder, inside) = (folder.display(), classes::in_words(inside));
                format!(
                    "has one class folder, {folder}, and nothing to tell apart. If its folders are the classes ({inside}), \
                     name it: `train = \"{below_root}\"`, and so for the other parts"
                )
            }
            None => "has one class folder, and nothing to tell apart; classes are folders side by side".into(),
        };
        return Err(Error::file(place, problem));
    }
    if nested.len() == classes.len()
        && let Some((folder, inside)) = nested.iter().find(|(_, inside)| inside.len() > 1)
    {
        let (place, folder, inside) = (place.display(), folder.display(), classes::in_words(inside));
        warnings.push(format!(
            "no class folder of {place} has images of its own, only folders of images, such as {folder} with {inside}; if \
             those are the classes, `train` is one level too high"
        ));
    }
    Ok(())
}

fn is_image(path: &Path) -> bool {
    let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    ENDINGS.contains(&ending.as_str())
}

/// The image files in a folder and the folders in it, sorted by name: those whose endings say that they are images, and whose
/// names and folders are not hidden. Links are followed; one that leads nowhere is listed, too.
///
/// # Errors
/// If a folder cannot be read, or links lead in a circle.
pub fn image_files(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut files = Vec::new();
    let walk = WalkDir::new(folder).min_depth(1).follow_links(true).sort_by_file_name();
    for entry in walk.into_iter().filter_entry(|entry| !is_hidden(entry)) {
        match entry {
            Ok(entry) if entry.file_type().is_file() && is_image(entry.path()) => files.push(entry.into_path()),
            Ok(_) => {}
            Err(error) => {
                let path = error.path().unwrap_or(folder).to_path_buf();
                if !is_dead_link(&path, &error) {
                    return Err(Error::read(&path, error.into()));
                }
                if is_image(&path) {
                    files.push(path);
                }
            }
        }
    }
    Ok(files)
}

/// Whether what cannot be walked into is a link that leads nowhere.
fn is_dead_link(path: &Path, error: &walkdir::Error) -> bool {
    path.is_symlink() && error.loop_ancestor().is_none() && !path.exists()
}

/// `.DS_Store` and the like.
fn is_hidden(entry: &walkdir::DirEntry) -> bool {
    entry.depth() > 0 && entry.file_name().to_string_lossy().starts_with('.')
}
