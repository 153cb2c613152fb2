//! The graphs of a study that were judged to an end, and the trials that are not among them.

use ktg_figures::stats;
use ktg_search::Genes;
use ktg_search::storage::{State, Trial};

use crate::StudyRecord;

/// The graphs of a study that were judged to an end.
pub(crate) struct PlacedGraphs {
    /// The choices that make each.
    pub genes: Vec<Genes>,
    /// The place of each, from 0 (the worst) to 1 (the best).
    pub places: Vec<f64>,
}

impl PlacedGraphs {
    /// Those of a study.
    pub fn of(study: &StudyRecord) -> Self {
        let graph = |(trial, step, value): (&Trial, i64, f64)| {
            let came = (u64::try_from(step).unwrap_or(0), value);
            Some((study.genes(trial).ok()?, came))
        };
        let (genes, came): (Vec<Genes>, Vec<(u64, f64)>) = judged_to_an_end(study).filter_map(graph).unzip();
        Self { genes, places: stats::ordering(&came) }
    }
}

/// How many trials of a study are not among the graphs that are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Those that failed, but for those that were not trained because another trial has their graph.
    pub failed: usize,
    /// Those that were judged to an end, but whose parameters are no graph of the search space.
    pub unreadable: usize,
}

impl LeftOut {
    /// Those of a study.
    pub fn of(study: &StudyRecord) -> Self {
        // Those of workers that died were repeated.
        let failed = study.count(State::Fail).saturating_sub(study.repeated() + study.same_graphs());
        let unreadable = judged_to_an_end(study).filter(|(trial, ..)| study.genes(trial).is_err()).count();
        Self { failed, unreadable }
    }

    /// A sentence for each kind that there is.
    pub fn sentences(self) -> Vec<String> {
        let failed = "trials failed (diverged, for instance) and are not among all graphs.";
        let unreadable =
            "trials were judged, but their parameters are no graph of the search space: they are left out.";
        let counts = [(self.failed, failed), (self.unreadable, unreadable)];
        let there = counts.into_iter().filter(|(count, _)| *count > 0);
        there.map(|(count, words)| format!("{count} {words}")).collect()
    }
}

/// As [`StudyRecord::judged`], but without those that still run.
fn judged_to_an_end(study: &StudyRecord) -> impl Iterator<Item = (&Trial, i64, f64)> {
    // A paused trial was judged at its rung, and waits only for those that come after it.
    let is_over = |trial: &Trial| matches!(trial.state, State::Complete | State::Pruned) || trial.is_paused();
    study.judged().into_iter().filter(move |(trial, ..)| is_over(trial))
}
