//! Max-pool and global average pool against their definitions.

mod reference;
mod support;

use ktg_kernels::Window;
use proptest::prelude::*;
use reference::norm::Maps;
use reference::pooling::{MaxPool, global_average, global_average_backward};
use support::{Returning, all_levels, assert_same, assert_within, values, wide};

/// Compares exactly. The gradients given must be whole numbers, so that no order of additions rounds.
fn check_max_pool(case: MaxPool, x: &[f32], gradient: &[f32]) {
    let shape = case.shape();
    let maxima: Vec<f32> = case.winners(x).into_iter().map(|i| x[i]).collect();
    let expected = case.backward(x, &wide(gradient));
    for kernels in all_levels() {
        let found = kernels.pool_max(&shape, x).unwrap();
        assert_within(format_args!("forward {case:?} {kernels:?}"), &found, &wide(&maxima), |_| 0.0);
        let found = kernels.pool_max_backward(&shape, x, gradient).unwrap();
        assert_within(format_args!("backward {case:?} {kernels:?}"), &found, &expected, |_| 0.0);
    }
}

/// Whole numbers from 1 to 64, so that every place where a gradient is missing or too much shows.
fn whole_numbers(seed: u64, len: usize) -> Vec<f32> {
    values(seed, len).iter().map(|v| ((v + 1.0) * 31.5).round() + 1.0).collect()
}

fn max_pool() -> impl Strategy<Value = MaxPool> {
    (1usize..=7, 1usize..=4)
        .prop_flat_map(|(kernel, stride)| (Just(kernel), Just(stride), 0..=kernel / 2))
        .prop_flat_map(|(kernel, stride, padding)| {
            let side = || kernel.saturating_sub(2 * padding).max(1)..=24;
            (1usize..=20, side(), side(), Just(Window { kernel, stride, padding }))
        })
        .prop_map(|(planes, height, width, window)| MaxPool { planes, image: [height, width], window })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn max_pool_equals_the_reference(case in max_pool(), seed: u64) {
        let shape = case.shape();
        check_max_pool(case, &values(seed, shape.input_len()), &whole_numbers(seed, shape.output_len()));
    }

    /// Three different values only: nearly every window has its maximum several times, and the first one counts.
    #[test]
    fn of_equal_maxima_the_first_gets_the_gradient(case in max_pool(), seed: u64) {
        let shape = case.shape();
        let x: Vec<f32> = values(seed, shape.input_len()).iter().map(|v| (v * 1.5).round() - 1.0).collect();
        check_max_pool(case, &x, &whole_numbers(seed, shape.output_len()));
    }

    /// Errors up to 1e-6 of the largest value possible.
    #[test]
    fn global_average_pool_equals_the_reference(
        (batch, channels, pixels) in (1usize..=5, 1usize..=150, 1usize..=400),
        seed: u64,
    ) {
        let maps = Maps { batch, channels, pixels };
        let (x, gradient) = (values(seed, maps.len()), values(seed ^ 1, batch * channels));
        for kernels in all_levels() {
            let found = kernels.pool_mean(&maps.shape(), &x).unwrap();
            let expected = global_average(maps, &wide(&x));
            assert_within(format_args!("forward {maps:?} {kernels:?}"), &found, &expected, |_| 1e-6);
            let found = kernels.pool_mean_backward(&maps.shape(), &gradient).unwrap();
            let expected = global_average_backward(maps, &wide(&gradient));
            let limit = 1e-6 / pixels as f64;
            assert_within(format_args!("backward {maps:?} {kernels:?}"), &found, &expected, |_| limit);
        }
    }
}

#[test]
fn max_pool_of_large_networks() {
    let case = MaxPool { planes: 64, image: [112, 112], window: Window { kernel: 3, stride: 2, padding: 1 } };
    let shape = case.shape();
    check_max_pool(case, &values(29, shape.input_len()), &whole_numbers(29, shape.output_len()));
}

/// Written out by hand: overlapping windows, a maximum shared by several, a tie, padding beside negative values.
#[test]
fn max_pool_by_hand() {
    let case = MaxPool { planes: 1, image: [3, 4], window: Window { kernel: 3, stride: 2, padding: 1 } };
    #[rustfmt::skip]
    let x = [
        -5.0, -3.0, -3.0, -9.0,
        -4.0, -3.0, -1.0, -8.0,
        -7.0, -6.0, -2.0, -2.0,
    ];
    for kernels in all_levels() {
        assert_eq!(kernels.pool_max(&case.shape(), &x).unwrap(), [-3.0, -1.0, -3.0, -1.0], "{kernels:?}");
        #[rustfmt::skip]
        let expected = [
            0.0, 1.0, 0.0, 0.0,
            0.0, 4.0, 10.0, 0.0,
            0.0, 0.0, 0.0, 0.0,
        ];
        let found = kernels.pool_max_backward(&case.shape(), &x, &[1.0, 2.0, 4.0, 8.0]).unwrap();
        assert_same(format_args!("{kernels:?}"), &found, &expected);
    }
}
