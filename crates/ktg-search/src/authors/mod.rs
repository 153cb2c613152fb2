//! Studies of the authors' published code, whose values mostly are errors, become studies of ours.

mod choices;
mod part;

use std::collections::BTreeMap;

use ktg_graph::Graph;
use serde_json::{Value as Json, json};

use self::choices::{TheirChoices, is_pretrained, refused};
use self::part::Part;
use crate::Error;
use crate::attributes::{COMPLETED_RUNG, FAILED_TRIAL, GRAPH, IMPORTED, REASON, RETRY_HISTORY, SPACE};
use crate::imported::{Imported, JudgedPart};
use crate::space::{Genes, Space};
use crate::storage::{Goal, Patience, State, Storage, StorageUrl, Study, Trial};

/// A study of the authors' code as one of ours: graphs of a search space, and accuracies.
pub struct AuthorsStudy {
    /// Where it is from.
    pub imported: Imported,
    /// Whether its values are errors there.
    pub goal: Goal,
    /// All graphs that it chose from.
    pub space: Space,
    /// Its trials, all of them over. They have the numbers that they have there.
    pub trials: Vec<Trial>,
    /// How many of them are not over there.
    pub open: usize,
}

impl AuthorsStudy {
    /// Reads a study of theirs; without a name, the only one that there is.
    ///
    /// # Errors
    /// If there is none, it is not a study of their code, or it uses what does not exist here.
    pub fn read(url: &StorageUrl, name: Option<&str>) -> Result<Self, Error> {
        let name = match name {
            Some(name) => name.to_owned(),
            None => only_study(url)?,
        };
        let (mut study, goal) = Study::open_to_import(url, &name)?;
        let (choices, trials) = (study.choices()?, study.trials()?);
        let open = trials.iter().filter(|trial| !trial.state.is_finished()).count();
        let translated = translate(choices, trials, goal);
        let (judged, space, trials) = translated.map_err(|e| study.error(e.to_string()))?;
        let imported = Imported { study: name, storage: url.place(), judged };
        Ok(Self { imported, goal, space, trials, open })
    }

    /// The graphs of its trials, as far as trials say which they are.
    pub fn graphs(&self) -> impl Iterator<Item = Graph> {
        self.trials.iter().filter_map(|trial| {
            let genes = self.space.genes(&trial.parameters).ok()?.into_iter().collect::<Option<Genes>>()?;
            Some(self.space.graph(&genes))
        })
    }

    /// Writes it as a study of ours, all of it or nothing.
    ///
    /// # Errors
    /// If there is a study of this name, or the storage fails.
    pub fn write(&self, url: &StorageUrl, name: &str) -> Result<(), Error> {
        let attributes = [(SPACE, self.space.to_json()), (IMPORTED, json!(self.imported))];
        let mut storage = Storage::open(url, true, Patience::none())?;
        storage.add_study(name, &attributes, self.space.parameters(), &self.trials)
    }
}

/// The name of the only study of a storage.
fn only_study(url: &StorageUrl) -> Result<String, Error> {
    let studies = Storage::open_to_read(url)?.studies()?;
    let names: Vec<String> = studies.into_iter().map(|study| study.name).collect();
    match &names[..] {
        [name] => Ok(name.clone()),
        [] => Err(refused(format!("there are no studies in {url}"))),
        _ => Err(refused(format!("which of the studies in {url}? say it with --study-there: {}", names.join(", ")))),
    }
}

fn translate(
    choices: Vec<crate::storage::Choices>,
    trials: Vec<Trial>,
    goal: Goal,
) -> Result<(JudgedPart, Space, Vec<Trial>), Error> {
    let choices = TheirChoices::of(choices)?;
    let space = choices.space()?;
    let translation = Translation { choices: &choices, space: &space, goal };
    let trials = trials.into_iter().map(|trial| {
        let number = trial.number;
        translation.trial(trial).map_err(|e| refused(format!("trial {number}: {e}")))
    });
    let trials = trials.collect::<Result<Vec<_>, _>>()?;
    let judged = if choices.has_ensemble { JudgedPart::Ensemble } else { JudgedPart::FirstNode };
    Ok((judged, space, trials))
}

/// How a trial of theirs becomes one of ours.
struct Translation<'a> {
    choices: &'a TheirChoices,
    space: &'a Space,
    goal: Goal,
}

impl Translation<'_> {
    fn trial(&self, mut trial: Trial) -> Result<Trial, Error> {
        let judged = matches!(trial.state, State::Complete | State::Pruned);
        if let Some(missing) = self.choices.parts().map(Part::name).find(|name| !trial.parameters.contains_key(name))
            && judged
        {
            return Err(refused(format!("it has no parameter `{missing}`")));
        }
        trial.parameters = self.parameters(&trial.parameters)?;
        trial.value = trial.value.map(|value| self.accuracy("the value", value)).transpose()?;
        for (step, value) in &mut trial.reports {
            *value = self.accuracy(&format!("step {step}"), *value)?;
        }
        trial.system = self.system(&trial.system)?;
        if !trial.state.is_finished() {
            let was = if trial.state == State::Running { "running" } else { "waiting" };
            trial.attributes.insert(REASON.to_owned(), json!(format!("it was {was} when the study was imported")));
            trial.state = State::Fail;
        }
        if let Some(genes) = self.space.genes(&trial.parameters)?.into_iter().collect::<Option<Genes>>() {
            let hash = self.space.graph(&genes).hash().to_string();
            trial.attributes.insert(GRAPH.to_owned(), json!(hash));
        }
        Ok(trial)
    }

    /// The choices of the space's parameters. What is the same in all graphs of the space is none of them.
    fn parameters(&self, theirs: &BTreeMap<String, Json>) -> Result<BTreeMap<String, Json>, Error> {
        let mut ours = BTreeMap::new();
        for (name, choice) in theirs {
            let Some(part) = Part::parse(name) else { continue };
            if let Part::Pretrained(_) = part
                && is_pretrained(choice)
            {
                let reason = "weights that only their code knows are not supported";
                return Err(refused(format!("`{name}` is {choice}: {reason}")));
            }
            let choice = self.choices.ours(part, choice.as_str().unwrap_or_default())?;
            if let Some((name, choice)) = choice
                && self.space.parameters().iter().any(|parameter| parameter.name == name)
            {
                ours.insert(name, json!(choice));
            }
        }
        Ok(ours)
    }

    /// What pruners have noted of it, and which trial it repeats.
    fn system(&self, theirs: &BTreeMap<String, Json>) -> Result<BTreeMap<String, Json>, Error> {
        let mut ours = BTreeMap::new();
        for (name, value) in theirs {
            if name.starts_with(COMPLETED_RUNG) {
                let accuracy = self.accuracy(name, value.as_f64().unwrap_or(f64::NAN))?;
                ours.insert(name.clone(), json!(accuracy));
            } else if [FAILED_TRIAL, RETRY_HISTORY].contains(&name.as_str()) {
                ours.insert(name.clone(), value.clone());
            }
        }
        Ok(ours)
    }

    fn accuracy(&self, what: &str, value: f64) -> Result<f64, Error> {
        if !(0.0..=100.0).contains(&value) {
            return Err(refused(format!("{what} is {value}, and no percentage from 0 to 100")));
        }
        match self.goal {
            Goal::Minimize => Ok(100.0 - value),
            Goal::Maximize => Ok(value),
        }
    }
}
