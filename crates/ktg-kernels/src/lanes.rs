//! The code of levels that this machine may lack: every operation with emulated vectors of 8 and 16 values must give what
//! it gives with vectors of 4. What remains untested there are the instructions themselves.

use crate::norm::{self, Affine, BackwardPass, Fused, Moving, NormGradients, Statistics};
use crate::shape::{Conv2d, Features, Window};
use crate::simd::portable::{Array, Portable};
use crate::{direct, winograd};

/// Values without a pattern, in [-1, 1).
fn values(seed: u64, n: usize) -> Vec<f32> {
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
    ];
    for ([batch, input, output, height, width], window) in shapes {
        let shape = Conv2d::new(batch, input, output, [height, width], window).unwrap();
        let (x, w) = (values(1, shape.input_len()), values(2, shape.weight_len()));
        let g = values(3, shape.output_len());
        let name = format!("{shape:?}");
        let expected = [
            result(shape.output_len(), |y| direct::forward::<Portable>(&shape, &x, &w, y)),
            result(shape.input_len(), |y| direct::backward_data::<Portable>(&shape, &g, &w, y)),
            result(shape.weight_len(), |y| direct::backward_weights::<Portable>(&shape, &x, &g, y)),
        ];
        macro_rules! check {
            ($($level:ty),*) => {$(
                assert_close(&name, &result(shape.output_len(), |y| direct::forward::<$level>(&shape, &x, &w, y)), &expected[0], 1e-5);
                assert_close(&name, &result(shape.input_len(), |y| direct::backward_data::<$level>(&shape, &g, &w, y)), &expected[1], 1e-5);
                assert_close(&name, &result(shape.weight_len(), |y| direct::backward_weights::<$level>(&shape, &x, &g, y)), &expected[2], 1e-5);
                if shape.is_winograd() {
                    assert_close(&name, &result(shape.output_len(), |y| winograd::forward::<$level>(&shape, &x, &w, y)), &expected[0], 1e-4);
                    assert_close(&name, &result(shape.input_len(), |y| winograd::backward_data::<$level>(&shape, &g, &w, y)), &expected[1], 1e-4);
                    assert_close(&name, &result(shape.weight_len(), |y| winograd::backward_weights::<$level>(&shape, &x, &g, y)), &expected[2], 1e-4);
                }
            )*};
        }
        check!(Array<8, 6>, Array<16, 14>, Portable);
    }
}

#[test]
fn batch_norms_of_all_widths_agree() {
    for (batch, channels, pixels) in [(3, 5, 1), (2, 20, 37), (4, 3, 200)] {
        let shape = Features::new(batch, channels, pixels).unwrap();
        let (x, r, g) = (values(1, shape.len()), values(2, shape.len()), values(3, shape.len()));
        let (weight, bias) = (values(4, channels), values(5, channels));
        let affine = Affine { weight: &weight, bias: &bias, epsilon: 1e-5 };
        let fused = Fused { residual: Some(&r), relu: true };
        let (mut mean, mut variance) = (vec![0.0; channels], vec![0.0; channels]);
        let statistics = Moving { mean: &mut mean, variance: &mut variance };
        let output = result(shape.len(), |y| norm::train::<Portable>(&shape, &x, affine, fused, statistics, y));
        let pass = BackwardPass {
            x: &x,
            weight: &weight,
            epsilon: 1e-5,
            statistics: Statistics { mean: &mean, variance: &variance },
            from_batch: true,
            relu_output: Some(&output),
        };
        let (mut of_weight, mut residual) = (vec![0.0; channels], g.clone());
        let of_x = result(shape.len(), |dx| {
            let bias = &mut vec![0.0; channels];
            let gradients = NormGradients { result: &mut residual, x: Some(dx), weight: &mut of_weight, bias };
            norm::backward::<Portable>(&shape, &pass, gradients);
        });
        macro_rules! check {
            ($($level:ty),*) => {$(
                let (mut mean, mut found) = (vec![0.0; channels], vec![0.0; channels]);
                let statistics = Moving { mean: &mut mean, variance: &mut found };
                let y = result(shape.len(), |y| norm::train::<$level>(&shape, &x, affine, fused, statistics, y));
                assert_close("output", &y, &output, 1e-5);
                assert_close("variance", &found, &variance, 1e-5);
                let (mut found, mut masked) = (vec![0.0; channels], g.clone());
                let dx = result(shape.len(), |dx| {
                    let bias = &mut vec![0.0; channels];
                    let gradients = NormGradients { result: &mut masked, x: Some(dx), weight: &mut found, bias };
                    norm::backward::<$level>(&shape, &pass, gradients);
                });
                assert_close("gradient", &dx, &of_x, 1e-4);
                assert_close("weight", &found, &of_weight, 1e-5);
                assert_close("residual", &masked, &residual, 0.0);
            )*};
        }
        check!(Array<8, 6>, Array<16, 14>);
    }
}
