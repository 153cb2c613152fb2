//! Forward, and backward to the images, which differ in who meets whom and in how the weights lie.

use std::ops::Range;

use super::lanes::{Gather, Rows, Scatter};
use super::{Meeting, Meetings, add_up, few_images, vectors_of};
use crate::gemm::{COLUMNS, ROWS, Segment};
use crate::parallel::{Shared, parallel};
use crate::shape::{Conv2d, Window};
use crate::simd::Simd;
use crate::workspace::{Buffer, buffer};

/// Result `[batch, output, output_height, output_width]`.
pub(crate) fn forward<S: Simd>(shape: &Conv2d, images: &[f32], weights: &[f32], result: &mut [f32]) {
    if shape.batch <= few_images::most::<S>() {
        return few_images::forward::<S>(shape, images, weights, result);
    }
    match vectors_of(shape.batch, S::LANES) {
        1 => forward_by::<S, 1>(shape, images, weights, result),
        _ => forward_by::<S, 2>(shape, images, weights, result),
    }
}

/// Gradient of the images.
pub(crate) fn backward_data<S: Simd>(shape: &Conv2d, gradient: &[f32], weights: &[f32], result: &mut [f32]) {
    match vectors_of(shape.batch, S::LANES) {
        1 => backward_data_by::<S, 1>(shape, gradient, weights, result),
        _ => backward_data_by::<S, 2>(shape, gradient, weights, result),
    }
}

/// Maps `[batch, channels, pixels]` as `[block of images][pixel][channel][image of the block]`.
pub(super) struct ByPixel {
    values: Buffer,
    channels: usize,
    pixels: usize,
    block: usize,
}

/// Channels that one task lays out.
const SOME_CHANNELS: usize = 64;

impl ByPixel {
    pub fn new<S: Simd, const NV: usize>(maps: &[f32], batch: usize, channels: usize, pixels: usize) -> Self {
        let block = NV * S::LANES;
        let mut values = buffer(batch.div_ceil(block) * pixels * channels * block);
        let all = Shared::new(&mut values);
        let groups = channels.div_ceil(SOME_CHANNELS);
        parallel(batch.div_ceil(S::LANES) * groups, |task| {
            let (image, first) = (task / groups * S::LANES, task % groups * SOME_CHANNELS);
            let some = SOME_CHANNELS.min(channels - first);
            let to = (image / block * pixels * channels + first) * block + image % block;
            // SAFETY: the pixels of these images' channels are there; each task writes vectors of its own.
            unsafe {
                S::vectorize(Gather(Rows {
                    rows: maps.as_ptr().add((image * channels + first) * pixels),
                    stride: channels * pixels,
                    count: (batch - image).min(S::LANES),
                    len: some * pixels,
                    group: pixels,
                    vectors: all.at(to),
                    group_step: channels * block,
                    vector_step: block,
                }));
            }
        });
        // The second vector of the last block, where there are no images for it.
        if !batch.div_ceil(S::LANES).is_multiple_of(NV) {
            let last = values.len() - pixels * channels * block;
            values[last..].chunks_exact_mut(block).for_each(|images| images[S::LANES..].fill(0.0));
        }
        Self { values, channels, pixels, block }
    }

    /// Where the images' values of a channel and pixel lie.
    pub fn at(&self, images: usize, pixel: usize, channel: usize) -> *const f32 {
        let index = ((images * self.pixels + pixel) * self.channels + channel) * self.block;
        self.values[index..].as_ptr()
    }
}

/// What a task computes of every pixel of the maps: some channels.
struct Part<'a> {
    /// By pixel, who meets it.
    meetings: &'a [Vec<Meeting>],
    batch: usize,
    /// Channels of the maps, and those of this part.
    channels: usize,
    own: Range<usize>,
}

impl Part<'_> {
    /// Computes pixel by pixel and writes the maps; `add_segments(block of images, meeting, segments)` adds what meets in a tap.
    ///
    /// # Safety
    ///
    /// The segments may be read, their rows are as many as `own` channels; nobody else writes these channels.
    unsafe fn compute<S: Simd, const NV: usize, const A: u8>(
        &self,
        mut add_segments: impl FnMut(usize, Meeting, &mut Vec<Segment>),
        to: Shared,
    ) {
        let (block, pixels) = (NV * S::LANES, self.meetings.len());
        let own = self.own.len();
        let mut sums = buffer(pixels * own * block);
        let mut segments = Vec::new();
        for images in 0..self.batch.div_ceil(block) {
            for (pixel, meetings) in self.meetings.iter().enumerate() {
                segments.clear();
                meetings.iter().for_each(|meeting| add_segments(images, *meeting, &mut segments));
                let sums = &mut sums[pixel * own * block..][..own * block];
                // SAFETY: granted by the caller.
                unsafe { add_up::<S, NV, A>(&segments, own, sums) }
            }
            for half in 0..NV {
                let image = images * block + half * S::LANES;
                if image >= self.batch {
                    break;
                }
                // SAFETY: granted by the caller.
                unsafe {
                    S::vectorize(Scatter(Rows {
                        rows: to.at((image * self.channels + self.own.start) * pixels),
                        stride: self.channels * pixels,
                        count: (self.batch - image).min(S::LANES),
                        len: own * pixels,
                        group: pixels,
                        vectors: sums.as_ptr().add(half * S::LANES),
                        group_step: own * block,
                        vector_step: block,
                    }));
                }
            }
        }
    }
}

