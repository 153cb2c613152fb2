//! Regularised evolution over graphs.

use std::collections::BTreeSet;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::observation::{Observation, Sampler, by_rank};
use super::random::draw;
use crate::parameter::{Parameter, ParameterKind, Slot};
use crate::space::{Genes, Space};

/// Regularised evolution (Real et al., "Regularized Evolution for Image Classifier Architecture Search", AAAI 2019):
/// the population is the youngest trials, a parent is the best of a random sample of them, and its child differs in one
/// edge. With some probability the child first takes all that some nodes learn from over from a second parent.
///
/// Parents are judged by how far they got and how good they were there, so pruned trials are part of the population.
#[derive(Clone, Copy, Debug)]
pub struct Evolution {
    /// Number of youngest trials that are the population. Default: 50.
    pub population: usize,
    /// Number of them that compete to be a parent. Default: 10.
    pub sample: usize,
    /// Number of trials chosen at random before evolution starts. Default: 20.
    pub startup: usize,
    /// Probability of a second parent. Default: 0.3.
    pub crossover: f64,
}

impl Default for Evolution {
    fn default() -> Self {
        Self { population: 50, sample: 10, startup: 20, crossover: 0.3 }
    }
}

impl Sampler for Evolution {
    fn propose(&mut self, space: &Space, history: &[Observation], rng: &mut ChaCha8Rng) -> Vec<Genes> {
        if history.len() < self.startup.max(1) {
            return vec![draw(space, rng)];
        }
        let population = &history[history.len().saturating_sub(self.population)..];
        let mut child = self.parent(population, rng).genes.clone();
        if rng.random_bool(self.crossover) {
            let other = &self.parent(population, rng).genes;
            cross(space, &mut child, other, rng);
        }
        mutate(space, &mut child, rng);
        vec![child]
    }
}

impl Evolution {
    /// The best of a random sample, with replacement.
    fn parent<'a>(&self, population: &'a [Observation], rng: &mut ChaCha8Rng) -> &'a Observation {
        let first = &population[rng.random_range(0..population.len())];
        (1..self.sample)
            .map(|_| &population[rng.random_range(0..population.len())])
            .fold(first, |best, other| if by_rank(&best, &other).is_lt() { other } else { best })
    }
}

/// Takes all genes of some nodes, at least one, from the other parent.
fn cross(space: &Space, child: &mut Genes, other: &Genes, rng: &mut ChaCha8Rng) {
    let certain = rng.random_range(0..space.nodes());
    let taken: Vec<bool> = (0..space.nodes()).map(|node| node == certain || rng.random_bool(0.5)).collect();
    for ((gene, parameter), other) in child.iter_mut().zip(space.parameters()).zip(other) {
        if taken[parameter.slot.target] {
            *gene = *other;
        }
    }
}

/// An edge or an architecture: what one mutation changes.
fn part(parameter: &Parameter) -> Slot {
    match parameter.slot.kind {
        ParameterKind::Design => Slot { kind: ParameterKind::Gate, ..parameter.slot },
        _ => parameter.slot,
    }
}

/// Changes one edge or architecture: one of its genes gets another value, and if that leaves a transfer edge cut, or
/// opens it, the design is drawn anew.
pub(super) fn mutate(space: &Space, genes: &mut Genes, rng: &mut ChaCha8Rng) {
    let parts: BTreeSet<Slot> = space.parameters().iter().map(part).collect();
    let Some(chosen) = parts.iter().nth(rng.random_range(0..parts.len())) else { return };
    let before = space.relevant(genes);
    let mutable = |i: &usize| part(&space.parameters()[*i]) == *chosen && before[*i].is_some();
    let candidates: Vec<usize> = (0..genes.len()).filter(mutable).collect();
    let Some(&i) = candidates.get(rng.random_range(0..candidates.len().max(1))) else { return };
    let choices = space.parameters()[i].choices.len();
    genes[i] = (genes[i] + rng.random_range(1..choices)) % choices;
    for (j, relevant) in before.iter().enumerate() {
        if part(&space.parameters()[j]) == *chosen && relevant.is_none() {
            genes[j] = rng.random_range(0..space.parameters()[j].choices.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use ktg_graph::{Graph, Node};
    use rand_chacha::rand_core::SeedableRng;

    use super::*;
    use crate::settings::SearchSettings;

    fn space() -> Space {
        Space::new(&Graph::new(vec![Node::new("a"); 3]), &SearchSettings::default()).unwrap()
    }

    #[test]
    fn a_mutation_changes_one_edge_only() {
        let (space, mut rng) = (space(), ChaCha8Rng::seed_from_u64(1));
        for _ in 0..1000 {
            let parent = draw(&space, &mut rng);
            let mut child = parent.clone();
            mutate(&space, &mut child, &mut rng);
            let changed: BTreeSet<Slot> =
                (0..parent.len()).filter(|i| parent[*i] != child[*i]).map(|i| part(&space.parameters()[i])).collect();
            assert_eq!(changed.len(), 1, "{parent:?} {child:?}");
        }
    }

    #[test]
    fn the_population_is_the_youngest_and_the_best_of_it_breeds() {
        let (space, mut rng) = (space(), ChaCha8Rng::seed_from_u64(2));
        let trial = |number, gene, value| Observation::new(&space, number, vec![gene; 15], 1, value);
        // The best of all is too old; of the young ones, the last is best.
        let mut history: Vec<_> = (0..30).map(|n| trial(n, 1, 0.9)).collect();
        history.extend((30..34).map(|n| trial(n, 2, 0.1 + n as f64 / 1000.0)));
        history.push(trial(34, 3, 0.5));
        let mut evolution = Evolution { population: 5, sample: 50, startup: 5, crossover: 0.0 };
        let child = &evolution.propose(&space, &history, &mut rng)[0];
        assert!(child.iter().filter(|gene| **gene == 3).count() >= 13, "{child:?}");
    }

    #[test]
    fn crossover_takes_whole_nodes() {
        let (space, mut rng) = (space(), ChaCha8Rng::seed_from_u64(3));
        for _ in 0..100 {
            let mut child = vec![0; 15];
            cross(&space, &mut child, &vec![1; 15], &mut rng);
            for node in 0..3 {
                let of_node = (0..15).filter(|i| space.parameters()[*i].slot.target == node);
                let genes: BTreeSet<usize> = of_node.map(|i| child[i]).collect();
                assert_eq!(genes.len(), 1);
            }
            assert!(child.contains(&1));
        }
    }
}
