//! The operations of every level of this machine, value by value.

use super::{Level, Simd, Task, at_level};
use crate::number::Bf16;

/// Zeros of both signs, numbers of all sizes, denormals, infinities, NaN of both signs: a prime number of values.
const VALUES: [f32; 23] = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    f32::NAN,
    -f32::NAN,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::MIN_POSITIVE,
    -f32::MIN_POSITIVE,
    1e-45,
    -1e-45,
    f32::MAX,
    f32::MIN,
    0.1,
    -0.1,
    3.3333333,
    -7.25,
    1e20,
    -1e-20,
    1.0000001,
    -0.9999999,
    16777215.0,
];

/// A vector that begins anywhere in the values and goes round.
fn values(first: usize, n: usize) -> Vec<f32> {
    (first..first + n).map(|i| VALUES[i % VALUES.len()]).collect()
}

unsafe fn stored<S: Simd>(v: S::V) -> Vec<f32> {
    let mut values = vec![0.0; S::LANES];
    // SAFETY: the caller grants the instructions, and there is room for a vector.
    unsafe { S::store(values.as_mut_ptr(), v) };
    values
}

/// Equal zeros may have any sign, NaN any payload.
#[track_caller]
fn assert_same(what: &str, found: &[f32], expected: impl Iterator<Item = f32>) {
    let expected: Vec<f32> = expected.collect();
    let same = |(a, b): (&f32, &f32)| a == b || (a.is_nan() && b.is_nan());
    assert!(
        found.len() == expected.len() && found.iter().zip(&expected).all(same),
        "{what}: {found:?}, not {expected:?}"
    );
}

/// What gives one vector of others, with all combinations of values.
struct Arithmetic(Level);

impl Task for Arithmetic {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let fused = self.0 != Level::Portable || cfg!(any(target_arch = "aarch64", target_feature = "fma"));
        let multiply_add = |a: f32, b: f32, c: f32| if fused { a.mul_add(b, c) } else { a * b + c };
        for (i, j) in (0..VALUES.len()).flat_map(|i| (0..VALUES.len()).map(move |j| (i, j))) {
            let [a, b, c] = [i, j, i + 5 * j + 1].map(|first| values(first, S::LANES));
            let pairs = || a.iter().copied().zip(b.iter().copied());
            let triples = || pairs().zip(c.iter().copied());
            let pass = |y: f32, v: f32| if y <= 0.0 { 0.0 } else { v };
            // SAFETY: the caller grants the instructions; the pointers are to vectors of LANES values.
            unsafe {
                let [va, vb, vc] = [&a, &b, &c].map(|v| S::load(v.as_ptr()));
                assert_same("load and store", &stored::<S>(va), a.iter().copied());
                assert_same("splat", &stored::<S>(S::splat(a[0])), a.iter().map(|_| a[0]));
                assert_same("add", &stored::<S>(S::add(va, vb)), pairs().map(|(a, b)| a + b));
                assert_same("sub", &stored::<S>(S::sub(va, vb)), pairs().map(|(a, b)| a - b));
                assert_same("mul", &stored::<S>(S::mul(va, vb)), pairs().map(|(a, b)| a * b));
                let expected = triples().map(|((a, b), c)| multiply_add(a, b, c));
                assert_same("fma", &stored::<S>(S::fma(va, vb, vc)), expected);
                let expected = a.iter().map(|&x| if x < 0.0 { 0.0 } else { x });
                assert_same("relu", &stored::<S>(S::relu(va)), expected);
                let expected = pairs().map(|(y, v)| pass(y, v));
                assert_same("where_passed", &stored::<S>(S::where_passed(va, vb)), expected);
                let expected = pairs().map(|(a, b)| if a > b { a } else { b });
                assert_same("max", &stored::<S>(S::max(va, vb)), expected);
                let expected = triples().map(|((a, b), c)| if a < b { c } else { a });
                assert_same("where_less", &stored::<S>(S::where_less(va, vb, vc, va)), expected);
            }
        }
    }
}

/// All powers of two that are normal numbers, and 0 below them.
struct Powers;

impl Task for Powers {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        for first in -127..=127 {
            let exponents: Vec<f32> = (0..S::LANES as i32).map(|i| (first + i).min(127) as f32).collect();
            let power = |n: &f32| if *n == -127.0 { 0.0 } else { n.exp2() };
            // SAFETY: the caller grants the instructions; there are LANES values.
            let found = unsafe { stored::<S>(S::power_of_two(S::load(exponents.as_ptr()))) };
            assert_same("power_of_two", &found, exponents.iter().map(power));
        }
    }
}

/// What moves values from one lane to another, or leaves some out.
struct Lanes;

