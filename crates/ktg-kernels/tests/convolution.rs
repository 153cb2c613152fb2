//! Convolution, forward and both gradients, against the definition in double precision.

mod reference;
mod support;

use ktg_kernels::{Algorithm, Conv2d, Kernels, Window};
use proptest::prelude::*;
use reference::convolution::Convolution;
use support::{Returning, all_levels, assert_within, largest, values, wide};

/// Largest error relative to the largest result: Winograd's transforms cost a digit.
fn bound(shape: &Conv2d) -> f64 {
    if shape.is_winograd() { 1e-4 } else { 1e-5 }
}

/// The shape by each algorithm that can compute it, not only by the one that is the fastest; pixel by pixel only up to the
/// largest maps for which that is ever chosen, as it takes long.
fn by_all_algorithms(case: &Convolution) -> impl Iterator<Item = Conv2d> {
    let shape = case.shape();
    let results: usize = shape.output_image().iter().product();
    let mut all = vec![Algorithm::Winograd, Algorithm::Direct];
    all.extend((results <= 144).then_some(Algorithm::SmallMaps));
    all.into_iter().filter_map(move |algorithm| shape.computed_by(algorithm))
}

/// The three operands that belong to a case: images, weights, gradient of the results.
fn operands(case: &Convolution, seed: u64) -> [Vec<f32>; 3] {
    let shape = case.shape();
    [
        values(seed, shape.input_len()),
        values(seed ^ 0x5555, shape.weight_len()),
        values(seed ^ 0xaaaa, shape.output_len()),
    ]
}

/// All levels' and algorithms' results of all three operations are within the bound.
fn check(case: Convolution, seed: u64) {
    let [images, weights, gradient] = operands(&case, seed);
    let [x, w, g] = [&images, &weights, &gradient].map(|v| wide(v));
    let references = [case.forward(&x, &w), case.backward_data(&g, &w), case.backward_weights(&x, &g)];
    for (kernels, shape) in all_levels().into_iter().flat_map(|level| by_all_algorithms(&case).map(move |s| (level, s)))
    {
        let found = [
            ("forward", kernels.conv(&shape, &images, &weights)),
            ("backward data", kernels.conv_backward_data(&shape, &gradient, &weights)),
            ("backward weights", kernels.conv_backward_weights(&shape, &images, &gradient)),
        ];
        for ((operation, found), reference) in found.into_iter().zip(&references) {
            // A result is a sum of products of two values from [-1, 1], whose standard deviation is 1/3 a product. If
            // there are few results, all may be near zero by chance; f32 is not more exact for that.
            let typical = (case.products() as f64 / reference.len() as f64).sqrt() / 3.0;
            let limit = bound(&shape) * largest(reference).max(typical);
            let algorithm = shape.algorithm();
            assert_within(
                format_args!("{kernels:?} {algorithm:?} {operation} {case:?}"),
                &found.unwrap(),
                reference,
                |_| limit,
            );
        }
    }
}

/// A convolution whose window fits: any odd combination that the constructor allows, small enough to be quick.
fn convolution() -> impl Strategy<Value = Convolution> {
    let window = |(kernel, stride, padding)| Window { kernel, stride, padding };
    let windows = prop_oneof![
        2 => (1usize..=7, 1usize..=3, 0usize..=3).prop_map(window),
        // Those of the fast paths, which random numbers rarely hit.
        1 => Just(window((3, 1, 1))),
        1 => prop::sample::select(vec![(1, 1, 0), (1, 2, 0), (3, 2, 1), (7, 2, 3)]).prop_map(window),
    ];
    // As many zeros behind the image as before it, or any number.
    let windows = windows.prop_flat_map(|window| {
        let padding = window.padding;
        (Just(window), prop_oneof![2 => padding..=padding, 1 => 0usize..=4])
    });
    windows
        .prop_flat_map(|(window, after)| {
            let side = || window.kernel.saturating_sub(window.padding + after).max(1)..=20;
            (1usize..=5, 1usize..=40, 1usize..=40, side(), side(), Just(window), Just(after))
        })
        .prop_map(|(batch, input, output, height, width, window, after)| Convolution {
            batch,
            input,
            output,
            image: [height, width],
            window,
            after,
        })
        .prop_filter("too slow for many cases", |case| case.products() < 8_000_000)
}

