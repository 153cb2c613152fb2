//! Random search: what the thesis does.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::{Observation, Sampler};
use crate::space::{Genes, Space};

/// Makes every choice independently and with equal probability.
#[derive(Clone, Copy, Debug, Default)]
pub struct Random;

impl Sampler for Random {
    fn propose(&mut self, space: &Space, _: &[Observation], rng: &mut ChaCha8Rng) -> Vec<Genes> {
        vec![draw(space, rng)]
    }

    fn learns(&self) -> bool {
        false
    }
}

/// Any choices.
pub(crate) fn draw(space: &Space, rng: &mut ChaCha8Rng) -> Genes {
    space.parameters().iter().map(|parameter| rng.random_range(0..parameter.choices.len())).collect()
}
