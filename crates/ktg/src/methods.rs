//! Runs of the same graph summed up as one method, in the form of the thesis' table 1.

use ktg_figures::stats::{Paired, summary};
use ktg_graph::Graph;
use ktg_report::compare::{Group, network};
use ktg_train::Measures;
use ktg_train::measures::PairMeasures;
use serde::Serialize;

use crate::output::{number, table};

/// Below this p, a difference counts as found;
const ALPHA: f64 = 0.05;
/// and this is how likely enough seeds find one that is there.
const POWER: f64 = 0.8;

/// Mean and sample standard deviation over runs.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Spread {
    pub mean: f64,
    /// None of a single run.
    pub std: Option<f64>,
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let values: Vec<f64> = values.collect();
        match summary(&values) {
            Some(summary) => Self { mean: summary.mean, std: summary.deviation },
            None => Self { mean: f64::NAN, std: None },
        }
    }

    /// "71.41 ± 0.34"; a single run has no deviation.
    fn text(self) -> String {
        match self.std {
            Some(std) => format!("{:.2} ± {std:.2}", self.mean),
            None => format!("{:.2}", self.mean),
        }
    }
}

/// A method: one graph, trained once or more often. Accuracies are top-1 in percent.
#[derive(Clone, Debug, Serialize)]
pub struct Method {
    pub name: String,
    /// Number of network nodes.
    pub nodes: usize,
    /// Such as "abn-resnet-cifar-8 x 3".
    pub network: String,
    pub runs: usize,
    pub node_average: Spread,
    pub ensemble: Spread,
    /// Ensemble minus node average, run by run.
    pub gain: Spread,
    pub ensemble_nll: Spread,
    pub ensemble_ece: Spread,
    /// Mean over pairs; absent for a single network.
    pub disagreement: Option<Spread>,
    pub probability_cosine: Option<Spread>,
    pub attention_cosine: Option<Spread>,
    /// Everything, per run.
    pub measures: Vec<Measures>,
}

impl Method {
    /// Sums up the finished runs of a group of a comparison.
    pub fn of(group: &Group) -> Self {
        let measures = group.finished().into_iter().map(|(_, result)| result.measures.clone());
        Self::new(&group.method, &group.graph, measures.collect())
    }

    /// Sums up runs of `graph`.
    pub fn new(name: &str, graph: &Graph, measures: Vec<Measures>) -> Self {
        let spread = |value: fn(&Measures) -> f64| Spread::of(measures.iter().map(value));
        let pairs = |value: fn(&PairMeasures) -> Option<f64>| {
            let means: Option<Vec<f64>> = measures.iter().map(|measures| measures.pair_mean(value)).collect();
            means.map(|means| Spread::of(means.into_iter()))
        };
        Self {
            name: name.to_owned(),
            nodes: graph.len(),
            network: network(graph),
            runs: measures.len(),
            node_average: spread(|m| m.node_average.top1),
            ensemble: spread(|m| m.ensemble.accuracy.top1),
            gain: spread(|m| m.ensemble.accuracy.top1 - m.node_average.top1),
            ensemble_nll: spread(|m| m.ensemble.nll),
            ensemble_ece: spread(|m| m.ensemble.ece),
            disagreement: pairs(|p| Some(p.disagreement)),
            probability_cosine: pairs(|p| Some(p.probability_cosine)),
            attention_cosine: pairs(|p| p.attention_cosine),
            measures,
        }
    }
}

/// A difference in a sentence, and how many seeds would show it where these do not.
pub fn difference_in_words(name: &str, other: &str, difference: &Paired) -> String {
    let Paired { n, mean, deviation, interval, p } = difference;
    let p_in_words = p.map_or("no p: all differences are the same".to_owned(), |p| format!("p = {p:.3}"));
    let mut text = format!(
        "{name} minus {other}, {n} seeds: {mean:+.2} ± {deviation:.2} points (95 % interval {:+.2} to {:+.2}, {p_in_words})",
        interval.low, interval.high
    );
    if p.is_some_and(|p| p >= ALPHA) {
        text += &match difference.pairs_needed(ALPHA, POWER) {
            Some(pairs) => format!("; were it truly so large, about {pairs} seeds would show it"),
            None => "; no number of seeds that anybody trains would show it".to_owned(),
        };
    }
    text
}

/// The thesis' table 1, with the ensemble's gain, and a second table of what lies behind it.
pub fn tables(methods: &[Method]) -> String {
    let accuracy = |method: &Method| {
        let spreads = [method.node_average, method.ensemble, method.gain].map(Spread::text);
        [method.name.clone(), method.network.clone()].into_iter().chain(spreads)
    };
    let diversity = |method: &Method| {
        let pairs = [method.disagreement, method.probability_cosine, method.attention_cosine];
        let pairs = pairs.map(|spread| number(spread.map(|spread| spread.mean), 3));
        let calibration = format!("{:.3} / {:.3}", method.ensemble_nll.mean, method.ensemble_ece.mean);
        [method.name.clone()].into_iter().chain(pairs).chain([calibration])
    };
    let accuracy_head = ["method", "network", "node average [%]", "ensemble [%]", "gain"];
    let diversity_head = ["method", "disagreement", "prob. cosine", "attention cosine", "NLL / ECE"];
    let accuracy = table(accuracy_head, methods.iter().map(accuracy));
    format!("{accuracy}\n\n{}", table(diversity_head, methods.iter().map(diversity)))
}
