//! What a study says about itself, and what its workers must agree on.

use ktg_base::first_difference;
use ktg_graph::{Document, Graph};
use serde_json::Value as Json;

use crate::attributes::{BASE, IDENTITY, IMAGES, OBJECTIVE, PRUNER, SETTINGS, SPACE, TARGET};
use crate::storage::Study;
use crate::{Error, Imported, ObjectiveKind, PrunerSettings, Space};

/// Something that is the same for all workers of a study: an attribute, and its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Agreement {
    /// The attribute's name.
    pub key: &'static str,
    /// Its value.
    pub value: Json,
    /// The same as versions up to 0.1 wrote it, which is as good; whatever else differs is refused.
    pub before: Option<Json>,
}

impl Agreement {
    /// On a value that was always written like this.
    pub fn new(key: &'static str, value: Json) -> Self {
        Self { key, value, before: None }
    }

    /// Writes it into the study, or makes sure that the study says the same.
    ///
    /// # Errors
    /// If the study was started with something else.
    pub fn settle(&self, study: &mut Study) -> Result<(), Error> {
        let theirs = without_nulls(&study.attribute_or(self.key, &self.value)?);
        let ours = without_nulls(&self.value);
        if theirs == ours || Some(&theirs) == self.before.as_ref() {
            return Ok(());
        }
        // Like is compared with like.
        let same_kind = self.before.as_ref().filter(|before| before.is_string() && theirs.is_string());
        let difference = first_difference(&lines(same_kind.unwrap_or(&ours)), &lines(&theirs));
        let key = self.key;
        Err(study.error(format!(
            "it was started with another {key} ({difference}); give another --study, or undo the change"
        )))
    }
}

/// A value without what is not set: earlier versions wrote `null` for every option that was not given.
fn without_nulls(json: &Json) -> Json {
    match json {
        Json::Object(fields) => {
            let set = fields.iter().filter(|(_, value)| !value.is_null());
            set.map(|(key, value)| (key.clone(), without_nulls(value))).collect()
        }
        Json::Array(items) => items.iter().map(without_nulls).collect(),
        other => other.clone(),
    }
}

/// A value with a line for each part of it.
fn lines(json: &Json) -> String {
    json.as_str().map_or_else(|| format!("{json:#}"), str::to_owned)
}

/// What a study says about itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StudyMetadata {
    /// `None`: made by others, and not worked on by `ktg search` yet.
    pub space: Option<Space>,
    /// The settings that all trials share; of versions up to 0.1, a text in TOML.
    pub settings: Option<Json>,
    /// Fingerprint of the images that all trials share.
    pub images: Option<String>,
    /// What its values are.
    pub objective: ObjectiveKind,
    /// How unpromising trials are pruned; `None` in studies of versions up to 0.1, which only say it in words.
    pub pruner: Option<PrunerSettings>,
    /// The same in words.
    pub pruner_in_words: Option<String>,
    /// The graph whose edges it analyses; `None` for a search.
    pub analysed: Option<Graph>,
    /// Where it was imported from; `None` for one that was made here.
    pub imported: Option<Imported>,
    /// A text that no other study has; `None` if no worker of this program was there yet.
    pub identity: Option<String>,
    /// Trials that it shall have, as the last worker to start was told.
    pub target: Option<i64>,
}

impl StudyMetadata {
    /// Reads what a study says.
    ///
    /// # Errors
    /// If the storage fails, or an attribute is not what it should be.
    pub fn read(study: &mut Study) -> Result<Self, Error> {
        let space = study.attribute(SPACE)?.map(|json| search_space(study, &json)).transpose()?;
        let images = study.attribute(IMAGES)?.map(|images| text(study, IMAGES, &images)).transpose()?;
        let objective = match study.attribute(OBJECTIVE)? {
            None => ObjectiveKind::Accuracy,
            Some(json) => serde_json::from_value(json).map_err(|e| study.damaged(OBJECTIVE, &e.to_string()))?,
        };
        let (pruner, pruner_in_words) = match study.attribute(PRUNER)? {
            None => (None, None),
            Some(Json::String(words)) => (None, Some(words)),
            Some(json) => {
                let pruner: PrunerSettings =
                    serde_json::from_value(json).map_err(|e| study.damaged(PRUNER, &e.to_string()))?;
                (Some(pruner), Some(pruner.to_string()))
            }
        };
        let target = study.attribute(TARGET)?.map(|target| whole_number(study, TARGET, &target)).transpose()?;
        let settings = study.attribute(SETTINGS)?;
        let identity = study.attribute(IDENTITY)?.map(|identity| text(study, IDENTITY, &identity)).transpose()?;
        let (analysed, imported) = (analysed_graph(study)?, Imported::of(study)?);
        Ok(Self { space, settings, images, objective, pruner, pruner_in_words, analysed, imported, identity, target })
    }
}

/// The graph that a study analyses; `None` if it is no analysis.
///
/// # Errors
/// If the storage fails, or the graph cannot be understood.
pub fn analysed_graph(study: &mut Study) -> Result<Option<Graph>, Error> {
    let Some(json) = study.attribute(BASE)? else { return Ok(None) };
    match Document::parse_json(&json.to_string(), BASE) {
        Ok(document) => Ok(Some(document.graph)),
        Err(e) => Err(study.damaged(BASE, &e.to_string())),
    }
}

fn search_space(study: &Study, json: &Json) -> Result<Space, Error> {
    Space::from_json(json).map_err(|e| study.damaged(SPACE, &e.to_string()))
}

fn whole_number(study: &Study, key: &str, json: &Json) -> Result<i64, Error> {
    json.as_i64().ok_or_else(|| study.damaged(key, "it is no whole number"))
}

fn text(study: &Study, key: &str, json: &Json) -> Result<String, Error> {
    json.as_str().map(str::to_owned).ok_or_else(|| study.damaged(key, "it is no text"))
}
