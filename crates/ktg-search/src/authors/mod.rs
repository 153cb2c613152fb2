//! Studies of the authors' published code, whose values mostly are errors, become studies of ours.

mod choices;
mod part;

use std::collections::BTreeMap;

use ktg_graph::Graph;
use serde_json::{Value as Json, json};

use self::choices::TheirChoices;
use crate::Error;
use crate::attributes::{COMPLETED_RUNG, FAILED_TRIAL, GRAPH, IMPORTED, REASON, RETRY_HISTORY, SPACE};
use crate::imported::{Imported, JudgedPart};
use crate::space::{Genes, Space};
use crate::storage::{Goal, Patience, State, Storage, StorageUrl, Study, Trial, check_name};

/// The choices of a trial by the names of our parameters.
type Parameters = BTreeMap<String, Json>;

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
    /// How many others fail here only because they cannot be translated, by the reason.
    pub failures: BTreeMap<String, usize>,
}

impl AuthorsStudy {
    /// Reads a study of theirs; without a name, the only one that there is.
    ///
    /// # Errors
    /// If there is none, or no trial of it can be translated.
    pub fn read(url: &StorageUrl, name: Option<&str>) -> Result<Self, Error> {
        let name = match name {
            Some(name) => name.to_owned(),
            None => only_study(url)?,
        };
        let (mut study, goal) = Study::open_to_import(url, &name)?;
        let (choices, trials) = (TheirChoices::of(study.choices()?), study.trials()?);
        let open = trials.iter().filter(|trial| !trial.state.is_finished()).count();
        let Translation { space, trials, failures } = Translation::of(&choices, trials, goal).map_err(|reason| {
            let way_out = "docs/search.md says what can be; give another study with --study-there";
            study.error(format!("no trial of it in {url} can be translated: {reason}; {way_out}"))
        })?;
        let judged = if choices.has_ensemble { JudgedPart::Ensemble } else { JudgedPart::FirstNode };
        let imported = Imported { study: name, storage: url.place(), judged };
        Ok(Self { imported, goal, space, trials, open, failures })
    }

    /// The graphs of its trials, as far as trials say which they are.
    pub fn graphs(&self) -> impl Iterator<Item = Graph> {
        self.trials.iter().filter_map(|trial| graph(&self.space, trial))
    }

    /// Writes it as a study of ours, all of it or nothing.
    ///
    /// # Errors
    /// If the name is none or that of a study, or the storage fails.
    pub fn write(&self, url: &StorageUrl, name: &str) -> Result<(), Error> {
        // Before a file is made.
        check_name(name)?;
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
        [] => Err(Error::Setting(format!("there are no studies in {url}; give another storage with --from"))),
        _ => Err(Error::Setting(format!(
            "which of the studies in {url}? say it with --study-there: {}",
            names.join(", ")
        ))),
    }
}

/// Their trials as ours.
struct Translation {
    space: Space,
    trials: Vec<Trial>,
    failures: BTreeMap<String, usize>,
}

impl Translation {
    /// That of a study of theirs.
    ///
    /// # Errors
    /// If no trial can be translated: the reason of the first.
    fn of(choices: &TheirChoices, theirs: Vec<Trial>, goal: Goal) -> Result<Self, String> {
        let parameters: Vec<Result<Parameters, String>> = theirs.iter().map(|trial| choices.ours(trial)).collect();
        let of_trial = |trial: &Trial, problem: &str| format!("trial {}: {problem}", trial.number);
        let problem = |(trial, parameters): (&Trial, &Result<Parameters, String>)| {
            Some(of_trial(trial, parameters.as_ref().err()?))
        };
        let mut first_problem = theirs.iter().zip(&parameters).find_map(problem);
        let space = match choices.space() {
            Ok(space) => space,
            Err(reason) => return Err(first_problem.unwrap_or(reason)),
        };

        let (mut trials, mut failures, mut is_any_whole) = (Vec::new(), BTreeMap::new(), false);
        for (trial, parameters) in theirs.into_iter().zip(parameters) {
            let is_judged = matches!(trial.state, State::Complete | State::Pruned);
            let (trial, problem) = translate(trial, parameters, &space, goal);
            match problem {
                None => is_any_whole |= graph(&space, &trial).is_some(),
                Some(problem) => {
                    first_problem.get_or_insert_with(|| of_trial(&trial, &problem));
                    if is_judged {
                        *failures.entry(problem).or_default() += 1;
                    }
                }
            }
            trials.push(trial);
        }
        match first_problem {
            Some(problem) if !is_any_whole => Err(problem),
            _ => Ok(Self { space, trials, failures }),
        }
    }
}

/// A trial of theirs with the parameters that it has here, and what of it cannot be translated: it fails then.
fn translate(
    mut trial: Trial,
    parameters: Result<Parameters, String>,
    space: &Space,
    goal: Goal,
) -> (Trial, Option<String>) {
    let mut problems = Vec::new();
    match parameters {
        Ok(mut parameters) => {
            // What is the same in all graphs of the space is no parameter.
            parameters.retain(|name, _| space.parameters().iter().any(|parameter| parameter.name == *name));
            trial.parameters = parameters;
            if let Some(graph) = graph(space, &trial) {
                trial.attributes.insert(GRAPH.to_owned(), json!(graph.hash().to_string()));
            }
        }
        Err(problem) => {
            trial.parameters.clear();
            problems.push(problem);
        }
    }

    let mut accuracy = |what: &str, value: f64| {
        if !(0.0..=100.0).contains(&value) {
            problems.push(format!("{what} is {value}, which is no percentage from 0 to 100"));
            return None;
        }
        Some(match goal {
            Goal::Minimize => 100.0 - value,
            Goal::Maximize => value,
        })
    };
    trial.value = trial.value.and_then(|value| accuracy("the value", value));
    let reports = trial.reports.into_iter();
    trial.reports =
        reports.filter_map(|(step, value)| Some((step, accuracy(&format!("step {step}"), value)?))).collect();
    // What pruners have noted of it, and which trial it repeats.
    let system = trial.system.into_iter().filter_map(|(name, value)| {
        if name.starts_with(COMPLETED_RUNG) {
            let accuracy = accuracy(&name, value.as_f64().unwrap_or(f64::NAN))?;
            return Some((name, json!(accuracy)));
        }
        [FAILED_TRIAL, RETRY_HISTORY].contains(&name.as_str()).then_some((name, value))
    });
    trial.system = system.collect();

    let problem = problems.into_iter().next();
    let was_open = match trial.state {
        State::Running => Some("it was running when the study was imported"),
        State::Waiting => Some("it was waiting when the study was imported"),
        _ => None,
    };
    if let Some(reason) = problem.as_deref().or(was_open) {
        trial.attributes.insert(REASON.to_owned(), json!(reason));
        trial.state = State::Fail;
        trial.value = None;
    }
    (trial, problem)
}

/// The graph of a translated trial, if its parameters say which that is.
fn graph(space: &Space, trial: &Trial) -> Option<Graph> {
    let genes = space.genes(&trial.parameters).ok()?.into_iter().collect::<Option<Genes>>()?;
    Some(space.graph(&genes))
}