proptest! {
    // A failing case belongs into a test of its own, not into a file beside the sources.
    #![proptest_config(ProptestConfig { cases: 160, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_shapes_equal_the_reference(case in convolution(), seed: u64) {
        check(case, seed);
    }

    /// Both gradients are the transposes of the same linear map; this holds whatever the reference says.
    #[test]
    fn the_gradients_are_adjoint(case in convolution(), seed: u64) {
        let shape = case.shape();
        let [images, weights, gradient] = operands(&case, seed);
        for kernels in all_levels() {
            let y = kernels.conv(&shape, &images, &weights).unwrap();
            let dx = kernels.conv_backward_data(&shape, &gradient, &weights).unwrap();
            let dw = kernels.conv_backward_weights(&shape, &images, &gradient).unwrap();
            let products = |a: &[f32], b: &[f32]| -> Vec<f64> {
                wide(a).iter().zip(wide(b)).map(|(a, b)| a * b).collect()
            };
            let of_results = products(&y, &gradient);
            let sums = [&of_results, &products(&images, &dx), &products(&weights, &dw)].map(|p| p.iter().sum::<f64>());
            // Errors of many results partly cancel; where there are few, see `check`.
            let absolute: f64 = of_results.iter().map(|p| p.abs()).sum();
            let limit = bound(&shape) * absolute.max((case.products() as f64).sqrt() / 5.0);
            for (gradient, sum) in ["images", "weights"].into_iter().zip(&sums[1..]) {
                prop_assert!(
                    (sum - sums[0]).abs() <= limit,
                    "{kernels:?} {case:?}: the gradient of the {gradient} gives {sum} instead of {} +- {limit:e}",
                    sums[0],
                );
            }
        }
    }

    /// The fast reference against the definition with all its conditions spelt out.
    #[test]
    fn the_reference_is_the_definition(case in convolution().prop_filter("slow", |c| c.products() < 50_000), seed: u64) {
        let [images, weights, gradient] = operands(&case, seed).map(|v| wide(&v));
        let (mut y, mut dx, mut dw) =
            (vec![0.0; gradient.len()], vec![0.0; images.len()], vec![0.0; weights.len()]);
        let ([height, width], [rows, columns], Window { kernel, stride, padding }) =
            (case.image, case.shape().output_image(), case.window);
        for (result, y) in y.iter_mut().enumerate() {
            let (column, row) = (result % columns, result / columns % rows);
            let (output, n) = (result / columns / rows % case.output, result / columns / rows / case.output);
            for weight in 0..case.input * kernel * kernel {
                let (kx, ky, input) = (weight % kernel, weight / kernel % kernel, weight / kernel / kernel);
                let pixel_y = (row * stride + ky) as isize - padding as isize;
                let pixel_x = (column * stride + kx) as isize - padding as isize;
                if (0..height as isize).contains(&pixel_y) && (0..width as isize).contains(&pixel_x) {
                    let image = ((n * case.input + input) * height + pixel_y as usize) * width + pixel_x as usize;
                    let weight = output * case.input * kernel * kernel + weight;
                    *y += images[image] * weights[weight];
                    dx[image] += gradient[result] * weights[weight];
                    dw[weight] += gradient[result] * images[image];
                }
            }
        }
        let fast = [
            case.forward(&images, &weights),
            case.backward_data(&gradient, &weights),
            case.backward_weights(&images, &gradient),
        ];
        for (plain, fast) in [y, dx, dw].iter().zip(&fast) {
            prop_assert_eq!(plain.len(), fast.len());
            prop_assert!(plain.iter().zip(fast).all(|(a, b)| (a - b).abs() < 1e-10), "{:?}", case);
        }
    }
}

