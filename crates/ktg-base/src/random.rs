//! Random numbers as functions: every random decision has its own generator, whose key says what it decides. Spelled out
//! here, because library samplers and seeds may change their values between versions.

pub use rand_chacha::ChaCha8Rng;
pub use rand_chacha::rand_core::Rng;
use rand_chacha::rand_core::SeedableRng;

/// The generator for one decision: ChaCha8 keyed with four little-endian numbers. Different numbers give independent
/// streams, so nothing depends on what was drawn elsewhere before.
pub fn keyed(numbers: [u64; 4]) -> ChaCha8Rng {
    let mut key = [0; 32];
    for (bytes, number) in key.chunks_exact_mut(8).zip(numbers) {
        bytes.copy_from_slice(&number.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}

/// An unbiased random integer in `0..n`, or 0 for `n` = 0.
///
/// The upper half of a 64 x 64-bit product, rejecting the few products that would favor small results (Lemire, "Fast
/// random integer generation in an interval", 2019).
pub fn below(rng: &mut impl Rng, n: u64) -> u64 {
    if n == 0 {
        return 0;
    }
    let reject = n.wrapping_neg() % n; // 2^64 mod n
    loop {
        let product = u128::from(rng.next_u64()) * u128::from(n);
        if product as u64 >= reject {
            return (product >> 64) as u64;
        }
    }
}

/// A random number in `[0, 1)`, in steps of 2^-53.
pub fn unit(rng: &mut impl Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

/// A random number in `low..high`, in steps of 2^-53 of the width.
pub fn uniform(rng: &mut impl Rng, low: f64, high: f64) -> f64 {
    low + (high - low) * unit(rng)
}
