//! Softmax attention among tokens, the class token's map, and their gradients.

mod reference;
mod support;

use ktg_kernels::{Attention, Kernels, ShapeError};
use proptest::prelude::*;
use reference::attention::Tokens;
use support::{all_levels, assert_same, assert_within, largest, values, wide};

/// Result, gradient of queries, keys and values, class map, and what its gradient adds to the former.
fn run(kernels: Kernels, case: Tokens, qkv: &[f32], gradient: &[f32], of_map: &[f32]) -> [Vec<f32>; 4] {
    let shape = case.shape();
    let unwritten = |len| vec![f32::NAN; len];
    let (mut y, mut dqkv, mut map) =
        (unwritten(shape.result_len()), unwritten(shape.qkv_len()), unwritten(shape.map_len()));
    kernels.attention(&shape, qkv, &mut y).unwrap();
    kernels.attention_backward(&shape, qkv, gradient, &mut dqkv).unwrap();
    kernels.class_attention(&shape, qkv, &mut map).unwrap();
    let mut added = dqkv.clone();
    kernels.class_attention_backward(&shape, qkv, of_map, &mut added).unwrap();
    [y, dqkv, map, added]
}

fn check(case: Tokens, seed: u64, factor: f32) {
    let shape = case.shape();
    let qkv: Vec<f32> = values(seed, shape.qkv_len()).iter().map(|v| v * factor).collect();
    let (gradient, of_map) = (values(seed ^ 1, shape.result_len()), values(seed ^ 2, shape.map_len()));
    let [wide_qkv, wide_gradient, wide_of_map] = [&qkv, &gradient, &of_map].map(|v| wide(v));
    let y = case.forward(&wide_qkv);
    let dqkv = case.backward(&wide_qkv, &wide_gradient);
    let map = case.class_map(&wide_qkv);
    let of_class = case.class_backward(&wide_qkv, &wide_of_map);
    let added: Vec<f64> = dqkv.iter().zip(&of_class).map(|(a, b)| a + b).collect();
    // A score is a sum of products; its error is one of the logarithm of a probability.
    let size = f64::from(factor);
    let of_scores = 1e-6 * (1.0 + size * size * (case.width as f64).sqrt());
    for kernels in all_levels() {
        let what = |of: &str| format!("{of} of {case:?} {kernels:?}");
        let found = run(kernels, case, &qkv, &gradient, &of_map);
        assert_within(what("result"), &found[0], &y, |_| of_scores * size);
        let limit = 2.0 * of_scores * (1.0 + size * size) * largest(&dqkv).max(1.0);
        assert_within(what("gradient"), &found[1], &dqkv, |_| limit);
        assert_within(what("map"), &found[2], &map, |i| of_scores * map[i] + 1e-7);
        assert_within(what("gradient with the map's"), &found[3], &added, |_| limit);
    }
}

