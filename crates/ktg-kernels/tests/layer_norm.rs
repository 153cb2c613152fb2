//! Layer norm and its gradients, and the formulas for these against finite differences.

mod reference;
mod support;

use ktg_kernels::{Affine, Kernels, NormGradients};
use proptest::prelude::*;
use reference::layer_norm::LayerNorm;
use reference::norm::Maps;
use support::{all_levels, assert_same, assert_within, largest, values, wide};

const EPSILON: f32 = 1e-6;

/// Forward, and backward both ways, which must agree: result, gradients of x, weight and bias.
fn run(kernels: Kernels, maps: Maps, x: &[f32], affine: Affine, gradient: &[f32]) -> [Vec<f32>; 4] {
    let unwritten = |len| vec![f32::NAN; len];
    let mut y = unwritten(x.len());
    kernels.layer_norm(&maps.shape(), x, affine, &mut y).unwrap();
    let [mut weight, mut bias] = [(); 2].map(|()| unwritten(maps.channels));
    let (mut result, mut dx) = (gradient.to_vec(), unwritten(x.len()));
    let gradients = NormGradients { result: &mut result, x: Some(&mut dx), weight: &mut weight, bias: &mut bias };
    kernels.layer_norm_backward(&maps.shape(), x, affine, gradients).unwrap();
    assert_same("a gradient that is only read", &result, gradient);
    let gradients = NormGradients { result: &mut result, x: None, weight: &mut weight, bias: &mut bias };
    kernels.layer_norm_backward(&maps.shape(), x, affine, gradients).unwrap();
    assert_same("in place", &result, &dx);
    [y, dx, weight, bias]
}

fn check(maps: Maps, x: &[f32], seed: u64) {
    let [weight, bias] = [1, 2].map(|i| values(seed ^ i, maps.channels));
    let gradient = values(seed ^ 3, maps.len());
    let norm = LayerNorm { maps, x: wide(x), weight: wide(&weight), bias: wide(&bias), epsilon: f64::from(EPSILON) };
    let (y, [dx, of_weight, of_bias]) = (norm.forward(), norm.backward(&wide(&gradient)));
    let (deviations, most) = (norm.deviations(), largest(&norm.x));
    // A normalized value is as exact as x divided by the deviation.
    let normalized = |i: usize| most / deviations[i] + 1.0;
    let least = deviations.iter().fold(f64::INFINITY, |least, d| d.min(least));
    let count = (maps.count() as f64).sqrt();
    for kernels in all_levels() {
        let what = |of: &str| format!("{of} of {maps:?} {kernels:?}");
        let found = run(kernels, maps, x, Affine { weight: &weight, bias: &bias, epsilon: EPSILON }, &gradient);
        assert_within(what("result"), &found[0], &y, |i| 2e-6 * normalized(i));
        assert_within(what("dx"), &found[1], &dx, |i| 5e-6 * normalized(i) / deviations[i] * (1.0 + normalized(i)));
        assert_within(what("of weight"), &found[2], &of_weight, |_| 5e-6 * count * (most / least + 1.0));
        assert_within(what("of bias"), &found[3], &of_bias, |_| 2e-6 * count);
    }
}

/// Few pixels, less than vectors, some vectors and a rest; so many values that images are cut.
fn maps() -> impl Strategy<Value = Maps> {
    let pixels = prop_oneof![(0u32..4).prop_map(|i| 1 << i), 1usize..40, 60usize..300];
    (1usize..=10, 1usize..=40, pixels).prop_map(|(batch, channels, pixels)| Maps { batch, channels, pixels })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_shapes_equal_the_reference(maps in maps(), seed: u64) {
        check(maps, &values(seed, maps.len()), seed);
    }
}

#[test]
fn maps_of_networks() {
    for (batch, channels, pixels) in
        [(1, 96, 3136), (2, 96, 1024), (3, 192, 65), (2, 384, 197), (9, 768, 49), (3, 768, 4), (17, 768, 1)]
    {
        let maps = Maps { batch, channels, pixels };
        check(maps, &values(5, maps.len()), 5);
    }
}

/// The difference of the mean of squares and the squared mean, 1e6 both, would leave nothing of a variance of 1.
#[test]
fn data_far_from_zero() {
    for (batch, channels, pixels) in [(2, 192, 37), (3, 769, 1), (2, 99, 4), (2, 5, 19)] {
        let maps = Maps { batch, channels, pixels };
        for offset in [1e3, -1e3] {
            let x: Vec<f32> = values(11, maps.len()).iter().map(|v| v * 3f32.sqrt() + offset).collect();
            check(maps, &x, 11);
        }
    }
}

