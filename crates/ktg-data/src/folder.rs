//! One folder a class: `ROOT/train/CLASS/**`, `ROOT/test/CLASS/**`.

use crate::source::some;
use crate::{DataSource, Dataset, Error, Splits};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use walkdir::WalkDir;

const ENDINGS: [&str; 6] = ["jpg", "jpeg", "png", "bmp", "gif", "webp"];

/// The image files of each class of one part, sorted by name.
type Classes = BTreeMap<String, Vec<PathBuf>>;

pub(crate) fn open(settings: &DataSource, base: &Path) -> Result<Splits, Error> {
    let root = settings.existing_root(base)?;
    let mut warnings = Vec::new();
    let parts = settings
        .parts(&root, "train", "test")
        .into_iter()
        .map(|(split, place)| Ok((split, read_part(&root, &place, split, &mut warnings)?, place)))
        .collect::<Result<Vec<_>, Error>>()?;

    let training = &parts[0].1;
    let class_names: Arc<[String]> = training.keys().cloned().collect();
    for (split, classes, place) in &parts[1..] {
        let unknown: Vec<_> = classes.keys().filter(|name| !training.contains_key(*name)).cloned().collect();
        if !unknown.is_empty() {
            let what = some(&unknown);
            return Err(Error::layout(place, format!("{split} has the {what}, which the training folder lacks")));
        }
    }
    let how = settings.files(&root);
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

fn read_part(root: &Path, place: &Path, split: &str, warnings: &mut Vec<String>) -> Result<Classes, Error> {
    if !place.is_dir() {
        let there: Vec<_> = std::fs::read_dir(root)
            .map_err(|source| Error::read(root, source))?
            .filter_map(|entry| Some(entry.ok()?).filter(|entry| entry.path().is_dir()))
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        let there = if there.is_empty() { "no folders at all".into() } else { there.join(", ") };
        return Err(Error::layout(
            place,
            format!(
                "there is no such folder for the {split} images; name it with `{split} = \"...\"` ({} has: {there})",
                root.display()
            ),
        ));
    }
    let (mut classes, mut left_out) = (Classes::new(), Vec::new());
    let walk = WalkDir::new(place).min_depth(1).follow_links(true).sort_by_file_name();
    for entry in walk.into_iter().filter_entry(|entry| !is_hidden(entry)) {
        let entry = entry.map_err(|error| {
            let path = error.path().unwrap_or(place).to_path_buf();
            Error::read(&path, error.into())
        })?;
        let class = entry.path().strip_prefix(place).ok().and_then(|inside| inside.iter().next());
        // Two names could look alike when shown.
        let Some(class) = class.unwrap_or_default().to_str().map(str::to_string) else {
            let folder = place.join(class.unwrap_or_default());
            return Err(Error::layout(&folder, "the name of a class folder must be UTF-8; rename it"));
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
        warnings.push(format!(
            "{} of the files in {} are not used, because they lie in no class folder, do not end in .{}, or are no \
             regular files; the first is {}",
            left_out.len(),
            place.display(),
            ENDINGS.join(", ."),
            first.display()
        ));
    }
    let empty: Vec<_> = classes.iter().filter(|(_, files)| files.is_empty()).map(|(name, _)| name.clone()).collect();
    if classes.len() == empty.len() {
        return Err(Error::layout(place, "has no images in class folders (CLASS/image.jpg)"));
    }
    if !empty.is_empty() {
        let problem = format!("{} without an image; add images or remove the folder", some(&empty));
        return Err(Error::layout(place, problem));
    }
    Ok(classes)
}

fn is_image(path: &Path) -> bool {
    let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    ENDINGS.contains(&ending.as_str())
}

/// `.DS_Store` and the like.
fn is_hidden(entry: &walkdir::DirEntry) -> bool {
    entry.depth() > 0 && entry.file_name().to_string_lossy().starts_with('.')
}