fn cases() -> impl Strategy<Value = Tokens> {
    let tokens = prop_oneof![1usize..20, 60usize..100];
    (1usize..=3, 1usize..=3, 1usize..=20, tokens).prop_map(|(batch, heads, width, tokens)| Tokens {
        batch,
        heads,
        width,
        tokens,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_shapes_equal_the_reference(case in cases(), seed: u64) {
        check(case, seed, 1.0);
    }
}

#[test]
fn shapes_of_transformers() {
    for (batch, heads, width, tokens) in [(2, 3, 64, 65), (1, 2, 64, 197), (1, 1, 48, 50)] {
        check(Tokens { batch, heads, width, tokens }, 7, 1.0);
    }
}

/// Scores in the hundreds, whose exponentials would be infinite.
#[test]
fn large_scores() {
    let case = Tokens { batch: 1, heads: 2, width: 16, tokens: 37 };
    check(case, 9, 10.0);
    let shape = case.shape();
    let qkv: Vec<f32> = values(1, shape.qkv_len()).iter().map(|v| v * 1e3).collect();
    for kernels in all_levels() {
        let mut y = vec![f32::NAN; shape.result_len()];
        kernels.attention(&shape, &qkv, &mut y).unwrap();
        assert!(y.iter().all(|y| y.abs() <= 1e3), "{kernels:?}: means of values");
    }
}

/// Nobody to look at but oneself: the values themselves; the map has no values.
#[test]
fn one_token() {
    let case = Tokens { batch: 2, heads: 2, width: 5, tokens: 1 };
    let (qkv, gradient) = (values(1, 60), values(2, 20));
    for kernels in all_levels() {
        let [y, dqkv, map, added] = run(kernels, case, &qkv, &gradient, &[]);
        assert_same("result", &y, &[&qkv[20..30], &qkv[50..]].concat());
        let zeros = [0.0; 20];
        assert_same("gradient", &dqkv, &[&zeros, &gradient[..10], &zeros, &gradient[10..]].concat());
        assert!(map.is_empty());
        assert_same("with the map's", &added, &dqkv);
    }
}

/// NaN in a head's values spoils what sees them: all of that head of that image, nothing of any other.
#[test]
fn nan_stays_in_its_head() {
    let case = Tokens { batch: 2, heads: 3, width: 8, tokens: 21 };
    let shape = case.shape();
    let (qkv, gradient) = (values(1, shape.qkv_len()), values(2, shape.result_len()));
    let head_len = 8 * 21;
    for kernels in all_levels() {
        let clean = run(kernels, case, &qkv, &gradient, &values(3, 40));
        // A key of head 1 of image 1, and a query: which only its own token's result depends on.
        for (which, token) in [(1, 20), (0, 3)] {
            let mut with_nan = qkv.clone();
            with_nan[((3 + which) * 3 + 1) * head_len + 2 * 21 + token] = f32::NAN;
            let found = run(kernels, case, &with_nan, &gradient, &values(3, 40));
            for i in 0..clean[0].len() {
                let spoilt = i / head_len == 4 && (which == 1 || i % 21 == token);
                let fits = if spoilt { found[0][i].is_nan() } else { found[0][i].to_bits() == clean[0][i].to_bits() };
                assert!(fits, "value {i}, {which}, {kernels:?}: {}", found[0][i]);
            }
            for i in (0..clean[1].len()).filter(|i| i / head_len < 9 || i / head_len % 3 != 1) {
                assert_eq!(found[1][i].to_bits(), clean[1][i].to_bits(), "gradient {i}, {which}, {kernels:?}");
            }
        }
    }
}

/// An image beside others is the image alone.
#[test]
fn images_do_not_depend_on_each_other() {
    let [one, many] = [1, 3].map(|batch| Tokens { batch, heads: 2, width: 16, tokens: 85 });
    let qkv = values(1, many.shape().qkv_len());
    for kernels in all_levels() {
        let mut all = vec![f32::NAN; many.shape().result_len()];
        kernels.attention(&many.shape(), &qkv, &mut all).unwrap();
        let images = qkv.chunks(one.shape().qkv_len()).zip(all.chunks(one.shape().result_len()));
        for (qkv, expected) in images {
            let mut y = vec![f32::NAN; expected.len()];
            kernels.attention(&one.shape(), qkv, &mut y).unwrap();
            assert_same(format_args!("{kernels:?}"), &y, expected);
        }
    }
}

#[test]
fn sizes_of_zero_and_beyond_memory() {
    for [batch, heads, width, tokens] in [[0, 1, 1, 1], [1, 0, 1, 1], [1, 1, 0, 1], [1, 1, 1, 0]] {
        assert!(matches!(Attention::new(batch, heads, width, tokens), Err(ShapeError::Zero(_))));
    }
    for [batch, heads, width, tokens] in [[usize::MAX, 1, 1, 1], [1, usize::MAX, 2, 1], [1, 1, usize::MAX, 1]] {
        assert_eq!(Attention::new(batch, heads, width, tokens), Err(ShapeError::Overflow));
    }
}

#[test]
fn the_reference_gradients_are_finite_differences() {
    let case = Tokens { batch: 2, heads: 2, width: 3, tokens: 4 };
    let qkv = wide(&values(1, case.shape().qkv_len()));
    let (g, of_map) = (wide(&values(2, case.shape().result_len())), wide(&values(3, case.shape().map_len())));
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let gradients = [case.backward(&qkv, &g), case.class_backward(&qkv, &of_map)];
    for i in 0..qkv.len() {
        let losses = |by: f64| {
            let mut qkv = qkv.clone();
            qkv[i] += by;
            [dot(&case.forward(&qkv), &g), dot(&case.class_map(&qkv), &of_map)]
        };
        let (above, below) = (losses(1e-5), losses(-1e-5));
        for of in 0..2 {
            let numeric = (above[of] - below[of]) / 2e-5;
            assert!((numeric - gradients[of][i]).abs() < 1e-8, "{of}, {i}: {numeric}, {}", gradients[of][i]);
        }
    }
}
