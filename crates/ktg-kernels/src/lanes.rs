//! The code of levels that this machine may lack: every operation with emulated vectors of 4, 8 and 16 values and the tiles
//! of the levels must give what it gives with plain Rust's. What remains untested there are the instructions themselves.

use crate::attention::{self, Attention};
use crate::channels::Scaled;
use crate::norm::{self, Affine, BackwardPass, Fused, Moving, NormGradients, Statistics};
use crate::shape::{Conv2d, Features, Window};
use crate::simd::Simd;
use crate::simd::portable::{Array, Portable};
use crate::{Algorithm, Depthwise, channels, depthwise, direct, each, layer_norm, small_maps, winograd};

/// Values without a pattern, in [-1, 1).
pub(crate) fn values(seed: u64, n: usize) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

/// What `fill` writes.
fn result(len: usize, fill: impl FnOnce(&mut [f32])) -> Vec<f32> {
    let mut values = vec![f32::NAN; len];
    fill(&mut values);
    values
}

#[track_caller]
fn assert_close(name: &str, a: &[f32], b: &[f32], limit: f32) {
    assert_eq!(a.len(), b.len(), "{name}");
    let most = b.iter().fold(0.0f32, |m, x| m.max(x.abs())).max(1.0);
    for (i, (a, b)) in a.iter().zip(b).enumerate() {
        assert!((a - b).abs() <= limit * most, "{name}: value {i} is {a}, not {b}");
    }
}

/// A way to compute a convolution or one of its gradients.
type Way = fn(&Conv2d, &[f32], &[f32], &mut [f32]);

/// What three ways give: a convolution forward, backward to the images and backward to the weights.
fn convolution(shape: &Conv2d, [forward, backward_data, backward_weights]: [Way; 3]) -> [Vec<f32>; 3] {
    let (x, w) = (values(1, shape.input_len()), values(2, shape.weight_len()));
    let g = values(3, shape.output_len());
    [
        result(shape.output_len(), |y| forward(shape, &x, &w, y)),
        result(shape.input_len(), |y| backward_data(shape, &g, &w, y)),
        result(shape.weight_len(), |y| backward_weights(shape, &x, &g, y)),
    ]
}

fn direct<S: Simd>() -> [Way; 3] {
    [direct::forward::<S>, direct::backward_data::<S>, direct::backward_weights::<S>]
}

fn winograd<S: Simd>() -> [Way; 3] {
    [winograd::forward::<S>, winograd::backward_data::<S>, winograd::backward_weights::<S>]
}

fn small_maps<S: Simd>() -> [Way; 3] {
    [small_maps::forward::<S>, small_maps::backward_data::<S>, small_maps::backward_weights::<S>]
}

#[test]
fn convolutions_of_all_widths_agree() {
    let window = |kernel, stride| Window { kernel, stride, padding: kernel / 2 };
    let shapes = [
        ([2, 16, 16, 9, 13], window(3, 1)),
        ([1, 40, 33, 6, 5], window(3, 1)),
        ([3, 12, 70, 8, 8], window(3, 1)),
        ([2, 96, 130, 7, 7], window(3, 1)),
        ([1, 300, 300, 5, 4], window(3, 1)),
        ([2, 5, 37, 11, 9], window(3, 2)),
        ([2, 3, 20, 19, 23], window(7, 2)),
        ([3, 33, 18, 7, 9], window(1, 1)),
        ([2, 17, 40, 7, 9], window(1, 2)),
        ([9, 17, 40, 1, 1], window(3, 1)),
        ([37, 40, 17, 2, 3], window(3, 1)),
        ([19, 33, 70, 4, 4], window(3, 2)),
        ([40, 70, 18, 2, 2], window(1, 2)),
        // Lines of pixels: results and gradients of images, an odd number of each, strides whose phases differ.
        ([2, 17, 37, 15, 14], window(3, 1)),
        ([1, 17, 9, 31, 29], window(3, 2)),
        ([1, 18, 33, 44, 45], window(3, 3)),
        ([3, 17, 40, 15, 17], window(1, 2)),
        ([3, 17, 18, 9, 10], window(1, 3)),
        // Small maps of more results than are written at once.
        ([37, 9, 18, 23, 24], window(3, 2)),
    ];
    for ([batch, input, output, height, width], window) in shapes {
        let shape = Conv2d::new(batch, input, output, [height, width], window).unwrap();
        let expected = convolution(&shape, direct::<Portable>());
        let mut ways = [direct::<Array<4, 12>>(), direct::<Array<8, 6>>(), direct::<Array<16, 14>>()]
            .map(|way| (way, 1e-5))
            .to_vec();
        if shape.computed_by(Algorithm::Winograd).is_some() {
            ways.extend(
                [
                    winograd::<Array<4, 12>>(),
                    winograd::<Array<8, 6>>(),
                    winograd::<Array<16, 14>>(),
                    winograd::<Portable>(),
                ]
                .map(|way| (way, 1e-4)),
            );
        }
        ways.extend(
            [
                small_maps::<Array<4, 12>>(),
                small_maps::<Array<8, 6>>(),
                small_maps::<Array<16, 14>>(),
                small_maps::<Portable>(),
            ]
            .map(|way| (way, 1e-5)),
        );
        for (way, limit) in ways {
            for (found, expected) in convolution(&shape, way).iter().zip(&expected) {
                assert_close(&format!("{shape:?}"), found, expected, limit);
            }
        }
    }
}

