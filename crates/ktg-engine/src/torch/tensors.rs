//! The parameters of a node on its device.

use std::ops::Range;

use ktg_net::{Array, Network, Parameter, Role, StateDict};
use tch::{Device, Kind, TchError, Tensor};

/// All parameters of a network: those that are learned lie in one tensor and the running statistics in another, so that
/// an update is a few operations whatever the number of layers.
pub struct Tensors {
    pub parameters: Vec<Parameter>,
    /// Where each parameter lies in its tensor.
    ranges: Vec<Range<i64>>,
    pub learned: Tensor,
    pub statistics: Tensor,
}

impl Tensors {
    /// All zero.
    pub fn new(network: &Network, device: Device) -> Result<Self, TchError> {
        let parameters = network.parameters();
        let mut ends = [0; 2];
        let mut ranges = Vec::with_capacity(parameters.len());
        for parameter in &parameters {
            let end = &mut ends[usize::from(parameter.role == Role::Learned)];
            ranges.push(*end..*end + parameter.len() as i64);
            *end += parameter.len() as i64;
        }
        let zeros = |len: i64| Tensor::f_zeros([len], (Kind::Float, device));
        Ok(Self { parameters, ranges, statistics: zeros(ends[0])?, learned: zeros(ends[1])? })
    }

    /// Whether parameter `i` is learned.
    pub fn is_learned(&self, i: usize) -> bool {
        self.parameters[i].role == Role::Learned
    }

    /// The part of a tensor laid out as `learned` (or `statistics`) that is parameter `i`, in its shape.
    pub fn part(&self, of: &Tensor, i: usize) -> Result<Tensor, TchError> {
        let Range { start, end } = self.ranges[i];
        let shape: Vec<i64> = self.parameters[i].shape.iter().map(|side| *side as i64).collect();
        of.f_narrow(0, start, end - start)?.f_view(&shape[..])
    }

    /// Parameter `i`.
    pub fn get(&self, i: usize) -> Result<Tensor, TchError> {
        self.part(if self.is_learned(i) { &self.learned } else { &self.statistics }, i)
    }

    /// The parameter of a name.
    ///
    /// # Panics
    ///
    /// Panics if there is none.
    pub fn named(&self, name: &str) -> usize {
        let i = self.parameters.iter().position(|parameter| parameter.name == name);
        i.unwrap_or_else(|| panic!("the network has no parameter `{name}`"))
    }

    /// The parameters of a layer: weight, bias, and so on.
    pub fn of_layer(&self, layer: usize) -> Range<usize> {
        let first = self.parameters.partition_point(|parameter| parameter.layer < layer);
        let end = self.parameters.partition_point(|parameter| parameter.layer <= layer);
        first..end
    }

    /// A tensor laid out as `learned`, with one value a parameter.
    pub fn by_parameter(&self, value: impl Fn(usize) -> f32) -> Result<Tensor, TchError> {
        let mut values = Vec::with_capacity(self.learned.numel());
        for i in (0..self.parameters.len()).filter(|i| self.is_learned(*i)) {
            values.extend(std::iter::repeat_n(value(i), self.parameters[i].len()));
        }
        Tensor::f_from_slice(&values)?.f_to_device(self.learned.device())
    }

    /// Those of the parameters that `is_meant`, taken out of tensors laid out as `learned` and `statistics`.
    pub fn to_dict(
        &self,
        learned: &Tensor,
        statistics: &Tensor,
        is_meant: impl Fn(usize) -> bool,
    ) -> Result<StateDict, TchError> {
        let [learned, statistics] = [values(learned)?, values(statistics)?];
        let mut dict = StateDict::new();
        for (i, Parameter { name, shape, .. }) in self.parameters.iter().enumerate().filter(|(i, _)| is_meant(*i)) {
            let range = self.ranges[i].start as usize..self.ranges[i].end as usize;
            let data = if self.is_learned(i) { &learned[range] } else { &statistics[range] };
            dict.insert(name.clone(), Array { shape: shape.clone(), data: data.to_vec() });
        }
        Ok(dict)
    }
}

/// The values of a tensor.
pub fn values(tensor: &Tensor) -> Result<Vec<f32>, TchError> {
    let mut values = vec![0.0; tensor.numel()];
    tensor.f_to_kind(Kind::Float)?.f_contiguous()?.f_copy_data(&mut values, tensor.numel())?;
    Ok(values)
}

/// A tensor of these values, in the given shape, on a device.
pub fn tensor(values: &[f32], shape: &[i64], device: Device) -> Result<Tensor, TchError> {
    Tensor::f_from_slice(values)?.f_view(shape)?.f_to_device(device)
}
