//! NaN, infinities, negative zeros and denormals: they spread as the definitions say, no further and no less.
//!
//! A fast kernel may get this wrong unnoticed: by multiplying padding with an infinite value, by a `max` that drops NaN,
//! by a skipped product with zero.

mod reference;
mod support;

use std::fmt::Display;

use ktg_kernels::{Affine, BackwardPass, Fused, Kernels, SgdStep, Statistics, Window};
use reference::convolution::Convolution;
use reference::norm::{Maps, Moments};
use reference::pooling::MaxPool;
use support::{Returning, all_levels, assert_same, bits, values, wide};

const SPECIAL: [f32; 3] = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];

/// Compares the results with one special operand to those with a finite one in its place: where the reference is not
/// finite, neither is the result, which is the same infinity if `exact`; anywhere else the result is unchanged to the
/// bit, or, where `may` allows, not finite.
#[track_caller]
fn assert_spread(
    what: impl Display,
    [clean, special]: [&[f32]; 2],
    reference: &[f64],
    exact: bool,
    may: impl Fn(usize) -> bool,
) {
    assert_eq!((clean.len(), special.len()), (reference.len(), reference.len()), "{what}");
    for (i, (&special, &reference)) in special.iter().zip(reference).enumerate() {
        assert!(clean[i].is_finite(), "{what}: value {i} is {} before anything special is there", clean[i]);
        let fits = if reference.is_finite() {
            special.to_bits() == clean[i].to_bits() || (may(i) && !special.is_finite())
        } else if exact {
            f64::from(special) == reference || (special.is_nan() && reference.is_nan())
        } else {
            !special.is_finite()
        };
        assert!(
            fits,
            "{what}: value {i} is {special}, by definition {reference}, without the special value {}",
            clean[i]
        );
    }
}

/// All algorithms, with and without padding and gaps between the windows.
fn convolutions() -> Vec<Convolution> {
    let case = |input, output, image, (kernel, stride, padding)| Convolution {
        batch: 2,
        input,
        output,
        image,
        window: Window { kernel, stride, padding },
        after: padding,
    };
    let of_many = |image, (kernel, stride, padding)| Convolution {
        batch: 9,
        input: 16,
        output: 18,
        image,
        window: Window { kernel, stride, padding },
        after: padding,
    };
    vec![
        of_many([2, 2], (3, 1, 1)),
        of_many([4, 3], (3, 2, 1)),
        case(8, 8, [4, 4], (3, 1, 1)),
        case(9, 17, [10, 13], (3, 1, 1)),
        case(40, 8, [7, 7], (3, 1, 1)),
        case(3, 16, [9, 10], (3, 1, 1)),
        case(20, 3, [6, 5], (3, 1, 1)),
        case(5, 9, [9, 8], (3, 2, 1)),
        case(5, 9, [9, 8], (3, 1, 0)),
        case(3, 10, [17, 16], (7, 2, 3)),
        case(18, 5, [6, 7], (1, 1, 0)),
        case(18, 5, [6, 7], (1, 2, 0)),
        case(18, 9, [12, 13], (1, 1, 0)),
        case(18, 9, [24, 25], (1, 2, 0)),
        case(17, 9, [29, 30], (3, 2, 1)),
        case(4, 4, [8, 8], (2, 3, 0)),
        case(4, 4, [3, 3], (5, 1, 2)),
    ]
}

/// Corners, borders and inner points of the planes of an operand `[n, channels, height, width]`, in different planes.
fn places(len: usize, [height, width]: [usize; 2]) -> Vec<usize> {
    let planes = len / (height * width);
    let pixels = [(0, 0), (0, width - 1), (height - 1, 0), (height - 1, width - 1), (height / 2, width / 2), (1, 2)];
    let inside = pixels.into_iter().filter(|(y, x)| *y < height && *x < width);
    inside.enumerate().map(|(i, (y, x))| (i * 7 % planes * height + y) * width + x).collect()
}

/// Every third value is zero: its product with NaN or infinity is NaN nevertheless.
fn with_zeros(mut values: Vec<f32>) -> Vec<f32> {
    values.iter_mut().step_by(3).for_each(|v| *v = 0.0);
    values
}

