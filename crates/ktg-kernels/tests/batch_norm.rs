//! Batch norm in all combinations, its gradients, and the formulas for these against finite differences.

mod reference;
mod support;

use ktg_kernels::{Affine, BackwardPass, Fused, Kernels, Statistics};
use proptest::prelude::*;
use reference::norm::{Maps, Moments, Norm};
use support::{Returning, all_levels, assert_within, largest, values, wide};

/// Largest error relative to the terms that are added up.
const BOUND: f64 = 1e-5;
const EPSILON: f32 = 1e-5;

/// One way to call batch norm.
#[derive(Clone, Copy, Debug)]
struct Mode {
    training: bool,
    residual: bool,
    relu: bool,
}

const MODES: [Mode; 8] = {
    let mut modes = [Mode { training: false, residual: false, relu: false }; 8];
    let mut i = 0;
    while i < 8 {
        modes[i] = Mode { training: i & 1 != 0, residual: i & 2 != 0, relu: i & 4 != 0 };
        i += 1;
    }
    modes
};

/// Everything that the operations may want, as f32.
struct Arguments {
    x: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
    mean: Vec<f32>,
    variance: Vec<f32>,
    residual: Vec<f32>,
    gradient: Vec<f32>,
}

impl Arguments {
    fn random(maps: Maps, seed: u64) -> Self {
        Self::around(values(seed, maps.len()), maps, seed)
    }

    /// Random, but for x.
    fn around(x: Vec<f32>, maps: Maps, seed: u64) -> Self {
        Self {
            x,
            weight: values(seed ^ 1, maps.channels),
            bias: values(seed ^ 2, maps.channels),
            mean: values(seed ^ 3, maps.channels),
            variance: values(seed ^ 4, maps.channels).iter().map(|v| v.abs() + 0.1).collect(),
            residual: values(seed ^ 5, maps.len()),
            gradient: values(seed ^ 6, maps.len()),
        }
    }

    /// The same in double precision.
    fn norm(&self, maps: Maps, mode: Mode) -> Norm {
        Norm {
            maps,
            x: wide(&self.x),
            weight: wide(&self.weight),
            bias: wide(&self.bias),
            epsilon: f64::from(EPSILON),
            given: (!mode.training).then(|| Moments { mean: wide(&self.mean), variance: wide(&self.variance) }),
            residual: mode.residual.then(|| wide(&self.residual)),
            relu: mode.relu,
        }
    }
}

/// Forward and backward with one level, both compared with the reference.
fn check(kernels: Kernels, maps: Maps, mode: Mode, arguments: &Arguments) {
    let what = |result: &str| format!("{result} of {maps:?} {mode:?} {kernels:?}");
    let Arguments { x, weight, bias, mean, variance, residual, gradient } = arguments;
    let shape = maps.shape();
    let norm = arguments.norm(maps, mode);
    let moments = norm.moments();
    let deviations: Vec<f64> = moments.variance.iter().map(|v| (v + norm.epsilon).sqrt()).collect();
    let count = (maps.count() as f64).sqrt();

    // x - mean loses what x and the mean have in common, and the division by a small deviation makes this matter: a
    // normalised value is as exact as x divided by the deviation.
    let mut largest_x = vec![0.0; maps.channels];
    norm.x.chunks(maps.pixels).enumerate().for_each(|(plane, x)| {
        let most: &mut f64 = &mut largest_x[plane % maps.channels];
        *most = largest(x).max(*most);
    });
    let normalised: Vec<f64> =
        (0..maps.channels).map(|c| (largest_x[c] + moments.mean[c].abs()) / deviations[c] + 1.0).collect();

    let affine = Affine { weight, bias, epsilon: EPSILON };
    let fused = Fused { residual: mode.residual.then_some(residual), relu: mode.relu };
    let (output, used) = if mode.training {
        let result = kernels.norm_train(&shape, x, affine, fused).unwrap();
        assert_within(what("the mean"), &result.mean, &moments.mean, |c| BOUND * largest_x[c]);
        assert_within(what("the variance"), &result.variance, &moments.variance, |c| {
            // A constant channel's variance may come out as the rounding of its values.
            BOUND * moments.variance[c] + (1e-6 * largest_x[c]).powi(2)
        });
        (result.output, (result.mean, result.variance))
    } else {
        let statistics = Statistics { mean, variance };
        let output = kernels.norm_inference(&shape, x, affine, statistics, fused).unwrap();
        (output, (mean.clone(), variance.clone()))
    };
    assert_within(what("the output"), &output, &norm.forward(), |i| {
        let c = maps.channel(i);
        BOUND * (norm.weight[c].abs() * normalised[c] + norm.bias[c].abs() + 1.0)
    });

    let pass = BackwardPass {
        x,
        weight,
        epsilon: EPSILON,
        statistics: Statistics { mean: &used.0, variance: &used.1 },
        from_batch: mode.training,
        relu_output: mode.relu.then_some(&output),
    };
    let found = kernels.norm_backward(&shape, &pass, gradient, mode.residual).unwrap();
    let expected = norm.backward(&wide(&output), &wide(gradient));
    // Sums of `count` values of either sign are about as large as its root.
    assert_within(what("the bias's gradient"), &found.bias, &expected.bias, |_| BOUND * count);
    assert_within(what("the weight's gradient"), &found.weight, &expected.weight, |c| BOUND * count * normalised[c]);
    assert_within(what("the input's gradient"), &found.x, &expected.x, |i| {
        let c = maps.channel(i);
        BOUND * norm.weight[c].abs() / deviations[c] * normalised[c]
    });
    assert_eq!(found.residual.is_some(), mode.residual, "{}", what("the residual's gradient"));
    if let Some(found) = found.residual {
        assert_within(what("the residual's gradient"), &found, &expected.residual, |_| 0.0);
    }
}

