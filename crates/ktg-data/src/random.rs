//! Counter-based randomness: every random decision has its own generator, named by what it decides.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// What a generator is for. The numbers are part of the reproducibility promise: never change them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u64)]
pub enum Purpose {
    /// Initial weights (a = node, b = free).
    Init = 1,
    /// Order of the samples in an epoch (a = epoch).
    Shuffle = 2,
    /// Augmentation of one sample (a = epoch, b = sample).
    Augment = 3,
    /// Splits for the search (a = class).
    Split = 4,
    /// Shares of a data set (a = class).
    Subset = 5,
    /// Mixup of one batch (a = epoch, b = number of the batch).
    Mixup = 6,
}

/// The generator for one decision: ChaCha8 keyed with `seed`, `purpose`, `a`, `b` as four
/// little-endian u64.
///
/// Different arguments give independent streams, so nothing depends on what was drawn elsewhere
/// before.
///
/// ```
/// use ktg_data::{Purpose, below, rng};
/// let mut first = rng(7, Purpose::Augment, 0, 41);
/// let mut again = rng(7, Purpose::Augment, 0, 41);
/// assert_eq!(below(&mut first, 1000), below(&mut again, 1000));
/// ```
pub fn rng(seed: u64, purpose: Purpose, a: u64, b: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    for (bytes, word) in key.chunks_exact_mut(8).zip([seed, purpose as u64, a, b]) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}

/// An unbiased random integer in `0..n`, or 0 for `n` = 0.
///
/// The upper half of a 64 x 64-bit product, rejecting the few products that would favour small
/// results (Lemire, "Fast random integer generation in an interval", 2019). Written out here
/// because library samplers may change their values between versions.
pub fn below(rng: &mut ChaCha8Rng, n: u64) -> u64 {
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

/// A random number in `low..high`, in steps of 2^-53 of the width.
pub fn uniform(rng: &mut ChaCha8Rng, low: f64, high: f64) -> f64 {
    let unit = (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
    low + (high - low) * unit
}

/// Shuffles in place (Fisher-Yates from the end, with [`below`]).
pub(crate) fn shuffle<T>(items: &mut [T], rng: &mut ChaCha8Rng) {
    for i in (1..items.len()).rev() {
        items.swap(i, below(rng, i as u64 + 1) as usize);
    }
}
