//! All tensors of a network in one piece of memory.

use std::ops::Range;

use ktg_net::{Array, Network, Parameter, Role, StateDict};

/// Where each tensor of a network lies, in the order of [`Network::parameters`].
pub(crate) struct Layout {
    pub parameters: Vec<Parameter>,
    ranges: Vec<Range<usize>>,
    /// The first tensor of each layer.
    first: Vec<usize>,
}

/// Tensors begin at cache lines.
const LINE: usize = 16;

impl Layout {
    pub fn new(network: &Network) -> Self {
        let parameters = network.parameters();
        let mut ranges = Vec::with_capacity(parameters.len());
        let mut end = 0;
        for parameter in &parameters {
            ranges.push(end..end + parameter.len());
            end = (end + parameter.len()).next_multiple_of(LINE);
        }
        let first = (0..network.layers.len()).map(|layer| parameters.partition_point(|p| p.layer < layer)).collect();
        Self { parameters, ranges, first }
    }

    /// Numbers, gaps included.
    pub fn len(&self) -> usize {
        self.ranges.last().map_or(0, |range| range.end)
    }

    /// Where tensor `i` lies.
    pub fn range(&self, i: usize) -> Range<usize> {
        self.ranges[i].clone()
    }

    /// Where the tensor of a name lies.
    pub fn named(&self, name: &str) -> Range<usize> {
        let i = self.parameters.iter().position(|parameter| parameter.name == name);
        self.range(i.unwrap_or_else(|| panic!("the network has no parameter `{name}`")))
    }

    /// Where the tensors of a layer lie: weight, bias, and so on.
    pub fn of_layer<const N: usize>(&self, layer: usize) -> [Range<usize>; N] {
        std::array::from_fn(|i| self.range(self.first[layer] + i))
    }

    /// The tensors of a layer that are learned, with where they lie: weight, and bias if it has one.
    pub fn learned_of_layer(&self, layer: usize) -> impl Iterator<Item = (usize, Range<usize>)> + Clone {
        let is_meant = move |i: &usize| self.parameters[*i].layer == layer && self.parameters[*i].role == Role::Learned;
        (self.first[layer]..self.parameters.len()).take_while(is_meant).map(|i| (i, self.range(i)))
    }

    /// The most numbers, gaps included, that the learned tensors of a layer have.
    pub fn largest_layer(&self) -> usize {
        let span = |layer| {
            let mut ranges = self.learned_of_layer(layer).map(|(_, range)| range);
            let first = ranges.next()?;
            Some(ranges.last().map_or(first.end, |last| last.end) - first.start)
        };
        (0..self.first.len()).filter_map(span).max().unwrap_or(0)
    }

    /// The tensors of which `is_meant` says so, as arrays.
    pub fn to_dict(&self, values: &[f32], is_meant: impl Fn(usize) -> bool) -> StateDict {
        let array = |i: usize| {
            let Parameter { name, shape, .. } = &self.parameters[i];
            (name.clone(), Array { shape: shape.clone(), data: values[self.range(i)].to_vec() })
        };
        (0..self.parameters.len()).filter(|i| is_meant(*i)).map(array).collect()
    }
}
