//! Arguments that do not fit are errors that say what does not fit, never panics.

mod support;

use ktg_kernels::{
    Affine, Attention, BackwardPass, Bf16, Conv2d, Depthwise, Each, EachBf16, Features, Fused, Kernels, NormGradients,
    Pool, SgdStep, ShapeError, Statistics, Window,
};
use proptest::prelude::*;
use support::{Returning, values};

const WINDOW: Window = Window { kernel: 3, stride: 1, padding: 1 };

/// Calls an operation with its arguments' proper lengths, which must succeed, and then with each argument in turn
/// empty, too short and too long, which must give an error that names it and its lengths.
#[track_caller]
fn check(operation: &str, arguments: &[(&str, usize)], call: impl Fn(&Kernels, &[Vec<f32>]) -> Result<(), ShapeError>) {
    let kernels = Kernels::new();
    let proper: Vec<Vec<f32>> = arguments.iter().map(|(_, len)| values(1, *len)).collect();
    assert_eq!(call(&kernels, &proper), Ok(()), "{operation}");
    for (i, &(name, len)) in arguments.iter().enumerate() {
        for wrong in [0, 1, len - 1, len + 1, 2 * len] {
            let mut given = proper.clone();
            given[i] = values(1, wrong);
            let error = call(&kernels, &given).expect_err(operation);
            let ShapeError::Length { what, expected, found } = error else {
                panic!("{operation} with {wrong} values for its {name}: {error:?}")
            };
            assert!(what.contains(name), "{operation} blames {what} where its {name} is wrong");
            assert_eq!((expected, found), (len, wrong), "{operation}, {name}");
            let message = error.to_string();
            assert!(message.contains(&len.to_string()) && message.contains(&wrong.to_string()), "{message}");
        }
    }
}

#[test]
fn convolution() {
    // Winograd and implicit GEMM.
    for (input, output) in [(8, 9), (2, 3)] {
        let shape = Conv2d::new(2, input, output, [5, 7], WINDOW).unwrap();
        let images = ("images", 2 * input * 35);
        let weights = ("weights", input * output * 9);
        let gradient = ("gradient", 2 * output * 35);
        check("conv2d", &[images, weights], |k, v| k.conv(&shape, &v[0], &v[1]).map(drop));
        check("conv2d_backward_data", &[gradient, weights], |k, v| {
            k.conv_backward_data(&shape, &v[0], &v[1]).map(drop)
        });
        check("conv2d_backward_weights", &[images, gradient], |k, v| {
            k.conv_backward_weights(&shape, &v[0], &v[1]).map(drop)
        });
    }
}

#[test]
fn depthwise() {
    let shape = Depthwise::new(2, 19, [5, 7], WINDOW, 2).unwrap();
    let [images, weights, gradient] = [("images", 2 * 19 * 35), ("weights", 19 * 9), ("gradient", 2 * 19 * 48)];
    check("depthwise", &[images, weights], |k, v| k.depth(&shape, &v[0], &v[1]).map(drop));
    check("depthwise_backward_data", &[gradient, weights], |k, v| {
        k.depth_backward_data(&shape, &v[0], &v[1]).map(drop)
    });
    check("depthwise_backward_weights", &[images, gradient], |k, v| {
        k.depth_backward_weights(&shape, &v[0], &v[1]).map(drop)
    });
}

#[test]
fn batch_norm() {
    let shape = Features::new(2, 5, 11).unwrap();
    let forward = [("input", 110), ("weight", 5), ("bias", 5), ("residual", 110)];
    check("batch_norm_train", &forward, |k, v| {
        let affine = Affine { weight: &v[1], bias: &v[2], epsilon: 1e-5 };
        k.norm_train(&shape, &v[0], affine, Fused { residual: Some(&v[3]), relu: true }).map(drop)
    });
    let forward = [("input", 110), ("weight", 5), ("bias", 5), ("residual", 110), ("mean", 5), ("variance", 5)];
    check("batch_norm_inference", &forward, |k, v| {
        let affine = Affine { weight: &v[1], bias: &v[2], epsilon: 1e-5 };
        let statistics = Statistics { mean: &v[4], variance: &v[5] };
        k.norm_inference(&shape, &v[0], affine, statistics, Fused { residual: Some(&v[3]), relu: true }).map(drop)
    });
    let backward = [("input", 110), ("weight", 5), ("mean", 5), ("variance", 5), ("output", 110), ("gradient", 110)];
    for residual in [false, true] {
        check("batch_norm_backward", &backward, |k, v| {
            let statistics = Statistics { mean: &v[2], variance: &v[3] };
            let pass = BackwardPass {
                x: &v[0],
                weight: &v[1],
                epsilon: 1e-5,
                statistics,
                from_batch: true,
                relu_output: Some(&v[4]),
            };
            k.norm_backward(&shape, &pass, &v[5], residual).map(drop)
        });
    }
}

