//! Is the best graph of a search good, or lucky? The best few are trained again, with new seeds, in rounds that drop the
//! worse half of them: sequential halving (Karnin, Koren and Somekh, "Almost optimal exploration in multi-armed bandits",
//! ICML 2013). The trainings are trials of a study of their own, so that any number of workers share them, and what is
//! still to be trained is a function of those that are complete, so that every worker knows it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use crate::Error;
use crate::attributes::{CONFIRMATION, CONFIRMS, GRAPH, SEED, SPACE};
use crate::storage::{Enqueued, State, Study, Trial};

/// The first of the seeds that confirm; searches and comparisons usually have small ones.
const FIRST_SEED: u64 = 1001;

/// Which graphs are trained again, and how often. A study of a confirmation keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmation {
    /// The study of the search.
    pub search: String,
    /// What tells that study from all others, also of its name ([`StudyMetadata::identity`](crate::StudyMetadata::identity)).
    pub identity: Option<String>,
    /// Its best trials, by number, the best first.
    pub candidates: Vec<i64>,
    /// All graphs are trained so many times together.
    pub trainings: usize,
    /// The seed of the search, which chose the candidates and therefore confirms none.
    pub search_seed: u64,
}

/// A training: a trial of the search, with another seed.
pub type Training = (i64, u64);

/// The value of each training that is over; `None`: it failed, which is worse than any value.
pub type Results = BTreeMap<Training, Option<f64>>;

/// What a confirmation has found about one graph.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Standing {
    /// The graph's trial in the search.
    pub trial: i64,
    /// Its values, seed by seed, those of trainings that are still missing left out.
    pub values: Vec<Option<f64>>,
}

impl Standing {
    /// Mean of the values; below all numbers if a training failed or none is over.
    pub fn mean(&self) -> f64 {
        let sum: Option<f64> = self.values.iter().copied().sum();
        match sum {
            Some(sum) if !self.values.is_empty() => sum / self.values.len() as f64,
            _ => f64::NEG_INFINITY,
        }
    }

    /// The values of the trainings that did not fail.
    pub fn numbers(&self) -> Vec<f64> {
        self.values.iter().flatten().copied().collect()
    }
}

/// How far a confirmation is.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// What is to be trained now, all of it before anything else is decided; empty: the confirmation is over.
    pub missing: Vec<Training>,
    /// All graphs: who stayed longer is ahead, then whose mean is higher; of equal ones, whom the search had ahead. After
    /// the end, the first is the winner.
    pub standings: Vec<Standing>,
}

/// A round: so many graphs, with so many new seeds each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Round {
    graphs: usize,
    seeds: usize,
}

/// The rounds over so many graphs with so many trainings. All rounds have about equally many; what is left over goes to the
/// last one. No more is spent than there is, so with few trainings the last rounds may be missing.
fn rounds(candidates: usize, trainings: usize) -> Vec<Round> {
    let halvings = candidates.next_power_of_two().ilog2().max(1) as usize;
    let (mut graphs, mut left) = (candidates, trainings);
    let mut rounds: Vec<Round> = Vec::new();
    for _ in 0..halvings {
        let wanted = (trainings / halvings / graphs).max(1);
        let seeds = wanted.min(left / graphs);
        if seeds == 0 {
            break;
        }
        rounds.push(Round { graphs, seeds });
        left -= graphs * seeds;
        graphs = graphs.div_ceil(2);
    }
    if let Some(last) = rounds.last_mut() {
        last.seeds += left / last.graphs;
    }
    rounds
}

impl Confirmation {
    /// The seeds, in the order in which each graph is trained with them.
    fn seeds(&self, count: usize) -> Vec<u64> {
        (FIRST_SEED..).filter(|seed| *seed != self.search_seed).take(count).collect()
    }

