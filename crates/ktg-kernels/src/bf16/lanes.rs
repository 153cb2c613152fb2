//! The code of levels that this machine may lack, with emulated vectors of 8 and 16 values, in memory that ends behind its values
//! (`workspace.rs`): depthwise convolutions and what transformers have must give what they give with plain Rust's.

use super::maps::EachBf16;
use super::{channels, layer_norm, maps};
use crate::depthwise::{Depthwise, backward_data, backward_weights, forward};
use crate::lanes::values;
use crate::norm::{Affine, NormGradients};
use crate::number::{Bf16, halves, halves_mut};
use crate::shape::{Features, Window};
use crate::simd::Simd;
use crate::simd::portable::{Array, Portable};
use crate::workspace::buffer;

/// [`values`] in bf16.
fn numbers(seed: u64, n: usize) -> Vec<Bf16> {
    values(seed, n).into_iter().map(Bf16::from_f32).collect()
}

/// What a call makes of numbers, the last of which are the last in their memory (or but one).
fn changed(numbers: &[Bf16], call: impl FnOnce(&mut [Bf16])) -> Vec<f32> {
    let mut place = buffer(numbers.len().div_ceil(2));
    halves_mut(&mut place, numbers.len()).copy_from_slice(numbers);
    call(halves_mut(&mut place, numbers.len()));
    halves(&place, numbers.len()).iter().map(|x| x.to_f32()).collect()
}

/// What a call writes.
fn written(len: usize, call: impl FnOnce(&mut [Bf16])) -> Vec<f32> {
    changed(&vec![Bf16::from_f32(f32::NAN); len], call)
}

/// Both are rounded, from sums in another order.
#[track_caller]
fn assert_close(name: &str, found: &[Vec<f32>], expected: &[Vec<f32>]) {
    for (of, (found, expected)) in found.iter().zip(expected).enumerate() {
        let most = expected.iter().fold(1.0f32, |most, x| most.max(x.abs()));
        for (i, (a, b)) in found.iter().zip(expected).enumerate() {
            assert!((a - b).abs() <= b.abs() / 64.0 + 2e-5 * most, "{name}, {of}: value {i} is {a}, not {b}");
        }
    }
}

fn depthwise<S: Simd>(shape: &Depthwise) -> [Vec<f32>; 3] {
    let (x, w, g) = (numbers(1, shape.input_len()), values(2, shape.weight_len()), numbers(3, shape.output_len()));
    let mut of_weights = vec![f32::NAN; w.len()];
    backward_weights::<S, Bf16>(shape, &x, &g, &mut of_weights);
    [
        written(g.len(), |y| forward::<S, Bf16>(shape, &x, &w, y)),
        written(x.len(), |dx| backward_data::<S, Bf16>(shape, &g, &w, dx)),
        of_weights,
    ]
}

#[test]
fn depthwise_convolutions_of_all_widths_agree() {
    let shapes = [
        ([2, 16, 9, 13], [3, 1, 1, 1]),
        ([1, 37, 5, 5], [5, 1, 2, 2]),
        ([3, 200, 14, 11], [3, 2, 0, 1]),
        ([2, 18, 16, 17], [7, 1, 3, 3]),
        ([20, 3, 10, 12], [3, 3, 1, 0]),
        // Several bands of lines.
        ([1, 17, 90, 96], [3, 1, 1, 1]),
    ];
    for ([batch, channels, height, width], [kernel, stride, padding, after]) in shapes {
        let window = Window { kernel, stride, padding };
        let shape = Depthwise::new(batch, channels, [height, width], window, after).unwrap();
        let expected = depthwise::<Portable>(&shape);
        for found in [depthwise::<Array<8, 6>>(&shape), depthwise::<Array<16, 14>>(&shape)] {
            assert_close(&format!("{shape:?}"), &found, &expected);
        }
    }
}

/// GELU, layer norm, scales and biases of channels, and all their gradients.
fn of_tokens<S: Simd>(shape: &Features) -> Vec<Vec<f32>> {
    let channels = shape.channels;
    let (x, g) = (numbers(1, shape.len()), numbers(2, shape.len()));
    let (weight, bias) = (values(3, channels), values(4, channels));
    let affine = Affine { weight: &weight, bias: &bias, epsilon: 1e-5 };
    let [mut of_weight, mut of_bias, mut of_scale] = [(); 3].map(|()| vec![f32::NAN; channels]);
    let dx = changed(&g, |result| {
        let gradients = NormGradients { result, x: None, weight: &mut of_weight, bias: &mut of_bias };
        layer_norm::backward::<S>(&x, affine, gradients);
    });
    let scaled = written(x.len(), |dx| channels::scale_backward::<S>(&x, &weight, &g, dx, &mut of_scale));
    vec![
        changed(&g, |to| maps::each::<S>(EachBf16::Gelu, to, &x)),
        changed(&g, |to| maps::each::<S>(EachBf16::GeluBackward, to, &x)),
        changed(&g, |to| channels::add_bias::<S>(&bias, to)),
        written(x.len(), |y| layer_norm::forward::<S>(&x, affine, y)),
        written(x.len(), |y| channels::scale_all::<S>(&x, &weight, Some(&g), y)),
        scaled,
        dx,
        of_weight,
        of_bias,
        of_scale,
    ]
}

#[test]
fn operations_on_tokens_of_all_widths_agree() {
    for (channels, tokens) in [(21, 2), (40, 1), (1, 70), (34, 65), (33, 700)] {
        let shape = Features::new(3, channels, tokens).unwrap();
        let expected = of_tokens::<Portable>(&shape);
        for found in [of_tokens::<Array<8, 6>>(&shape), of_tokens::<Array<16, 14>>(&shape)] {
            assert_close(&format!("{shape:?}"), &found, &expected);
        }
    }
}