/// Variance 0: the result is the bias, and no gradient reaches x but by rounding.
#[test]
fn constant_pixels() {
    for (channels, pixels) in [(1, 37), (1, 1), (64, 5), (64, 1)] {
        let maps = Maps { batch: 2, channels, pixels };
        let x = vec![0.25; maps.len()];
        let (weight, bias, gradient) = (values(1, channels), values(2, channels), values(3, maps.len()));
        for kernels in all_levels() {
            let affine = Affine { weight: &weight, bias: &bias, epsilon: EPSILON };
            let [y, ..] = run(kernels, maps, &x, affine, &gradient);
            let expected: Vec<f32> = (0..maps.len()).map(|i| bias[maps.channel(i)]).collect();
            assert_same(format_args!("{maps:?} {kernels:?}"), &y, &expected);
        }
    }
}

/// What is not finite spoils its pixel, and the channels' sums, and nothing else.
#[test]
fn special_values_stay_in_their_pixel() {
    for (channels, pixels) in [(21, 37), (21, 1), (21, 2), (21, 4)] {
        let maps = Maps { batch: 3, channels, pixels };
        let (x, gradient) = (values(1, maps.len()), values(2, maps.len()));
        let (weight, bias) = (values(3, channels), values(4, channels));
        let affine = Affine { weight: &weight, bias: &bias, epsilon: EPSILON };
        let pixel = |i: usize| (i / (channels * pixels), i % pixels);
        for kernels in all_levels() {
            let clean = run(kernels, maps, &x, affine, &gradient);
            for special in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                for place in [0, 5 * pixels, maps.len() - 1] {
                    let mut with_special = x.clone();
                    with_special[place] = special;
                    let found = run(kernels, maps, &with_special, affine, &gradient);
                    let same = |a: f32, b: f32| a.to_bits() == b.to_bits();
                    for i in 0..maps.len() {
                        for of in [0, 1] {
                            let (found, clean) = (found[of][i], clean[of][i]);
                            let fits = if pixel(i) == pixel(place) { found.is_nan() } else { same(found, clean) };
                            assert!(fits, "{of}, value {i} with {special} at {place}, {maps:?} {kernels:?}: {found}");
                        }
                    }
                    assert!(found[2].iter().all(|v| v.is_nan()), "{maps:?} {kernels:?}");
                    assert_same("the bias's gradient", &found[3], &clean[3]);
                }
            }
        }
    }
}

/// An image beside others is the image alone.
#[test]
fn images_do_not_depend_on_each_other() {
    for (channels, pixels) in [(196, 700), (768, 1), (57, 4), (192, 65)] {
        let [one, many] = [1, 11].map(|batch| Maps { batch, channels, pixels });
        let x = values(1, many.len());
        let (weight, bias) = (values(3, channels), values(4, channels));
        let affine = Affine { weight: &weight, bias: &bias, epsilon: EPSILON };
        for kernels in all_levels() {
            let mut all = vec![f32::NAN; many.len()];
            kernels.layer_norm(&many.shape(), &x, affine, &mut all).unwrap();
            for (x, expected) in x.chunks(one.len()).zip(all.chunks(one.len())) {
                let mut y = vec![f32::NAN; one.len()];
                kernels.layer_norm(&one.shape(), x, affine, &mut y).unwrap();
                assert_same(format_args!("{one:?} {kernels:?}"), &y, expected);
            }
        }
    }
}

#[test]
fn the_reference_gradients_are_finite_differences() {
    let maps = Maps { batch: 2, channels: 5, pixels: 3 };
    let gradient = wide(&values(4, maps.len()));
    let norm = LayerNorm {
        maps,
        x: wide(&values(1, maps.len())),
        weight: wide(&values(2, 5)),
        bias: wide(&values(3, 5)),
        epsilon: 1e-3,
    };
    let gradients = norm.backward(&gradient);
    let loss = |norm: &LayerNorm| norm.forward().iter().zip(&gradient).map(|(y, g)| y * g).sum::<f64>();
    let operands: [fn(&mut LayerNorm) -> &mut Vec<f64>; 3] = [|n| &mut n.x, |n| &mut n.weight, |n| &mut n.bias];
    for (operand, analytic) in operands.into_iter().zip(&gradients) {
        for (i, analytic) in analytic.iter().enumerate() {
            let moved = |by: f64| {
                let mut norm = norm.clone();
                operand(&mut norm)[i] += by;
                loss(&norm)
            };
            let numeric = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            assert!((numeric - analytic).abs() < 1e-7 * largest(&gradients[0]).max(1.0), "{i}: {analytic}, {numeric}");
        }
    }
}