#[test]
fn layer_norm() {
    let shape = Features::new(2, 5, 11).unwrap();
    let forward = [("input", 110), ("weight", 5), ("bias", 5), ("result", 110)];
    check("layer_norm", &forward, |k, v| {
        k.layer_norm(&shape, &v[0], Affine { weight: &v[1], bias: &v[2], epsilon: 1e-5 }, &mut v[3].clone())
    });
    let (of_x, of_weight, of_bias) = ("gradient of the input", "gradient of the weight", "gradient of the bias");
    let gradients = [("gradient", 110), (of_weight, 5), (of_bias, 5), (of_x, 110)];
    let backward = [&forward[..3], &gradients].concat();
    check("layer_norm_backward", &backward, |k, v| {
        let affine = Affine { weight: &v[1], bias: &v[2], epsilon: 1e-5 };
        let (result, x) = (&mut v[3].clone()[..], Some(&mut v[6].clone()[..]));
        let gradients = NormGradients { result, x, weight: &mut v[4].clone(), bias: &mut v[5].clone() };
        k.layer_norm_backward(&shape, &v[0], affine, gradients)
    });
}

#[test]
fn attention() {
    let shape = Attention::new(2, 2, 3, 7).unwrap();
    let (qkv, result, map) = (("queries, keys and values", 252), ("result", 84), ("map", 12));
    let (gradient, of_qkv) = (("gradient", 84), ("gradient of queries, keys and values", 252));
    check("attention", &[qkv, result], |k, v| k.attention(&shape, &v[0], &mut v[1].clone()));
    check("attention_backward", &[qkv, gradient, of_qkv], |k, v| {
        k.attention_backward(&shape, &v[0], &v[1], &mut v[2].clone())
    });
    check("class_attention", &[qkv, map], |k, v| k.class_attention(&shape, &v[0], &mut v[1].clone()));
    check("class_attention_backward", &[qkv, ("gradient of the map", 12), of_qkv], |k, v| {
        k.class_attention_backward(&shape, &v[0], &v[1], &mut v[2].clone())
    });
}

#[test]
fn channels_and_values() {
    let shape = Features::new(2, 5, 11).unwrap();
    let [input, scale, residual, result] = [("input", 110), ("scale", 5), ("residual", 110), ("result", 110)];
    check("scale_channels", &[input, scale, residual, result], |k, v| {
        k.scale_channels(&shape, &v[0], &v[1], Some(&v[2]), &mut v[3].clone())
    });
    let gradients = [("gradient", 110), ("gradient of the input", 110), ("gradient of the scale", 5)];
    check("scale_channels_backward", &[&[input, scale][..], &gradients].concat(), |k, v| {
        k.scale_channels_backward(&shape, &v[0], &v[1], &v[2], &mut v[3].clone(), &mut v[4].clone())
    });
    check("add_channel_bias", &[("bias", 5), ("values", 110)], |k, v| {
        k.add_channel_bias(&shape, &v[0], &mut v[1].clone())
    });
    check("channel_sums", &[("gradient", 110), ("gradient of the bias", 5)], |k, v| {
        k.channel_sums(&shape, &v[0], &mut v[1].clone())
    });
    for with in [Each::Gelu, Each::GeluBackward, Each::Relu6, Each::Relu6Backward] {
        check("each", &[("values", 110)], |k, v| k.each(with, &mut vec![0.0; 110], &v[0]));
    }
}

