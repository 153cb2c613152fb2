//! Random decisions within a network.

use ktg_base::random::{keyed, unit};
use ktg_net::Rate;

/// What the random decisions of a training step follow from, in one network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Draws {
    /// Another one for each seed, step and node.
    pub key: u64,
    /// Number of the first image, where the batch is a part of a larger one.
    pub first: usize,
}

impl Draws {
    /// What stochastic depth multiplies each of so many images with, at a layer: 0 with a probability of `rate`, else `1 / (1 - rate)`.
    /// It is a function of key, layer and the image's number.
    pub(crate) fn path_factors(self, rate: Rate, layer: usize, count: usize) -> Vec<f32> {
        let rate = rate.get();
        let is_dropped = |image: usize| {
            let number = (self.first + image) as u64;
            unit(&mut keyed([self.key, layer as u64, number, 0])) < rate
        };
        (0..count).map(|image| if is_dropped(image) { 0.0 } else { (1.0 / (1.0 - rate)) as f32 }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_dropped_as_often_as_said_and_follow_from_their_numbers() {
        let rate = Rate::new(0.3);
        let all = Draws { key: 5, first: 0 }.path_factors(rate, 7, 4000);
        let dropped = all.iter().filter(|factor| **factor == 0.0).count();
        // Four standard deviations.
        assert!((dropped as f64 - 1200.0).abs() < 4.0 * (4000.0 * 0.3 * 0.7f64).sqrt(), "{dropped}");
        assert!(all.iter().all(|factor| *factor == 0.0 || *factor == (1.0 / 0.7) as f32));
        assert_eq!(Draws { key: 5, first: 100 }.path_factors(rate, 7, 50), all[100..150]);
        assert_ne!(Draws { key: 6, first: 0 }.path_factors(rate, 7, 4000), all);
        assert_ne!(Draws { key: 5, first: 0 }.path_factors(rate, 8, 4000), all);
    }
}
