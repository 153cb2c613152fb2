//! The search split as a file, so that runs and workers share it.

use crate::{Dataset, Error};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::Path;

const FORMAT: &str = "ktg split 1";

/// Which training images the search trains on and which it judges by (SPEC 8).
///
/// A JSON file of image names, so that other programs can read it and a changed data set is noticed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitFile {
    format: String,
    /// Share of each class that is trained on.
    pub share: f64,
    /// Seed of the choice.
    pub seed: u64,
    /// Names of the images to train on, in the order of the data set (see [`Dataset::short_name`]).
    pub train: Vec<String>,
    /// Names of the images to judge by.
    pub held_out: Vec<String>,
}

impl SplitFile {
    /// Splits the training images of a data set; see [`stratified_split`](crate::stratified_split).
    pub fn new(train: &Dataset, share: f64, seed: u64) -> Self {
        let (first, second) = train.split(share, seed);
        let names = |part: &Dataset| (0..part.len()).map(|i| part.short_name(i)).collect();
        Self { format: FORMAT.into(), share, seed, train: names(&first), held_out: names(&second) }
    }

    /// Reads a split.
    ///
    /// # Errors
    /// If the file cannot be read or is no split.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let bytes = std::fs::read(path).map_err(|source| Error::read(path, source))?;
        Self::parse(&bytes).map_err(|problem| Error::file(path, problem))
    }

    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let split: Self = serde_json::from_slice(bytes).map_err(|error| format!("no split file: {error}"))?;
        if split.format != FORMAT {
            return Err(format!("a split of the format \"{}\"; this program knows \"{FORMAT}\"", split.format));
        }
        Ok(split)
    }

    /// The content of its file.
    ///
    /// # Errors
    /// If it cannot be put into JSON, which no name prevents.
    pub fn to_json(&self) -> Result<String, Error> {
        let text = serde_json::to_string_pretty(self);
        Ok(text.map_err(|error| Error::Setting(format!("the split: {error}")))? + "\n")
    }

    /// Writes the split, or nothing.
    ///
    /// # Errors
    /// If the file cannot be written, or there is one of that name that is no split.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        if path.exists() && Self::read(path).is_err() {
            return Err(Error::file(path, "is there already and no split; choose another name"));
        }
        Ok(ktg_base::write_atomically(path, self.to_json()?.as_bytes())?)
    }

    /// The two parts of a data set: to train on, and to judge by. `path` is where the split was read from; the images
    /// `skipped` may be missing in the data set.
    ///
    /// # Errors
    /// If an image of the data set is in neither part or in both, or the split names images that are not there.
    pub fn apply(&self, train: &Dataset, path: &Path, skipped: &[String]) -> Result<(Dataset, Dataset), Error> {
        // A list may name an image several times.
        let mut places = HashMap::<String, Vec<usize>>::new();
        for i in (0..train.len()).rev() {
            places.entry(train.short_name(i)).or_default().push(i);
        }
        let mut part = |names: &[String]| {
            let mut indices = Vec::new();
            for name in names {
                let Some(i) = places.get_mut(name).and_then(Vec::pop) else {
                    if skipped.contains(name) {
                        continue;
                    }
                    let problem = "is in it twice, or is no training image; make the split anew with `ktg data split`";
                    return Err(Error::file(path, format!("{name} {problem}")));
                };
                indices.push(i);
            }
            Ok(train.subset(&indices))
        };
        let parts = (part(&self.train)?, part(&self.held_out)?);
        places.retain(|_, indices| !indices.is_empty());
        if let Some(name) = places.keys().min() {
            let (left, all) = (places.values().map(Vec::len).sum::<usize>(), train.len());
            let problem = format!("{left} of the {all} training images are not in it, such as {name}");
            return Err(Error::file(path, format!("{problem}; make the split anew with `ktg data split`")));
        }
        Ok(parts)
    }
}
