//! Layer norm, GELU, scales and biases of channels in bf16, against their definitions in double precision, of numbers that are bf16.

mod reference;
mod support;

use ktg_kernels::{Affine, Bf16, EachBf16, Kernels, NormGradients};
use proptest::prelude::*;
use reference::activations::{gelu, gelu_slope};
use reference::layer_norm::LayerNorm;
use reference::norm::Maps;
use support::bf16::{assert_rounded, last, on_any_threads, planes, rounded, unwritten};
use support::{all_levels, assert_same, assert_within, bits, largest, values, wide};

const EPSILON: f32 = 1e-6;

/// Several tasks, periods of channels that are no whole vectors, and less than a vector.
const MAPS: [Maps; 9] = [
    Maps { batch: 3, channels: 7, pixels: 37 },
    Maps { batch: 2, channels: 1, pixels: 1 },
    Maps { batch: 1, channels: 1, pixels: 81 },
    Maps { batch: 5, channels: 33, pixels: 1 },
    Maps { batch: 2, channels: 3, pixels: 20 },
    Maps { batch: 3, channels: 17, pixels: 4100 },
    Maps { batch: 2, channels: 64, pixels: 1000 },
    Maps { batch: 3, channels: 96, pixels: 49 },
    Maps { batch: 1, channels: 768, pixels: 150 },
];

/// Result and gradients of a layer norm.
#[derive(PartialEq)]
struct Normalized {
    y: Vec<Bf16>,
    dx: Vec<Bf16>,
    of_weight: Vec<u32>,
    of_bias: Vec<u32>,
}

impl Normalized {
    /// The gradient of x both ways, which must agree.
    fn new(kernels: Kernels, maps: Maps, x: &[Bf16], affine: Affine, gradient: &[Bf16]) -> Self {
        let (mut y, mut dx, mut result) = (unwritten(x.len()), unwritten(x.len()), gradient.to_vec());
        let [mut weight, mut bias] = [(); 2].map(|()| vec![f32::NAN; maps.channels]);
        kernels.layer_norm_bf16(&maps.shape(), x, affine, &mut y).unwrap();
        let gradients = NormGradients { result: &mut result, x: Some(&mut dx), weight: &mut weight, bias: &mut bias };
        kernels.layer_norm_backward_bf16(&maps.shape(), x, affine, gradients).unwrap();
        assert!(result == gradient, "a gradient that is only read");
        let gradients = NormGradients { result: &mut result, x: None, weight: &mut weight, bias: &mut bias };
        kernels.layer_norm_backward_bf16(&maps.shape(), x, affine, gradients).unwrap();
        assert!(result == dx, "in place");
        Self { y, dx, of_weight: bits(&weight), of_bias: bits(&bias) }
    }
}

fn floats(bits: &[u32]) -> Vec<f32> {
    bits.iter().copied().map(f32::from_bits).collect()
}

/// With x around `mean`, some deviations away from zero.
fn check_layer_norm(maps: Maps, seed: u64, mean: f32) {
    let (shape, count) = (maps.shape(), (maps.count() as f64).sqrt());
    let x = rounded(values(seed, maps.len()).iter().map(|x| x + mean).collect());
    let gradient = rounded(values(seed ^ 1, maps.len()));
    let [weight, bias] = [2, 3].map(|i| values(seed ^ i, maps.channels));
    let norm = LayerNorm { maps, x: wide(&x), weight: wide(&weight), bias: wide(&bias), epsilon: f64::from(EPSILON) };
    let (y, [dx, of_weight, of_bias]) = (norm.forward(), norm.backward(&wide(&gradient)));
    let (deviations, most) = (norm.deviations(), largest(&norm.x));
    // A normalized value is as exact as x divided by the deviation.
    let normalized = |i: usize| most / deviations[i] + 1.0;
    let least = deviations.iter().fold(f64::INFINITY, |least, d| d.min(least));
    let affine = Affine { weight: &weight, bias: &bias, epsilon: EPSILON };
    let (x, gradient) = (last(&shape, &x), last(&shape, &gradient));
    for kernels in all_levels() {
        let what = |of: &str| format!("{of} of {maps:?} around {mean} {kernels:?}");
        let found = on_any_threads(what("something"), || Normalized::new(kernels, maps, &x, affine, &gradient));
        assert_rounded(what("result"), &planes(&shape, &found.y), &y, |i| 2e-6 * normalized(i));
        let of_x = |i: usize| 5e-6 * normalized(i) / deviations[i] * (1.0 + normalized(i));
        assert_rounded(what("dx"), &planes(&shape, &found.dx), &dx, of_x);
        let of_sums = 5e-6 * count * (most / least + 1.0);
        assert_within(what("of weight"), &floats(&found.of_weight), &of_weight, |_| of_sums);
        assert_within(what("of bias"), &floats(&found.of_bias), &of_bias, |_| 2e-6 * count);
    }
}

