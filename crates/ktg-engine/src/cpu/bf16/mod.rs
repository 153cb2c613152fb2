//! Calls that read or give values in bf16 ([`Format`](super::format::Format)).

mod backward;
mod forward;

pub(crate) use backward::go_back;
pub(crate) use forward::{compute, normalize};

use std::borrow::Cow;

use ktg_kernels::{Bf16, halves, halves_mut};
use ktg_net::Value;
use rayon::prelude::*;

use super::call::Call;
use super::context::{Context, FITS, features};
use super::format::Format;
use super::memory::Memory;
use super::places::Place;

/// Whether a call is one of these.
pub(crate) fn is_for(context: Context, call: &Call) -> bool {
    context.format(call.reads[0]) == Format::Bf16 || context.format(call.gives) == Format::Bf16
}

/// Numbers of a value.
fn len(context: Context, value: Value, count: usize) -> usize {
    context.shape(value).len() * count
}

/// A value in bf16, whatever it is in memory.
fn narrow<'m>(context: Context, value: Value, memory: &'m [f32], count: usize) -> Cow<'m, [Bf16]> {
    let len = len(context, value, count);
    if context.format(value) == Format::Bf16 {
        return Cow::Borrowed(halves(memory, len));
    }
    let mut numbers = vec![Bf16::default(); len];
    context.kernels.to_bf16(&features(context.shape(value), count), memory, &mut numbers).expect(FITS);
    Cow::Owned(numbers)
}

/// A value in f32, whatever it is in memory.
pub(crate) fn widen<'m>(context: Context, value: Value, memory: &'m [f32], count: usize) -> Cow<'m, [f32]> {
    let len = len(context, value, count);
    if context.format(value) == Format::F32 {
        return Cow::Borrowed(&memory[..len]);
    }
    let mut numbers = vec![0.0; len];
    let shape = features(context.shape(value), count);
    context.kernels.from_bf16(&shape, halves(memory, len), &mut numbers).expect(FITS);
    Cow::Owned(numbers)
}

/// Puts a value that is given in f32 where it belongs.
pub(crate) fn put(context: Context, value: Value, given: &[f32], place: Place, memory: &mut Memory) {
    let (count, len) = (memory.count, len(context, value, memory.count));
    let (to, []) = memory.split(context.span(value, place), []);
    match context.format(value) {
        Format::F32 => to.copy_from_slice(given),
        Format::Bf16 => {
            let shape = features(context.shape(value), count);
            context.kernels.to_bf16(&shape, given, halves_mut(to, len)).expect(FITS);
        }
    }
}

/// Multiplies the values of each image.
fn scale_images(factors: &[f32], values: &mut [Bf16]) {
    let len = values.len() / factors.len();
    let images = values.par_chunks_exact_mut(len).zip(factors);
    images.for_each(|(image, factor)| {
        image.iter_mut().for_each(|value| *value = Bf16::from_f32(value.to_f32() * factor));
    });
}

#[cfg(test)]
mod tests;
