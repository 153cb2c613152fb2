//! Scales and biases of channels and their gradients, against their definitions in double precision.

mod reference;
mod support;

use reference::norm::Maps;
use support::{all_levels, assert_same, assert_within, values, wide};

const MAPS: [Maps; 6] = [
    Maps { batch: 3, channels: 7, pixels: 37 },
    Maps { batch: 2, channels: 1, pixels: 1 },
    Maps { batch: 5, channels: 33, pixels: 1 },
    Maps { batch: 2, channels: 40, pixels: 4 },
    Maps { batch: 2, channels: 5, pixels: 9000 },
    Maps { batch: 3, channels: 192, pixels: 65 },
];

#[test]
fn scales() {
    for maps in MAPS {
        let (x, r, g) = (values(1, maps.len()), values(2, maps.len()), values(3, maps.len()));
        let scale = values(4, maps.channels);
        let [wide_x, wide_r, wide_g, wide_scale] = [&x, &r, &g, &scale].map(|v| wide(v));
        let (shape, count) = (maps.shape(), (maps.count() as f64).sqrt());
        for kernels in all_levels() {
            let what = format!("{maps:?} {kernels:?}");
            for adds in [false, true] {
                let mut y = vec![f32::NAN; x.len()];
                kernels.scale_channels(&shape, &x, &scale, adds.then_some(&r[..]), &mut y).unwrap();
                let residual = |i: usize| if adds { wide_r[i] } else { 0.0 };
                let expected: Vec<f64> =
                    (0..x.len()).map(|i| wide_x[i] * wide_scale[maps.channel(i)] + residual(i)).collect();
                assert_within(&what, &y, &expected, |_| 2e-7);
            }
            let (mut dx, mut of_scale) = (vec![f32::NAN; x.len()], vec![f32::NAN; scale.len()]);
            kernels.scale_channels_backward(&shape, &x, &scale, &g, &mut dx, &mut of_scale).unwrap();
            let expected: Vec<f64> = (0..x.len()).map(|i| wide_g[i] * wide_scale[maps.channel(i)]).collect();
            assert_within(&what, &dx, &expected, |_| 1e-7);
            assert_within(&what, &of_scale, &maps.sums(|i| wide_g[i] * wide_x[i]), |_| 1e-6 * count);
        }
    }
}

#[test]
fn biases() {
    for maps in MAPS {
        let (x, bias) = (values(1, maps.len()), values(2, maps.channels));
        for kernels in all_levels() {
            let what = format!("{maps:?} {kernels:?}");
            let mut y = x.clone();
            kernels.add_channel_bias(&maps.shape(), &bias, &mut y).unwrap();
            let expected: Vec<f32> = (0..x.len()).map(|i| x[i] + bias[maps.channel(i)]).collect();
            assert_same(&what, &y, &expected);
            let mut sums = vec![f32::NAN; bias.len()];
            kernels.channel_sums(&maps.shape(), &x, &mut sums).unwrap();
            assert_within(&what, &sums, &maps.sums(|i| f64::from(x[i])), |_| 1e-6 * (maps.count() as f64).sqrt());
        }
    }
}

/// NaN reaches what depends on it: a value, its plane's sum.
#[test]
fn nan_stays_in_its_channel() {
    let maps = MAPS[0];
    let (x, scale) = (values(1, maps.len()), values(2, maps.channels));
    for (kernels, place) in all_levels().into_iter().flat_map(|k| [0, 80, maps.len() - 1].map(|place| (k, place))) {
        let mut g = values(3, maps.len());
        g[place] = f32::NAN;
        let (mut dx, mut of_scale, mut sums) = (vec![0.0; g.len()], vec![0.0; scale.len()], vec![0.0; scale.len()]);
        kernels.scale_channels_backward(&maps.shape(), &x, &scale, &g, &mut dx, &mut of_scale).unwrap();
        kernels.channel_sums(&maps.shape(), &g, &mut sums).unwrap();
        assert!(dx.iter().enumerate().all(|(i, dx)| dx.is_nan() == (i == place)), "{kernels:?}, {place}");
        for (c, sum) in of_scale.iter().enumerate().chain(sums.iter().enumerate()) {
            assert_eq!(sum.is_nan(), c == maps.channel(place), "{kernels:?}, {place}");
        }
    }
}
