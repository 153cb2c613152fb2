//! A study, read: its trials, its best graphs, its rungs.

use anyhow::{Context, Result, anyhow, bail};
use ktg_base::edge_name;
use ktg_graph::Graph;
use ktg_search::attributes::{SAME_GRAPH, completed_rung};
use ktg_search::confirmation::Standing;
use ktg_search::storage::{State, StorageUrl, Study, Trial};
use ktg_search::{Genes, JudgedPart, Space, StudyMetadata};
use ktg_train::Settings;
use serde_json::Value as Json;

use crate::confirmed::standing_in_words;
use crate::{Confirmed, Unranked};

/// A study with all that is in it.
pub struct StudyRecord {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub storage: StorageUrl,
    /// What it says about itself.
    pub metadata: StudyMetadata,
    /// Its trials, by number.
    pub trials: Vec<Trial>,
    /// What training the best ones again found, if that was asked for.
    pub confirmed: Option<Confirmed>,
}

/// A rung of successive halving.
#[derive(Clone, Debug, PartialEq)]
pub struct Rung {
    /// Counted from 0.
    pub number: u32,
    /// Epochs of training at which trials are compared, if it can be told.
    pub epoch: Option<i64>,
    /// Values at the rung of the trials that went on from here or were complete.
    pub kept: Vec<f64>,
    /// Values of those that were stopped here, or wait here.
    pub stopped: Vec<f64>,
}

impl StudyRecord {
    /// Reads a study.
    pub fn read(url: &StorageUrl, name: &str) -> Result<Self> {
        let mut study = Study::open_to_read(url, name)?;
        let metadata = StudyMetadata::read(&mut study)?;
        let (name, storage) = (study.name().to_owned(), url.clone());
        let confirmed = Confirmed::read(url, &name, metadata.identity.as_deref())?;
        Ok(Self { name, storage, metadata, trials: study.trials()?, confirmed })
    }

    /// The settings that all trials share, if they were noted.
    ///
    /// # Errors
    /// If they cannot be understood.
    pub fn settings(&self) -> Result<Option<Settings>> {
        let origin = format!("the settings of the study \"{}\"", self.name);
        Ok(match &self.metadata.settings {
            None => None,
            // As versions up to 0.1 wrote them.
            Some(Json::String(text)) => Some(Settings::parse(text, &origin)?),
            Some(json) => {
                let settings = serde_json::from_value(json.clone());
                Some(settings.map_err(|e| anyhow!("{origin} cannot be understood: {e}"))?)
            }
        })
    }

    /// What a trial's value is the accuracy of.
    pub fn judged_part(&self) -> JudgedPart {
        self.metadata.imported.as_ref().map_or(JudgedPart::Ensemble, |imported| imported.judged)
    }

    /// The complete trials that are graphs of the search space, the best first; of equal ones, the older. For the others
    /// see [`unranked`](Self::unranked).
    pub fn ranked(&self) -> Vec<&Trial> {
        let mut complete: Vec<&Trial> = self.trials.iter().filter(|trial| self.is_ranked(trial)).collect();
        let value = |trial: &Trial| trial.value.unwrap_or(f64::NEG_INFINITY);
        complete.sort_by(|a, b| value(b).total_cmp(&value(a)).then(a.number.cmp(&b.number)));
        complete
    }

    /// Whether a trial came to a value that others can be compared with, and is a graph of the search space.
    fn is_ranked(&self, trial: &Trial) -> bool {
        trial.state == State::Complete && trial.value.is_some_and(f64::is_finite) && self.genes(trial).is_ok()
    }