/// Which of the values are numbers in bf16.
fn halves(values: &[f32]) -> Vec<Bf16> {
    values.iter().map(|x| Bf16::from_f32(*x)).collect()
}

#[test]
fn operations_in_bf16() {
    let shape = Depthwise::new(2, 19, [5, 7], WINDOW, 2).unwrap();
    let [images, weights, gradient] = [("images", 2 * 19 * 35), ("weights", 19 * 9), ("gradient", 2 * 19 * 48)];
    let of_images = ("gradient of the images", images.1);
    check("depthwise_bf16", &[images, weights, ("result", gradient.1)], |k, v| {
        k.depthwise_bf16(&shape, &halves(&v[0]), &v[1], &mut halves(&v[2]))
    });
    check("depthwise_backward_data_bf16", &[gradient, weights, of_images], |k, v| {
        k.depthwise_backward_data_bf16(&shape, &halves(&v[0]), &v[1], &mut halves(&v[2]))
    });
    check("depthwise_backward_weights_bf16", &[images, gradient, ("gradient of the weights", weights.1)], |k, v| {
        k.depthwise_backward_weights_bf16(&shape, &halves(&v[0]), &halves(&v[1]), &mut v[2].clone())
    });

    let shape = Features::new(2, 5, 11).unwrap();
    let [input, weight, bias, result] = [("input", 110), ("weight", 5), ("bias", 5), ("result", 110)];
    check("layer_norm_bf16", &[input, weight, bias, result], |k, v| {
        let affine = Affine { weight: &v[1], bias: &v[2], epsilon: 1e-5 };
        k.layer_norm_bf16(&shape, &halves(&v[0]), affine, &mut halves(&v[3]))
    });
    let (of_weight, of_bias) = (("gradient of the weight", 5), ("gradient of the bias", 5));
    let (gradient, of_x) = (("gradient", 110), ("gradient of the input", 110));
    check("layer_norm_backward_bf16", &[input, weight, bias, gradient, of_weight, of_bias, of_x], |k, v| {
        let affine = Affine { weight: &v[1], bias: &v[2], epsilon: 1e-5 };
        let (result, x) = (&mut halves(&v[3])[..], Some(&mut halves(&v[6])[..]));
        let gradients = NormGradients { result, x, weight: &mut v[4].clone(), bias: &mut v[5].clone() };
        k.layer_norm_backward_bf16(&shape, &halves(&v[0]), affine, gradients)
    });

    let (scale, residual) = (("scale", 5), ("residual", 110));
    check("scale_channels_bf16", &[input, scale, residual, result], |k, v| {
        k.scale_channels_bf16(&shape, &halves(&v[0]), &v[1], Some(&halves(&v[2])), &mut halves(&v[3]))
    });
    check("scale_channels_backward_bf16", &[input, scale, gradient, of_x, ("gradient of the scale", 5)], |k, v| {
        let (dx, of_scale) = (&mut halves(&v[3]), &mut v[4].clone());
        k.scale_channels_backward_bf16(&shape, &halves(&v[0]), &v[1], &halves(&v[2]), dx, of_scale)
    });
    check("add_channel_bias_bf16", &[bias, ("values", 110)], |k, v| {
        k.add_channel_bias_bf16(&shape, &v[0], &mut halves(&v[1]))
    });
    check("channel_sums_bf16", &[gradient, of_bias], |k, v| {
        k.channel_sums_bf16(&shape, &halves(&v[0]), &mut v[1].clone())
    });
    for with in [EachBf16::Gelu, EachBf16::GeluBackward] {
        check("each_bf16", &[("values", 110)], |k, v| k.each_bf16(with, &mut halves(&[0.0; 110]), &halves(&v[0])));
    }
}

#[test]
fn pooling() {
    let shape = Pool::new(3, [5, 7], Window { kernel: 2, stride: 2, padding: 0 }).unwrap();
    check("max_pool", &[("input", 105)], |k, v| k.pool_max(&shape, &v[0]).map(drop));
    check("max_pool_backward", &[("input", 105), ("gradient", 18)], |k, v| {
        k.pool_max_backward(&shape, &v[0], &v[1]).map(drop)
    });
    let shape = Features::new(2, 5, 11).unwrap();
    check("global_average_pool", &[("input", 110)], |k, v| k.pool_mean(&shape, &v[0]).map(drop));
    check("global_average_pool_backward", &[("gradient", 10)], |k, v| k.pool_mean_backward(&shape, &v[0]).map(drop));
}