/// Whether Winograd's output tile of 4x4 at `result` reads the pixel `special`, both as indices into
/// `[batch, channels, height, width]`: its input tile reaches one pixel further on each side.
fn tile_reads([height, width]: [usize; 2], image_of: [usize; 2], result: usize, special: usize) -> bool {
    let reads = |result: usize, special: usize| (result / 4 * 4..result / 4 * 4 + 6).contains(&(special + 1));
    let image = |index: usize, channels: usize| index / (width * height * channels);
    image(result, image_of[0]) == image(special, image_of[1])
        && reads(result % width, special % width)
        && reads(result / width % height, special / width % height)
}

#[test]
fn special_pixels_reach_the_results_whose_windows_hold_them() {
    for case in convolutions() {
        let shape = case.shape();
        let winograd = shape.is_winograd();
        let weights = with_zeros(values(1, shape.weight_len()));
        let images = values(2, shape.input_len());
        for (place, special) in places(images.len(), case.image).into_iter().flat_map(|p| SPECIAL.map(|s| (p, s))) {
            let mut with_special = images.clone();
            with_special[place] = special;
            let reference = case.forward(&wide(&with_special), &wide(&weights));
            for kernels in all_levels() {
                let run = |images: &[f32]| kernels.conv(&shape, images, &weights).unwrap();
                let what = format_args!("{special} at {place} in {case:?} {kernels:?}").to_string();
                assert_spread(what, [&run(&images), &run(&with_special)], &reference, !winograd, |i| {
                    winograd && tile_reads(case.image, [case.output, case.input], i, place)
                });
            }
        }
    }
}

#[test]
fn special_gradients_reach_the_pixels_of_their_windows() {
    for case in convolutions() {
        let shape = case.shape();
        let winograd = shape.is_winograd();
        let weights = with_zeros(values(1, shape.weight_len()));
        let gradient = values(2, shape.output_len());
        for (place, special) in places(gradient.len(), case.result()).into_iter().flat_map(|p| SPECIAL.map(|s| (p, s)))
        {
            let mut with_special = gradient.clone();
            with_special[place] = special;
            let reference = case.backward_data(&wide(&with_special), &wide(&weights));
            for kernels in all_levels() {
                let run = |gradient: &[f32]| kernels.conv_backward_data(&shape, gradient, &weights).unwrap();
                let what = format_args!("{special} at {place} in {case:?} {kernels:?}").to_string();
                assert_spread(what, [&run(&gradient), &run(&with_special)], &reference, !winograd, |i| {
                    winograd && tile_reads(case.image, [case.input, case.output], i, place)
                });
            }
        }
    }
}

/// Winograd mixes the taps of a weight's gradient, but not those of different channels.
#[test]
fn special_operands_reach_the_weights_they_meet() {
    for case in convolutions() {
        let shape = case.shape();
        let winograd = shape.is_winograd();
        let taps = case.window.kernel * case.window.kernel;
        let (images, gradient) = (values(1, shape.input_len()), values(2, shape.output_len()));

        for (place, special) in places(images.len(), case.image).into_iter().flat_map(|p| SPECIAL.map(|s| (p, s))) {
            let mut with_special = images.clone();
            with_special[place] = special;
            let channel = place / (case.image[0] * case.image[1]) % case.input;
            let reference = case.backward_weights(&wide(&with_special), &wide(&gradient));
            for kernels in all_levels() {
                let run = |images: &[f32]| kernels.conv_backward_weights(&shape, images, &gradient).unwrap();
                let what = format_args!("pixel {special} at {place} in {case:?} {kernels:?}").to_string();
                assert_spread(what, [&run(&images), &run(&with_special)], &reference, !winograd, |i| {
                    winograd && i / taps % case.input == channel
                });
            }
        }

        for (place, special) in places(gradient.len(), case.result()).into_iter().flat_map(|p| SPECIAL.map(|s| (p, s)))
        {
            let mut with_special = gradient.clone();
            with_special[place] = special;
            let [height, width] = case.result();
            let channel = place / (height * width) % case.output;
            let reference = case.backward_weights(&wide(&images), &wide(&with_special));
            for kernels in all_levels() {
                let run = |gradient: &[f32]| kernels.conv_backward_weights(&shape, &images, gradient).unwrap();
                let what = format_args!("gradient {special} at {place} in {case:?} {kernels:?}").to_string();
                // The zeros of the padding, times infinity, are NaN or nothing: both are common.
                assert_spread(what, [&run(&gradient), &run(&with_special)], &reference, false, |i| {
                    i / taps / case.input == channel
                });
            }
        }
    }
}

