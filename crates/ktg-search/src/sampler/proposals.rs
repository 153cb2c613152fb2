//! From a sampler's choices to a graph that the study does not hold yet.

use ktg_graph::Graph;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::random::draw;
use super::{Observation, Sampler};
use crate::parameter::Parameter;
use crate::space::{Genes, Space};

/// A new graph.
#[derive(Clone, Debug, PartialEq)]
pub struct Proposed {
    /// Its choices.
    pub genes: Genes,
    /// Its canonical hash.
    pub hash: String,
}

/// So many times the sampler may propose known graphs before chance takes over.
const SAMPLER_ATTEMPTS: usize = 100;
/// So many random graphs may be known before the space is searched through.
const RANDOM_ATTEMPTS: usize = 5_000;
/// A space of so many combinations can be searched through.
const SMALL: f64 = 200_000.0;

/// What may be proposed.
pub struct Proposals<'a> {
    /// The space.
    pub space: &'a Space,
    /// Whether the study holds the graph of this hash.
    pub known: &'a dyn Fn(&str) -> bool,
    /// Whether a graph can be trained and is worth it.
    pub accepts: &'a dyn Fn(&Graph) -> bool,
}

impl Proposals<'_> {
    /// A graph from the sampler that may be proposed, or one at random if the sampler only has known ones. `None`: the
    /// study holds all graphs of the space (as far as that can be told of a large one).
    pub fn next(&self, sampler: &mut dyn Sampler, history: &[Observation], rng: &mut ChaCha8Rng) -> Option<Proposed> {
        let mut attempts = 0;
        while attempts < SAMPLER_ATTEMPTS {
            let candidates = sampler.propose(self.space, history, rng);
            attempts += candidates.len().max(1);
            if let Some(proposed) = candidates.into_iter().find_map(|genes| self.usable(genes)) {
                return Some(proposed);
            }
        }
        let random = (0..RANDOM_ATTEMPTS).find_map(|_| self.usable(draw(self.space, rng)));
        if random.is_some() {
            return random;
        }
        if self.space.combinations() > SMALL {
            return None;
        }
        let all = self.space.combinations() as usize;
        let start = rng.random_range(0..all);
        (0..all).find_map(|i| self.usable(self.combination((start + i) % all)))
    }

    fn usable(&self, genes: Genes) -> Option<Proposed> {
        let graph = self.space.graph(&genes);
        if !(self.accepts)(&graph) {
            return None;
        }
        let hash = graph.hash().to_string();
        (!(self.known)(&hash)).then_some(Proposed { genes, hash })
    }

    /// The combination of this number.
    fn combination(&self, mut number: usize) -> Genes {
        let digit = |parameter: &Parameter| {
            let choices = parameter.choices.len();
            let gene = number % choices;
            number /= choices;
            gene
        };
        self.space.parameters().iter().map(digit).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::HashSet;

    use ktg_graph::Node;
    use rand_chacha::rand_core::SeedableRng;

    use super::super::Random;
    use super::*;
    use crate::settings::SearchSettings;

    #[test]
    fn every_graph_of_a_small_space_is_proposed_once() {
        let space = Space::new(&Graph::new(vec![Node::new("a"); 2]), &SearchSettings::default()).unwrap();
        let known = RefCell::new(HashSet::new());
        let trained = |graph: &Graph| (0..2).all(|node| graph.is_trained(node));
        let proposals = Proposals { space: &space, known: &|hash| known.borrow().contains(hash), accepts: &trained };
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        while let Some(proposed) = proposals.next(&mut Random, &[], &mut rng) {
            assert!(known.borrow_mut().insert(proposed.hash));
        }
        // 3 label gates and 19 transfers each, without untrained nodes, up to the exchange of the nodes (SPEC 8).
        assert_eq!(known.borrow().len(), (56 * 56 + 56) / 2);
    }
}
