//! Where a study that was not made here is from.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::attributes::IMPORTED;
use crate::storage::Study;

/// Where a study was imported from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// Its name there.
    pub study: String,
    /// Where that is kept ([`StorageUrl::place`](crate::storage::StorageUrl::place)).
    pub storage: String,
    /// What its values are the accuracies of.
    pub judged: JudgedPart,
}

/// The part of a graph whose accuracy is a trial's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JudgedPart {
    /// The ensemble of all nodes.
    #[serde(rename = "ensemble")]
    Ensemble,
    /// The first node alone, as in DCL; which one that is matters then.
    #[serde(rename = "node 1")]
    FirstNode,
}

impl Imported {
    /// Where a study was imported from, if it was.
    ///
    /// # Errors
    /// If the storage fails, or the study's attribute cannot be understood.
    pub fn of(study: &mut Study) -> Result<Option<Self>, Error> {
        let Some(json) = study.attribute(IMPORTED)? else { return Ok(None) };
        let imported = serde_json::from_value(json);
        imported.map(Some).map_err(|e| study.damaged(IMPORTED, &e.to_string()))
    }
}

impl fmt::Display for JudgedPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

impl fmt::Display for Imported {
    /// Goes after a word such as "it was".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "imported from the study {:?} in {}", self.study, self.storage)?;
        match self.judged {
            JudgedPart::Ensemble => Ok(()),
            JudgedPart::FirstNode => f.write_str("; its values are accuracies of node 1, not of an ensemble"),
        }
    }
}
