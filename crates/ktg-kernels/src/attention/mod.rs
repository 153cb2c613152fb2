//! Softmax attention among the tokens of an image (Vaswani et al. 2017), as vision transformers have it.
//!
//! Tokens are the pixels of a map, so those of a channel follow each other, and vectors hold the tokens that look (the queries). A block
//! of these is done at a time: their probabilities stay in the core's cache, and no matrix of all pairs of tokens ever lies in memory.
//! The backward pass computes them again.

mod backward;
mod block;
mod class;
mod forward;

use crate::Kernels;
use crate::parallel::{Shared, for_each_piece, parallel};
use crate::shape::{Features, Result, check_length};
use crate::simd::{Simd, at_level};
use crate::workspace::buffer;
use backward::Backward;
use block::Head;
use class::{ClassBackward, ClassMap};
use forward::Forward;

/// The shape of softmax attention among `tokens`, in each of the `heads`, whose queries, keys and values have `width` channels.
///
/// Queries, keys and values lie in one map `[batch, 3 * heads * width, tokens]`: first the queries of all heads, then all keys, then
/// all values. The result is `[batch, heads * width, tokens]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attention {
    batch: usize,
    heads: usize,
    width: usize,
    tokens: usize,
}

impl Attention {
    /// `width` is the number of channels of one head.
    ///
    /// # Errors
    ///
    /// If a dimension is 0 or the sizes overflow.
    pub fn new(batch: usize, heads: usize, width: usize, tokens: usize) -> Result<Self> {
        // Products that overflow are too large in any case.
        Features::new(batch, heads.saturating_mul(width).saturating_mul(3), tokens)?;
        Ok(Self { batch, heads, width, tokens })
    }

    /// Values of queries, keys and values.
    pub fn qkv_len(&self) -> usize {
        3 * self.result_len()
    }

    /// Values of the result.
    pub fn result_len(&self) -> usize {
        self.batch * self.heads * self.head_len()
    }

    /// Values of the class token's map, `[batch, 1, tokens - 1]`.
    pub fn map_len(&self) -> usize {
        self.batch * (self.tokens - 1)
    }

    /// Values of a head's queries, or keys, or values, of an image.
    fn head_len(&self) -> usize {
        self.width * self.tokens
    }

    /// Where the queries of a head begin; the heads of all images have numbers.
    fn queries(&self, number: usize) -> usize {
        (number / self.heads * 3 * self.heads + number % self.heads) * self.head_len()
    }

    /// Values from a head's queries to its keys, and from these to its values.
    fn apart(&self) -> usize {
        self.heads * self.head_len()
    }

    /// A head by number.
    fn head(&self, qkv: &[f32], number: usize) -> Head {
        let [q, k, v] = [0, 1, 2].map(|i| qkv[self.queries(number) + i * self.apart()..][..self.head_len()].as_ptr());
        Head { width: self.width, tokens: self.tokens, q, k, v }
    }
}

impl Kernels {
    /// Softmax attention: in each head, `v softmax(k^T q / sqrt(width))`, the softmax over the tokens of k.
    pub fn attention(&self, shape: &Attention, qkv: &[f32], result: &mut [f32]) -> Result {
        check_length("the queries, keys and values", shape.qkv_len(), qkv.len())?;
        check_length("the result", shape.result_len(), result.len())?;
        at_level!(self.level(), S => forward::<S>(shape, qkv, result));
        Ok(())
    }

    /// Gradient of queries, keys and values, which goes to `result`, from the `gradient` of the result of [`attention`](Self::attention).
    pub fn attention_backward(&self, shape: &Attention, qkv: &[f32], gradient: &[f32], result: &mut [f32]) -> Result {
        check_length("the queries, keys and values", shape.qkv_len(), qkv.len())?;
        check_length("the gradient", shape.result_len(), gradient.len())?;
        check_length("the gradient of queries, keys and values", shape.qkv_len(), result.len())?;
        at_level!(self.level(), S => backward::<S>(shape, qkv, gradient, result));
        Ok(())
    }

