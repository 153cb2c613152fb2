//! Orders and splits of a data set, as lists of sample numbers.

use crate::random::{Purpose, rng, shuffle};
use std::collections::BTreeMap;

/// The order of the samples `0..len` in one epoch: shuffled, or as they are.
///
/// The same arguments give the same order on every platform.
///
/// ```
/// assert_eq!(ktg_data::epoch_order(3, 1, 0, false), [0, 1, 2]);
/// ```
pub fn epoch_order(len: usize, seed: u64, epoch: u64, shuffled: bool) -> Vec<usize> {
    let mut order: Vec<usize> = (0..len).collect();
    if shuffled {
        shuffle(&mut order, &mut rng(seed, Purpose::Shuffle, epoch, 0));
    }
    order
}

/// The order of the samples in one epoch in which all classes have the same number of draws, or one more: as many in all
/// as there are samples.
///
/// `labels[i]` is the class of sample i; classes without samples do not count. A class is drawn from without replacement, in
/// random orders of all its samples one after the other: in an epoch no sample of it is drawn twice before all are drawn
/// once. Which classes have one more is random, too. The same arguments give the same order on every platform.
///
/// ```
/// let order = ktg_data::balanced_order(&[0, 0, 0, 0, 0, 1], 1, 0);
/// assert_eq!(order.iter().filter(|&&sample| sample == 5).count(), 3);
/// ```
pub fn balanced_order(labels: &[u32], seed: u64, epoch: u64) -> Vec<usize> {
    let mut rng = rng(seed, Purpose::Sampling, epoch, 0);
    let mut classes: Vec<Vec<usize>> = by_class(labels).into_values().collect();
    shuffle(&mut classes, &mut rng);
    let (each, left_over) = (labels.len() / classes.len().max(1), labels.len() % classes.len().max(1));
    let mut order = Vec::with_capacity(labels.len());
    for (i, class) in classes.iter_mut().enumerate() {
        let mut missing = each + usize::from(i < left_over);
        while missing > 0 {
            shuffle(class, &mut rng);
            let drawn = missing.min(class.len());
            order.extend_from_slice(&class[..drawn]);
            missing -= drawn;
        }
    }
    shuffle(&mut order, &mut rng);
    order
}

/// The samples of each class, in ascending order.
fn by_class(labels: &[u32]) -> BTreeMap<u32, Vec<usize>> {
    let mut samples = BTreeMap::<u32, Vec<usize>>::new();
    for (i, &label) in labels.iter().enumerate() {
        samples.entry(label).or_default().push(i);
    }
    samples
}

/// Splits the samples in two, class by class: `share_of_first` of each class to the first part.
///
/// `labels[i]` is the class of sample i. Both parts are in ascending order, disjoint, and cover all
/// samples. Per class the first part gets its exact share rounded down or up, such that the total
/// comes as close to the share of all samples as possible. For a share strictly between 0 and 1 a
/// class with at least two samples is in both parts, and a class with a single sample is in the
/// first. Shares outside 0..1 count as 0 or 1 (not a number: 0). Which samples go where depends on
/// the seed and the class only.
///
/// For the search: 0.5 for fine-grained sets, 0.8 for CIFAR.
///
/// ```
/// let (train, held_out) = ktg_data::stratified_split(&[0, 1, 0, 1, 0, 0], 0.5, 7);
/// assert_eq!((train.len(), held_out.len()), (3, 3));
/// ```
pub fn stratified_split(labels: &[u32], share_of_first: f64, seed: u64) -> (Vec<usize>, Vec<usize>) {
    split(labels, share_of_first, seed, Purpose::Split)
}

pub(crate) fn split(labels: &[u32], share: f64, seed: u64, purpose: Purpose) -> (Vec<usize>, Vec<usize>) {
    let share = if share.is_nan() { 0.0 } else { share.clamp(0.0, 1.0) };
    let samples = by_class(labels);
    let sizes: Vec<usize> = samples.values().map(Vec::len).collect();
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for ((label, mut class), taken) in samples.into_iter().zip(apportion(&sizes, share)) {
        shuffle(&mut class, &mut rng(seed, purpose, u64::from(label), 0));
        second.extend_from_slice(&class[taken..]);
        class.truncate(taken);
        first.append(&mut class);
    }
    first.sort_unstable();
    second.sort_unstable();
    (first, second)
}

/// How many of each class go to the first part: largest remainders, then no part left without a
/// class.
fn apportion(sizes: &[usize], share: f64) -> Vec<usize> {
    let exact: Vec<f64> = sizes.iter().map(|&n| n as f64 * share).collect();
    let mut taken: Vec<usize> = exact.iter().map(|x| x.floor() as usize).collect();
    let total = (sizes.iter().sum::<usize>() as f64 * share).round() as usize;
    let missing = total.saturating_sub(taken.iter().sum());
    let mut by_remainder: Vec<usize> = (0..sizes.len()).filter(|&c| exact[c].fract() > 0.0).collect();
    // A stable sort: among equal remainders the lower class comes first.
    by_remainder.sort_by(|&a, &b| exact[b].fract().total_cmp(&exact[a].fract()));
    for &class in by_remainder.iter().take(missing) {
        taken[class] += 1;
    }
    if share > 0.0 && share < 1.0 {
        for (taken, &size) in taken.iter_mut().zip(sizes) {
            *taken = (*taken).clamp(1, size.saturating_sub(1).max(1));
        }
    }
    taken
}