    /// How many complete trials are not ranked, and why.
    pub fn unranked(&self) -> Unranked {
        let mut unranked = Unranked::default();
        for trial in self.trials.iter().filter(|trial| trial.state == State::Complete && !self.is_ranked(trial)) {
            let genes = self.metadata.space.as_ref().and_then(|space| space.genes(&trial.parameters).ok());
            let count = match genes {
                _ if trial.parameters.is_empty() => &mut unranked.without_parameters,
                None => &mut unranked.other_parameters,
                Some(genes) if genes.contains(&None) => &mut unranked.missing_parameters,
                Some(_) => &mut unranked.not_finite,
            };
            *count += 1;
        }
        unranked
    }

    /// The ranked trials, those that were confirmed before the others: by what the confirmation found, once it is over.
    pub fn best_first(&self) -> Vec<&Trial> {
        let mut best = self.ranked();
        if let Some(confirmed) = self.confirmed.as_ref().filter(|confirmed| confirmed.winner().is_some()) {
            let standings = &confirmed.progress.standings;
            let place = |trial: &Trial| standings.iter().position(|standing| standing.trial == trial.number);
            best.sort_by_key(|trial| place(trial).unwrap_or(usize::MAX));
        }
        best
    }

    /// The best trial: the one that won the confirmation, if there was one, else the best of the ranked.
    ///
    /// # Errors
    /// If there is none, with the reason.
    pub fn best(&self) -> Result<&Trial> {
        if let Some(best) = self.best_first().first() {
            return Ok(best);
        }
        let name = &self.name;
        match self.unranked().sentence() {
            None => bail!("no trial of the study \"{name}\" is complete yet"),
            Some(sentence) => {
                self.space()?;
                bail!("no graph of the study \"{name}\" is complete yet: {sentence}")
            }
        }
    }

    /// What the confirmation found about a trial's graph, if it has trained it.
    pub fn trained_again(&self, trial: &Trial) -> Option<&Standing> {
        self.confirmed.as_ref()?.standing(trial.number)
    }

    /// The same in words, "-" if it has not.
    pub fn trained_again_in_words(&self, trial: &Trial) -> String {
        let standing = self.trained_again(trial);
        standing.map_or("-".to_owned(), |standing| standing_in_words(standing, self.metadata.objective))
    }

    /// A trial's value in words: as the confirmation found it, if it has trained the graph, else that of its one training.
    pub fn value_in_words(&self, trial: &Trial) -> String {
        let objective = self.metadata.objective;
        match self.trained_again(trial) {
            Some(standing) => standing_in_words(standing, objective),
            None => objective.in_words(trial.value.unwrap_or(f64::NAN)),
        }
    }

    /// What the best trial's value is, in words, and what it is worth: the best of many that were trained once is lucky.
    ///
    /// # Errors
    /// As [`best`](Self::best).
    pub fn best_in_words(&self) -> Result<String> {
        let best = self.best()?;
        let (number, count) = (best.number, self.ranked().len());
        let once = self.metadata.objective.in_words(best.value.unwrap_or(f64::NAN));
        let Some(confirmed) = &self.confirmed else {
            return Ok(format!("trial {number} with {once} (best of {count}, trained once each)"));
        };
        if confirmed.winner().is_none() {
            let missing = confirmed.progress.missing.len();
            return Ok(format!(
                "trial {number} with {once} (best of {count}, trained once each; its confirmation lacks at least \
                 {missing} trainings)"
            ));
        }
        let value = self.value_in_words(best);
        let candidates = &confirmed.confirmation.candidates;
        let ranked = self.ranked();
        let mut text = format!(
            "trial {number}, confirmed with {value}, of {} graphs that were trained again; in the search {once}, as one \
             of {count}",
            candidates.len()
        );
        let ahead = ranked.iter().take(candidates.len()).filter(|trial| !candidates.contains(&trial.number)).count();
        if ahead > 0 {
            text += &format!("; {ahead} of the best have come since, and are not confirmed");
        }
        Ok(text)
    }

    /// The search space.
    fn space(&self) -> Result<&Space> {
        let space = self.metadata.space.as_ref();
        space.with_context(|| format!("the study \"{}\" has no search space of this program", self.name))
    }

