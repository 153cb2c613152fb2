//! GELU and ReLU6 and their gradients, over all numbers.

mod reference;
mod support;

use ktg_kernels::Each;
use reference::activations::{erfc, gelu, gelu_slope};
use support::{all_levels, assert_within, bits, values, wide};

/// Zeros, subnormal numbers, the largest, infinities, NaN, and everything around the places where GELU bends, densely.
fn numbers() -> Vec<f32> {
    let special = [0.0, -0.0, f32::MIN_POSITIVE, 1e-45, 1e-40, 1e-20, 1e10, 1e19, 3e19, 1e38, f32::MAX];
    let dense = (-150_000..=150_000).map(|i| i as f32 * 1e-4);
    special.iter().flat_map(|x| [*x, -*x]).chain(dense).collect()
}

#[test]
fn the_reference_knows_the_error_function() {
    // Abramowitz & Stegun, table 7.1 and further digits.
    for (x, erf) in [(0.5, 0.520_499_877_813_046_5), (1.0, 0.842_700_792_949_714_9), (2.0, 0.995_322_265_018_952_7)] {
        assert!((1.0 - erfc(x) - erf).abs() < 1e-15 && (erfc(-x) - 1.0 - erf).abs() < 1e-15, "{x}");
    }
    assert!((erfc(3.0) / 2.209_049_699_858_544e-5 - 1.0).abs() < 1e-12);
    // Both ways, where they meet.
    assert!((erfc(2.5) / erfc(2.5f64.next_down()) - 1.0).abs() < 1e-11);
    for x in [-4.0, -1.0, -0.3, 0.0, 0.7, 2.0] {
        let numeric = (gelu(x + 1e-5) - gelu(x - 1e-5)) / 2e-5;
        assert!((numeric - gelu_slope(x)).abs() < 1e-9, "{x}");
    }
}

#[test]
fn gelu_of_all_numbers() {
    let x = numbers();
    for kernels in all_levels() {
        let mut y = vec![f32::NAN; x.len()];
        kernels.each(Each::Gelu, &mut y, &x).unwrap();
        let expected: Vec<f64> = wide(&x).into_iter().map(gelu).collect();
        // Rounding, and half of 1e-7 for the error function.
        assert_within(format_args!("{kernels:?}"), &y, &expected, |i| 1.2e-7 * f64::from(x[i]).abs() + 1e-45);
        assert_eq!(bits(&y[..2]), bits(&[0.0, -0.0]), "{kernels:?}");

        let mut dx = vec![1.0; x.len()];
        kernels.each(Each::GeluBackward, &mut dx, &x).unwrap();
        let expected: Vec<f64> = wide(&x).into_iter().map(gelu_slope).collect();
        assert_within(format_args!("gradient, {kernels:?}"), &dx, &expected, |_| 2e-7);

        // By the formula, 0 times infinity.
        let mut y = vec![1.0; 3];
        kernels.each(Each::Gelu, &mut y, &[f32::NAN, f32::INFINITY, f32::NEG_INFINITY]).unwrap();
        assert!(y[0].is_nan() && y[1] == f32::INFINITY && y[2].is_nan(), "{kernels:?} {y:?}");
        let mut dx = vec![1.0, 1.0, 1.0, f32::NAN];
        kernels.each(Each::GeluBackward, &mut dx, &[f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1.0]).unwrap();
        assert!(dx.iter().all(|dx| dx.is_nan()), "{kernels:?} {dx:?}");
    }
}

#[test]
fn a_value_does_not_depend_on_its_place() {
    let x: Vec<f32> = values(1, 100).iter().map(|x| 3.0 * x).collect();
    for kernels in all_levels() {
        for with in [Each::Gelu, Each::GeluBackward, Each::Relu6, Each::Relu6Backward] {
            let run = |x: &[f32]| {
                let mut to = vec![0.7; x.len()];
                kernels.each(with, &mut to, x).unwrap();
                to
            };
            let all = run(&x);
            for first in 0..40 {
                assert_eq!(bits(&run(&x[first..])), bits(&all[first..]), "{with:?} {kernels:?} from {first} on");
            }
        }
    }
}

#[test]
fn relu6_lets_pass_what_is_inside() {
    let x = [-0.0, 0.0, -1.0, 1e-45, 3.0, 5.9999995, 6.0, 6.0000005, 100.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN];
    for kernels in all_levels() {
        let mut y = vec![f32::NAN; x.len()];
        kernels.each(Each::Relu6, &mut y, &x).unwrap();
        assert_eq!(y[..11], [0.0, 0.0, 0.0, 1e-45, 3.0, 5.9999995, 6.0, 6.0, 6.0, 6.0, 0.0], "{kernels:?}");
        assert!(y[11].is_nan());
        let mut g = vec![2.0; x.len()];
        kernels.each(Each::Relu6Backward, &mut g, &y).unwrap();
        assert_eq!(g, [0.0, 0.0, 0.0, 2.0, 2.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 2.0], "{kernels:?}");
        // NaN in the gradient is blocked as any number.
        let mut g = vec![f32::NAN; 3];
        kernels.each(Each::Relu6Backward, &mut g, &[0.0, 6.0, 1.0]).unwrap();
        assert!(g[0] == 0.0 && g[1] == 0.0 && g[2].is_nan(), "{kernels:?}");
    }
}
