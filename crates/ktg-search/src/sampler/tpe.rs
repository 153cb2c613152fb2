//! The tree-structured Parzen estimator for graphs.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::observation::{Observation, Sampler, by_rank};
use super::random::draw;
use crate::parameter::Parameter;
use crate::space::{Genes, Space};

/// The most numberings of the nodes under which a trial counts: all for M up to 3.
const NUMBERINGS: usize = 6;

/// Tree-structured Parzen estimator (Bergstra et al., "Algorithms for Hyper-Parameter Optimization", NeurIPS 2011), for
/// choices, in the multivariate form: one density l over the good trials, one g over the others, and of several draws
/// from l the one with the largest l/g.
///
/// The densities are Optuna's (a mixture with one component a trial, which has a little probability for all other
/// choices, and a uniform one; old trials weigh as much as young ones), but they know what a graph is: the design of a cut edge is no choice, and renumbering
/// the nodes gives the same graph, so every trial counts under all numberings (up to six, which are all for three nodes).
#[derive(Clone, Copy, Debug)]
pub struct Tpe {
    /// Number of trials chosen at random before it learns. Default: 20.
    pub startup: usize,
    /// Number of draws. Default: 24.
    pub candidates: usize,
    /// Share of good trials. Default: 0.1.
    pub good: f64,
    /// The most good trials. Default: 25.
    pub most_good: usize,
}

impl Default for Tpe {
    fn default() -> Self {
        Self { startup: 20, candidates: 24, good: 0.1, most_good: 25 }
    }
}

impl Sampler for Tpe {
    fn propose(&mut self, space: &Space, history: &[Observation], rng: &mut ChaCha8Rng) -> Vec<Genes> {
        if history.len() < self.startup.max(2) {
            return vec![draw(space, rng)];
        }
        let mut ranked: Vec<&Observation> = history.iter().collect();
        ranked.sort_by(by_rank);
        let good = ((self.good * history.len() as f64).ceil() as usize).clamp(1, self.most_good);
        let (others, good) = ranked.split_at(history.len() - good);
        let moves = renumberings(space);
        let (good, others) = (Density::new(space, good, &moves), Density::new(space, others, &moves));
        let candidate = |_| {
            let genes = good.draw(rng);
            let relevant = space.relevant(&genes);
            (good.logarithm(&relevant) - others.logarithm(&relevant), genes)
        };
        let mut candidates: Vec<(f64, Genes)> = (0..self.candidates.max(1)).map(candidate).collect();
        candidates.sort_by(|a, b| b.0.total_cmp(&a.0));
        candidates.into_iter().map(|(_, genes)| genes).collect()
    }
}

/// Ways to renumber the nodes that keep the space, as moves of genes; the first moves nothing.
fn renumberings(space: &Space) -> Vec<Vec<usize>> {
    let orders: Vec<Vec<usize>> = match space.nodes() {
        3 => [[0, 1, 2], [0, 2, 1], [2, 0, 1], [1, 0, 2], [1, 2, 0], [2, 1, 0]].map(Vec::from).to_vec(),
        // All orders of fewer; of more, the rotations, so that every node is in every place once.
        m => (0..m.min(NUMBERINGS)).map(|by| (0..m).map(|node| (node + by) % m).collect()).collect(),
    };
    orders.iter().filter_map(|order| space.renumbering(order)).collect()
}

/// A mixture of one product of distributions for every trial and numbering, and a uniform one.
struct Density<'a> {
    space: &'a Space,
    /// Of each component, its own choice of every parameter: 0 if it does not matter there, else the choice plus 1.
    centres: Vec<u8>,
    /// The weight of the uniform component, and of every choice in a component beside the 1 of its own choice.
    prior: f64,
}

impl<'a> Density<'a> {
    fn new(space: &'a Space, trials: &[&Observation], moves: &[Vec<usize>]) -> Self {
        let parameters = space.parameters().len();
        let mut centres = vec![0; trials.len() * moves.len() * parameters];
        let places = trials.iter().flat_map(|trial| moves.iter().map(move |moves| (trial, moves)));
        for (centre, (trial, moves)) in centres.chunks_exact_mut(parameters).zip(places) {
            for (to, gene) in moves.iter().zip(&trial.relevant) {
                // No parameter has hundreds of choices; were there one, its last would count as one.
                centre[*to] = gene.map_or(0, |gene| u8::try_from(gene + 1).unwrap_or(u8::MAX));
            }
        }
        // Optuna: each of n components and the uniform one has prior weight 1 / (n + 1) for every choice beside the 1
        // of its own choice, and weighs 1 / (n + 1).
        let n = trials.len() as f64;
        Self { space, centres, prior: 1.0 / (n + 1.0) }
    }

