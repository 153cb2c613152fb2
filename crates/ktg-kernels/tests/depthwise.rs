//! Depthwise convolution, forward and both gradients, against the definition in double precision.

mod reference;
mod support;

use ktg_kernels::{Depthwise, Window};
use proptest::prelude::*;
use reference::depthwise::Case;
use support::{Returning, all_levels, assert_within, values, wide};

/// All levels' results of all three operations are within the bound.
fn check(case: Case, seed: u64) {
    let shape = case.shape();
    let [images, weights, gradient] = [
        values(seed, shape.input_len()),
        values(seed ^ 0x5555, shape.weight_len()),
        values(seed ^ 0xaaaa, shape.output_len()),
    ];
    let [x, w, g] = [&images, &weights, &gradient].map(|v| wide(v));
    let references = case.reference(&x, &w, &g);
    for kernels in all_levels() {
        let found = [
            ("forward", kernels.depth(&shape, &images, &weights)),
            ("backward data", kernels.depth_backward_data(&shape, &gradient, &weights)),
            ("backward weights", kernels.depth_backward_weights(&shape, &images, &gradient)),
        ];
        for ((operation, found), reference) in found.into_iter().zip(&references) {
            let limit = 1e-5 * case.size(reference);
            let what = format_args!("{kernels:?} {operation} {case:?}").to_string();
            assert_within(what, &found.unwrap(), reference, |_| limit);
        }
    }
}

fn any_case() -> impl Strategy<Value = Case> {
    let windows = (1usize..=9, 1usize..=4, 0usize..=4, 0usize..=4);
    windows
        .prop_flat_map(|(kernel, stride, padding, after)| {
            let side = || kernel.saturating_sub(padding + after).max(1)..=40;
            (1usize..=5, 1usize..=40, side(), side(), Just((kernel, stride, padding)), Just(after))
        })
        .prop_map(|(batch, channels, height, width, window, after)| {
            Case::new(batch, channels, [height, width], window, after)
        })
        .prop_filter("too slow for many cases", |case| case.products() < 2_000_000)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_shapes_equal_the_reference(case in any_case(), seed: u64) {
        check(case, seed);
    }
}

/// Windows of our networks on maps of all small sides, on both sides of a vector's length.
#[test]
fn maps_of_every_width() {
    for side in (1..=20).chain([31, 32, 33, 40]) {
        for (kernel, stride, padding, after) in
            [(3, 1, 1, 1), (3, 2, 0, 1), (3, 2, 1, 1), (5, 1, 2, 2), (5, 2, 1, 2), (5, 2, 2, 2), (7, 1, 3, 3)]
        {
            if side + padding + after >= kernel {
                check(Case::new(2, 19, [side, side], (kernel, stride, padding), after), 3);
            }
        }
    }
}

#[test]
fn channels_of_every_number() {
    for channels in (1..=18).chain([31, 32, 33, 48, 130]) {
        check(Case::new(3, channels, [7, 6], (3, 1, 1), 1), 4);
        check(Case::new(1, channels, [9, 8], (5, 2, 1), 2), 4);
    }
}

/// Planes that are computed band by band.
#[test]
fn large_maps() {
    check(Case::new(2, 17, [112, 112], (3, 1, 1), 1), 5);
    check(Case::new(1, 16, [113, 150], (3, 2, 0), 1), 5);
    check(Case::new(1, 9, [80, 100], (5, 2, 1), 2), 5);
    check(Case::new(1, 3, [90, 91], (7, 1, 3), 3), 5);
    check(Case::new(1, 2, [3, 1500], (3, 1, 1), 1), 5);
    check(Case::new(1, 2, [1500, 3], (3, 1, 1), 1), 5);
}

/// Results that see padding only, pixels that nobody sees, windows far larger than the image.
#[test]
fn extreme_geometry() {
    let windows = [
        (1, 1, 3, 3),
        (1, 3, 0, 0),
        (1, 3, 1, 2),
        (2, 3, 3, 0),
        (2, 5, 0, 7),
        (7, 1, 3, 3),
        (7, 3, 3, 4),
        (7, 1, 0, 6),
        (7, 1, 6, 0),
        (9, 2, 8, 8),
        (3, 3, 1, 1),
        (3, 1, 5, 0),
        (3, 2, 0, 9),
        (4, 1, 2, 1),
        (15, 1, 7, 7),
        (15, 2, 7, 7),
    ];
    for (kernel, stride, padding, after) in windows {
        for image in [[1, 1], [1, 20], [20, 1], [2, 3], [11, 4]] {
            if image[0].min(image[1]) + padding + after >= kernel {
                check(Case::new(2, 5, image, (kernel, stride, padding), after), 6);
            }
        }
    }
}

/// A channel's NaN stays in it, and a pixel's in the results that see it.
#[test]
fn nan_does_not_spread() {
    let shape = Depthwise::new(2, 20, [9, 9], Window { kernel: 3, stride: 1, padding: 1 }, 1).unwrap();
    let (mut x, w) = (values(1, shape.input_len()), values(2, shape.weight_len()));
    let [image, channel, row, column] = [1, 17, 4, 0];
    let plane = image * 20 + channel;
    x[(plane * 9 + row) * 9 + column] = f32::NAN;
    for kernels in all_levels() {
        let y = kernels.depth(&shape, &x, &w).unwrap();
        for (i, y) in y.iter().enumerate() {
            let sees = i / 81 == plane && (i / 9 % 9).abs_diff(row) <= 1 && (i % 9).abs_diff(column) <= 1;
            assert_eq!(y.is_nan(), sees, "{kernels:?}, result {i}");
        }
        let dw = kernels.depth_backward_weights(&shape, &x, &y).unwrap();
        for (i, dw) in dw.iter().enumerate() {
            assert_eq!(dw.is_nan(), i / 9 == channel, "{kernels:?}, weight {i}");
        }
    }
}