/// A weight that is not finite spoils its output channel and, going back, its input channel, and no others.
#[test]
fn special_weights_stay_in_their_channels() {
    for case in convolutions() {
        let shape = case.shape();
        let taps = case.window.kernel * case.window.kernel;
        let weights = values(1, shape.weight_len());
        let (images, gradient) = (values(2, shape.input_len()), values(3, shape.output_len()));
        let [pixels, results] = [case.image, case.result()].map(|[height, width]| height * width);
        for (place, special) in
            [0, weights.len() / 2, weights.len() - 1].into_iter().flat_map(|p| SPECIAL.map(|s| (p, s)))
        {
            let mut with_special = weights.clone();
            with_special[place] = special;
            let (input, output) = (place / taps % case.input, place / taps / case.input);
            for kernels in all_levels() {
                let what = format_args!("weight {special} at {place} in {case:?} {kernels:?}").to_string();
                let reference = case.forward(&wide(&images), &wide(&with_special));
                let run = |weights: &[f32]| kernels.conv(&shape, &images, weights).unwrap();
                assert_spread(&what, [&run(&weights), &run(&with_special)], &reference, false, |i| {
                    i / results % case.output == output
                });
                let reference = case.backward_data(&wide(&gradient), &wide(&with_special));
                let run = |weights: &[f32]| kernels.conv_backward_data(&shape, &gradient, weights).unwrap();
                assert_spread(&what, [&run(&weights), &run(&with_special)], &reference, false, |i| {
                    i / pixels % case.input == input
                });
            }
        }
    }
}

/// Values so large that anything but a zero of padding would show, so small that only denormals are left of them, and
/// zeros of either sign.
#[test]
fn convolution_of_huge_tiny_and_zero_values() {
    for case in convolutions() {
        let shape = case.shape();
        let (images, weights) = (values(1, shape.input_len()), values(2, shape.weight_len()));
        let scaled = |by: f32| images.iter().map(|x| x * by).collect::<Vec<f32>>();
        for kernels in all_levels() {
            let run = |images: &[f32]| kernels.conv(&shape, images, &weights).unwrap();
            let normal = run(&images);
            // Powers of two: every operation's result is scaled exactly, unless it is rounded to a denormal.
            let huge = 2f32.powi(100);
            let expected: Vec<f32> = normal.iter().map(|y| y * huge).collect();
            assert_same(format_args!("huge {case:?} {kernels:?}"), &run(&scaled(huge)), &expected);

            // Values of up to 2^20 of the smallest denormal, each product and sum rounded to one of these.
            let tiny = 2f32.powi(-129);
            let smallest = f64::from(f32::from_bits(1));
            let terms = case.products() as f64 / shape.output_len() as f64 + 1.0;
            let limit = smallest * terms * if shape.is_winograd() { 400.0 } else { 2.0 };
            let expected: Vec<f64> = wide(&normal).iter().map(|y| y * f64::from(tiny)).collect();
            support::assert_within(format_args!("tiny {case:?} {kernels:?}"), &run(&scaled(tiny)), &expected, |_| {
                limit
            });

            for zero in [0.0, -0.0] {
                let found = run(&vec![zero; images.len()]);
                assert!(found.iter().all(|y| *y == 0.0), "{zero:?} {case:?} {kernels:?}");
            }
        }
    }
}

const MAPS: Maps = Maps { batch: 2, channels: 5, pixels: 37 };

/// What one level makes of the same arguments, but for x and the gradient.
struct Norms {
    kernels: Kernels,
    relu: bool,
    weight: Vec<f32>,
    bias: Vec<f32>,
    mean: Vec<f32>,
    variance: Vec<f32>,
    residual: Vec<f32>,
}