    /// The choices that make the graph of a trial.
    ///
    /// # Errors
    /// If its parameters are no graph of the search space.
    pub(crate) fn genes(&self, trial: &Trial) -> Result<Genes> {
        let genes = self.space()?.genes(&trial.parameters)?.into_iter().collect::<Option<Genes>>();
        genes.context("it lacks parameters of the search space")
    }

    /// The graph of a trial, named after it: in canonical form, unless the study judges one of its nodes, whose number
    /// then says which.
    ///
    /// # Errors
    /// If its parameters are no graph of the search space.
    pub fn graph(&self, trial: &Trial) -> Result<Graph> {
        let genes = self.genes(trial).map_err(|e| anyhow!("trial {} is no graph of the study: {e}", trial.number))?;
        let graph = self.space()?.graph(&genes);
        let mut graph = match self.judged_part() {
            JudgedPart::FirstNode => graph,
            JudgedPart::Ensemble => graph.canonical(),
        };
        graph.name = Some(format!("{}, trial {}", self.name, trial.number));
        Ok(graph)
    }

    /// The edges of a trial's graph in one line, "-" if it cannot be told.
    pub fn edges(&self, trial: &Trial) -> String {
        self.graph(trial).map_or_else(|_| "-".to_owned(), |graph| edges(&graph))
    }

    /// The graph of one trial, or of the best.
    ///
    /// # Errors
    /// If there is no such trial, or none is complete, or it is no graph of the search space.
    pub fn graph_of(&self, number: Option<i64>) -> Result<(&Trial, Graph)> {
        let trial = match number {
            Some(number) => {
                let trial = self.trials.iter().find(|trial| trial.number == number);
                trial.with_context(|| format!("the study \"{}\" has no trial {number}", self.name))?
            }
            None => self.best()?,
        };
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

    /// The number of trials that wait for their promotion.
    pub fn paused(&self) -> usize {
        self.trials.iter().filter(|trial| trial.is_paused()).count()
    }

    /// The number of trials that were not trained because another trial has their graph.
    pub fn same_graphs(&self) -> usize {
        let is_same = |trial: &&Trial| trial.state == State::Fail && trial.attributes.contains_key(SAME_GRAPH);
        self.trials.iter().filter(is_same).count()
    }

    /// The number of trials that repeat those of workers that died.
    pub fn repeated(&self) -> usize {
        self.trials.iter().filter(|trial| trial.repeats().is_some()).count()
    }

    /// The rungs that trials have reached, the first first.
    pub fn rungs(&self) -> Vec<Rung> {
        let mut rungs = Vec::new();
        for number in 0.. {
            let mut rung = Rung { number, epoch: None, kept: Vec::new(), stopped: Vec::new() };
            let mut first_stop: Option<i64> = None;
            for trial in &self.trials {
                let Some(value) = trial.rung_value(number) else { continue };
                let went_on = trial.state == State::Complete || trial.system.contains_key(&completed_rung(number + 1));
                if went_on || !(trial.state == State::Pruned || trial.is_paused()) {
                    rung.kept.push(value);
                    continue;
                }
                rung.stopped.push(value);
                // Whoever was stopped at the rung has its last report there.
                let last = trial.last_report().map(|(step, _)| step);
                first_stop = first_stop.into_iter().chain(last).min();
            }
            if rung.kept.is_empty() && rung.stopped.is_empty() {
                break;
            }
            let known = self.metadata.pruner.and_then(|pruner| pruner.rung_epoch(number));
            rung.epoch = known.or(first_stop);
            rungs.push(rung);
        }
        rungs
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
    let labels = labels.map(|m| format!("{} {}", edge_name(None, m), graph.label_gate(m)));
    let transfers = graph.active_transfers().map(|(s, t, transfer)| format!("{} {transfer}", edge_name(Some(s), t)));
    labels.chain(transfers).collect::<Vec<_>>().join("; ")
}