    fn components(&self) -> std::slice::ChunksExact<'_, u8> {
        self.centres.chunks_exact(self.space.parameters().len())
    }

    fn draw(&self, rng: &mut ChaCha8Rng) -> Genes {
        let components = self.components().len();
        let centre = match components == 0 || rng.random_bool(self.prior) {
            true => None,
            false => self.components().nth(rng.random_range(0..components)),
        };
        let draw = |(i, parameter): (usize, &Parameter)| {
            let choices = parameter.choices.len();
            match centre.and_then(|centre| usize::from(centre[i]).checked_sub(1)) {
                Some(own) if rng.random_bool(1.0 / (1.0 + self.prior * choices as f64)) => own,
                _ => rng.random_range(0..choices),
            }
        };
        self.space.parameters().iter().enumerate().map(draw).collect()
    }

    /// Log-probability of the choices that matter.
    fn logarithm(&self, genes: &[Option<usize>]) -> f64 {
        // Of each of these, the probability of its choice in a component, by the component's own choice.
        let tables: Vec<(usize, Vec<f64>)> = (self.space.parameters().iter().zip(genes).enumerate())
            .filter_map(|(i, (parameter, gene))| {
                let (gene, choices) = ((*gene)?, parameter.choices.len());
                let probability = |own| {
                    let own = f64::from(u8::from(own == gene));
                    (own + self.prior) / (1.0 + self.prior * choices as f64)
                };
                let table = std::iter::once(1.0 / choices as f64).chain((0..choices).map(probability)).collect();
                Some((i, table))
            })
            .collect();
        let component =
            |centre: &[u8]| -> f64 { tables.iter().map(|(i, table)| table[usize::from(centre[*i])]).product() };
        let own: f64 = self.components().map(component).sum::<f64>() / self.components().len().max(1) as f64;
        let uniform: f64 = tables.iter().map(|(_, table)| table[0]).product();
        (self.prior * uniform + (1.0 - self.prior) * own).ln()
    }
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

    fn trial(space: &Space, number: i64, genes: Genes, value: f64) -> Observation {
        Observation::new(space, number, genes, 1, value)
    }

    #[test]
    fn numberings_are_all_orders_of_three_nodes_and_start_with_the_given_one() {
        for (m, count) in [(1, 1), (2, 2), (3, 6), (4, 4), (5, 5)] {
            let moves = renumberings(&space(m));
            assert_eq!(moves.len(), count);
            let unmoved: Vec<usize> = (0..space(m).parameters().len()).collect();
            assert_eq!(moves[0], unmoved);
            let different: std::collections::BTreeSet<_> = moves.into_iter().collect();
            assert_eq!(different.len(), count);
        }
    }

    #[test]
    fn densities_sum_to_one() {
        let space = space(1);
        let trials = [trial(&space, 0, vec![1], 0.0), trial(&space, 1, vec![2], 0.0)];
        let density = Density::new(&space, &trials.each_ref(), &renumberings(&space));
        let sum: f64 = (0..4).map(|gene| density.logarithm(&[Some(gene)]).exp()).sum();
        assert!((sum - 1.0).abs() < 1e-12, "{sum}");
        // Optuna's estimator: rows (1/3 [+ 1]) / (4/3 + 1) and 1/4, a third each.
        let expected = ((1.0 + 1.0 / 3.0) / (1.0 + 4.0 / 3.0) + (1.0 / 3.0) / (1.0 + 4.0 / 3.0) + 0.25) / 3.0;
        assert!((density.logarithm(&[Some(1)]).exp() - expected).abs() < 1e-12);
    }

    #[test]
    fn it_learns_which_choices_are_good() {
        // Good is: label gate 1 linear, or, renumbered, label gate 2 linear.
        let (space, mut rng) = (space(2), ChaCha8Rng::seed_from_u64(4));
        let linear = space.parameters()[0].choices.iter().position(|c| c == "linear").unwrap();
        let mut history = Vec::new();
        for number in 0..100 {
            let genes = draw(&space, &mut rng);
            let value = f64::from(u8::from(genes[0] == linear)) + number as f64 * 1e-6;
            history.push(trial(&space, number, genes, value));
        }
        let mut tpe = Tpe::default();
        let hits = (0..100).filter(|_| {
            let genes = &tpe.propose(&space, &history, &mut rng)[0];
            genes[0] == linear || genes[1] == linear
        });
        // At random: 1 - (3/4)^2 = 44 of 100.
        assert!(hits.count() > 85);
    }

    #[test]
    fn trials_that_got_further_are_better() {
        let space = space(1);
        let near = trial(&space, 0, vec![0], 0.9);
        let far = Observation { step: 2, ..trial(&space, 1, vec![0], 0.1) };
        assert!(by_rank(&&near, &&far).is_lt());
    }
}