fn maps() -> impl Strategy<Value = Maps> {
    (1usize..=10, 1usize..=70, 1usize..=100).prop_map(|(batch, channels, pixels)| Maps { batch, channels, pixels })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn layer_norms_of_random_shapes_equal_the_reference(maps in maps(), seed: u64) {
        check_layer_norm(maps, seed, 0.0);
    }
}

#[test]
fn layer_norms() {
    for maps in MAPS {
        check_layer_norm(maps, 5, 0.0);
        // Of such numbers, bf16 knows a few only.
        check_layer_norm(maps, 6, 40.0);
    }
}

/// Variance 0: the result is the bias, however large the numbers are.
#[test]
fn layer_norms_of_constant_pixels() {
    for (channels, value) in [(1, 0.25), (64, 0.25), (17, 1e38), (96, -3.0), (3, 1.0)] {
        let maps = Maps { batch: 2, channels, pixels: 5 };
        let value = Bf16::from_f32(value / 64.0);
        let (x, gradient) = (vec![value; maps.len()], last(&maps.shape(), &values(3, maps.len())));
        let (weight, bias) = (values(1, channels), values(2, channels));
        let affine = Affine { weight: &weight, bias: &bias, epsilon: EPSILON };
        for kernels in all_levels() {
            let found = Normalized::new(kernels, maps, &x, affine, &gradient);
            // What the rounded mean is off, the deviation of 1e-3 makes larger.
            let expected: Vec<f64> = (0..maps.len()).map(|i| f64::from(bias[maps.channel(i)])).collect();
            let off = 1e3 * f64::from(value.to_f32().abs()) * 1e-7;
            if off < 1.0 {
                let what = format!("{maps:?} {kernels:?}");
                assert_rounded(what, &planes(&maps.shape(), &found.y), &expected, |_| off + 1e-6);
            }
            assert!(floats(&found.of_weight).iter().all(|v| v.is_finite()), "{maps:?} {kernels:?}");
        }
    }
}

/// What is not finite spoils its pixel, and the channels' sums, and nothing else.
#[test]
fn special_values_stay_in_their_pixel() {
    let maps = Maps { batch: 3, channels: 21, pixels: 37 };
    let shape = maps.shape();
    let (x, gradient) = (values(1, maps.len()), last(&shape, &values(2, maps.len())));
    let (weight, bias) = (values(3, 21), values(4, 21));
    let affine = Affine { weight: &weight, bias: &bias, epsilon: EPSILON };
    let pixel = |i: usize| (i / (21 * 37), i % 37);
    for kernels in all_levels() {
        let run = |x: &[f32]| Normalized::new(kernels, maps, &last(&shape, x), affine, &gradient);
        let clean = run(&x);
        for (special, place) in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY]
            .into_iter()
            .flat_map(|special| [0, 5 * 37, maps.len() - 1].map(|place| (special, place)))
        {
            let mut with_special = x.clone();
            with_special[place] = special;
            let found = run(&with_special);
            for (found, clean) in [(&found.y, &clean.y), (&found.dx, &clean.dx)] {
                let [found, clean] = [found, clean].map(|maps| planes(&shape, maps));
                for i in 0..maps.len() {
                    let fits = if pixel(i) == pixel(place) { found[i].is_nan() } else { found[i] == clean[i] };
                    assert!(fits, "value {i} with {special} at {place}, {kernels:?}: {}", found[i]);
                }
            }
            assert!(floats(&found.of_weight).iter().all(|v| v.is_nan()), "{kernels:?}");
            assert!(found.of_bias == clean.of_bias, "{kernels:?}: the bias's gradient");
        }
    }
}

/// All numbers there are, NaN and infinities among them.
#[test]
fn gelu_of_all_numbers() {
    let x: Vec<Bf16> = (0..=u16::MAX).map(Bf16::from_bits).collect();
    // The last number has less than a vector's neighbors.
    let x = [&x[..], &x[..7]].concat();
    let x32: Vec<f32> = x.iter().map(|x| x.to_f32()).collect();
    let each = |kernels: Kernels, with, to: f32| -> Vec<f32> {
        let found = on_any_threads(format_args!("{with:?} {kernels:?}"), || {
            let mut to = vec![Bf16::from_f32(to); x.len()];
            kernels.each_bf16(with, &mut to, &x).unwrap();
            // As bits, since NaN is no equal of itself.
            to.iter().map(|x| x.to_bits()).collect::<Vec<u16>>()
        });
        found.into_iter().map(|bits| Bf16::from_bits(bits).to_f32()).collect()
    };
    for kernels in all_levels() {
        let (y, dx) = (each(kernels, EachBf16::Gelu, 0.0), each(kernels, EachBf16::GeluBackward, 1.0));
        for (i, x) in x32.iter().enumerate() {
            let what = format!("{x}, {kernels:?}");
            if x.is_finite() {
                let (wide, size) = (f64::from(*x), f64::from(x.abs()));
                // Subnormal numbers become zeros.
                let limit = |_| 1.2e-7 * size + 1.2e-38;
                assert_rounded(&what, &y[i..=i], &[gelu(wide)], limit);
                assert_rounded(&what, &dx[i..=i], &[gelu_slope(wide)], |_| 2e-7);
            } else {
                // By the formula, 0 times infinity.
                assert!(if *x == f32::INFINITY { y[i] == *x } else { y[i].is_nan() }, "{what}: {}", y[i]);
                assert!(dx[i].is_nan(), "{what}: {}", dx[i]);
            }
        }
        assert!(each(kernels, EachBf16::GeluBackward, f32::NAN).iter().all(|dx| dx.is_nan()), "{kernels:?}");
    }
}