/// A depthwise convolution forward, backward to the images and backward to the weights.
fn depthwise<S: Simd>(shape: &Depthwise) -> [Vec<f32>; 3] {
    let (x, w) = (values(1, shape.input_len()), values(2, shape.weight_len()));
    let g = values(3, shape.output_len());
    [
        result(shape.output_len(), |y| depthwise::forward::<S, f32>(shape, &x, &w, y)),
        result(shape.input_len(), |dx| depthwise::backward_data::<S, f32>(shape, &g, &w, dx)),
        result(shape.weight_len(), |dw| depthwise::backward_weights::<S, f32>(shape, &x, &g, dw)),
    ]
}

#[test]
fn depthwise_convolutions_of_all_widths_agree() {
    let shapes = [
        ([2, 16, 9, 13], [3, 1, 1, 1]),
        ([1, 37, 5, 5], [5, 1, 2, 2]),
        ([3, 20, 14, 11], [3, 2, 0, 1]),
        ([2, 5, 40, 39], [5, 2, 1, 2]),
        ([2, 18, 16, 17], [7, 1, 3, 3]),
        ([1, 33, 4, 4], [7, 1, 3, 3]),
        ([2, 3, 10, 12], [3, 3, 1, 0]),
        ([2, 3, 10, 12], [1, 1, 0, 0]),
        // Several bands of lines.
        ([1, 17, 90, 96], [3, 1, 1, 1]),
    ];
    for ([batch, channels, height, width], [kernel, stride, padding, after]) in shapes {
        let window = Window { kernel, stride, padding };
        let shape = Depthwise::new(batch, channels, [height, width], window, after).unwrap();
        let expected = depthwise::<Portable>(&shape);
        for found in [depthwise::<Array<8, 6>>(&shape), depthwise::<Array<16, 14>>(&shape)] {
            for (found, expected) in found.iter().zip(&expected) {
                assert_close(&format!("{shape:?}"), found, expected, 1e-5);
            }
        }
    }
}

/// What a batch norm gives in training: result, variance, and gradients of input, weight and residual.
fn batch_norm<S: Simd>(shape: &Features) -> [Vec<f32>; 5] {
    let (x, r, mut residual) = (values(1, shape.len()), values(2, shape.len()), values(3, shape.len()));
    let zeros = || vec![0.0; shape.channels];
    let (weight, bias) = (values(4, shape.channels), values(5, shape.channels));
    let affine = Affine { weight: &weight, bias: &bias, epsilon: 1e-5 };
    let fused = Fused { residual: Some(&r), relu: true };
    let (mut mean, mut variance) = (zeros(), zeros());
    let statistics = Moving { mean: &mut mean, variance: &mut variance };
    let output = result(shape.len(), |y| norm::train::<S>(shape, &x, affine, fused, statistics, y));
    let statistics = Statistics { mean: &mean, variance: &variance };
    let relu_output = Some(&output[..]);
    let pass = BackwardPass { x: &x, weight: &weight, epsilon: 1e-5, statistics, from_batch: true, relu_output };
    let mut of_weight = zeros();
    let of_x = result(shape.len(), |dx| {
        let (weight, bias) = (&mut of_weight[..], &mut zeros()[..]);
        norm::backward::<S>(shape, &pass, NormGradients { result: &mut residual, x: Some(dx), weight, bias });
    });
    [output, variance, of_x, of_weight, residual]
}