impl Norms {
    fn all() -> impl Iterator<Item = Self> {
        let channels = |seed| values(seed, MAPS.channels);
        all_levels().into_iter().flat_map(|kernels| [false, true].map(|relu| (kernels, relu))).map(
            move |(kernels, relu)| Self {
                kernels,
                relu,
                weight: channels(1),
                bias: channels(2),
                mean: channels(3),
                variance: channels(4).iter().map(|v| v.abs() + 0.5).collect(),
                residual: values(5, MAPS.len()),
            },
        )
    }

    fn what(&self) -> String {
        format!("{:?}, ReLU {}", self.kernels, self.relu)
    }

    fn affine(&self) -> Affine<'_> {
        Affine { weight: &self.weight, bias: &self.bias, epsilon: 1e-5 }
    }

    fn train(&self, x: &[f32], residual: &[f32]) -> [Vec<f32>; 3] {
        let fused = Fused { residual: Some(residual), relu: self.relu };
        let result = self.kernels.norm_train(&MAPS.shape(), x, self.affine(), fused).unwrap();
        [result.output, result.mean, result.variance]
    }

    fn inference(&self, x: &[f32], residual: &[f32]) -> Vec<f32> {
        let fused = Fused { residual: Some(residual), relu: self.relu };
        let statistics = Statistics { mean: &self.mean, variance: &self.variance };
        self.kernels.norm_inference(&MAPS.shape(), x, self.affine(), statistics, fused).unwrap()
    }

    /// Gradients of x, weight, bias and the residual.
    fn backward(&self, x: &[f32], output: &[f32], gradient: &[f32], from_batch: bool) -> [Vec<f32>; 4] {
        let pass = BackwardPass {
            x,
            weight: &self.weight,
            epsilon: 1e-5,
            statistics: Statistics { mean: &self.mean, variance: &self.variance },
            from_batch,
            relu_output: self.relu.then_some(output),
        };
        let result = self.kernels.norm_backward(&MAPS.shape(), &pass, gradient, true).unwrap();
        [result.x, result.weight, result.bias, result.residual.unwrap()]
    }
}

/// NaN exactly where `nan` says, all else as before.
#[track_caller]
fn assert_nan(what: impl Display, [clean, found]: [&[f32]; 2], nan: impl Fn(usize) -> bool) {
    let reference: Vec<f64> =
        clean.iter().enumerate().map(|(i, v)| if nan(i) { f64::NAN } else { f64::from(*v) }).collect();
    assert_spread(what, [clean, found], &reference, true, |_| false);
}

/// In the vectors' part of a plane, in its rest, in the first value of a channel and the last of the batch.
fn places_in_maps() -> [usize; 5] {
    [0, 3, 2 * MAPS.pixels, 2 * MAPS.pixels + 36, MAPS.len() - 1]
}

/// The mean of a channel with an infinite value is that infinity; its variance, and so all its results, are NaN.
#[test]
fn training_batch_norm_spoils_the_channel_of_a_special_value() {
    let x = values(7, MAPS.len());
    for norms in Norms::all() {
        let clean = norms.train(&x, &norms.residual);
        for (place, special) in places_in_maps().into_iter().flat_map(|p| SPECIAL.map(|s| (p, s))) {
            let channel = MAPS.channel(place);
            let mut with_special = x.clone();
            with_special[place] = special;
            let found = norms.train(&with_special, &norms.residual);
            let moments = Moments::of(MAPS, &wide(&with_special));
            assert!(moments.variance[channel].is_nan(), "by definition");

            let what = |v: &str| format!("{v} with {special} at {place}, {}", norms.what());
            assert_nan(what("output"), [&clean[0], &found[0]], |i| MAPS.channel(i) == channel);
            assert_nan(what("variance"), [&clean[2], &found[2]], |c| c == channel);
            let mut mean = found[1].clone();
            assert!(!mean[channel].is_finite(), "{}: {}", what("mean"), mean[channel]);
            mean[channel] = clean[1][channel];
            assert_same(what("mean"), &mean, &clean[1]);
        }
    }
}

