//! What attention maps do to features, sums and activations, against their definitions in double precision.

mod reference;
mod support;

use ktg_kernels::{Each, Features};
use reference::activations::{gelu, gelu_slope};
use support::{all_levels, assert_within, values, wide};

const BATCH: usize = 3;
const CHANNELS: usize = 7;
/// No multiple of any vector's length.
const PIXELS: usize = 37;

fn shape() -> Features {
    Features::new(BATCH, CHANNELS, PIXELS).unwrap()
}

const EACH: [Each; 9] = [
    Each::Add,
    Each::Relu,
    Each::ReluBackward,
    Each::Relu6,
    Each::Relu6Backward,
    Each::Gelu,
    Each::GeluBackward,
    Each::Sigmoid,
    Each::SigmoidBackward,
];

/// Place in the map of the feature at `i`.
fn of_map(i: usize) -> usize {
    i / (CHANNELS * PIXELS) * PIXELS + i % PIXELS
}

#[test]
fn attending_and_its_gradients() {
    let (x, map, g) = (values(1, shape().len()), values(2, BATCH * PIXELS), values(3, shape().len()));
    let [wide_x, wide_map, wide_g] = [&x, &map, &g].map(|v| wide(v));
    for (kernels, keeps) in all_levels().into_iter().flat_map(|kernels| [(kernels, false), (kernels, true)]) {
        let own = if keeps { 1.0 } else { 0.0 };
        let what = format!("{kernels:?}, keeps {keeps}");
        let mut y = vec![f32::NAN; x.len()];
        kernels.attend(&shape(), &x, &map, keeps, &mut y).unwrap();
        let expected: Vec<f64> = (0..x.len()).map(|i| wide_x[i] * (wide_map[of_map(i)] + own)).collect();
        assert_within(&what, &y, &expected, |_| 1e-6);

        let (mut dx, mut dmap) = (g.clone(), vec![f32::NAN; map.len()]);
        kernels.attend_backward(&shape(), &x, &map, keeps, &mut dx, &mut dmap).unwrap();
        let expected: Vec<f64> = (0..x.len()).map(|i| wide_g[i] * (wide_map[of_map(i)] + own)).collect();
        assert_within(&what, &dx, &expected, |_| 1e-6);
        let mut expected = vec![0.0; map.len()];
        (0..x.len()).for_each(|i| expected[of_map(i)] += wide_g[i] * wide_x[i]);
        assert_within(&what, &dmap, &expected, |_| 1e-6);
    }
}

#[test]
fn mean_squares_and_their_gradient() {
    let (x, g) = (values(1, shape().len()), values(2, BATCH * PIXELS));
    let [wide_x, wide_g] = [&x, &g].map(|v| wide(v));
    for kernels in all_levels() {
        let (mut y, mut dx) = (vec![f32::NAN; g.len()], vec![f32::NAN; x.len()]);
        kernels.mean_square(&shape(), &x, &mut y).unwrap();
        let mut expected = vec![0.0; g.len()];
        (0..x.len()).for_each(|i| expected[of_map(i)] += wide_x[i] * wide_x[i] / CHANNELS as f64);
        assert_within(format_args!("{kernels:?}"), &y, &expected, |_| 1e-6);
        kernels.mean_square_backward(&shape(), &x, &g, &mut dx).unwrap();
        let expected: Vec<f64> = (0..x.len()).map(|i| 2.0 / CHANNELS as f64 * wide_x[i] * wide_g[of_map(i)]).collect();
        assert_within(format_args!("{kernels:?}"), &dx, &expected, |_| 1e-6);
    }
}

#[test]
fn operations_on_each_value() {
    let sigmoid = |v: f64| 1.0 / (1.0 + (-v).exp());
    let definition = |with: Each, to: f64, from: f64| match with {
        Each::Add => to + from,
        Each::Relu => from.max(0.0),
        Each::ReluBackward => {
            if from > 0.0 {
                to
            } else {
                0.0
            }
        }
        Each::Relu6 => from.clamp(0.0, 6.0),
        Each::Relu6Backward => {
            if from > 0.0 && from < 6.0 {
                to
            } else {
                0.0
            }
        }
        Each::Gelu => gelu(from),
        Each::GeluBackward => to * gelu_slope(from),
        Each::Sigmoid => sigmoid(from),
        Each::SigmoidBackward => to * from * (1.0 - from),
    };
    // More than a task's share.
    let (to, mut from) = (values(1, 40_001), values(2, 40_001));
    (from[0], from[1]) = (0.0, -0.0);
    from.iter_mut().step_by(3).for_each(|from| *from *= 20.0);
    for kernels in all_levels() {
        for with in EACH {
            let mut found = to.clone();
            kernels.each(with, &mut found, &from).unwrap();
            let expected: Vec<f64> =
                to.iter().zip(&from).map(|(to, from)| definition(with, f64::from(*to), f64::from(*from))).collect();
            assert_within(format_args!("{kernels:?} {with:?}"), &found, &expected, |i| {
                1e-6 * f64::from(from[i]).powi(2).max(1.0)
            });
        }
        let mut found = [0.0, 0.0];
        kernels.each(Each::Sigmoid, &mut found, &[200.0, -200.0]).unwrap();
        assert_eq!(found, [1.0, 0.0]);
        kernels.each(Each::Relu, &mut found, &[f32::NAN, -1.0]).unwrap();
        assert!(found[0].is_nan() && found[1] == 0.0);
    }
}
