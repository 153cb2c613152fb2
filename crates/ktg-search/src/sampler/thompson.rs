//! Thompson sampling with a linear model of a graph's edges.

use std::collections::BTreeMap;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::evolution::mutate;
use super::observation::{Observation, Sampler};
use super::random::draw;
use crate::model::{Columns, Regression, Row, features};
use crate::space::{Genes, Space};

/// Thompson sampling (Thompson 1933; Russo et al., "A tutorial on Thompson sampling", 2018): a model is drawn from all
/// that the trials leave possible, and what would be best if it were true is tried next. The model is linear in the parts of
/// a graph (gates, edges, their terms and pairs of them), so a few trials say something about all graphs, and a lucky one says little.
#[derive(Clone, Copy, Debug)]
pub struct Thompson {
    /// Number of trials chosen at random before it learns. Default: 10.
    pub startup: usize,
    /// How far models are drawn from the most probable one, as a share of what is possible: with hundreds of parts, drawn
    /// models would otherwise be mostly chance. Default: 0.3.
    pub spread: f64,
    /// Number of random graphs among which the best is taken. Default: 200.
    pub random: usize,
    /// Number of graphs that differ in an edge from one of the best known, among which too. Default: 100.
    pub mutants: usize,
}

impl Default for Thompson {
    fn default() -> Self {
        Self { startup: 10, spread: 0.3, random: 200, mutants: 100 }
    }
}

/// As many of the best are changed.
const PARENTS: usize = 10;
/// So many complete trials tell how values at a step go with final ones.
const PAIRS: usize = 5;

impl Sampler for Thompson {
    fn propose(&mut self, space: &Space, history: &[Observation], rng: &mut ChaCha8Rng) -> Vec<Genes> {
        if history.len() < self.startup.max(2) {
            return vec![draw(space, rng)];
        }
        let Some(model) = Model::of(space, history) else { return vec![draw(space, rng)] };
        let normals: Vec<f64> = (0..model.regression.width()).map(|_| self.spread * normal(rng)).collect();
        let drawn = model.regression.draw(&normals);
        let mut candidates: Vec<Genes> = (0..self.random).map(|_| draw(space, rng)).collect();
        for _ in 0..self.mutants {
            let parent = &history[model.best[rng.random_range(0..model.best.len())]];
            let mut child = parent.genes.clone();
            mutate(space, &mut child, rng);
            candidates.push(child);
        }
        let score = |genes: Genes| {
            let columns = model.columns.values(&features(&space.graph(&genes)));
            (drawn.predict(&columns), genes)
        };
        let mut scored: Vec<(f64, Genes)> = candidates.into_iter().map(score).collect();
        scored.sort_by(|a, b| b.0.total_cmp(&a.0));
        scored.into_iter().map(|(_, genes)| genes).collect()
    }
}

/// What trials say about all graphs.
struct Model {
    columns: Columns,
    regression: Regression,
    /// The trials, by place in the history, whose graphs are the best according to the model.
    best: Vec<usize>,
}

impl Model {
    fn of(space: &Space, history: &[Observation]) -> Option<Self> {
        let graphs: Vec<BTreeMap<String, f64>> =
            history.iter().map(|trial| features(&space.graph(&trial.genes))).collect();
        let columns = Columns::of(&graphs);
        let mut rows: Vec<Row> = Vec::with_capacity(history.len());
        for ((value, weight), features) in final_values(history).into_iter().zip(&graphs) {
            rows.push(Row { columns: columns.values(features), value, weight });
        }
        to_normal_scores(&mut rows);
        let regression = Regression::fit(&rows)?;
        let mut best: Vec<usize> = (0..rows.len()).collect();
        let predicted: Vec<f64> = rows.iter().map(|row| regression.predict(&row.columns)).collect();
        best.sort_by(|a, b| predicted[*b].total_cmp(&predicted[*a]));
        best.truncate(PARENTS);
        Some(Self { columns, regression, best })
    }
}

/// Every trial's value after the whole training, as far as can be told, and how much that is worth: for a trial that was
/// stopped, a line through what complete trials had at its last step and at the end, and the share of the variance that it
/// explains.
fn final_values(history: &[Observation]) -> Vec<(f64, f64)> {
    let last = history.iter().map(|trial| trial.step).max().unwrap_or(0);
    let complete: Vec<&Observation> = history.iter().filter(|trial| trial.step == last).collect();
    let value = |trial: &Observation| {
        if trial.step == last {
            return (trial.value, 1.0);
        }
        let pair = |other: &&Observation| Some((*other.reports.get(&trial.step)?, other.value));
        let pairs: Vec<(f64, f64)> = complete.iter().filter_map(pair).filter(|(early, _)| early.is_finite()).collect();
        Line::through(&pairs).map_or((trial.value, 0.25), |line| (line.at(trial.value), line.explained.max(0.1)))
    };
    history.iter().map(value).collect()
}

/// A line by least squares.
struct Line {
    slope: f64,
    offset: f64,
    /// Share of the variance that it explains.
    explained: f64,
}

