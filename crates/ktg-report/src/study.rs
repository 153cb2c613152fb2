//! A study, read: its trials, its best graphs, its rungs.

use ktg_graph::Graph;
use ktg_search::storage::{Patience, State, StorageUrl, Study, Trial};
use ktg_search::{SPACE, Space, TARGET};
use serde_json::Value as Json;

use crate::Error;

/// A study with all that is in it.
pub struct StudyRecord {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub storage: StorageUrl,
    /// Its trials, by number.
    pub trials: Vec<Trial>,
    /// `None`: made by others, and not worked on by `ktg search` yet.
    pub space: Option<Space>,
    /// The settings that all trials share, in TOML, if they were noted.
    pub experiment: Option<String>,
    /// Fingerprint of the images that all trials share, if it was noted.
    pub images: Option<String>,
    /// How hopeless trials are stopped, if it was noted.
    pub pruner: Option<String>,
    /// The graph whose edges it analyses; `None` for a search.
    pub analysed: Option<Graph>,
    /// Trials that it shall have, as the last worker to start was told.
    pub target: Option<i64>,
}

/// A rung of successive halving.
#[derive(Clone, Debug, PartialEq)]
pub struct Rung {
    /// Counted from 0.
    pub number: usize,
    /// Epochs of training at which trials are compared, if it can be told.
    pub epoch: Option<i64>,
    /// Values at the rung of the trials that went on from here or were complete.
    pub kept: Vec<f64>,
    /// Values of those that were stopped here, or wait here.
    pub stopped: Vec<f64>,
}

impl StudyRecord {
    /// Reads a study.
    pub fn read(url: &StorageUrl, name: &str) -> Result<Self, Error> {
        let mut study = Study::open(url, name, false, Patience::none())?;
        let space = study.attribute(SPACE)?.map(|json| Space::from_json(&json)).transpose()?;
        let mut text = |key: &str| -> Result<Option<String>, Error> {
            Ok(study.attribute(key)?.and_then(|value| value.as_str().map(str::to_owned)))
        };
        let (experiment, images, pruner) = (text("experiment")?, text("images")?, text("pruner")?);
        let target = study.attribute(TARGET)?.and_then(|target| target.as_i64());
        let analysed = ktg_search::analysis::base(&mut study)?;
        let (name, storage) = (study.name().to_owned(), url.clone());
        Ok(Self { name, storage, trials: study.trials()?, space, experiment, images, pruner, analysed, target })
    }

    /// The trials with a final value, the best first; of equal ones, the older.
    pub fn ranked(&self) -> Vec<&Trial> {
        let mut complete: Vec<&Trial> = self
            .trials
            .iter()
            .filter(|trial| trial.state == State::Complete && trial.value.is_some_and(|value| !value.is_nan()))
            .collect();
        let value = |trial: &Trial| trial.value.unwrap_or(f64::NEG_INFINITY);
        complete.sort_by(|a, b| value(b).total_cmp(&value(a)).then(a.number.cmp(&b.number)));
        complete
    }

    /// The graph of a trial, in canonical form, named after it.
    pub fn graph(&self, trial: &Trial) -> Result<Graph, Error> {
        let name = &self.name;
        let unknown = || Error::Other(format!("the study \"{name}\" has no search space of this program"));
        let space = self.space.as_ref().ok_or_else(unknown)?;
        let genes = space.genes(&trial.parameters)?.into_iter().collect::<Option<Vec<_>>>();
        let genes = genes.ok_or_else(|| Error::Other(format!("trial {} has no complete graph", trial.number)))?;
        let mut graph = space.graph(&genes).canonical();
        graph.name = Some(format!("{name}, trial {}", trial.number));
        Ok(graph)
    }

    /// The graph of one trial, or of the best.
    ///
    /// # Errors
    /// If there is no such trial, or none is complete.
    pub fn graph_of(&self, number: Option<i64>) -> Result<(&Trial, Graph), Error> {
        let trial = match number {
            Some(number) => self.trials.iter().find(|trial| trial.number == number),
            None => self.ranked().first().copied(),
        };
        let name = &self.name;
        let trial = trial.ok_or_else(|| match number {
            Some(number) => Error::Other(format!("the study \"{name}\" has no trial {number}")),
            None => Error::Other(format!("no trial of the study \"{name}\" is complete yet")),
        })?;
        Ok((trial, self.graph(trial)?))
    }