#[test]
fn batch_norms_of_all_widths_agree() {
    for (batch, channels, pixels) in [(3, 5, 1), (2, 20, 37), (4, 3, 200)] {
        let shape = Features::new(batch, channels, pixels).unwrap();
        let expected = batch_norm::<Portable>(&shape);
        for found in [batch_norm::<Array<8, 6>>(&shape), batch_norm::<Array<16, 14>>(&shape)] {
            let limits = [1e-5, 1e-5, 1e-4, 1e-5, 0.0];
            for (i, ((found, expected), limit)) in found.iter().zip(&expected).zip(limits).enumerate() {
                assert_close(&format!("{shape:?}, {i}"), found, expected, limit);
            }
        }
    }
}

/// What transformers' layers give: GELU, layer norm, attention, scaled channels, and all their gradients.
fn of_tokens<S: Simd>(shape: &Features, attention: &Attention) -> Vec<Vec<f32>> {
    let channels = shape.channels;
    let (x, g) = (values(1, shape.len()), values(2, shape.len()));
    let (weight, bias) = (values(3, channels), values(4, channels));
    let affine = Affine { weight: &weight, bias: &bias, epsilon: 1e-5 };
    let (mut gelu, mut dx, mut of_scale) = (g.clone(), g.clone(), vec![f32::NAN; channels]);
    each::gelu_all::<S>(true, &mut gelu, &x);
    let [mut of_weight, mut of_bias] = [(); 2].map(|()| vec![f32::NAN; channels]);
    let gradients = NormGradients { result: &mut dx, x: None, weight: &mut of_weight, bias: &mut of_bias };
    layer_norm::backward::<S>(shape, &x, affine, gradients);
    let scaled = result(shape.len(), |dx| {
        channels::sums::<S>(shape, &g, Some(Scaled { x: &x, scale: &weight, dx }), &mut of_scale);
    });
    let qkv = values(5, attention.qkv_len());
    let (g, of_map) = (values(6, attention.result_len()), values(7, attention.map_len()));
    let mut of_qkv = result(qkv.len(), |dx| attention::backward::<S>(attention, &qkv, &g, dx));
    attention::class_backward::<S>(attention, &qkv, &of_map, &mut of_qkv);
    vec![
        result(x.len(), |y| each::gelu_all::<S>(false, y, &x)),
        result(x.len(), |y| layer_norm::forward::<S>(shape, &x, affine, y)),
        result(x.len(), |y| channels::scale_all::<S>(shape, &x, &weight, Some(&x), y)),
        result(g.len(), |y| attention::forward::<S>(attention, &qkv, y)),
        result(of_map.len(), |y| attention::class_map::<S>(attention, &qkv, y)),
        gelu,
        dx,
        of_weight,
        of_bias,
        scaled,
        of_scale,
        of_qkv,
    ]
}

#[test]
fn operations_on_tokens_of_all_widths_agree() {
    for (channels, tokens) in [(21, 2), (40, 1), (34, 65), (33, 700)] {
        let shape = Features::new(3, channels, tokens).unwrap();
        let attention = Attention::new(2, 2, channels, tokens.clamp(2, 130)).unwrap();
        let expected = of_tokens::<Portable>(&shape, &attention);
        let all = [
            of_tokens::<Array<4, 12>>(&shape, &attention),
            of_tokens::<Array<8, 6>>(&shape, &attention),
            of_tokens::<Array<16, 14>>(&shape, &attention),
        ];
        for (found, i) in all.iter().flat_map(|all| all.iter().zip(0..)) {
            assert_close(&format!("{shape:?}, {i}"), found, &expected[i], 2e-5);
        }
    }
}
