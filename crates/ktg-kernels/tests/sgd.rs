//! The optimiser against its definition, over several steps.

mod reference;
mod support;

use ktg_kernels::SgdStep;
use proptest::prelude::*;
use reference::sgd::sgd;
use support::{all_levels, assert_within, values, wide};

/// Five steps, the velocity carried on. Errors up to 1e-6: a few roundings of values about 1.
fn check(len: usize, [learning_rate, momentum, weight_decay]: [f32; 3], seed: u64) {
    for kernels in all_levels() {
        let mut parameters = values(seed, len);
        // The first step must not read the velocity, not even to multiply it by zero.
        let mut velocity = if momentum == 0.0 { vec![] } else { vec![f32::NAN; len] };
        let (mut expected, mut expected_velocity) = (wide(&parameters), vec![0.0; len]);
        for step in 0..5 {
            let gradient = values(seed ^ (step + 1), len);
            let settings = SgdStep { learning_rate, momentum, weight_decay, first: step == 0 };
            kernels.sgd(settings, &mut parameters, &gradient, &mut velocity).unwrap();
            sgd(settings, &mut expected, &wide(&gradient), &mut expected_velocity);
            let what = |v: &str| format!("{v} of {len} after step {step}, {settings:?} {kernels:?}");
            assert_within(what("parameters"), &parameters, &expected, |_| 1e-6);
            if momentum != 0.0 {
                assert_within(what("velocity"), &velocity, &expected_velocity, |_| 1e-6);
            }
        }
    }
}

/// Lengths around those of vectors and of the pieces that threads take.
#[test]
fn all_settings_and_lengths() {
    for momentum in [0.0, 0.9] {
        for weight_decay in [0.0, 5e-4, 0.1] {
            for len in [0, 1, 7, 8, 15, 16, 17, 33, 1000, 65_536, 65_537, 200_003] {
                check(len, [0.1, momentum, weight_decay], 31);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_settings(len in 0usize..5000, rate in 0.0f32..0.5, momentum in 0.0f32..0.99, decay in 0.0f32..0.2, seed: u64) {
        check(len, [rate, momentum, decay], seed);
    }
}

/// Exact in f32, by hand: w = 1, g = 0.5, decay 0.5 give d = 1; then v = 0.5 + 0.5 + 0.25.
#[test]
fn two_steps_by_hand() {
    for kernels in all_levels() {
        let (mut w, mut v) = ([1.0], [77.0]);
        let step = SgdStep { learning_rate: 0.5, momentum: 0.5, weight_decay: 0.5, first: true };
        kernels.sgd(step, &mut w, &[0.5], &mut v).unwrap();
        assert_eq!((w, v), ([0.5], [1.0]), "{kernels:?}");
        kernels.sgd(SgdStep { first: false, ..step }, &mut w, &[0.5], &mut v).unwrap();
        assert_eq!((w, v), ([-0.125], [1.25]), "{kernels:?}");
    }
}