/// It works in place, so a call that fails must not have begun.
#[test]
fn sgd() {
    let step =
        SgdStep { learning_rate: 0.1, momentum: 0.9, nesterov: false, weight_decay: 1e-4, scale: 1.0, first: false };
    for momentum in [0.0, 0.9] {
        let arguments = if momentum == 0.0 { &[("gradient", 13)][..] } else { &[("gradient", 13), ("velocity", 13)] };
        check("sgd", arguments, |k, v| {
            let mut parameters = values(2, 13);
            let mut velocity = v.get(1).cloned().unwrap_or_default();
            let result = k.sgd(SgdStep { momentum, ..step }, &mut parameters, &v[0], &mut velocity);
            if result.is_err() {
                assert_eq!(parameters, values(2, 13));
                assert_eq!(velocity, v.get(1).cloned().unwrap_or_default());
            }
            result
        });
    }
}

#[test]
fn dimensions_of_zero() {
    let conv = |b, i, o, image, kernel, stride| Conv2d::new(b, i, o, image, Window { kernel, stride, padding: 1 });
    let zeros = [
        conv(0, 1, 1, [4, 4], 3, 1),
        conv(1, 0, 1, [4, 4], 3, 1),
        conv(1, 1, 0, [4, 4], 3, 1),
        conv(1, 1, 1, [0, 4], 3, 1),
        conv(1, 1, 1, [4, 0], 3, 1),
        conv(1, 1, 1, [4, 4], 0, 1),
        conv(1, 1, 1, [4, 4], 3, 0),
    ];
    for (i, result) in zeros.iter().enumerate() {
        assert!(matches!(result, Err(ShapeError::Zero(_))), "convolution {i}: {result:?}");
    }
    let depthwise = |b, c, image, kernel, stride| Depthwise::new(b, c, image, Window { kernel, stride, padding: 1 }, 0);
    let zeros = [
        depthwise(0, 1, [4, 4], 3, 1),
        depthwise(1, 0, [4, 4], 3, 1),
        depthwise(1, 1, [0, 4], 3, 1),
        depthwise(1, 1, [4, 0], 3, 1),
        depthwise(1, 1, [4, 4], 0, 1),
        depthwise(1, 1, [4, 4], 3, 0),
    ];
    for (i, result) in zeros.iter().enumerate() {
        assert!(matches!(result, Err(ShapeError::Zero(_))), "depthwise {i}: {result:?}");
    }
    for dims in [[0, 1, 1], [1, 0, 1], [1, 1, 0]] {
        let result = Features::new(dims[0], dims[1], dims[2]);
        assert!(matches!(result, Err(ShapeError::Zero(_))), "features {dims:?}: {result:?}");
    }
    let pool = |planes, image, kernel, stride| Pool::new(planes, image, Window { kernel, stride, padding: 0 });
    let zeros = [
        pool(0, [4, 4], 2, 2),
        pool(1, [0, 4], 2, 2),
        pool(1, [4, 0], 2, 2),
        pool(1, [4, 4], 0, 2),
        pool(1, [4, 4], 2, 0),
    ];
    for (i, result) in zeros.iter().enumerate() {
        assert!(matches!(result, Err(ShapeError::Zero(_))), "pool {i}: {result:?}");
    }
}