    /// What is known, and what is to be trained now.
    pub fn progress(&self, results: &Results) -> Progress {
        let mut alive = self.candidates.clone();
        let mut dropped: Vec<Vec<Standing>> = Vec::new();
        let mut seeds = 0;
        for round in rounds(self.candidates.len(), self.trainings) {
            dropped.push(alive[round.graphs..].iter().map(|trial| self.standing(*trial, seeds, results)).collect());
            alive.truncate(round.graphs);
            seeds += round.seeds;
            let wanted = self.seeds(seeds).into_iter().flat_map(|seed| alive.iter().map(move |trial| (*trial, seed)));
            let missing: Vec<Training> = wanted.filter(|training| !results.contains_key(training)).collect();
            if !missing.is_empty() {
                return Progress { missing, standings: self.all_standings(&alive, seeds, dropped, results) };
            }
            // A stable order: of equal ones, the search's stays.
            alive.sort_by(|a, b| {
                let mean = |trial: &i64| self.standing(*trial, seeds, results).mean();
                mean(b).total_cmp(&mean(a))
            });
        }
        Progress { missing: Vec::new(), standings: self.all_standings(&alive, seeds, dropped, results) }
    }

    fn all_standings(
        &self,
        alive: &[i64],
        seeds: usize,
        dropped: Vec<Vec<Standing>>,
        results: &Results,
    ) -> Vec<Standing> {
        let last = alive.iter().map(|trial| self.standing(*trial, seeds, results));
        last.chain(dropped.into_iter().rev().flatten()).collect()
    }

    fn standing(&self, trial: i64, seeds: usize, results: &Results) -> Standing {
        let values = self.seeds(seeds).into_iter().filter_map(|seed| results.get(&(trial, seed)).copied());
        Standing { trial, values: values.collect() }
    }
}

/// The name of the study that confirms what another one found.
pub fn study_name(search: &str) -> String {
    format!("{search} confirmed")
}

/// The confirmation that a study keeps; `None` if it keeps none.
///
/// # Errors
/// If the storage fails, or what it keeps cannot be understood.
pub fn read(study: &mut Study) -> Result<Option<Confirmation>, Error> {
    let Some(json) = study.attribute(CONFIRMATION)? else { return Ok(None) };
    serde_json::from_value(json).map(Some).map_err(|e| study.damaged(CONFIRMATION, &e.to_string()))
}

/// Which trainings of a study of a confirmation are over. One whose worker died is not: it is repeated, unless it was
/// repeated often enough.
pub fn results(trials: &[Trial]) -> Results {
    let mut results = Results::new();
    for trial in trials {
        let confirms = trial.attributes.get(CONFIRMS).and_then(Json::as_i64);
        let seed = trial.attributes.get(SEED).and_then(Json::as_u64);
        let (Some(confirms), Some(seed)) = (confirms, seed) else { continue };
        match trial.state {
            State::Complete => results.insert((confirms, seed), trial.value.filter(|value| value.is_finite())),
            State::Fail if !trial.is_repeated_among(trials) => results.insert((confirms, seed), None),
            _ => None,
        };
    }
    results
}

