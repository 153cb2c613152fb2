//! The parts of a data set, and leaving images out of them.

use crate::lines::{text_of, used_lines};
use crate::{BadImage, Dataset, Error, classes};
use std::collections::HashSet;
use std::path::Path;

/// The parts of an opened data set. All have the same classes and channels.
#[derive(Clone, Debug)]
pub struct Splits {
    /// For training (and, split again, for the search).
    pub train: Dataset,
    /// For choosing settings, if the data has such a part.
    pub val: Option<Dataset>,
    /// For the final measurement only. Empty where there are none: searches, and runs that are judged on a part of the
    /// training or validation images, do not need them.
    pub test: Dataset,
    /// What a person should know although it is no error, one sentence each.
    pub warnings: Vec<String>,
    /// Short names of images that were left out.
    pub skipped: Vec<String>,
    /// For a pack: what it was made of, for people.
    pub origin: Option<String>,
}

impl Splits {
    /// From the data sets in the order of train, test and, if there is one, validation.
    pub(crate) fn from_parts(datasets: Vec<Dataset>, mut warnings: Vec<String>) -> Result<Self, Error> {
        let mut datasets = datasets.into_iter();
        let (Some(train), Some(test)) = (datasets.next(), datasets.next()) else {
            return Err(Error::Setting("a data source must have a training and a test part".into()));
        };
        let missing = classes::missing(&test);
        if test.is_empty() {
            let use_without = "a search, and `split.evaluate_on = \"search-split\"`";
            warnings.push(format!("there are no test images; what needs none goes on: {use_without}"));
        } else if !missing.is_empty() {
            let what = classes::in_words(&missing);
            warnings.push(format!("no test image of {what}: the accuracy says nothing about them"));
        }
        let val = datasets.next();
        warnings.extend(shared_files(&train, &test, "test"));
        warnings.extend(val.as_ref().and_then(|val| shared_files(&train, val, "val")));
        Ok(Self { train, test, val, warnings, skipped: Vec::new(), origin: None })
    }

    /// The parts with their names.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, &Dataset)> {
        [("train", &self.train), ("test", &self.test)].into_iter().chain(self.val.as_ref().map(|val| ("val", val)))
    }

    /// The images that cannot be used, of all parts; see [`Dataset::bad_images`].
    pub fn bad_images(&self, threads: usize, progress: &(dyn Fn(usize, usize) + Sync)) -> Vec<BadImage> {
        let all = self.named().map(|(_, part)| part.len()).sum();
        let mut before = 0;
        let mut bad = Vec::new();
        for (_, part) in self.named() {
            bad.extend(part.bad_images(threads, &|done, _| progress(before + done, all)));
            before += part.len();
        }
        bad
    }

    /// The same without the images of the given [short names](Dataset::short_name).
    ///
    /// # Errors
    /// If a class loses all its training images, or a part all its images.
    pub fn without(mut self, names: &[String]) -> Result<Self, Error> {
        let out: HashSet<&str> = names.iter().map(String::as_str).collect();
        let before = classes::missing(&self.test);
        let parts = [("train", Some(&mut self.train)), ("test", Some(&mut self.test)), ("val", self.val.as_mut())];
        for (name, part) in parts {
            let Some(part) = part else { continue };
            let (left_out, kept): (Vec<usize>, Vec<usize>) =
                (0..part.len()).partition(|&i| out.contains(part.short_name(i).as_str()));
            self.skipped.extend(left_out.iter().map(|&i| part.short_name(i)));
            *part = part.subset(&kept);
            let missing = classes::missing(part);
            let problem = match name {
                "train" if !missing.is_empty() => {
                    format!("no training image of {} is left", classes::in_words(&missing))
                }
                "test" | "val" if kept.is_empty() && !left_out.is_empty() => format!("no {name} image is left"),
                _ => continue,
            };
            return Err(Error::Setting(format!("without the images to leave out, {problem}")));
        }
        let emptied: Vec<String> =
            classes::missing(&self.test).into_iter().filter(|class| !before.contains(class)).collect();
        if !emptied.is_empty() {
            let what = classes::in_words(&emptied);
            self.warnings.push(format!("without the images to leave out, no test image of {what} is left"));
        }
        Ok(self)
    }

    /// The same without the images that a file lists.
    pub(crate) fn without_listed(self, file: &Path) -> Result<Self, Error> {
        let bytes = std::fs::read(file).map_err(|source| Error::read(file, source))?;
        let text = text_of(&bytes).map_err(|(line, problem)| Error::line(file, line, problem))?;
        let names: Vec<String> = used_lines(text).map(|(_, line)| line.to_string()).collect();
        let mut splits = self.without(&names)?;
        let skipped: HashSet<&String> = splits.skipped.iter().collect();
        let unknown = names.iter().filter(|name| !skipped.contains(name)).count();
        if unknown > 0 {
            splits.warnings.push(format!("{unknown} of the images that {} lists are not in the data", file.display()));
        }
        Ok(splits)
    }
}

/// A sentence about files that are in the training images and in another part.
fn shared_files(train: &Dataset, part: &Dataset, name: &str) -> Option<String> {
    let training: HashSet<_> = (0..train.len()).filter_map(|i| train.path(i)).collect();
    let shared: Vec<usize> = (0..part.len()).filter(|&i| part.path(i).is_some_and(|p| training.contains(p))).collect();
    let first = part.short_name(*shared.first()?);
    let what = format!("{} of the {} {name} images are training images too", shared.len(), part.len());
    Some(format!("{what}, such as {first}: what the networks know of them says nothing"))
}