/// The layers of our networks, as `(batch, input channels, output channels, image side)`.
fn check_layers(window: (usize, usize, usize), layers: &[(usize, usize, usize, usize)]) {
    let (kernel, stride, padding) = window;
    for &(batch, input, output, side) in layers {
        let window = Window { kernel, stride, padding };
        check(Convolution { batch, input, output, image: [side, side], window, after: padding }, 7);
    }
}

#[test]
fn maps_of_a_few_pixels() {
    // One vector of images and two, whole and in part, and several blocks of them.
    for batch in [8, 17, 32, 37] {
        check_layers((3, 1, 1), &[(batch, 40, 70, 1), (batch, 16, 33, 2), (batch, 70, 16, 3)]);
        check_layers((3, 2, 1), &[(batch, 33, 40, 2), (batch, 20, 66, 4)]);
        check_layers((1, 2, 0), &[(batch, 66, 40, 2)]);
        check_layers((1, 1, 0), &[(batch, 130, 70, 1)]);
        // Pixels that no window sees, and taps that see nothing.
        check_layers((1, 3, 1), &[(batch, 16, 16, 3)]);
    }
}

/// More results than are written at once.
#[test]
fn the_largest_of_small_maps() {
    check_layers((3, 2, 1), &[(37, 16, 20, 24), (65, 18, 33, 23)]);
}

#[test]
fn winograd_layers_of_few_tiles() {
    check_layers((3, 1, 1), &[(16, 300, 310, 4), (1, 270, 330, 14)]);
}

#[test]
fn few_results_of_many_channels() {
    check_layers((3, 1, 1), &[(1, 120, 250, 2), (2, 40, 33, 3)]);
    check_layers((3, 2, 1), &[(1, 120, 250, 7), (3, 120, 250, 7)]);
}

#[test]
fn winograd_layers_of_small_networks() {
    check_layers((3, 1, 1), &[(2, 16, 16, 32), (2, 32, 32, 16), (2, 64, 64, 8)]);
}

#[test]
fn winograd_layers_of_large_networks() {
    check_layers((3, 1, 1), &[(1, 64, 64, 56), (1, 128, 128, 28), (1, 256, 512, 14), (1, 512, 512, 7)]);
}

/// Kernels work on large operands piece by piece; here there are several pieces of tiles, with many channels on both
/// sides and with many on one.
#[test]
fn winograd_layers_in_several_pieces() {
    check_layers((3, 1, 1), &[(2, 72, 72, 36), (2, 120, 256, 28), (2, 8, 920, 28)]);
}

#[test]
fn three_by_three_layers_with_too_few_channels_for_winograd() {
    check_layers((3, 1, 1), &[(2, 3, 16, 32), (2, 120, 1, 14), (2, 10, 1, 16)]);
}

#[test]
fn layers_that_halve_the_image() {
    check_layers((3, 2, 1), &[(1, 64, 128, 56), (2, 16, 32, 32)]);
    check_layers((1, 2, 0), &[(1, 64, 128, 56)]);
}

/// Windows with gaps between them, with more border than window, and pixels that no window sees, in both directions.
#[test]
fn unusual_windows_of_many_channels() {
    for (kernel, stride, padding) in [(1, 3, 0), (2, 3, 3), (3, 1, 5), (3, 3, 1), (5, 2, 2), (2, 2, 0), (4, 3, 2)] {
        for (batch, image) in [(3, [19, 20]), (1, [9, 10]), (2, [45, 31])] {
            let window = Window { kernel, stride, padding };
            check(Convolution { batch, input: 17, output: 18, image, window, after: padding }, 5);
        }
    }
}

/// More zeros behind the image than before, as in TensorFlow's SAME, and fewer: on every way that convolutions take.
#[test]
fn borders_that_differ() {
    let windows = [(3, 2, 0, 1), (3, 2, 1, 0), (5, 2, 1, 2), (5, 2, 2, 1), (3, 1, 0, 2), (3, 1, 2, 0), (3, 1, 1, 3)];
    let others = [(2, 1, 0, 1), (2, 2, 0, 1), (1, 1, 0, 2), (1, 2, 0, 1), (1, 2, 1, 0), (3, 3, 0, 4), (7, 1, 0, 6)];
    for (kernel, stride, padding, after) in windows.into_iter().chain(others) {
        let window = Window { kernel, stride, padding };
        let case =
            |batch, [input, output]: [usize; 2], image| Convolution { batch, input, output, image, window, after };
        for image in [[7, 7], [8, 9], [31, 30]] {
            for channels in [[3, 17], [17, 20], [20, 7]] {
                check(case(2, channels, image), 9);
            }
        }
        check(case(1, [70, 90], [7, 8]), 9);
        check(case(19, [20, 33], [7, 8]), 9);
    }
}