/// Notes a confirmation in its study, and enqueues what is to be trained now. Trainings that are there already, even of
/// an earlier confirmation with other candidates, are not trained again.
///
/// # Errors
/// If the study is another kind of study, a candidate is none of `trials` of the search, or the storage fails.
pub fn enqueue(study: &mut Study, confirmation: &Confirmation, search: &[Trial]) -> Result<Progress, Error> {
    match read(study)? {
        Some(theirs) if theirs.identity != confirmation.identity => {
            let reason = "it confirms what an earlier study of this name found, which was deleted; delete it, too";
            return Err(study.error(reason));
        }
        None if study.attribute(SPACE)?.is_some() || study.count()? > 0 => {
            return Err(study.error("it is no confirmation of a search; delete it, or give the search another name"));
        }
        _ => {}
    }
    study.put_attribute(CONFIRMATION, &json!(confirmation))?;
    let progress = confirmation.progress(&results(&study.trials()?));
    let mut trials = Vec::new();
    for (number, seed) in &progress.missing {
        let Some(trial) = search.iter().find(|trial| trial.number == *number) else {
            return Err(study.error(format!("the search has no trial {number}")));
        };
        let graph = trial.attributes.get(GRAPH).and_then(Json::as_str).unwrap_or_default();
        trials.push(Enqueued {
            parameters: trial.parameters.clone().into_iter().collect(),
            graph: graph.to_owned(),
            attributes: vec![(CONFIRMS.to_owned(), json!(number)), (SEED.to_owned(), json!(seed))],
        });
    }
    study.enqueue_missing(&trials, &[CONFIRMS, SEED])?;
    Ok(progress)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn confirmation(candidates: i64, trainings: usize) -> Confirmation {
        Confirmation {
            search: "s".to_owned(),
            identity: None,
            candidates: (0..candidates).collect(),
            trainings,
            search_seed: 1002,
        }
    }

    /// Trains all that is missing until the confirmation is over; returns how often each graph was trained, and the end.
    fn run(confirmation: &Confirmation, value: impl Fn(i64, u64) -> Option<f64>) -> (Vec<usize>, Progress) {
        let mut results = Results::new();
        loop {
            let progress = confirmation.progress(&results);
            if progress.missing.is_empty() {
                let trained = |trial: &i64| results.keys().filter(|(of, _)| of == trial).count();
                return (confirmation.candidates.iter().map(trained).collect(), progress);
            }
            for (trial, seed) in progress.missing {
                assert!(results.insert((trial, seed), value(trial, seed)).is_none(), "trained twice");
            }
        }
    }

    #[test]
    fn rounds_spend_what_there_is_and_no_more() {
        let all = |candidates, trainings| -> Vec<(usize, usize)> {
            rounds(candidates, trainings).into_iter().map(|round| (round.graphs, round.seeds)).collect()
        };
        assert_eq!(all(8, 24), [(8, 1), (4, 2), (2, 4)]);
        assert_eq!(all(5, 15), [(5, 1), (3, 1), (2, 3)]);
        assert_eq!(all(1, 3), [(1, 3)]);
        assert_eq!(all(2, 7), [(2, 3)]);
        assert_eq!(all(16, 20), [(16, 1)]);
        for candidates in 1..40 {
            for trainings in candidates..200 {
                let rounds = rounds(candidates, trainings);
                let spent: usize = rounds.iter().map(|round| round.graphs * round.seeds).sum();
                assert!(spent <= trainings && spent + rounds.last().unwrap().graphs > trainings);
                assert_eq!(rounds[0].graphs, candidates);
            }
        }
    }

    #[test]
    fn the_best_graph_is_trained_most_and_wins() {
        let (trained, progress) = run(&confirmation(8, 24), |trial, seed| Some(trial as f64 + (seed % 7) as f64 * 0.1));
        assert_eq!(trained, [1, 1, 1, 1, 3, 3, 7, 7]);
        let order: Vec<i64> = progress.standings.iter().map(|standing| standing.trial).collect();
        assert_eq!(order, [7, 6, 5, 4, 3, 2, 1, 0]);
        assert_eq!(progress.standings[0].values.len(), 7);
        assert_eq!(progress.standings[4].values.len(), 1);
    }

    #[test]
    fn the_seed_of_the_search_confirms_nothing() {
        let progress = confirmation(1, 3).progress(&Results::new());
        assert_eq!(progress.missing, [(0, 1001), (0, 1003), (0, 1004)]);
    }

    #[test]
    fn of_equal_graphs_the_search_has_the_last_word_and_failures_are_last() {
        let (_, progress) = run(&confirmation(4, 12), |trial, _| (trial != 0).then_some(5.0));
        let order: Vec<i64> = progress.standings.iter().map(|standing| standing.trial).collect();
        assert_eq!(order, [1, 2, 3, 0]);
        assert_eq!(progress.standings[3].mean(), f64::NEG_INFINITY);
    }

    #[test]
    fn further_candidates_are_trained_and_the_others_not_again() {
        let mut results = Results::new();
        let mut confirmation = confirmation(2, 6);
        for training in confirmation.progress(&results).missing {
            results.insert(training, Some(training.0 as f64));
        }
        // The search went on, and found a better one.
        confirmation.candidates = vec![9, 0];
        let missing = confirmation.progress(&results).missing;
        assert_eq!(missing, [(9, 1001), (9, 1003), (9, 1004)]);
    }
}