#[test]
fn fused_additions_and_relu_pass_nan_on() {
    let x = values(7, MAPS.len());
    for norms in Norms::all() {
        let what = |v: &str, place: usize| format!("{v} with NaN at {place}, {}", norms.what());
        let clean = [norms.train(&x, &norms.residual)[0].clone(), norms.inference(&x, &norms.residual)];
        for place in places_in_maps() {
            let mut residual = norms.residual.clone();
            residual[place] = f32::NAN;
            assert_nan(what("training, residual", place), [&clean[0], &norms.train(&x, &residual)[0]], |i| i == place);
            assert_nan(what("inference, residual", place), [&clean[1], &norms.inference(&x, &residual)], |i| {
                i == place
            });
            let mut with_nan = x.clone();
            with_nan[place] = f32::NAN;
            let found = norms.inference(&with_nan, &norms.residual);
            assert_nan(what("inference, x", place), [&clean[1], &found], |i| i == place);
        }
    }
}

/// A NaN in the gradient spoils its channel's sums, and through these, in training, all gradients of its channel. One in
/// the output means that the gradient passes there.
#[test]
fn nan_in_batch_norm_backward() {
    let (x, gradient) = (values(7, MAPS.len()), values(8, MAPS.len()));
    for (norms, from_batch) in Norms::all().flat_map(|n| [(n, true)]).chain(Norms::all().map(|n| (n, false))) {
        let what = |v: &str, place: usize| format!("{v}, NaN at {place}, training {from_batch}, {}", norms.what());
        let output = vec![1.0; MAPS.len()];
        let clean = norms.backward(&x, &output, &gradient, from_batch);
        for place in places_in_maps() {
            let channel = MAPS.channel(place);
            let mut with_nan = gradient.clone();
            with_nan[place] = f32::NAN;
            let found = norms.backward(&x, &output, &with_nan, from_batch);
            let spoilt = |i: usize| if from_batch { MAPS.channel(i) == channel } else { i == place };
            assert_nan(what("x", place), [&clean[0], &found[0]], spoilt);
            assert_nan(what("weight", place), [&clean[1], &found[1]], |c| c == channel);
            assert_nan(what("bias", place), [&clean[2], &found[2]], |c| c == channel);
            assert_nan(what("residual", place), [&clean[3], &found[3]], |i| i == place);

            let mut output_with_nan = output.clone();
            output_with_nan[place] = f32::NAN;
            let found = norms.backward(&x, &output_with_nan, &gradient, from_batch);
            for (found, clean) in found.iter().zip(&clean) {
                assert_same(what("output", place), found, clean);
            }
            // Zeros of either sign block, NaN behind them too.
            for zero in [0.0, -0.0] {
                let mut output_with_zero = output.clone();
                output_with_zero[place] = zero;
                let found = norms.backward(&x, &output_with_zero, &with_nan, from_batch);
                if norms.relu {
                    assert!(found.iter().flatten().all(|v| v.is_finite()), "{}", what("blocked", place));
                    assert_eq!(found[3][place], 0.0, "{}", what("blocked", place));
                }
            }
        }
    }
}

/// Batch norm that changes nothing must keep denormals; a ReLU makes zero of all that is not positive.
#[test]
fn batch_norm_keeps_denormals() {
    let denormal = f32::from_bits(12345);
    let (x, relu): (Vec<f32>, Vec<f32>) =
        (0..MAPS.len()).map(|i| [(denormal, denormal), (-denormal, 0.0), (0.0, 0.0), (-0.0, 0.0)][i % 4]).unzip();
    for kernels in all_levels() {
        let (ones, zeros) = (vec![1.0; MAPS.channels], vec![0.0; MAPS.channels]);
        let run = |relu| {
            let affine = Affine { weight: &ones, bias: &zeros, epsilon: 0.0 };
            let statistics = Statistics { mean: &zeros, variance: &ones };
            kernels.norm_inference(&MAPS.shape(), &x, affine, statistics, Fused { residual: None, relu }).unwrap()
        };
        assert_eq!(run(false), x, "{kernels:?}");
        assert_eq!(run(true), relu, "{kernels:?}");
    }
}

