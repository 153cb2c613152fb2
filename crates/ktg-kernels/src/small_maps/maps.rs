//! Forward, and backward to the images, which differ in who meets whom and in how the weights lie.

use std::ops::Range;

use super::{Meeting, Meetings, add_up, few_images, vectors_of};
use crate::gemm::{COLUMNS, ROWS, Segment};
use crate::parallel::{Shared, parallel, part};
use crate::rows::{Gather, Rows, Scatter, gather_weights};
use crate::shape::Conv2d;
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
const SOME_CHANNELS: usize = 16;
/// Pixels that are computed before they are written: their sums stay in the second-level cache.
const SOME_PIXELS: usize = 64;

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

/// What a task computes of every pixel of the maps: some channels of some blocks of images.
struct Part<'a> {
    /// By pixel, who meets it.
    meetings: &'a [Vec<Meeting>],
    batch: usize,
    /// Channels of the maps, and those of this part.
    channels: usize,
    own: Range<usize>,
    blocks: Range<usize>,
}

impl Part<'_> {
    /// Computes pixel by pixel and writes the maps; `add_segments(block of images, meeting, segments)` adds what meets in a tap.
    ///
    /// # Safety
    ///
    /// The segments may be read, their rows are as many as `own` channels; nobody else writes this part.
    unsafe fn compute<S: Simd, const NV: usize, const A: u8>(
        &self,
        mut add_segments: impl FnMut(usize, Meeting, &mut Vec<Segment>),
        to: Shared,
    ) {
        let row = self.own.len() * NV * S::LANES;
        let mut sums = buffer(SOME_PIXELS.min(self.meetings.len()) * row);
        let mut segments = Vec::new();
        for images in self.blocks.clone() {
            for (chunk, meetings) in self.meetings.chunks(SOME_PIXELS).enumerate() {
                for (meetings, sums) in meetings.iter().zip(sums.chunks_exact_mut(row)) {
                    segments.clear();
                    meetings.iter().for_each(|meeting| add_segments(images, *meeting, &mut segments));
                    // SAFETY: granted by the caller.
                    unsafe { add_up::<S, NV, A>(&segments, self.own.len(), sums, false) }
                }
                let first = chunk * SOME_PIXELS;
                // SAFETY: granted by the caller.
                unsafe { self.write::<S, NV>(images, first..first + meetings.len(), &sums, to) }
            }
        }
    }

    /// Writes the sums of some pixels, `[pixel][channel][image of the block]`.
    ///
    /// # Safety
    ///
    /// As for `compute`.
    unsafe fn write<S: Simd, const NV: usize>(&self, images: usize, some: Range<usize>, sums: &[f32], to: Shared) {
        let (block, pixels, own) = (NV * S::LANES, self.meetings.len(), self.own.len());
        // Channels whose pixels follow each other: all of them where all pixels are there.
        let (groups, channels) = if some.len() == pixels { (1, own) } else { (own, 1) };
        for half in 0..NV {
            let image = images * block + half * S::LANES;
            if image >= self.batch {
                break;
            }
            for group in 0..groups {
                let first = (image * self.channels + self.own.start + group) * pixels + some.start;
                // SAFETY: granted by the caller.
                unsafe {
                    S::vectorize(Scatter(Rows {
                        rows: to.at(first),
                        stride: self.channels * pixels,
                        count: (self.batch - image).min(S::LANES),
                        len: channels * some.len(),
                        group: some.len(),
                        vectors: sums[group * block + half * S::LANES..].as_ptr(),
                        group_step: own * block,
                        vector_step: block,
                    }));
                }
            }
        }
    }
}

/// How many parts the blocks of images are cut into, so that there are enough tasks with so many blocks of channels.
fn parts_of_images(blocks: usize, blocks_of_channels: usize) -> usize {
    (4 * rayon::current_num_threads()).div_ceil(blocks_of_channels).min(blocks)
}

fn forward_by<S: Simd, const NV: usize>(shape: &Conv2d, images: &[f32], weights: &[f32], result: &mut [f32]) {
    let Conv2d { batch, input, output, height, width, .. } = *shape;
    let (block, meetings) = (NV * S::LANES, Meetings::new(shape));
    let taps = meetings.taps();
    let x = ByPixel::new::<S, NV>(images, batch, input, height * width);
    let results = 0..shape.output_height * shape.output_width;
    let meetings: Vec<Vec<Meeting>> = results.map(|result| meetings.of_result(result)).collect();
    let y = Shared::new(result);
    let blocks = batch.div_ceil(block);
    let parts = parts_of_images(blocks, output.div_ceil(block));
    parallel(output.div_ceil(block) * parts, |task| {
        let first = task / parts * block;
        let own = first..(first + block).min(output);
        let mut own_weights = buffer(taps * input * block);
        gather_weights::<S, NV>(shape, weights, own.clone(), &mut own_weights);
        let blocks = part(blocks, task % parts, parts);
        let part = Part { meetings: &meetings, batch, channels: output, own, blocks };
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
    let blocks = batch.div_ceil(block);
    let parts = parts_of_images(blocks, input.div_ceil(block));
    parallel(input.div_ceil(block) * parts, |task| {
        let first = task / parts * block;
        let own = first..(first + block).min(input);
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
        let blocks = part(blocks, task % parts, parts);
        let part = Part { meetings: &meetings, batch, channels: input, own, blocks };
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
