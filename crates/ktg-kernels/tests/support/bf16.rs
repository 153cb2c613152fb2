//! Maps in bf16, `[image, pixel, channel]`, beside the same in f32, `[image, channel, pixel]`.

use std::fmt::Display;
use std::sync::LazyLock;

use ktg_kernels::{Bf16, Features};
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::assert_within;

/// The nearest bf16 numbers, as values.
pub fn rounded(values: Vec<f32>) -> Vec<f32> {
    values.into_iter().map(|x| Bf16::from_f32(x).to_f32()).collect()
}

/// Not a number: whatever a kernel leaves unwritten is noticed.
pub fn unwritten(len: usize) -> Vec<Bf16> {
    vec![Bf16::from_f32(f32::NAN); len]
}

/// Where in `[image, channel, pixel]` the numbers of `[image, pixel, channel]` lie, in their order.
fn places(shape: &Features) -> impl Iterator<Item = usize> + use<> {
    let (batch, channels) = (shape.batch(), shape.channels());
    let pixels = shape.len() / batch / channels;
    (0..batch * pixels * channels).map(move |i| {
        let (image, pixel, channel) = (i / channels / pixels, i / channels % pixels, i % channels);
        (image * channels + channel) * pixels + pixel
    })
}

/// Maps as bf16 kernels take them.
pub fn last(shape: &Features, planes: &[f32]) -> Vec<Bf16> {
    places(shape).map(|place| Bf16::from_f32(planes[place])).collect()
}

/// Maps as planes.
pub fn planes(shape: &Features, last: &[Bf16]) -> Vec<f32> {
    let mut planes = vec![f32::NAN; last.len()];
    places(shape).zip(last).for_each(|(place, x)| planes[place] = x.to_f32());
    planes
}

/// As [`assert_within`], of results that were rounded to bf16: half of a last place, which is at most 2^-8 of the value, beyond the limit.
#[track_caller]
pub fn assert_rounded(what: impl Display, found: &[f32], reference: &[f64], limit: impl Fn(usize) -> f64) {
    assert_within(what, found, reference, |i| reference[i].abs() / 256.0 + limit(i));
}

/// What a call gives on one thread, and has to give on several.
#[track_caller]
pub fn on_any_threads<T: PartialEq + Send>(what: impl Display, call: impl Fn() -> T + Sync) -> T {
    static POOLS: LazyLock<[ThreadPool; 2]> =
        LazyLock::new(|| [1, 3].map(|threads| ThreadPoolBuilder::new().num_threads(threads).build().unwrap()));
    let [one, several] = [0, 1].map(|i| POOLS[i].install(&call));
    assert!(one == several, "{what}: the number of threads changes the result");
    one
}
