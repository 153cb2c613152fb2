//! Which data to use, as a settings file says it.

use super::kind::SourceKind;
use crate::{Error, Splits, classes};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// Which data to use. Every option but `source` may be left out; an option that the source does not have is an error.
///
/// ```toml
/// source = "list"
/// root = "grocery"
/// label_column = 2      # the coarse labels
/// val = "val.txt"
/// ```
///
/// Relative paths are relative to `root`; and `root`, `file` and `skip` to the folder given to [`open`](Self::open).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DataSource {
    /// Where the data comes from, with the options of that source.
    #[serde(flatten)]
    pub kind: SourceKind,
    /// A file with the names of images to leave out, one a line, as `ktg data check` writes it. Relative to the folder given
    /// to [`open`](Self::open), as `file` and `root`. For all sources.
    pub skip: Option<PathBuf>,
}

impl<'de> Deserialize<'de> for DataSource {
    /// From a table. Written by hand because it needs no `source`, options that are `null` (as in the studies of versions up
    /// to 0.1) are not given, and an error names the option.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Given {
            source: Option<String>,
            skip: Option<PathBuf>,
            #[serde(flatten)]
            options: Map<String, Value>,
        }
        let Given { source, skip, mut options } = Given::deserialize(deserializer)?;
        options.retain(|_, value| !value.is_null());
        let source = source.as_deref().unwrap_or("fashion-mnist");
        let kind = kind_of(source, options).map_err(D::Error::custom)?;
        Ok(Self { kind, skip })
    }
}

/// The source of that name with its options. An error begins with the key that is wrong.
fn kind_of(source: &str, options: Map<String, Value>) -> Result<SourceKind, String> {
    let read = |mut options: Map<String, Value>| {
        options.insert("source".into(), source.into());
        SourceKind::deserialize(Value::Object(options))
    };
    read(Map::new()).map_err(|error| format!("`source`: {error}"))?;
    // One by one, because an error about a value does not say whose it is.
    for (option, value) in &options {
        let alone = Map::from_iter([(option.clone(), value.clone())]);
        read(alone).map_err(|error| format!("`{option}` of the data source \"{source}\": {error}"))?;
    }
    read(options).map_err(|error| error.to_string())
}

impl DataSource {
    /// Opens the data set: lists its images and checks its structure, but decodes no image file.
    ///
    /// `base` is the folder that a relative `root` starts from.
    ///
    /// # Errors
    /// Options that are missing or out of range, missing or unreadable files, unreadable list
    /// lines, empty splits or classes, labels with gaps, classes in test that training lacks.
    pub fn open(&self, base: &Path) -> Result<Splits, Error> {
        let splits = self.kind.open(base)?;
        if splits.train.classes() < 2 {
            let class = classes::in_words(splits.train.class_names());
            let problem = format!("all images are of one class, {class}, and there is nothing to tell apart");
            return Err(Error::Setting(format!("{problem}; correct the labels")));
        }
        match &self.skip {
            Some(file) => splits.without_listed(&base.join(file)),
            None => Ok(splits),
        }
    }

    /// The same data wherever it lies, whatever is left out of it, and however much of it is kept in memory: without `root`,
    /// `file`, `skip` and `cache_mib`.
    pub fn without_places(&self) -> Self {
        Self { kind: self.kind.without_places(), skip: None }
    }
}
