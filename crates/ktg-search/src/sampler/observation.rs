//! What samplers learn from, and what a sampler is.

use std::collections::BTreeMap;

use ktg_base::random::ChaCha8Rng;

use crate::space::{Genes, Space};

/// How far a trial got, and how good it was there.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// Its number in the study.
    pub number: i64,
    /// Its choices.
    pub genes: Genes,
    /// Those of them that matter, see [`Space::relevant`].
    pub relevant: Vec<Option<usize>>,
    /// The last epoch at which it was judged.
    pub step: i64,
    /// The value then; larger is better, never NaN.
    pub value: f64,
    /// All that it reported, by step.
    pub reports: BTreeMap<i64, f64>,
}

impl Observation {
    /// Of a trial's choices, made in `space`.
    pub fn new(space: &Space, number: i64, genes: Genes, step: i64, value: f64) -> Self {
        Self { number, relevant: space.relevant(&genes), genes, step, value, reports: BTreeMap::new() }
    }
}

/// Chooses graphs.
pub trait Sampler: Send {
    /// Choices for a new trial, the best first; there is at least one. `history` is in the order of the trials' numbers.
    fn propose(&mut self, space: &Space, history: &[Observation], rng: &mut ChaCha8Rng) -> Vec<Genes>;

    /// Whether it looks at the history at all.
    fn learns(&self) -> bool {
        true
    }
}

/// Orders observations from worst to best: by how far a trial got, then by its value, since with successive halving who
/// got further was better before; of equal ones, the older is better.
pub(super) fn by_rank(a: &&Observation, b: &&Observation) -> std::cmp::Ordering {
    a.step.cmp(&b.step).then(a.value.total_cmp(&b.value)).then(b.number.cmp(&a.number))
}
