//! Scaling of losses, for gradients that are computed in half precision.

use ktg_net::{Array, StateDict};

use crate::{LOSS_SCALE, OptimizerState};

/// The factor on a node's gradients on their way back through 16-bit numbers, whose small ones would vanish without
/// (Micikevicius et al. 2018), with the rules of `torch.amp.GradScaler`: halved after every step whose gradients
/// overflow, which then moves nothing but the statistics; doubled after 2000 steps without.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LossScale {
    /// A power of two.
    pub factor: f32,
    /// Steps since it was changed.
    pub steps: u32,
    /// Steps that moved nothing.
    pub skipped: u32,
}

impl Default for LossScale {
    fn default() -> Self {
        Self { factor: 65536.0, steps: 0, skipped: 0 }
    }
}

impl LossScale {
    const NAME: &str = "factor_steps_skipped";
    const GROWTH_STEPS: u32 = 2000;
    /// 2^127.
    const LARGEST: f32 = f32::from_bits(254 << 23);
    /// 2^-24, with which hardly anything can overflow.
    const SMALLEST: f32 = f32::from_bits((127 - 24) << 23);

    /// After a step whose gradients were finite, or not. `false`: it cannot be made smaller, which means that
    /// something else is wrong than the scale.
    pub fn update(&mut self, is_finite: bool) -> bool {
        let Self { factor, steps, skipped } = self;
        (*factor, *steps) = match is_finite {
            true if *steps + 1 == Self::GROWTH_STEPS => ((*factor * 2.0).min(Self::LARGEST), 0),
            true => (*factor, *steps + 1),
            false => (*factor / 2.0, 0),
        };
        *skipped += u32::from(!is_finite);
        *factor >= Self::SMALLEST
    }

    /// As arrays of an optimizer.
    pub fn to_dict(self) -> StateDict {
        let data = vec![self.factor, self.steps as f32, self.skipped as f32];
        StateDict::from([(Self::NAME.to_owned(), Array { shape: vec![3], data })])
    }

    /// What [`to_dict`](Self::to_dict) gave, if there is one and it is sound.
    pub fn of_state(state: &OptimizerState) -> Option<Self> {
        match state.get(LOSS_SCALE)?.get(Self::NAME)?.data[..] {
            [factor, steps, skipped]
                if factor > 0.0
                    && factor.is_finite()
                    && (0.0..Self::GROWTH_STEPS as f32).contains(&steps)
                    && skipped >= 0.0 =>
            {
                Some(Self { factor, steps: steps as u32, skipped: skipped as u32 })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_halves_and_doubles_as_pytorchs() {
        let mut scale = LossScale::default();
        assert!(scale.update(false) && scale.update(false));
        assert_eq!(scale, LossScale { factor: 16384.0, steps: 0, skipped: 2 });
        (0..1999).for_each(|_| assert!(scale.update(true)));
        assert_eq!(scale, LossScale { factor: 16384.0, steps: 1999, skipped: 2 });
        assert!(scale.update(true));
        assert_eq!(scale, LossScale { factor: 32768.0, steps: 0, skipped: 2 });
        assert!((0..39).all(|_| scale.update(false)), "down to 2^-24");
        assert!(!scale.update(false));
    }

    #[test]
    fn it_comes_back_from_a_checkpoint() {
        let scale = LossScale { factor: 0.5, steps: 1234, skipped: 17 };
        let state = OptimizerState::from([(LOSS_SCALE.to_owned(), scale.to_dict())]);
        assert_eq!(LossScale::of_state(&state), Some(scale));
        assert_eq!(LossScale::of_state(&OptimizerState::new()), None);
    }
}
