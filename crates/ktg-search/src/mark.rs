//! Which study a run belongs to.

use std::hash::{BuildHasher, RandomState};
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use crate::Error;
use crate::attributes::IDENTITY;
use crate::storage::Study;

/// What the run of a trial keeps of its study. A name is not enough: studies are deleted, and others of their name made
/// here or in another database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StudyMark {
    /// A text that no other study has, but its copies.
    pub identity: String,
    /// The study's name.
    pub study: String,
    /// Where it is kept ([`StorageUrl::place`](crate::storage::StorageUrl::place)); a copy is kept elsewhere.
    pub storage: String,
}

/// Whose run is in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Occupant {
    /// There is no run in it.
    Nobody,
    /// A run that says nothing: a trial's of a version up to 0.1, or one that was never a trial's.
    Unmarked,
    /// A run that says something which cannot be understood.
    Unknown,
    /// The run of a trial of this study.
    Trial(StudyMark),
}

/// A number that differs from call to call and from process to process.
pub(crate) fn unforeseen() -> u64 {
    RandomState::new().hash_one(std::process::id())
}

impl StudyMark {
    /// The mark of a study, which gets its identity with the first worker that asks.
    ///
    /// # Errors
    /// If the storage fails, or the attribute is damaged.
    pub(crate) fn of(study: &mut Study) -> Result<Self, Error> {
        let proposed = format!("{:016x}{:016x}", unforeseen(), unforeseen());
        match study.attribute_or(IDENTITY, &json!(proposed))? {
            Json::String(identity) if !identity.is_empty() => {
                Ok(Self { identity, study: study.name().to_owned(), storage: study.place() })
            }
            other => Err(study.error(format!("its attribute `{IDENTITY}` is damaged: {other}"))),
        }
    }

    /// Whether it is the same study or one is a copy of the other.
    pub fn is_of_same(&self, other: &Self) -> bool {
        self.identity == other.identity
    }

    /// Whether a run with this mark is a run of that very study, which may have moved.
    pub(crate) fn is_of(&self, study: &Self) -> bool {
        let has_moved = || self.storage.strip_prefix("sqlite:///").is_some_and(|path| !Path::new(path).exists());
        self.is_of_same(study) && (self.storage == study.storage || has_moved())
    }

    /// A part of the identity that a file's name can hold.
    pub(crate) fn short(&self) -> String {
        self.identity.chars().filter(char::is_ascii_alphanumeric).take(8).collect()
    }
}
