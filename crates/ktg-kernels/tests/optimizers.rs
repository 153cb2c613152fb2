//! The optimisers against their definitions, over several steps.

mod reference;
mod support;

use ktg_kernels::{AdamWStep, SgdStep};
use proptest::prelude::*;
use reference::optimizers::{adamw, sgd};
use support::{all_levels, assert_within, values, wide};

const STEP: SgdStep =
    SgdStep { learning_rate: 0.1, momentum: 0.9, nesterov: false, weight_decay: 5e-4, scale: 1.0, first: true };

const ADAMW: AdamWStep =
    AdamWStep { learning_rate: 0.1, betas: [0.9, 0.999], epsilon: 1e-8, weight_decay: 0.01, scale: 1.0, number: 1 };

/// Lengths around those of vectors and of the pieces that threads take.
const LENGTHS: [usize; 12] = [0, 1, 7, 8, 15, 16, 17, 33, 1000, 65_536, 65_537, 200_003];

/// Five steps, the velocity carried on. Errors up to 1e-6: a few roundings of values about 1.
fn check(len: usize, step: SgdStep, seed: u64) {
    for kernels in all_levels() {
        let mut parameters = values(seed, len);
        // The first step must not read the velocity, not even to multiply it by zero.
        let mut velocity = if step.momentum == 0.0 { vec![] } else { vec![f32::NAN; len] };
        let (mut expected, mut expected_velocity) = (wide(&parameters), vec![0.0; len]);
        for number in 0..5 {
            let gradient = values(seed ^ (number + 1), len);
            let settings = SgdStep { first: number == 0, ..step };
            kernels.sgd(settings, &mut parameters, &gradient, &mut velocity).unwrap();
            sgd(settings, &mut expected, &wide(&gradient), &mut expected_velocity);
            let what = |v: &str| format!("{v} of {len} after step {number}, {settings:?} {kernels:?}");
            assert_within(what("parameters"), &parameters, &expected, |_| 1e-6);
            if step.momentum != 0.0 {
                assert_within(what("velocity"), &velocity, &expected_velocity, |_| 1e-6);
            }
        }
    }
}

/// Five steps, the moments carried on. A step is at most a few learning rates large, which bounds its error.
fn check_adamw(len: usize, step: AdamWStep, seed: u64) {
    for kernels in all_levels() {
        let mut parameters = values(seed, len);
        let (mut mean, mut square) = (vec![0.0; len], vec![0.0; len]);
        let (mut expected, mut expected_moments) = (wide(&parameters), [vec![0.0; len], vec![0.0; len]]);
        for number in 1..=5 {
            let gradient = values(seed ^ number, len);
            let settings = AdamWStep { number, ..step };
            kernels.adamw(settings, &mut parameters, &gradient, &mut mean, &mut square).unwrap();
            adamw(settings, &mut expected, &wide(&gradient), &mut expected_moments);
            let what = |v: &str| format!("{v} of {len} after step {number}, {settings:?} {kernels:?}");
            assert_within(what("parameters"), &parameters, &expected, |_| 1e-5);
            assert_within(what("mean"), &mean, &expected_moments[0], |_| 1e-6);
            assert_within(what("square"), &square, &expected_moments[1], |_| 1e-6);
        }
    }
}

#[test]
fn all_settings_and_lengths() {
    for (momentum, nesterov) in [(0.0, false), (0.9, false), (0.9, true)] {
        for (weight_decay, scale) in [(0.0, 1.0), (5e-4, 0.25), (0.1, 1.0)] {
            for len in LENGTHS {
                check(len, SgdStep { momentum, nesterov, weight_decay, scale, ..STEP }, 31);
            }
        }
    }
}

#[test]
fn adamw_of_all_settings_and_lengths() {
    for (betas, epsilon) in [([0.9, 0.999], 1e-8), ([0.5, 0.95], 1e-3)] {
        for (weight_decay, scale) in [(0.0, 1.0), (0.05, 0.25), (0.5, 1.0)] {
            for len in LENGTHS {
                check_adamw(len, AdamWStep { betas, epsilon, weight_decay, scale, ..ADAMW }, 31);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_settings(
        len in 0usize..5000,
        learning_rate in 0.0f32..0.5,
        momentum in 0.0f32..0.99,
        nesterov: bool,
        weight_decay in 0.0f32..0.2,
        scale in 0.0f32..1.0,
        seed: u64,
    ) {
        check(len, SgdStep { learning_rate, momentum, nesterov, weight_decay, scale, ..STEP }, seed);
    }

    #[test]
    fn random_settings_of_adamw(
        len in 0usize..5000,
        learning_rate in 0.0f64..0.5,
        beta1 in 0.0f64..0.99,
        weight_decay in 0.0f64..0.2,
        scale in 0.01f32..1.0,
        seed: u64,
    ) {
        check_adamw(len, AdamWStep { learning_rate, betas: [beta1, 0.99], weight_decay, scale, ..ADAMW }, seed);
    }
}

/// Exact in f32, by hand: w = 1, g = 0.5, decay 0.5 give d = 1; then v = 0.5 + 0.5 + 0.25.
#[test]
fn two_steps_by_hand() {
    for kernels in all_levels() {
        let (mut w, mut v) = ([1.0], [77.0]);
        let step = SgdStep { learning_rate: 0.5, momentum: 0.5, weight_decay: 0.5, ..STEP };
        kernels.sgd(step, &mut w, &[0.5], &mut v).unwrap();
        assert_eq!((w, v), ([0.5], [1.0]), "{kernels:?}");
        kernels.sgd(SgdStep { first: false, ..step }, &mut w, &[0.5], &mut v).unwrap();
        assert_eq!((w, v), ([-0.125], [1.25]), "{kernels:?}");
    }
}

/// By hand: w = 1, g = 4 scaled to 2; the first step of AdamW is one learning rate against the gradient's sign.
#[test]
fn the_first_step_of_adamw_by_hand() {
    for kernels in all_levels() {
        let (mut w, mut m, mut v) = ([1.0], [0.0], [0.0]);
        let step = AdamWStep { learning_rate: 0.25, betas: [0.5, 0.75], weight_decay: 0.5, scale: 0.5, ..ADAMW };
        kernels.adamw(step, &mut w, &[4.0], &mut m, &mut v).unwrap();
        // 1 - 0.125 - 0.25 * (1 / 0.5) / (sqrt(1) / sqrt(0.25) + 1e-8) = 0.875 - 0.25
        assert_eq!((w, m, v), ([0.625], [1.0], [1.0]), "{kernels:?}");
    }
}
