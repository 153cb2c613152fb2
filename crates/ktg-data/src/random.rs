//! Counter-based randomness: every random decision has its own generator, named by what it decides.

use ktg_base::random::{ChaCha8Rng, below, keyed};

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
    /// CutMix of one batch (a = epoch, b = number of the batch).
    CutMix = 7,
    /// Whether a batch gets mixup or CutMix (a = epoch, b = number of the batch).
    Mixing = 8,
    /// Which samples a balanced epoch has, in which order (a = epoch).
    Sampling = 9,
    /// Which residual blocks stochastic depth drops (a = step, b = node).
    DropPath = 10,
}

/// The generator for one decision, ChaCha8 keyed with `seed`, `purpose`, `a` and `b`.
///
/// ```
/// use ktg_base::random::below;
/// use ktg_data::{Purpose, rng};
/// let mut first = rng(7, Purpose::Augment, 0, 41);
/// let mut again = rng(7, Purpose::Augment, 0, 41);
/// assert_eq!(below(&mut first, 1000), below(&mut again, 1000));
/// ```
pub fn rng(seed: u64, purpose: Purpose, a: u64, b: u64) -> ChaCha8Rng {
    keyed([seed, purpose as u64, a, b])
}

/// Shuffles in place (Fisher-Yates from the end, with [`below`]).
pub(crate) fn shuffle<T>(items: &mut [T], rng: &mut ChaCha8Rng) {
    for i in (1..items.len()).rev() {
        items.swap(i, below(rng, i as u64 + 1) as usize);
    }
}