    /// What token 0 (the class token) sees of the others: its probabilities in [`attention`](Self::attention), the mean over heads,
    /// `[batch, 1, tokens - 1]`.
    pub fn class_attention(&self, shape: &Attention, qkv: &[f32], result: &mut [f32]) -> Result {
        check_length("the queries, keys and values", shape.qkv_len(), qkv.len())?;
        check_length("the map", shape.map_len(), result.len())?;
        if shape.tokens > 1 {
            at_level!(self.level(), S => class_map::<S>(shape, qkv, result));
        }
        Ok(())
    }

    /// Adds to the gradient of queries, keys and values, `of_qkv`, what comes from the `gradient` of the result of
    /// [`class_attention`](Self::class_attention).
    pub fn class_attention_backward(
        &self,
        shape: &Attention,
        qkv: &[f32],
        gradient: &[f32],
        of_qkv: &mut [f32],
    ) -> Result {
        check_length("the queries, keys and values", shape.qkv_len(), qkv.len())?;
        check_length("the gradient of the map", shape.map_len(), gradient.len())?;
        check_length("the gradient of queries, keys and values", shape.qkv_len(), of_qkv.len())?;
        at_level!(self.level(), S => class_backward::<S>(shape, qkv, gradient, of_qkv));
        Ok(())
    }
}

/// A task a head of an image.
pub(crate) fn forward<S: Simd>(shape: &Attention, qkv: &[f32], result: &mut [f32]) {
    for_each_piece(result, shape.head_len(), |number, y| {
        let head = shape.head(qkv, number);
        let mut scratch = buffer(Forward::scratch(head));
        // SAFETY: the head's values are there, the result is as long as each of them, the scratch memory as it wants.
        unsafe { S::vectorize(Forward { head, y: y.as_mut_ptr(), scratch: &mut scratch }) }
    });
}

/// A task a head of an image.
pub(crate) fn backward<S: Simd>(shape: &Attention, qkv: &[f32], gradient: &[f32], result: &mut [f32]) {
    let result = Shared::new(result);
    parallel(shape.batch * shape.heads, |number| {
        let head = shape.head(qkv, number);
        let g = gradient[number * shape.head_len()..][..shape.head_len()].as_ptr();
        let mut scratch = buffer(Backward::scratch(head));
        // SAFETY: each head's gradients are its task's alone; all slices are as long as the shape says.
        unsafe {
            let [dq, dk, dv] = [0, 1, 2].map(|i| result.at(shape.queries(number) + i * shape.apart()));
            S::vectorize(Backward { head, g, dq, dk, dv, scratch: &mut scratch });
        }
    });
}

/// A task an image, whose heads have one map.
pub(crate) fn class_map<S: Simd>(shape: &Attention, qkv: &[f32], result: &mut [f32]) {
    for_each_piece(result, shape.tokens - 1, |image, map| {
        let mut scratch = buffer(class::scratch(shape.tokens));
        map.fill(0.0);
        for number in image * shape.heads..(image + 1) * shape.heads {
            let (head, share) = (shape.head(qkv, number), 1.0 / shape.heads as f32);
            // SAFETY: the head's values are there, and the scratch memory is as long as it wants.
            unsafe { S::vectorize(ClassMap { head, share, map, scratch: &mut scratch }) }
        }
    });
}

/// A task a head of an image.
pub(crate) fn class_backward<S: Simd>(shape: &Attention, qkv: &[f32], gradient: &[f32], of_qkv: &mut [f32]) {
    let of_qkv = Shared::new(of_qkv);
    parallel(shape.batch * shape.heads, |number| {
        let (head, share) = (shape.head(qkv, number), 1.0 / shape.heads as f32);
        let others = shape.tokens - 1;
        let g = &gradient[number / shape.heads * others..][..others];
        let mut scratch = buffer(class::scratch(shape.tokens));
        // SAFETY: each head's gradients are its task's alone; all slices are as long as the shape says.
        unsafe {
            let [dq, dk] = [0, 1].map(|i| of_qkv.at(shape.queries(number) + i * shape.apart()));
            S::vectorize(ClassBackward { head, share, g, dq, dk, scratch: &mut scratch });
        }
    });
}
