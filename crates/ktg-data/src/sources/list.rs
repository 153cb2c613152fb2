//! List files with lines `path, label, ...`.

use super::place::{self, path_inside};
use super::{class_names, table};
use crate::{Dataset, Error, Splits, classes};
use serde::{Deserialize, Serialize};
use std::collections::hash_map::{Entry as MapEntry, HashMap};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// One line of a list.
struct Entry {
    line: usize,
    path: PathBuf,
    label: String,
}

/// Options of list files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct List {
    /// Folder that everything lies in.
    pub root: Option<PathBuf>,
    /// Training data: a list file. Default: `train.txt`; and `test.txt`.
    pub train: Option<PathBuf>,
    /// Test data, likewise.
    pub test: Option<PathBuf>,
    /// Validation data, likewise; there is none unless this is given.
    pub val: Option<PathBuf>,
    /// Which column holds the label. Column 0 is the path. Default 1.
    pub label_column: Option<usize>,
    /// A file of class names, one a line (or `name, number`).
    pub classes: Option<PathBuf>,
    /// The number of the first class. Default 0; 1 for EMNIST letters and other sets that count from 1.
    pub first_label: Option<u32>,
    /// 1 (grey) or 3 (colour), whatever the files hold. Default 3.
    pub channels: Option<usize>,
    /// Turn and mirror photos as their EXIF data says. Default: false, as torchvision.
    pub exif_orientation: Option<bool>,
    /// Decoded images kept in memory, in MiB, for all splits together. Default 1024.
    pub cache_mib: Option<usize>,
}

impl List {
    pub(super) fn open(&self, root: &Path) -> Result<Splits, Error> {
        place::check_root(root)?;
        let how = place::files(root, self.channels, self.exif_orientation, self.cache_mib)?;
        let column = self.label_column.unwrap_or(1);
        if column == 0 {
            return Err(Error::Setting("label_column = 0 is the column of the paths; labels start at column 1".into()));
        }
        let mut warnings = Vec::new();
        let first_label = self.first_label.unwrap_or(0);
        let mut parts = Vec::new();
        for (split, file) in place::parts(root, [&self.train, &self.test, &self.val], ["train.txt", "test.txt"]) {
            let entries = match place::goes_without(split, &self.test, &file) {
                true => Vec::new(),
                false => read_list(root, &file, column, &mut warnings)?,
            };
            parts.push((split, entries, file));
        }

        let (_, training, training_list) = &parts[0];
        let names = match &self.classes {
            Some(file) => class_names::read(&root.join(file), column)?,
            None => names_from(training, training_list, first_label)?,
        };
        let known: BTreeMap<&str, u32> = names.iter().enumerate().map(|(i, name)| (name.as_str(), i as u32)).collect();
        let whose = if self.classes.is_some() { "the classes file" } else { "the training list" };
        // A name; or, where a file names the classes or they are numbers (such as 007), the number of one.
        let has_numbers = self.classes.is_some() || names.iter().all(|name| name.parse::<u32>().is_ok());
        let resolve = |label: &str| {
            let number = || label.parse::<u32>().ok()?.checked_sub(first_label).filter(|&n| (n as usize) < names.len());
            known.get(label).copied().or_else(|| has_numbers.then(number).flatten())
        };

        let mut datasets: Vec<Dataset> = Vec::new();
        for (split, entries, file) in &parts {
            let mut files = (Vec::new(), Vec::new());
            for Entry { line, path, label } in entries {
                let Some(class) = resolve(label) else {
                    return Err(Error::line(file, *line, format!("class \"{label}\", which {whose} lacks")));
                };
                files.0.push(path.clone());
                files.1.push(class);
            }
            let dataset = Dataset::from_files(split, names.clone().into(), files, &how);
            if datasets.is_empty() {
                let missing = classes::missing(&dataset);
                if !missing.is_empty() {
                    return Err(Error::file(file, format!("no training image of {}", classes::in_words(&missing))));
                }
            }
            datasets.push(dataset);
        }
        Splits::from_parts(datasets, warnings)
    }
}

