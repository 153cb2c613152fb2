//! The images of a run, and what the run remembers of them.

use std::path::Path;

use ktg_data::{Dataset, SplitFile, Splits};
use serde::{Deserialize, Serialize};

use crate::checkpoint::checksum;
use crate::{Error, EvaluateOn, Settings};

/// The images of some settings.
pub(crate) struct Data {
    pub train: Dataset,
    pub evaluation: Dataset,
    pub split: Option<SplitFile>,
    pub warnings: Vec<String>,
}

/// Opens the data that `settings` name, split as they say.
pub(crate) fn open_data(settings: &Settings, base: &Path) -> Result<Data, Error> {
    settings.check()?;
    split_data(settings, base, settings.data.open(base)?)
}

/// Splits data that is open as `settings` say.
pub(crate) fn split_data(settings: &Settings, base: &Path, splits: Splits) -> Result<Data, Error> {
    let warnings = splits.warnings.clone();
    let split = &settings.split;
    let mut train = splits.train;
    let split_path = base.join(split.file.as_deref().unwrap_or(Path::new("")));
    let split_file = split.file.as_ref().map(|_| SplitFile::read(&split_path)).transpose()?;
    if split.train_share < 1.0 {
        train = train.fraction(split.train_share, split.seed)?;
    }
    let evaluation = match (split.evaluate_on, &split_file) {
        (EvaluateOn::Test, _) => splits.test,
        (EvaluateOn::Val, _) => splits.val.ok_or_else(|| {
            Error::Setting("`split.evaluate_on` is `val`, but the data has no validation images".to_owned())
        })?,
        (EvaluateOn::SearchSplit, file) => {
            let (first, second) = match file {
                Some(file) => file.apply(&train, &split_path, &splits.skipped)?,
                None => train.split(split.search_share, split.seed),
            };
            train = first;
            second
        }
    };
    if evaluation.is_empty() {
        let reason = match split.evaluate_on {
            EvaluateOn::Test => {
                "there are no test images to judge by; name them as `data.test`, or judge by a part of the training images \
                 with `split.evaluate_on = \"search-split\"`"
            }
            _ => "there are no images to judge by; change the `[split]` settings",
        };
        return Err(Error::Setting(reason.to_owned()));
    }
    Ok(Data { train, evaluation, split: split_file, warnings })
}

/// `data.json`: what a run remembers of its data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct DataFile {
    pub classes: Vec<String>,
    pub channels: usize,
    pub train_images: usize,
    /// SHA-256 over the names and labels of all training images, in order.
    pub train_fingerprint: String,
    /// The same of the images that the run is evaluated on.
    #[serde(default)]
    pub evaluation_fingerprint: String,
    /// For a pack, its checksum: other pixels are other data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pack: Option<u32>,
    /// Whether photos are turned as EXIF says.
    #[serde(default)]
    pub upright: bool,
}

impl DataFile {
    /// Of the images that a run trains and is evaluated on.
    pub fn of(train: &Dataset, evaluation: &Dataset) -> Self {
        Self {
            classes: train.class_names().to_vec(),
            channels: train.channels(),
            train_images: train.len(),
            train_fingerprint: fingerprint(train),
            evaluation_fingerprint: fingerprint(evaluation),
            pack: train.pack_checksum(),
            upright: train.is_upright(),
        }
    }

    /// One line that differs where the images differ.
    pub fn fingerprint(&self) -> String {
        let pack = self.pack.map(|checksum| format!(" pack {checksum:08x}")).unwrap_or_default();
        format!("{} {}{pack}", self.train_fingerprint, self.evaluation_fingerprint)
    }
}

/// SHA-256 over the names and labels of all images.
fn fingerprint(data: &Dataset) -> String {
    let mut text = String::new();
    for i in 0..data.len() {
        text += &format!("{}\t{}\n", data.short_name(i), data.label(i));
    }
    checksum(text.as_bytes())
}