#[test]
fn scales() {
    for maps in MAPS {
        let shape = maps.shape();
        let [x, r, g] = [1, 2, 3].map(|seed| rounded(values(seed, maps.len())));
        let scale = values(4, maps.channels);
        let [wide_x, wide_r, wide_g, wide_scale] = [&x, &r, &g, &scale].map(|v| wide(v));
        let [x, r, g] = [x, r, g].map(|v| last(&shape, &v));
        let scaled = |i: usize, x: &[f64]| x[i] * wide_scale[maps.channel(i)];
        for kernels in all_levels() {
            let what = format!("{maps:?} {kernels:?}");
            for adds in [false, true] {
                let y = on_any_threads(&what, || {
                    let mut y = unwritten(x.len());
                    kernels.scale_channels_bf16(&shape, &x, &scale, adds.then_some(&r[..]), &mut y).unwrap();
                    y
                });
                let residual = |i: usize| if adds { wide_r[i] } else { 0.0 };
                let expected: Vec<f64> = (0..x.len()).map(|i| scaled(i, &wide_x) + residual(i)).collect();
                assert_rounded(&what, &planes(&shape, &y), &expected, |_| 2e-7);
            }
            let (dx, of_scale) = on_any_threads(&what, || {
                let (mut dx, mut of_scale) = (unwritten(x.len()), vec![f32::NAN; scale.len()]);
                kernels.scale_channels_backward_bf16(&shape, &x, &scale, &g, &mut dx, &mut of_scale).unwrap();
                (dx, of_scale)
            });
            let expected: Vec<f64> = (0..x.len()).map(|i| scaled(i, &wide_g)).collect();
            assert_rounded(&what, &planes(&shape, &dx), &expected, |_| 1e-7);
            let count = (maps.count() as f64).sqrt();
            assert_within(&what, &of_scale, &maps.sums(|i| wide_g[i] * wide_x[i]), |_| 1e-6 * count);
        }
    }
}

#[test]
fn biases() {
    for maps in MAPS {
        let (shape, x) = (maps.shape(), rounded(values(1, maps.len())));
        let (x16, bias) = (last(&shape, &x), values(2, maps.channels));
        for kernels in all_levels() {
            let what = format!("{maps:?} {kernels:?}");
            let (y, sums) = on_any_threads(&what, || {
                let (mut y, mut sums) = (x16.clone(), vec![f32::NAN; bias.len()]);
                kernels.add_channel_bias_bf16(&shape, &bias, &mut y).unwrap();
                kernels.channel_sums_bf16(&shape, &x16, &mut sums).unwrap();
                (y, sums)
            });
            let expected = rounded((0..x.len()).map(|i| x[i] + bias[maps.channel(i)]).collect());
            assert_same(&what, &planes(&shape, &y), &expected);
            assert_within(&what, &sums, &maps.sums(|i| f64::from(x[i])), |_| 1e-6 * (maps.count() as f64).sqrt());
        }
    }
}

/// NaN reaches what depends on it: a value, its channel's sum.
#[test]
fn nan_stays_in_its_channel() {
    let maps = MAPS[0];
    let (shape, scale) = (maps.shape(), values(2, maps.channels));
    let x = last(&shape, &values(1, maps.len()));
    for (kernels, place) in all_levels().into_iter().flat_map(|k| [0, 80, maps.len() - 1].map(|place| (k, place))) {
        let mut g = values(3, maps.len());
        g[place] = f32::NAN;
        let g = last(&shape, &g);
        let (mut dx, mut of_scale, mut sums) = (g.clone(), vec![0.0; scale.len()], vec![0.0; scale.len()]);
        kernels.scale_channels_backward_bf16(&shape, &x, &scale, &g, &mut dx, &mut of_scale).unwrap();
        kernels.channel_sums_bf16(&shape, &g, &mut sums).unwrap();
        let dx = planes(&shape, &dx);
        assert!(dx.iter().enumerate().all(|(i, dx)| dx.is_nan() == (i == place)), "{kernels:?}, {place}");
        for (c, sum) in of_scale.iter().enumerate().chain(sums.iter().enumerate()) {
            assert_eq!(sum.is_nan(), c == maps.channel(place), "{kernels:?}, {place}");
        }
    }
}