    /// The epochs of training that all trials took together. A trial that repeats a dead one goes on from its epochs.
    pub fn epochs(&self) -> i64 {
        self.trials.iter().filter_map(|trial| Some(trial.last_report()?.0)).sum()
    }

    /// The number of trials in a state.
    pub fn count(&self, state: State) -> usize {
        self.trials.iter().filter(|trial| trial.state == state).count()
    }

    /// The rungs that trials have reached, the first first.
    pub fn rungs(&self) -> Vec<Rung> {
        let mut rungs = Vec::new();
        for number in 0.. {
            let key = |number: usize| format!("completed_rung_{number}");
            let value = |trial: &Trial| trial.system.get(&key(number)).and_then(Json::as_f64);
            let there: Vec<(&Trial, f64)> = self.trials.iter().filter_map(|t| Some((t, value(t)?))).collect();
            if there.is_empty() {
                break;
            }
            let went_on = |trial: &Trial| trial.state == State::Complete || trial.system.contains_key(&key(number + 1));
            let stays = |trial: &Trial| !went_on(trial) && (trial.state == State::Pruned || trial.is_paused());
            // Whoever was stopped at the rung has its last report there.
            let last = there.iter().filter(|(trial, _)| stays(trial)).filter_map(|(trial, _)| trial.last_report());
            let epoch = self.rung_epoch(number).or(last.map(|(step, _)| step).min());
            let (stopped, kept): (Vec<_>, Vec<_>) = there.into_iter().partition(|(trial, _)| stays(trial));
            let values = |trials: Vec<(&Trial, f64)>| trials.into_iter().map(|(_, value)| value).collect();
            rungs.push(Rung { number, epoch, kept: values(kept), stopped: values(stopped) });
        }
        rungs
    }

    /// The epoch of a rung, if all trials have it at the same.
    fn rung_epoch(&self, rung: usize) -> Option<i64> {
        let pruner = self.pruner.as_deref().filter(|pruner| !pruner.starts_with("hyperband"))?;
        let number = |name: &str| -> Option<i64> {
            let mut parts = pruner.split(", ").filter_map(|part| part.split_once(' '));
            parts.find(|(known, _)| *known == name)?.1.parse().ok()
        };
        let rate = u32::try_from(number("min_early_stopping_rate")?).ok()?;
        let factor = number("reduction_factor")?.checked_pow(rate + u32::try_from(rung).ok()?)?;
        number("min_resource")?.checked_mul(factor)
    }

    /// The trials whose graph was judged at least once, each with how far it came (epochs) and its last value. A trial
    /// that a worker's death ended is not there: its repetition is.
    pub fn judged(&self) -> Vec<(&Trial, i64, f64)> {
        let judged = |trial: &Trial| match (trial.state, trial.last_report(), trial.value) {
            (State::Fail, ..) => None,
            (State::Complete, last, Some(value)) if value.is_finite() => {
                Some((last.map_or(i64::MAX, |(step, _)| step), value))
            }
            (_, Some((step, value)), _) if value.is_finite() => Some((step, value)),
            (_, None, Some(value)) if value.is_finite() => Some((0, value)),
            _ => None,
        };
        self.trials.iter().filter_map(|trial| judged(trial).map(|(step, value)| (trial, step, value))).collect()
    }
}

/// A graph's edges in one line.
pub fn edges(graph: &Graph) -> String {
    let labels = (0..graph.len()).filter(|m| !graph.label_gate(*m).is_cut());
    let labels = labels.map(|m| format!("label->{} {}", m + 1, graph.label_gate(m)));
    let transfers = graph.active_transfers().map(|(s, t, transfer)| format!("{}->{} {transfer}", s + 1, t + 1));
    labels.chain(transfers).collect::<Vec<_>>().join("; ")
}