#[test]
fn max_pool_passes_special_values_on() {
    let case = MaxPool { planes: 3, image: [7, 18], window: Window { kernel: 3, stride: 2, padding: 1 } };
    let shape = case.shape();
    let gradient: Vec<f32> = (0..shape.output_len()).map(|i| i as f32 + 1.0).collect();
    let mut inputs = vec![
        vec![f32::NEG_INFINITY; shape.input_len()],
        vec![f32::NAN; shape.input_len()],
        vec![f32::MIN; shape.input_len()],
        // A tie, not a rise: the first of both zeros wins.
        [-0.0, 0.0].repeat(shape.input_len() / 2),
        values(1, shape.input_len()).iter().map(|v| v * 1e-39).collect(),
    ];
    for special in SPECIAL {
        // Several of them in one window too: the first NaN counts.
        for step in [1, 2, 5, 31] {
            let mut x = values(2, shape.input_len());
            x.iter_mut().skip(step / 2).step_by(step).for_each(|x| *x = special);
            inputs.push(x);
        }
    }
    for x in &inputs {
        let maxima: Vec<f32> = case.winners(x).into_iter().map(|i| x[i]).collect();
        let expected = case.backward(x, &wide(&gradient));
        for kernels in all_levels() {
            let found = kernels.pool_max(&shape, x).unwrap();
            // NaN is NaN, whatever its payload, and the zeros are equal.
            let same = |(a, b): (&f32, &f32)| a == b || (a.is_nan() && b.is_nan());
            assert!(found.iter().zip(&maxima).all(same), "{kernels:?}: {found:?} of {x:?}");
            let found = kernels.pool_max_backward(&shape, x, &gradient).unwrap();
            assert_eq!(wide(&found), expected, "{kernels:?}: gradient of {x:?}");
        }
    }
}

#[test]
fn global_average_pool_spoils_the_mean_of_a_special_value() {
    let (x, gradient) = (values(1, MAPS.len()), values(2, MAPS.batch * MAPS.channels));
    for kernels in all_levels() {
        for (place, special) in places_in_maps().into_iter().flat_map(|p| SPECIAL.map(|s| (p, s))) {
            let what = format!("{special} at {place} {kernels:?}");
            let run = |x: &[f32]| kernels.pool_mean(&MAPS.shape(), x).unwrap();
            let mut with_special = x.clone();
            with_special[place] = special;
            let reference = reference::pooling::global_average(MAPS, &wide(&with_special));
            assert_spread(&what, [&run(&x), &run(&with_special)], &reference, true, |_| false);

            let run = |gradient: &[f32]| kernels.pool_mean_backward(&MAPS.shape(), gradient).unwrap();
            let mut with_special = gradient.clone();
            let plane = place / MAPS.pixels;
            with_special[plane] = special;
            let reference = reference::pooling::global_average_backward(MAPS, &wide(&with_special));
            assert_spread(&what, [&run(&gradient), &run(&with_special)], &reference, true, |_| false);
        }
    }
}

#[test]
fn sgd_touches_nothing_but_the_parameter_of_a_special_gradient() {
    for (kernels, momentum) in all_levels().into_iter().flat_map(|k| [(k, 0.0), (k, 0.9)]) {
        let step =
            SgdStep { learning_rate: 0.1, momentum, nesterov: false, weight_decay: 0.01, scale: 1.0, first: false };
        let run = |gradient: &[f32]| {
            let (mut w, mut v) = (values(1, 37), values(2, 37));
            kernels.sgd(step, &mut w, gradient, &mut v).unwrap();
            w
        };
        let gradient = values(3, 37);
        for (place, special) in [0, 20, 36].into_iter().flat_map(|p| SPECIAL.map(|s| (p, s))) {
            let mut with_special = gradient.clone();
            with_special[place] = special;
            let mut reference = wide(&run(&gradient));
            reference[place] = -f64::from(special);
            let what = format!("{special} at {place}, {step:?} {kernels:?}");
            assert_spread(what, [&run(&gradient), &run(&with_special)], &reference, true, |_| false);
        }
        // A denormal minus itself, and half of it.
        let denormal = f32::from_bits(1000);
        let step = SgdStep { learning_rate: 1.0, weight_decay: 0.0, first: true, ..step };
        let (mut w, mut v) = (vec![denormal; 20], vec![0.0; 20]);
        kernels.sgd(step, &mut w[..10], &[denormal; 10], &mut v[..10]).unwrap();
        kernels.sgd(step, &mut w[10..], &[denormal / 2.0; 10], &mut v[10..]).unwrap();
        assert_eq!(bits(&w), [[0u32; 10], [500; 10]].concat(), "{step:?} {kernels:?}");
    }
}
