//! Samplers: which graph to try next, given all that were tried.

mod evolution;
mod proposals;
mod random;
mod tpe;

use rand_chacha::ChaCha8Rng;

pub use evolution::Evolution;
pub use proposals::{Proposals, Proposed};
pub use random::Random;
pub use tpe::Tpe;

use crate::settings::SamplerKind;
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
}

impl Observation {
    /// Of a trial's choices, made in `space`.
    pub fn new(space: &Space, number: i64, genes: Genes, step: i64, value: f64) -> Self {
        Self { number, relevant: space.relevant(&genes), genes, step, value }
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

/// The sampler of that name, with its default settings.
pub fn by_kind(kind: SamplerKind) -> Box<dyn Sampler> {
    match kind {
        SamplerKind::Random => Box::new(Random),
        SamplerKind::Tpe => Box::new(Tpe::default()),
        SamplerKind::Evolution => Box::new(Evolution::default()),
    }
}

/// Orders observations from worst to best: by how far a trial got, then by its value, since with successive halving who
/// got further was better before; of equal ones, the older is better.
fn by_rank(a: &&Observation, b: &&Observation) -> std::cmp::Ordering {
    a.step.cmp(&b.step).then(a.value.total_cmp(&b.value)).then(b.number.cmp(&a.number))
}
