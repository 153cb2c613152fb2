//! Samplers: which graph to try next, given all that were tried.

mod evolution;
mod observation;
mod proposals;
mod random;
mod thompson;
mod tpe;

pub use evolution::Evolution;
pub use observation::{Observation, Sampler};
pub use proposals::{Proposals, Proposed};
pub use random::Random;
pub(crate) use random::draw;
pub use thompson::Thompson;
pub use tpe::Tpe;

use crate::settings::SamplerKind;

/// The sampler of that name, with its default settings.
pub fn by_kind(kind: SamplerKind) -> Box<dyn Sampler> {
    match kind {
        SamplerKind::Random => Box::new(Random),
        SamplerKind::Tpe => Box::new(Tpe::default()),
        SamplerKind::Evolution => Box::new(Evolution::default()),
        SamplerKind::Model => Box::new(Thompson::default()),
    }
}