/// The weights of up to a block of output channels, `[tap][input][output of the block]`.
pub(super) fn gather_weights<S: Simd, const NV: usize>(shape: &Conv2d, weights: &[f32], own: Range<usize>) -> Buffer {
    let Conv2d { input, window: Window { kernel, .. }, .. } = *shape;
    let (block, taps) = (NV * S::LANES, kernel * kernel);
    let mut gathered = buffer(taps * input * block);
    for half in 0..NV {
        let first = own.start + half * S::LANES;
        // SAFETY: the weights of these output channels are there.
        unsafe {
            S::vectorize(Gather(Rows {
                rows: weights.as_ptr().wrapping_add(first * input * taps),
                stride: input * taps,
                count: own.end.saturating_sub(first).min(S::LANES),
                len: input * taps,
                group: taps,
                vectors: gathered.as_mut_ptr().add(half * S::LANES),
                group_step: input * block,
                vector_step: block,
            }));
        }
    }
    gathered
}

fn forward_by<S: Simd, const NV: usize>(shape: &Conv2d, images: &[f32], weights: &[f32], result: &mut [f32]) {
    let Conv2d { batch, input, output, height, width, .. } = *shape;
    let (block, meetings) = (NV * S::LANES, Meetings::new(shape));
    let x = ByPixel::new::<S, NV>(images, batch, input, height * width);
    let results = 0..shape.output_height * shape.output_width;
    let meetings: Vec<Vec<Meeting>> = results.map(|result| meetings.of_result(result)).collect();
    let y = Shared::new(result);
    parallel(output.div_ceil(block), |task| {
        let own = task * block..((task + 1) * block).min(output);
        let own_weights = gather_weights::<S, NV>(shape, weights, own.clone());
        let part = Part { meetings: &meetings, batch, channels: output, own };
        let add = |images, Meeting { tap, other }, segments: &mut Vec<Segment>| {
            let a = own_weights[tap * input * block..].as_ptr();
            segments.push(Segment { a, b: x.at(images, other, 0), depth: input });
        };
        // SAFETY: a column of A are a tap's weights of one input channel; each task has its own channels.
        unsafe { part.compute::<S, NV, COLUMNS>(add, y) }
    });
}

fn backward_data_by<S: Simd, const NV: usize>(shape: &Conv2d, gradient: &[f32], weights: &[f32], result: &mut [f32]) {
    let Conv2d { batch, input, output, .. } = *shape;
    let (block, meetings) = (NV * S::LANES, Meetings::new(shape));
    let taps = meetings.taps();
    let g = ByPixel::new::<S, NV>(gradient, batch, output, shape.output_height * shape.output_width);
    let meetings = meetings.of_images();
    let dx = Shared::new(result);
    let output_blocks = output.div_ceil(block);
    parallel(input.div_ceil(block), |task| {
        let own = task * block..((task + 1) * block).min(input);
        // [tap][block of outputs][input of the task][output of the block]
        let mut own_weights = buffer(taps * output_blocks * own.len() * block);
        for first in (0..output_blocks * block).step_by(S::LANES) {
            let to = first / block * own.len() * block + first % block;
            // SAFETY: the weights of these output channels are there, of the task's input channels.
            unsafe {
                S::vectorize(Gather(Rows {
                    rows: weights.as_ptr().wrapping_add((first * input + own.start) * taps),
                    stride: input * taps,
                    count: output.saturating_sub(first).min(S::LANES),
                    len: own.len() * taps,
                    group: taps,
                    vectors: own_weights.as_mut_ptr().add(to),
                    group_step: output_blocks * own.len() * block,
                    vector_step: block,
                }));
            }
        }
        let rows = own.len();
        let part = Part { meetings: &meetings, batch, channels: input, own };
        let add = |images, Meeting { tap, other }, segments: &mut Vec<Segment>| {
            for outputs in 0..output_blocks {
                let a = own_weights[(tap * output_blocks + outputs) * rows * block..].as_ptr();
                let depth = block.min(output - outputs * block);
                segments.push(Segment { a, b: g.at(images, other, outputs * block), depth });
            }
        };
        // SAFETY: a row of A are a tap's weights of one input channel; each task has its own channels.
        unsafe { part.compute::<S, NV, ROWS>(add, dx) }
    });
}