/// The lines of a list, each with an existing file.
fn read_list(root: &Path, file: &Path, column: usize, warnings: &mut Vec<String>) -> Result<Vec<Entry>, Error> {
    let (mut entries, mut first_lines, mut repeated, mut missing) = (Vec::new(), HashMap::new(), 0, Vec::new());
    for (line, fields) in table::read(file)? {
        let wrong = |problem: String| Err(Error::line(file, line, problem));
        let Some(label) = fields.get(column).filter(|label| !label.is_empty()) else {
            let problem = match fields.len() {
                1 => "no label; a line is `path, label, ...`, separated by commas or tabs".into(),
                n => format!("no label in column {column} (the path is column 0; the line has {n} columns)"),
            };
            return wrong(problem);
        };
        if fields[0].is_empty() {
            return wrong("the path is empty".into());
        }
        let Some(path) = path_inside(root, &fields[0]) else {
            return wrong(format!("{} is absolute or contains `..`; paths must lie below the root folder", fields[0]));
        };
        // It is a bad image then, which can be left out as any other.
        if !path.is_file() {
            missing.push(line);
        }
        match first_lines.entry(path.clone()) {
            MapEntry::Vacant(place) => _ = place.insert((line, label.clone())),
            MapEntry::Occupied(first) => {
                let (first_line, first_label) = first.get();
                if first_label != label {
                    let both = format!("\"{label}\" here and \"{first_label}\" in line {first_line}");
                    return wrong(format!("{} has the label {both}; remove one of the lines", fields[0]));
                }
                repeated += 1;
            }
        }
        entries.push(Entry { line, path, label: label.clone() });
    }
    if entries.is_empty() {
        return Err(Error::file(file, "the list is empty"));
    }
    let shown = file.display();
    if let Some(line) = missing.first() {
        let (count, all) = (missing.len(), entries.len());
        if count == all {
            let problem =
                format!("none of the {all} files it names is there, the first in line {line}; correct `root`");
            return Err(Error::file(file, problem));
        }
        let what = format!("{count} of the {all} files that {shown} names are not there, the first in line {line}");
        warnings.push(format!("{what}; `ktg data check` names all"));
    }
    if repeated > 0 {
        warnings.push(format!("{repeated} lines of {shown} repeat an image; it counts as often as it is listed"));
    }
    Ok(entries)
}

/// Class names from the labels of the training list: numbers from 0 on, or names in alphabetical
/// order.
fn names_from(entries: &[Entry], file: &Path, first_label: u32) -> Result<Vec<String>, Error> {
    let number = |entry: &Entry| entry.label.parse::<u32>().ok();
    let are_numbers = number(&entries[0]).is_some();
    // One mistyped number must not turn all numbers into names.
    if let Some(odd) = entries.iter().find(|entry| number(entry).is_some() != are_numbers) {
        let what = format!("label \"{}\" where the first line has \"{}\"", odd.label, entries[0].label);
        let advice = "if these are names, list them in a file and give it as `classes`";
        let problem = format!("{what}: labels are all numbers or all names; {advice}");
        return Err(Error::line(file, odd.line, problem));
    }
    if !are_numbers {
        let names: BTreeSet<&String> = entries.iter().map(|entry| &entry.label).collect();
        return Ok(names.into_iter().cloned().collect());
    }
    let numbers: BTreeSet<u32> = entries.iter().filter_map(number).collect();
    let (smallest, largest) = (numbers.first().copied().unwrap_or(0), numbers.last().copied().unwrap_or(0));
    if smallest < first_label {
        let problem = format!("labels start at {smallest}, below `first_label = {first_label}`");
        return Err(Error::file(file, problem));
    }
    if numbers.len() as u64 != u64::from(largest - first_label) + 1 {
        let gap = (first_label..largest).find(|n| !numbers.contains(n)).unwrap_or(first_label);
        let advice = match smallest {
            1 if first_label == 0 && numbers.len() as u64 == u64::from(largest) => {
                "set `first_label = 1` if they count from 1"
            }
            _ => "number the classes 0, 1, 2, ... without gaps",
        };
        let problem = format!("labels go up to {largest}, but no line has label {gap}; {advice}");
        return Err(Error::file(file, problem));
    }
    Ok(numbers.into_iter().map(|n| n.to_string()).collect())
}