impl Task for Lanes {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let lanes = S::LANES;
        let matrix: Vec<f32> = (0..lanes * lanes).map(|i| i as f32).collect();
        // SAFETY: the caller grants the instructions; rows have LANES values, parts of them as many as is said.
        unsafe {
            let mut rows: Vec<S::V> = matrix.chunks(lanes).map(|row| S::load(row.as_ptr())).collect();
            S::transpose(&mut rows);
            for (i, row) in rows.into_iter().enumerate() {
                assert_same("transpose", &stored::<S>(row), (0..lanes).map(|j| matrix[j * lanes + i]));
            }
            let row = S::load(matrix[1..].as_ptr());
            assert_eq!(S::sum(row), (lanes * (lanes + 1) / 2) as f32);
            for n in 0..=lanes {
                let part = matrix[1..1 + n].to_vec();
                let expected = (0..lanes).map(|i| if i < n { part[i] } else { 0.0 });
                assert_same("load_first", &stored::<S>(S::load_first(part.as_ptr(), n)), expected.clone());
                assert_same("load_up_to", &stored::<S>(S::load_up_to(part.as_ptr(), n)), expected);
                let mut to = vec![-1.0; lanes];
                S::store_first(to.as_mut_ptr(), row, n);
                let expected = (0..lanes).map(|i| if i < n { part[i] } else { -1.0 });
                assert_same("store_first", &to, expected.clone());
                to.fill(-1.0);
                S::store_up_to(to.as_mut_ptr(), row, n);
                assert_same("store_up_to", &to, expected);
                if n < lanes {
                    let mut spoilt = matrix[..lanes].to_vec();
                    spoilt[n] = f32::NAN;
                    assert!(S::sum(S::load(spoilt.as_ptr())).is_nan(), "sum with NaN in lane {n}");
                }
            }
        }
    }
}

/// Numbers of 16 bits, to the last bit: every upper half of an f32, with lower halves that round down, to even and up.
struct Halves;

impl Task for Halves {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let lower = [0, 1, 0x7fff, 0x8000, 0x8001, 0xffff];
        let values = (0..=0xffffu32).flat_map(|upper| lower.map(|lower| f32::from_bits(upper << 16 | lower)));
        let values: Vec<f32> = values.collect();
        let mut numbers = vec![Bf16::default(); S::LANES];
        for (i, part) in values.chunks(S::LANES).enumerate() {
            let expected: Vec<Bf16> = part.iter().map(|x| Bf16::from_f32(*x)).collect();
            // SAFETY: the caller grants the instructions; there are LANES numbers, or as many as is said.
            unsafe {
                let n = if part.len() < S::LANES { part.len() } else { [S::LANES, i % S::LANES][i % 2] };
                numbers.fill(Bf16::from_bits(7));
                let v = S::load_first(part.as_ptr(), part.len());
                if n == S::LANES {
                    S::store_bf16(numbers.as_mut_ptr(), v)
                } else {
                    S::store_first_bf16(numbers.as_mut_ptr(), v, n)
                }
                assert_eq!(numbers[..n], expected[..n], "{part:x?}");
                assert!(numbers[n..].iter().all(|number| number.to_bits() == 7), "{n} of {part:x?}");
                let back = stored::<S>(if n == S::LANES {
                    S::load_bf16(numbers.as_ptr())
                } else {
                    S::load_first_bf16(numbers.as_ptr(), n)
                });
                let same = |(a, b): (&f32, &Bf16)| a.to_bits() == b.to_f32().to_bits();
                assert!(
                    back.iter().zip(&numbers[..n]).all(same) && back[n..].iter().all(|x| x.to_bits() == 0),
                    "{n} of {part:x?}"
                );
            }
        }
    }
}

#[test]
fn operations_are_what_the_trait_says() {
    for level in Level::available() {
        println!("{}", level.name());
        // SAFETY: this machine has the level; the tasks have no pointers.
        unsafe {
            at_level!(level, S => S::vectorize(Arithmetic(level)));
            at_level!(level, S => S::vectorize(Lanes));
            at_level!(level, S => S::vectorize(Powers));
            at_level!(level, S => S::vectorize(Halves));
            #[cfg(target_arch = "x86_64")]
            if level == Level::Avx512 && is_x86_feature_detected!("avx512bf16") {
                use super::x86_bf16::Avx512Bf16;
                println!("avx512 with bf16");
                Avx512Bf16::vectorize(Arithmetic(level));
                Avx512Bf16::vectorize(Lanes);
                Avx512Bf16::vectorize(Powers);
                Avx512Bf16::vectorize(Halves);
            }
        }
    }
}

/// The level that this machine's processors always have, so that no test of it is left out unnoticed.
#[test]
#[cfg(target_arch = "aarch64")]
fn neon_is_the_best_level() {
    assert_eq!(Level::best(), Level::Neon);
}
