//! The tree-structured Parzen estimator for graphs.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::random::draw;
use super::{Observation, Sampler, by_rank};
use crate::space::{Genes, Space};

/// Tree-structured Parzen estimator (Bergstra et al., "Algorithms for Hyper-Parameter Optimization", NeurIPS 2011), for
/// choices, in the multivariate form: one density l over the good trials, one g over the others, and of several draws
/// from l the one with the largest l/g.
///
/// The densities are Optuna's (a mixture with one component a trial, which has a little probability for all other
/// choices, and a uniform one), but they know what a graph is: the design of a cut edge is no choice, and renumbering
/// the nodes gives the same graph, so every trial counts under all numberings (up to [`Tpe::NUMBERINGS`]).
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

impl Tpe {
    /// The most numberings of the nodes under which a trial counts: all for M up to 3.
    pub const NUMBERINGS: usize = 6;
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
    let mut orders = vec![vec![]];
    // All orders for few nodes; of more, the rotations, so that every node is in every place once.
    if space.nodes() <= 3 {
        for node in 0..space.nodes() {
            orders = orders
                .iter()
                .flat_map(|order: &Vec<usize>| {
                    (0..=node).rev().map(move |at| {
                        let mut order = order.clone();
                        order.insert(at, node);
                        order
                    })
                })
                .collect();
        }
    } else {
        let m = space.nodes();
        orders = (0..m.min(Tpe::NUMBERINGS)).map(|by| (0..m).map(|node| (node + by) % m).collect()).collect();
    }
    orders.iter().filter_map(|order| space.renumbering(order)).collect()
}

/// A mixture of one product of distributions for every trial and numbering, and a uniform one.
struct Density<'a> {
    space: &'a Space,
    /// `None`: does not matter there.
    centres: Vec<Vec<Option<usize>>>,
    /// The probability, within a component, that is spread over all choices.
    spread: f64,
    /// The uniform component's weight.
    uniform: f64,
}

impl<'a> Density<'a> {
    fn new(space: &'a Space, trials: &[&Observation], moves: &[Vec<usize>]) -> Self {
        let mut centres = Vec::new();
        for trial in trials {
            let relevant = space.relevant(&trial.genes);
            for moved in moves {
                let mut centre = vec![None; relevant.len()];
                moved.iter().zip(&relevant).for_each(|(to, gene)| centre[*to] = *gene);
                centres.push(centre);
            }
        }
        // Optuna: each of n components and the uniform one has prior weight 1 / (n + 1) for every choice beside the 1
        // of its own choice, and weighs 1 / (n + 1).
        let n = trials.len() as f64;
        Self { space, centres, spread: 1.0 / (n + 1.0), uniform: 1.0 / (n + 1.0) }
    }

    /// The probability of choice `gene` of `choices` in a component.
    fn probability(&self, centre: Option<usize>, gene: usize, choices: usize) -> f64 {
        match centre {
            None => 1.0 / choices as f64,
            Some(own) => (f64::from(u8::from(own == gene)) + self.spread) / (1.0 + self.spread * choices as f64),
        }
    }

    fn draw(&self, rng: &mut ChaCha8Rng) -> Genes {
        let centre = match self.centres.is_empty() || rng.random_bool(self.uniform) {
            true => None,
            false => Some(&self.centres[rng.random_range(0..self.centres.len())]),
        };
        let draw = |(i, parameter): (usize, &crate::space::Parameter)| {
            let choices = parameter.choices.len();
            match centre.and_then(|centre| centre[i]) {
                Some(own) if rng.random_bool(1.0 / (1.0 + self.spread * choices as f64)) => own,
                _ => rng.random_range(0..choices),
            }
        };
        self.space.parameters().iter().enumerate().map(draw).collect()
    }

    fn logarithm(&self, genes: &[Option<usize>]) -> f64 {
        let component = |centre: Option<&Vec<Option<usize>>>| -> f64 {
            let parameters = self.space.parameters().iter().zip(genes).enumerate();
            let matters = parameters.filter_map(|(i, (parameter, gene))| Some((i, parameter.choices.len(), (*gene)?)));
            matters
                .map(|(i, choices, gene)| self.probability(centre.and_then(|centre| centre[i]), gene, choices))
                .product()
        };
        let own: f64 = self.centres.iter().map(|centre| component(Some(centre))).sum();
        let own = if self.centres.is_empty() { 0.0 } else { own / self.centres.len() as f64 };
        let uniform = component(None);
        (self.uniform * uniform + (1.0 - self.uniform) * own).ln()
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

    fn trial(number: i64, genes: Genes, value: f64) -> Observation {
        Observation { number, genes, step: 1, value }
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
        let trials = [trial(0, vec![1], 0.0), trial(1, vec![2], 0.0)];
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
            history.push(trial(number, genes, value));
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
        let (near, far) =
            (Observation { step: 1, ..trial(0, vec![], 0.9) }, Observation { step: 2, ..trial(1, vec![], 0.1) });
        assert!(by_rank(&&near, &&far).is_lt());
        assert_eq!(near.rank(), (1, 0.9));
    }
}