#[test]
fn windows_that_do_not_fit() {
    for image in [[4, 9], [9, 4]] {
        let expected = |side| ShapeError::Window { window: 7, side, padding: 1 };
        let window = Window { kernel: 7, stride: 1, padding: 1 };
        assert_eq!(Conv2d::new(1, 1, 1, image, window), Err(expected(4)), "{image:?}");
        assert_eq!(Pool::new(1, image, window), Err(expected(4)), "{image:?}");
        assert_eq!(Depthwise::new(1, 1, image, window, 1), Err(expected(4)), "{image:?}");
        assert_eq!(Conv2d::padded(1, 1, 1, image, window, 1), Err(expected(4)), "{image:?}");
        assert_eq!(Depthwise::new(1, 1, image, window, 2).map(|shape| shape.output_len()), Ok(6));
    }
    // One pixel more, and it fits once.
    let window = Window { kernel: 7, stride: 1, padding: 1 };
    assert_eq!(Conv2d::new(1, 1, 1, [5, 5], window).unwrap().output_image(), [1, 1]);
    assert_eq!(Pool::new(1, [5, 5], window).unwrap().output_image(), [1, 1]);
    // Windows of a pool that see nothing but padding have no maximum.
    for (kernel, padding) in [(1, 1), (2, 2), (3, 2), (3, usize::MAX)] {
        let result = Pool::new(1, [9, 9], Window { kernel, stride: 1, padding });
        assert!(matches!(result, Err(ShapeError::Window { .. })), "{kernel} {padding}: {result:?}");
    }
}

#[test]
fn sizes_beyond_memory() {
    const MAX: usize = usize::MAX;
    let conv = |b, i, o, image, padding| Conv2d::new(b, i, o, image, Window { padding, ..WINDOW });
    let shapes = [
        conv(MAX, 1, 1, [4, 4], 1),
        conv(1, MAX, 1, [4, 4], 1),
        conv(1, 1, MAX, [4, 4], 1),
        conv(1, 1, 1, [MAX, 4], 1),
        conv(1, 1, 1, [4, MAX], 1),
        conv(1, 1, 1, [4, 4], MAX),
        conv(1, 1, 1, [4, 4], MAX / 2),
        conv(1 << 16, 1 << 16, 1, [1 << 16, 1 << 16], 1),
        conv(1, 1 << 31, 1 << 31, [4, 4], 1),
        // Each operand alone would fit the address space as a number of values, but not in bytes.
        conv(1, 1, 1, [1 << 31, 1 << 31], 1),
    ];
    for (i, result) in shapes.iter().enumerate() {
        assert_eq!(*result, Err(ShapeError::Overflow), "convolution {i}");
    }
    let depthwise = |b, c, image, padding, after| Depthwise::new(b, c, image, Window { padding, ..WINDOW }, after);
    let shapes = [
        depthwise(MAX, 1, [4, 4], 1, 1),
        depthwise(1, MAX, [4, 4], 1, 1),
        depthwise(1, 1, [MAX, 4], 1, 1),
        depthwise(1, 1, [4, MAX], 1, 1),
        depthwise(1, 1, [4, 4], MAX, 1),
        depthwise(1, 1, [4, 4], 1, MAX),
        depthwise(1, 1, [4, 4], MAX / 2, MAX / 2),
        depthwise(1 << 16, 1 << 16, [1 << 16, 1 << 16], 1, 1),
        depthwise(1, 1, [1 << 31, 1 << 31], 1, 1),
    ];
    for (i, result) in shapes.iter().enumerate() {
        assert_eq!(*result, Err(ShapeError::Overflow), "depthwise {i}");
    }
    for [batch, channels, pixels] in [[MAX, 1, 1], [1, MAX, 2], [2, 1, MAX], [1 << 22, 1 << 22, 1 << 22]] {
        assert_eq!(Features::new(batch, channels, pixels), Err(ShapeError::Overflow), "{batch} {channels} {pixels}");
    }
    let window = Window { kernel: 2, stride: 2, padding: 1 };
    for (planes, image) in [(MAX, [4, 4]), (1, [MAX, 4]), (1, [4, MAX]), (1 << 40, [1 << 16, 1 << 16])] {
        assert_eq!(Pool::new(planes, image, window), Err(ShapeError::Overflow), "{planes} {image:?}");
    }
}

/// A window as large as numbers go needs no memory in a pool, where it is valid, but does in a convolution.
#[test]
fn the_largest_window() {
    let window = Window { kernel: usize::MAX, stride: usize::MAX, padding: usize::MAX / 2 };
    assert_eq!(Conv2d::new(1, 1, 1, [1, 1], window), Err(ShapeError::Overflow));
    let shape = Pool::new(2, [1, 1], window).unwrap();
    assert_eq!(Kernels::new().pool_max(&shape, &[3.0, -3.0]).unwrap(), [3.0, -3.0]);
    assert_eq!(Kernels::new().pool_max_backward(&shape, &[3.0, -3.0], &[1.0, 2.0]).unwrap(), [1.0, 2.0]);
}

