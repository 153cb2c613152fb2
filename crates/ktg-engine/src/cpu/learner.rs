//! What becomes of gradients.

use std::ops::Range;

use super::account::{Clock, Part};
use super::context::Context;
use super::plan::Back;
use super::update::Updates;
use crate::parameters::Layout;

/// What becomes of the parameters' gradients.
pub(crate) struct Learner<'a> {
    pub parameters: &'a mut [f32],
    /// Where gradients go: with `updates`, those of one layer at a time, else all, in the parameters' layout.
    pub gradients: &'a mut [f32],
    /// An optimizer's step, which is done for a layer as soon as its gradients are known and nobody needs its weights any
    /// more.
    pub updates: Option<Updates<'a>>,
}

impl Learner<'_> {
    /// Where the gradients of a layer's tensors go.
    pub fn ranges<const N: usize>(&self, layout: &Layout, layer: usize) -> [Range<usize>; N] {
        let ranges = layout.of_layer::<N>(layer);
        let first = if self.updates.is_some() { ranges[0].start } else { 0 };
        ranges.map(|range| range.start - first..range.end - first)
    }

    /// The layer's gradients are known.
    pub fn finish(&mut self, context: Context, back: &Back) {
        let layer = back.call.layer;
        let Some(updates) = self.updates.as_mut().filter(|_| !context.is_frozen(layer)) else { return };
        let tensors = context.layout.learned_of_layer(layer);
        let Some((_, first)) = tensors.clone().next() else { return };
        let first = first.start;
        let clock = Clock::start();
        for (i, range) in tensors {
            let gradient = &self.gradients[range.start - first..range.end - first];
            updates.tensor(i, range.clone(), &mut self.parameters[range], gradient);
        }
        clock.stop(context, Part::Update, &back.call, 0);
    }
}
