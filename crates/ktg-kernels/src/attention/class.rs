//! What the class token, which is token 0, sees of the others. Vectors hold the tokens that are looked at.

use super::block::Head;
use crate::exponential::exp;
use crate::simd::{Simd, Task};

/// Values of scratch memory: a probability a token, in whole vectors.
pub(super) fn scratch(tokens: usize) -> usize {
    tokens.next_multiple_of(16)
}

/// The probabilities of the class token, to memory of whole vectors, zero behind the last token.
#[inline(always)]
unsafe fn probabilities<S: Simd>(head: Head, to: &mut [f32]) {
    let Head { width, tokens, q, k, .. } = head;
    // SAFETY: the caller grants the head; `to` has whole vectors.
    unsafe {
        for i in (0..tokens).step_by(S::LANES) {
            let mut score = S::zero();
            for c in 0..width {
                let q = S::splat(*q.add(c * tokens) * head.scale());
                score = S::fma(q, S::load_up_to(k.add(c * tokens + i), tokens - i), score);
            }
            S::store(to.as_mut_ptr().add(i), score);
        }
        let mut most = to[0];
        to[..tokens].iter().for_each(|score| most = if *score > most { *score } else { most });
        to[tokens..].fill(f32::NEG_INFINITY);
        let mut sum = S::zero();
        for i in (0..tokens).step_by(S::LANES) {
            let score = to.as_mut_ptr().add(i);
            let v = exp::<S>(S::sub(S::load(score), S::splat(most)));
            S::store(score, v);
            sum = S::add(sum, v);
        }
        let inverse = 1.0 / S::sum(sum);
        to.iter_mut().for_each(|p| *p *= inverse);
        to[tokens..].fill(0.0);
    }
}

/// Adds to the map a head's share of it.
pub(super) struct ClassMap<'a> {
    pub head: Head,
    /// One over the number of heads.
    pub share: f32,
    /// Of the tokens from 1 on.
    pub map: &'a mut [f32],
    pub scratch: &'a mut [f32],
}

impl Task for ClassMap<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { head, share, map, scratch } = self;
        // SAFETY: granted by the caller.
        unsafe { probabilities::<S>(head, scratch) }
        map.iter_mut().zip(&scratch[1..]).for_each(|(map, p)| *map += p * share);
    }
}

/// Adds what a head's share of the map has of the gradients of its queries and keys.
pub(super) struct ClassBackward<'a> {
    pub head: Head,
    /// One over the number of heads.
    pub share: f32,
    /// Of the tokens from 1 on.
    pub g: &'a [f32],
    pub dq: *mut f32,
    pub dk: *mut f32,
    pub scratch: &'a mut [f32],
}

impl Task for ClassBackward<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { head, share, g, dq, dk, scratch } = self;
        let Head { width, tokens, q, k, .. } = head;
        // SAFETY: granted by the caller.
        unsafe { probabilities::<S>(head, scratch) }
        let of_scores = scratch;
        let mean: f32 = of_scores[1..].iter().zip(g).map(|(p, g)| p * g).sum();
        // The probability of token 0 itself is not in the map.
        of_scores[0] *= -mean * share * head.scale();
        of_scores[1..].iter_mut().zip(g).for_each(|(p, g)| *p *= (g - mean) * share * head.scale());
        // SAFETY: granted by the caller; behind the last token all is zero.
        unsafe {
            for c in 0..width {
                let query = S::splat(*q.add(c * tokens));
                let mut of_query = S::zero();
                for i in (0..tokens).step_by(S::LANES) {
                    let (n, own) = (tokens - i, c * tokens + i);
                    let of_scores = S::load(of_scores.as_ptr().add(i));
                    of_query = S::fma(S::load_up_to(k.add(own), n), of_scores, of_query);
                    S::store_up_to(dk.add(own), S::fma(query, of_scores, S::load_up_to(dk.add(own), n)), n);
                }
                *dq.add(c * tokens) += S::sum(of_query);
            }
        }
    }
}
