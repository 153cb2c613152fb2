//! What the test files share: random values, the levels to test, comparisons that say where and how far off.

// Every test file is a crate of its own and uses a part of this.
#![allow(dead_code)]

use std::fmt::Display;

use ktg_kernels::{Kernels, Level};

/// `len` values from [-1, 1], the same for the same seed (SplitMix64, whose upper bits make the value).
pub fn values(seed: u64, len: usize) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        // 24 bits, all that an f32 holds, to -1 + i / 2^23.
        ((z ^ (z >> 31)) >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

/// The same values in double precision.
pub fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().copied().map(f64::from).collect()
}

/// Kernels of every level of this machine.
pub fn all_levels() -> Vec<Kernels> {
    Level::available().into_iter().map(|level| Kernels::at(level).expect("an available level")).collect()
}

/// For comparisons that tell -0.0 from 0.0 and find NaN equal to itself.
pub fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

pub fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |most, v| v.abs().max(most))
}

/// Panics, naming the worst value, unless every value is within `limit(index)` of the reference. NaN is never within.
#[track_caller]
pub fn assert_within(what: impl Display, found: &[f32], reference: &[f64], limit: impl Fn(usize) -> f64) {
    assert_eq!(found.len(), reference.len(), "{what}: number of values");
    // How far the error exceeds its limit; `total_cmp` puts NaN above all numbers.
    let excess = |i: usize| (f64::from(found[i]) - reference[i]).abs() - limit(i);
    if let Some(worst) = (0..found.len()).max_by(|&a, &b| excess(a).total_cmp(&excess(b))) {
        assert!(
            excess(worst) <= 0.0,
            "{what}: value {worst} of {} is {}, not {} +- {:e}",
            found.len(),
            found[worst],
            reference[worst],
            limit(worst),
        );
    }
}

/// Panics, naming the first difference, unless both are the same bit by bit.
#[track_caller]
pub fn assert_same(what: impl Display, found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len(), "{what}: number of values");
    let different = |i: &usize| found[*i].to_bits() != expected[*i].to_bits();
    if let Some(first) = (0..found.len()).find(different) {
        let count = (0..found.len()).filter(different).count();
        panic!(
            "{what}: {count} of {} values differ, the first is value {first}: {} instead of {}",
            found.len(),
            found[first],
            expected[first],
        );
    }
}