/// The border behind the image may be any, however large the stride is.
#[test]
fn a_border_behind_the_image_makes_room_for_windows() {
    for (kernel, stride, padding) in [(3, 1, 1), (3, 2, 0), (5, 2, 1), (1, 1, 0), (1, usize::MAX, 0), (2, 5, 1)] {
        for after in [0, 1, 2, 9] {
            let window = Window { kernel, stride, padding };
            let shape = Conv2d::padded(2, 16, 20, [6, 5], window, after).unwrap();
            assert_eq!(shape.padding_after(), after);
            let expected = [6, 5].map(|side| (padding + side + after - kernel) / stride + 1);
            assert_eq!(shape.output_image(), expected, "{window:?}, {after} behind");
            assert!(!shape.is_winograd() || after == padding);
            assert_eq!(shape.computed_by(Algorithm::Winograd).is_some(), (kernel, stride, after) == (3, 1, 1));
        }
    }
    // A window that fits with these zeros only.
    let window = Window { kernel: 3, stride: 2, padding: 0 };
    assert_eq!(Conv2d::padded(1, 1, 1, [2, 2], window, 1).unwrap().output_image(), [1, 1]);
    assert!(Conv2d::padded(1, 1, 1, [3, 3], window, usize::MAX).is_err());
}

/// Distances in memory that are multiples of a cache's set.
#[test]
fn rows_of_four_kilobytes() {
    check_layers((1, 1, 0), &[(1, 1024, 20, 12)]);
    check_layers((3, 2, 1), &[(1, 512, 17, 28)]);
    check_layers((2, 1, 0), &[(1, 256, 40, 6)]);
}

#[test]
fn one_by_one_layers() {
    check_layers((1, 1, 0), &[(1, 512, 120, 14), (1, 64, 256, 56), (2, 10, 10, 16)]);
}

#[test]
fn first_layers_of_large_networks() {
    check_layers((7, 2, 3), &[(2, 3, 64, 64), (1, 3, 64, 224)]);
}

/// Results that consist of padding only, a single pixel, windows far larger than the image.
#[test]
fn extreme_geometry() {
    let windows = [(1, 1, 3), (2, 3, 3), (7, 1, 3), (7, 3, 3), (5, 2, 3), (3, 1, 1), (3, 3, 1), (4, 1, 2)];
    for (kernel, stride, padding) in windows {
        for image in [[1, 1], [1, 20], [20, 1], [2, 3]] {
            for (input, output) in [(1, 1), (8, 8), (9, 17), (33, 1)] {
                let window = Window { kernel, stride, padding };
                check(Convolution { batch: 1, input, output, image, window, after: padding }, 3);
            }
        }
    }
}

/// `new` takes a level that this machine has, and it is the one whose results it gives.
#[test]
fn the_default_level_is_one_of_the_available() {
    let kernels = Kernels::new();
    assert!(all_levels().iter().any(|k| k.level() == kernels.level()), "{kernels:?}");
    assert!(all_levels().iter().any(|k| k.level() == ktg_kernels::Level::Portable));
    let case = Convolution {
        batch: 1,
        input: 8,
        output: 8,
        image: [9, 9],
        window: Window { kernel: 3, stride: 1, padding: 1 },
        after: 1,
    };
    let [images, weights, _] = operands(&case, 1);
    let results = |k: Kernels| k.conv(&case.shape(), &images, &weights).unwrap();
    assert_eq!(results(kernels), results(Kernels::at(kernels.level()).unwrap()));
}