/// Numbers at and around all sizes at which something may overflow.
fn any_size() -> impl Strategy<Value = usize> {
    prop_oneof![4 => 0usize..10, 2 => (0u32..64).prop_map(|b| 1 << b), 1 => (0usize..4).prop_map(|i| usize::MAX - i)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// In a debug build every overflow panics, in the constructors as well as in what they let through.
    #[test]
    fn no_sizes_panic(
        [batch, input, output] in prop::array::uniform3(any_size()),
        image in prop::array::uniform2(any_size()),
        [kernel, stride, padding, after] in prop::array::uniform4(any_size()),
    ) {
        let window = Window { kernel, stride, padding };
        if let Ok(shape) = Conv2d::new(batch, input, output, image, window) {
            let [height, width] = shape.output_image();
            prop_assert_eq!(shape.output_len(), batch * output * height * width);
            prop_assert_eq!(shape.input_len(), batch * input * image[0] * image[1]);
            prop_assert_eq!(shape.weight_len(), input * output * kernel * kernel);
            let _ = (shape.is_winograd(), shape.multiply_adds());
        }
        if let Ok(shape) = Conv2d::padded(batch, input, output, image, window, after) {
            let [height, width] = shape.output_image();
            prop_assert_eq!(shape.output_len(), batch * output * height * width);
            let _ = (shape.is_winograd(), shape.multiply_adds(), shape.padding_after());
        }
        if let Ok(shape) = Depthwise::new(batch, input, image, window, after) {
            let [height, width] = shape.output_image();
            prop_assert_eq!(shape.output_len(), batch * input * height * width);
            prop_assert_eq!(shape.input_len(), batch * input * image[0] * image[1]);
            prop_assert_eq!(shape.weight_len(), input * kernel * kernel);
            let _ = shape.multiply_adds();
        }
        if let Ok(shape) = Pool::new(batch, image, window) {
            let [height, width] = shape.output_image();
            prop_assert_eq!(shape.output_len(), batch * height * width);
            prop_assert_eq!(shape.input_len(), batch * image[0] * image[1]);
        }
        if let Ok(shape) = Features::new(batch, input, output) {
            prop_assert_eq!(shape.len(), batch * input * output);
        }
    }
}

/// A stride beyond the image makes one window, however large it is, and takes no memory.
#[test]
fn strides_beyond_the_image() {
    let kernels = Kernels::new();
    for stride in [5, 1 << 20, 1 << 40, 1 << 60, (1 << 61) + 1, 1 << 62, usize::MAX] {
        for kernel in [1, 2, 3] {
            let window = Window { kernel, stride, padding: 0 };
            let small = Window { stride: 4, ..window };
            let [shape, expected] =
                [window, small].map(|window| Conv2d::new(2, 3, 5, [4, 4], window).expect("a valid shape"));
            assert_eq!(shape.window(), expected.window(), "stride {stride}");
            assert_eq!(shape.output_image(), expected.output_image(), "stride {stride}");
            let depthwise = Depthwise::new(2, 3, [4, 4], window, 0).expect("a valid shape");
            assert_eq!(depthwise, Depthwise::new(2, 3, [4, 4], small, 0).expect("a valid shape"), "stride {stride}");
            let (x, w) = (values(1, shape.input_len()), values(2, shape.weight_len()));
            let y = kernels.conv(&shape, &x, &w).unwrap();
            assert_eq!(y.len(), 2 * 5);
            assert_eq!(kernels.conv_backward_data(&shape, &y, &w).unwrap().len(), x.len());
            assert_eq!(kernels.conv_backward_weights(&shape, &x, &y).unwrap().len(), w.len());
            let pool = Pool::new(2, [4, 4], window).expect("a valid shape");
            let y = kernels.pool_max(&pool, &x[..32]).unwrap();
            assert_eq!(kernels.pool_max_backward(&pool, &x[..32], &y).unwrap().len(), 32);
        }
    }
}