fn check_all(maps: Maps, arguments: &Arguments) {
    for kernels in all_levels() {
        for mode in MODES {
            check(kernels, maps, mode, arguments);
        }
    }
}

/// Shapes whose planes are shorter than a vector, a few vectors and a rest, one value a channel.
fn maps() -> impl Strategy<Value = Maps> {
    let pixels = prop_oneof![1usize..40, (1usize..=20, 1usize..=20).prop_map(|(h, w)| h * w)];
    (1usize..=5, 1usize..=40, pixels).prop_map(|(batch, channels, pixels)| Maps { batch, channels, pixels })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_shapes_equal_the_reference(maps in maps(), seed: u64) {
        check_all(maps, &Arguments::random(maps, seed));
    }
}

#[test]
fn maps_of_large_networks() {
    for (channels, side) in [(64, 112), (64, 56), (512, 7)] {
        let maps = Maps { batch: 2, channels, pixels: side * side };
        check_all(maps, &Arguments::random(maps, 5));
    }
}

/// The difference of the mean of squares and the squared mean, 1e6 both, would leave nothing of a variance of 1.
#[test]
fn data_far_from_zero() {
    for (batch, pixels) in [(4, 196), (2, 3136), (64, 1)] {
        for offset in [1e3, -1e3] {
            let maps = Maps { batch, channels: 9, pixels };
            // Uniform in +-sqrt(3): standard deviation 1.
            let x = values(11, maps.len()).iter().map(|v| v * 3f32.sqrt() + offset).collect();
            check_all(maps, &Arguments::around(x, maps, 11));
        }
    }
}

/// A first value (a black border, say) far from all others must not spoil the variance of implementations that measure
/// from there.
#[test]
fn a_first_value_far_from_the_others() {
    for far in [30.0, -1e3] {
        let maps = Maps { batch: 4, channels: 9, pixels: 3136 };
        let mut x = values(13, maps.len());
        x.iter_mut().step_by(maps.pixels).take(maps.channels).for_each(|x| *x = far);
        let reference = Moments::of(maps, &wide(&x));
        let [weight, bias] = [[1.0; 9], [0.0; 9]];
        for kernels in all_levels() {
            let affine = Affine { weight: &weight, bias: &bias, epsilon: EPSILON };
            let found = kernels.norm_train(&maps.shape(), &x, affine, Fused::default()).unwrap();
            let what = format!("the variance with a first value of {far}, {kernels:?}");
            assert_within(what, &found.variance, &reference.variance, |c| 1e-4 * reference.variance[c]);
        }
    }
}

/// Variance 0: the output is the bias, and no gradient reaches x.
#[test]
fn one_value_a_channel() {
    let maps = Maps { batch: 1, channels: 37, pixels: 1 };
    let arguments = Arguments::random(maps, 17);
    check_all(maps, &arguments);
    let Arguments { x, weight, bias, .. } = &arguments;
    for kernels in all_levels() {
        let affine = Affine { weight, bias, epsilon: EPSILON };
        let result = kernels.norm_train(&maps.shape(), x, affine, Fused::default()).unwrap();
        assert_eq!(result.mean, *x, "{kernels:?}");
        assert_eq!(result.variance, [0.0; 37], "{kernels:?}");
        assert_eq!(result.output, *bias, "{kernels:?}");
    }
}

#[test]
fn constant_channels() {
    for value in [0.0, 0.1, -1e3] {
        let maps = Maps { batch: 3, channels: 5, pixels: 49 };
        check_all(maps, &Arguments::around(vec![value; maps.len()], maps, 19));
    }
}

/// The reference's own gradients against central differences: the loss is the sum of outputs times the gradient.
#[test]
fn the_reference_gradients_are_finite_differences() {
    let maps = Maps { batch: 2, channels: 3, pixels: 7 };
    let arguments = Arguments::random(maps, 23);
    let gradient = wide(&arguments.gradient);
    for mode in MODES {
        let norm = arguments.norm(maps, mode);
        let output = norm.forward();
        if mode.relu {
            let before = Norm { relu: false, ..norm.clone() }.forward();
            assert!(before.iter().all(|v| v.abs() > 1e-3), "differences would cross the ReLU's corner: another seed");
            assert!(before.iter().any(|v| *v < 0.0) && before.iter().any(|v| *v > 0.0), "a ReLU that does something");
        }
        let gradients = norm.backward(&output, &gradient);
        let loss = |norm: &Norm| norm.forward().iter().zip(&gradient).map(|(y, g)| y * g).sum::<f64>();
        let compare = |what: &str, analytic: &[f64], operand: fn(&mut Norm) -> &mut Vec<f64>| {
            for (i, analytic) in analytic.iter().enumerate() {
                let h = 1e-5;
                let moved = |by: f64| {
                    let mut norm = norm.clone();
                    operand(&mut norm)[i] += by;
                    loss(&norm)
                };
                let numeric = (moved(h) - moved(-h)) / (2.0 * h);
                let scale = largest(&gradients.x).max(1.0);
                assert!((numeric - analytic).abs() < 1e-7 * scale, "{mode:?}, {what} {i}: {analytic} is {numeric}");
            }
        };
        compare("x", &gradients.x, |norm| &mut norm.x);
        compare("weight", &gradients.weight, |norm| &mut norm.weight);
        compare("bias", &gradients.bias, |norm| &mut norm.bias);
        if mode.residual {
            compare("residual", &gradients.residual, |norm| norm.residual.as_mut().unwrap());
        }
    }
}
