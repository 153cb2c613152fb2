//! Depthwise convolution in bf16, forward and both gradients, against the definition in double precision.

mod reference;
mod support;

use ktg_kernels::{Bf16, Features, Kernels};
use proptest::prelude::*;
use reference::depthwise::Case;
use support::bf16::{assert_rounded, last, on_any_threads, planes, rounded, unwritten};
use support::{all_levels, assert_within, bits, values, wide};

/// The shapes of images and of results.
fn features(case: Case) -> [Features; 2] {
    let shape = case.shape();
    [shape.input_len(), shape.output_len()].map(|len| {
        let pixels = len / case.batch / case.channels;
        Features::new(case.batch, case.channels, pixels).unwrap()
    })
}

/// Results and gradient of the images, as planes, and the bits of the gradient of the weights.
fn run(kernels: Kernels, case: Case, x: &[Bf16], w: &[f32], g: &[Bf16]) -> (Vec<Bf16>, Vec<Bf16>, Vec<u32>) {
    let shape = case.shape();
    let (mut y, mut dx, mut dw) = (unwritten(g.len()), unwritten(x.len()), vec![f32::NAN; w.len()]);
    kernels.depthwise_bf16(&shape, x, w, &mut y).unwrap();
    kernels.depthwise_backward_data_bf16(&shape, g, w, &mut dx).unwrap();
    kernels.depthwise_backward_weights_bf16(&shape, x, g, &mut dw).unwrap();
    (y, dx, bits(&dw))
}

/// All levels' results of all three operations are within the bound, whatever the threads.
fn check(case: Case, seed: u64) {
    let (shape, [images, results]) = (case.shape(), features(case));
    let (x, g) = (rounded(values(seed, shape.input_len())), rounded(values(seed ^ 1, shape.output_len())));
    let w = values(seed ^ 2, shape.weight_len());
    let [wide_x, wide_w, wide_g] = [&x, &w, &g].map(|v| wide(v));
    let [y, dx, dw] = case.reference(&wide_x, &wide_w, &wide_g);
    let limits = [&y, &dx, &dw].map(|results| 1e-5 * case.size(results));
    let (x, g) = (last(&images, &x), last(&results, &g));
    for kernels in all_levels() {
        let what = |of: &str| format!("{of} of {case:?} {kernels:?}");
        let (found_y, found_dx, found_dw) = on_any_threads(what("something"), || run(kernels, case, &x, &w, &g));
        assert_rounded(what("forward"), &planes(&results, &found_y), &y, |_| limits[0]);
        assert_rounded(what("backward data"), &planes(&images, &found_dx), &dx, |_| limits[1]);
        let found_dw: Vec<f32> = found_dw.into_iter().map(f32::from_bits).collect();
        assert_within(what("backward weights"), &found_dw, &dw, |_| limits[2]);
    }
}

fn any_case() -> impl Strategy<Value = Case> {
    let windows = (1usize..=7, 1usize..=3, 0usize..=4, 0usize..=4);
    windows
        .prop_flat_map(|(kernel, stride, padding, after)| {
            let side = || kernel.saturating_sub(padding + after).max(1)..=25;
            (1usize..=5, 1usize..=70, side(), side(), Just((kernel, stride, padding)), Just(after))
        })
        .prop_map(|(batch, channels, height, width, window, after)| {
            Case::new(batch, channels, [height, width], window, after)
        })
        .prop_filter("too slow for many cases", |case| case.products() < 1_000_000)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_shapes_equal_the_reference(case in any_case(), seed: u64) {
        check(case, seed);
    }
}

#[test]
fn small_maps_of_all_sides() {
    for channels in [1, 3, 17, 64, 96] {
        for side in 1..=9 {
            for (kernel, stride, padding, after) in
                [(3, 1, 1, 1), (3, 2, 0, 1), (3, 1, 2, 0), (5, 1, 2, 2), (5, 2, 1, 2), (7, 1, 3, 3), (7, 2, 3, 2)]
            {
                if side.min(10 - side) + padding + after >= kernel {
                    check(Case::new(2, channels, [side, 10 - side], (kernel, stride, padding), after), 3);
                }
            }
        }
    }
}

/// Many images, whose gradients of weights have sums of parts; few images of many channels; maps that are computed band by band.
#[test]
fn shared_work() {
    check(Case::new(37, 33, [5, 4], (3, 1, 1), 1), 4);
    check(Case::new(1, 768, [4, 4], (7, 1, 3), 3), 4);
    check(Case::new(3, 300, [6, 6], (5, 1, 2), 2), 4);
    check(Case::new(2, 17, [112, 112], (3, 1, 1), 1), 5);
    check(Case::new(1, 16, [113, 150], (3, 2, 0), 1), 5);
    check(Case::new(1, 2, [3, 1500], (3, 1, 1), 1), 5);
}

/// Results that see padding only, pixels that nobody sees, windows far larger than the image.
#[test]
fn extreme_geometry() {
    for window in [(1, 1, 3, 3), (1, 3, 1, 2), (2, 5, 0, 7), (7, 3, 3, 4), (7, 1, 6, 0), (9, 2, 8, 8), (15, 1, 7, 7)] {
        let (kernel, stride, padding, after) = window;
        for image in [[1, 1], [1, 20], [20, 1], [11, 4]] {
            if image[0].min(image[1]) + padding + after >= kernel {
                check(Case::new(2, 5, image, (kernel, stride, padding), after), 6);
            }
        }
    }
}

/// A channel's NaN stays in it, and a pixel's in the results that see it.
#[test]
fn nan_does_not_spread() {
    let case = Case::new(2, 20, [9, 9], (3, 1, 1), 1);
    let [features, _] = features(case);
    let [image, channel, row, column] = [1, 17, 4, 0];
    let plane = image * 20 + channel;
    let (mut x, w) = (values(1, features.len()), values(2, case.shape().weight_len()));
    x[(plane * 9 + row) * 9 + column] = f32::NAN;
    let (x, g) = (last(&features, &x), last(&features, &values(3, features.len())));
    for kernels in all_levels() {
        let (y, _, dw) = run(kernels, case, &x, &w, &g);
        for (i, y) in planes(&features, &y).iter().enumerate() {
            let sees = i / 81 == plane && (i / 9 % 9).abs_diff(row) <= 1 && (i % 9).abs_diff(column) <= 1;
            assert_eq!(y.is_nan(), sees, "{kernels:?}, result {i}");
        }
        // The pixel lies in the first column, which the windows' left column never sees.
        for (i, dw) in dw.into_iter().map(f32::from_bits).enumerate() {
            assert!(
                if i / 9 != channel { dw.is_finite() } else { dw.is_nan() || i % 3 == 2 },
                "{kernels:?}, weight {i}"
            );
        }
    }
}
