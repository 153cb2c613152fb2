//! How the weights of a node move.

use std::ops::Range;

use ktg_kernels::{AdamWStep, Arena, Kernels, SgdStep};
use ktg_net::StateDict;

use super::context::FITS;
use crate::optimizer::{AVERAGE, MOMENTS, MOMENTUM};
use crate::parameters::Layout;
use crate::{Optimizer, OptimizerState, Rule};

/// What an optimizer remembers of a node's tensors, each kind in their layout.
#[derive(Default)]
pub(crate) struct Memories {
    /// Empty before the first update.
    kinds: Vec<(&'static str, Arena)>,
    /// Moving averages of all tensors.
    pub average: Option<Arena>,
}

/// Sum of the gradients of batches that are part of a larger one.
#[derive(Default)]
pub(crate) struct GradientSum {
    sum: Option<Arena>,
    batches: usize,
}

impl GradientSum {
    /// Whether there are no gradients in it.
    pub fn is_empty(&self) -> bool {
        self.batches == 0
    }

    /// Adds the gradients of a batch.
    pub fn add(&mut self, gradients: &[f32]) {
        let sum = self.sum.get_or_insert_with(|| Arena::new(gradients.len()));
        match self.batches {
            0 => sum.copy_from_slice(gradients),
            _ => sum.iter_mut().zip(gradients).for_each(|(sum, gradient)| *sum += gradient),
        }
        self.batches += 1;
    }

    /// The sum, and the factor that makes it a mean. It begins anew then.
    pub fn take(&mut self) -> (&[f32], f32) {
        let batches = std::mem::take(&mut self.batches);
        (self.sum.as_deref().unwrap_or_default(), 1.0 / batches as f32)
    }
}

/// An update of the tensors of a node, one by one.
pub(crate) struct Updates<'a> {
    kernels: Kernels,
    rule: Rule<'a>,
    /// Factor on the gradients.
    pub scale: f32,
    /// There is nothing yet in the memories.
    first: bool,
    kinds: &'a mut [(&'static str, Arena)],
}

impl Memories {
    /// Begins an update; makes room for what it has to remember.
    pub fn updates<'a>(&'a mut self, kernels: Kernels, rule: Rule<'a>, len: usize) -> Updates<'a> {
        let first = self.kinds.is_empty();
        if first {
            self.kinds = rule.optimizer.kinds().iter().map(|kind| (*kind, Arena::new(len))).collect();
        }
        Updates { kernels, rule, scale: 1.0, first, kinds: &mut self.kinds }
    }

    /// Moves the averages by a share towards `values`.
    pub fn follow(&mut self, values: &[f32], share: f64) {
        let average = self.average.get_or_insert_with(|| Arena::new(values.len()));
        match share as f32 {
            1.0 => average.copy_from_slice(values),
            share => average.iter_mut().zip(values).for_each(|(average, value)| *average += share * (value - *average)),
        }
    }

    /// As arrays by name: of what it remembers, the tensors of which `learns` says so; of averages, all.
    pub fn to_state(&self, layout: &Layout, learns: &[bool]) -> OptimizerState {
        let of_learned = |arena: &Arena| layout.to_dict(arena, |i| learns[i]);
        let kinds = self.kinds.iter().map(|(kind, arena)| ((*kind).to_owned(), of_learned(arena)));
        let average = self.average.iter().map(|arena| (AVERAGE.to_owned(), layout.to_dict(arena, |_| true)));
        kinds.chain(average).collect()
    }

    /// Of what [`to_state`](Self::to_state) gave.
    pub fn of_state(layout: &Layout, state: &OptimizerState) -> Self {
        let filled = |dict: &StateDict| {
            let mut arena = Arena::new(layout.len());
            for (name, array) in dict {
                arena[layout.named(name)].copy_from_slice(&array.data);
            }
            arena
        };
        let [mean, square] = MOMENTS;
        let of_kind = |kind: &'static str| {
            let dict = state.get(kind).filter(|dict| !dict.is_empty());
            dict.map(|dict| (kind, filled(dict)))
        };
        Self {
            kinds: [MOMENTUM, mean, square].into_iter().filter_map(of_kind).collect(),
            average: state.get(AVERAGE).map(filled),
        }
    }
}

impl Updates<'_> {
    /// Moves tensor `i`, which lies at `range` of the layout.
    pub fn tensor(&mut self, i: usize, range: Range<usize>, values: &mut [f32], gradient: &[f32]) {
        let factors = self.rule.factors_of(i);
        let learning_rate = self.rule.learning_rate * factors.learning_rate;
        let weight_decay = self.rule.weight_decay * factors.weight_decay;
        match self.rule.optimizer {
            Optimizer::Sgd { momentum, nesterov } => {
                let step = SgdStep {
                    learning_rate: learning_rate as f32,
                    momentum: momentum as f32,
                    nesterov,
                    weight_decay: weight_decay as f32,
                    scale: self.scale,
                    first: self.first,
                };
                let velocity = self.kinds.first_mut().map_or(&mut [][..], |(_, arena)| &mut arena[range]);
                self.kernels.sgd(step, values, gradient, velocity).expect(FITS);
            }
            Optimizer::AdamW { betas, epsilon } => {
                let number = self.rule.number;
                let step = AdamWStep { learning_rate, betas, epsilon, weight_decay, scale: self.scale, number };
                let [(_, mean), (_, square)] = self.kinds else { unreachable!("AdamW has two moments") };
                let (mean, square) = (&mut mean[range.clone()], &mut square[range]);
                self.kernels.adamw(step, values, gradient, mean, square).expect(FITS);
            }
        }
    }
}