impl Line {
    /// `None` of few points, or where all are above one another.
    fn through(points: &[(f64, f64)]) -> Option<Self> {
        if points.len() < PAIRS {
            return None;
        }
        let n = points.len() as f64;
        let (x, y) = points.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0 / n, y + point.1 / n));
        let sum = |value: fn(f64, f64) -> f64| points.iter().map(|point| value(point.0 - x, point.1 - y)).sum::<f64>();
        let (xx, xy, yy) = (sum(|x, _| x * x), sum(|x, y| x * y), sum(|_, y| y * y));
        if xx <= 0.0 {
            return None;
        }
        // Who is better early is not worse in the end.
        let slope = (xy / xx).max(0.0);
        let explained = if yy > 0.0 { slope * xy / yy } else { 0.0 };
        Some(Self { slope, offset: y - slope * x, explained })
    }

    fn at(&self, x: f64) -> f64 {
        self.offset + self.slope * x
    }
}

/// Replaces values by what a normal distribution has at their places, so that a few very bad graphs do not bend the
/// model. Equal values share their places.
fn to_normal_scores(rows: &mut [Row]) {
    let mut sorted: Vec<f64> = rows.iter().map(|row| row.value).collect();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len() as f64;
    for row in rows {
        let below = sorted.partition_point(|other| other.total_cmp(&row.value).is_lt()) as f64;
        let to = sorted.partition_point(|other| other.total_cmp(&row.value).is_le()) as f64;
        row.value = normal_quantile((below + to) / 2.0 / n);
    }
}

/// The value below which this share of the standard normal distribution lies, to 5e-4 (Abramowitz and Stegun, 26.2.23).
fn normal_quantile(share: f64) -> f64 {
    let tail = share.min(1.0 - share).max(1e-12);
    let t = (-2.0 * tail.ln()).sqrt();
    let above = 2.515_517 + t * (0.802_853 + t * 0.010_328);
    let below = 1.0 + t * (1.432_788 + t * (0.189_269 + t * 0.001_308));
    (t - above / below).copysign(share - 0.5)
}

/// A standard normal number (Box and Muller).
fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
    radius * (std::f64::consts::TAU * rng.random::<f64>()).cos()
}

#[cfg(test)]
mod tests {
    use ktg_graph::{Graph, Node};
    use rand_chacha::rand_core::SeedableRng;

    use super::*;
    use crate::settings::SearchSettings;

    fn space(m: usize) -> Space {
        Space::new(&Graph::new(vec![Node::new("a"); m]), &SearchSettings::default()).unwrap()
    }

    #[test]
    fn quantiles_of_the_normal_distribution() {
        for (share, expected) in [(0.5, 0.0), (0.975, 1.96), (0.025, -1.96), (0.8413, 1.0), (0.001, -3.09)] {
            assert!((normal_quantile(share) - expected).abs() < 2e-3, "{share}: {}", normal_quantile(share));
        }
        let mut rows: Vec<Row> = [3.0, -1e9, 3.0, 7.0].map(|value| Row { columns: vec![], value, weight: 1.0 }).into();
        to_normal_scores(&mut rows);
        assert!(rows[1].value < rows[0].value && rows[0].value == rows[2].value && rows[2].value < rows[3].value);
        assert!((rows[1].value + rows[3].value).abs() < 1e-9, "bad ones are not far away");
    }

    #[test]
    fn it_learns_in_few_trials_what_is_good_in_a_noisy_space() {
        // Good is a label gate that is linear; luck is as large.
        let (space, mut rng) = (space(2), ChaCha8Rng::seed_from_u64(4));
        let linear = |genes: &Genes| -> f64 {
            let is_linear = |i: &usize| space.parameters()[*i].choices[genes[*i]] == "linear";
            (0..2).filter(is_linear).count() as f64
        };
        let mut history = Vec::new();
        for number in 0..40 {
            let genes = draw(&space, &mut rng);
            let value = linear(&genes) + normal(&mut rng);
            history.push(Observation::new(&space, number, genes, 1, value));
        }
        let mut sampler = Thompson::default();
        let found: f64 = (0..50).map(|_| linear(&sampler.propose(&space, &history, &mut rng)[0])).sum();
        // At random: 0.5 a graph.
        assert!(found / 50.0 > 0.9, "{}", found / 50.0);
    }

    #[test]
    fn a_stopped_trial_counts_as_what_complete_ones_became_from_there() {
        let space = space(2);
        let trial = |number: i64, reports: &[(i64, f64)]| {
            let (step, value) = *reports.last().unwrap();
            let observation = Observation::new(&space, number, vec![0; 6], step, value);
            Observation { reports: reports.iter().copied().collect(), ..observation }
        };
        let mut history: Vec<Observation> =
            (0..6).map(|i| trial(i, &[(1, i as f64), (4, 10.0 + 2.0 * i as f64)])).collect();
        history.push(trial(6, &[(1, -1.0)]));
        history.push(trial(7, &[(2, 3.0)]));
        let values = final_values(&history);
        assert!((values[6].0 - 8.0).abs() < 1e-9 && (values[6].1 - 1.0).abs() < 1e-9, "{:?}", values[6]);
        assert_eq!(values[7], (3.0, 0.25), "nobody was there at step 2");
        assert_eq!(values[0], (10.0, 1.0));
    }
}
