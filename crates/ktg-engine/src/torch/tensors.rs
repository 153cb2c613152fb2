//! The parameters of a node on its device.

use std::ops::Range;

use ktg_net::{Array, Network, Parameter, Role, StateDict};
use tch::{Device, Kind, TchError, Tensor};

use super::layout::Layout;

/// All parameters of a network: those that are learned lie in one tensor and the running statistics in another, so that
/// an update is a few operations whatever the number of layers.
pub struct Tensors {
    pub parameters: Vec<Parameter>,
    /// Where each parameter lies in its tensor.
    ranges: Vec<Range<i64>>,
    pub learned: Tensor,
    pub statistics: Tensor,
    layout: Layout,
    /// Whether gradients come in one piece.
    pub is_joined: bool,
}

/// Some of the values of a tensor that is laid out as `learned`.
pub struct Piece {
    /// Where they begin there.
    start: i64,
    pub values: Tensor,
}

impl Piece {
    /// The same part of another tensor that is laid out so.
    pub fn of(&self, tensor: &Tensor) -> Result<Tensor, TchError> {
        tensor.f_narrow(0, self.start, self.values.numel() as i64)
    }
}

impl Tensors {
    /// A parameter begins at a multiple of so many values, zeros lie between: the fastest kernels want addresses that
    /// are multiples of 16 bytes or more, of half as many bytes a value too.
    const LINE: usize = 64;

    /// All zero.
    pub fn new(network: &Network, layout: Layout, device: Device) -> Result<Self, TchError> {
        let parameters = network.parameters();
        let mut ends = [0; 2];
        let mut ranges = Vec::with_capacity(parameters.len());
        for parameter in &parameters {
            let end = &mut ends[usize::from(parameter.role == Role::Learned)];
            ranges.push(*end..*end + parameter.len() as i64);
            *end += parameter.len().next_multiple_of(Self::LINE) as i64;
        }
        let zeros = |len: i64| Tensor::f_zeros([len], (Kind::Float, device));
        let (statistics, learned, is_joined) = (zeros(ends[0])?, zeros(ends[1])?, device != Device::Cpu);
        Ok(Self { parameters, ranges, statistics, learned, layout, is_joined })
    }

    /// Whether parameter `i` is learned.
    pub fn is_learned(&self, i: usize) -> bool {
        self.parameters[i].role == Role::Learned
    }

    /// The part of a tensor laid out as `learned` (or `statistics`) that is parameter `i`, in its shape.
    pub fn part(&self, of: &Tensor, i: usize) -> Result<Tensor, TchError> {
        let Range { start, end } = self.ranges[i];
        let shape: Vec<i64> = self.parameters[i].shape.iter().map(|side| *side as i64).collect();
        self.layout.shaped(&of.f_narrow(0, start, end - start)?, &shape)
    }

    /// The gradients of the parameters that have one, in order. A GPU gets them in one piece, zero where there is none,
    /// so that an update is a few calls; a processor piece by piece, as they fit into its caches.
    pub fn pieces(&self, learns: &[bool], gradients: &[Tensor]) -> Result<Vec<Piece>, TchError> {
        let mut pieces = Vec::new();
        let learning = (0..self.parameters.len()).filter(|i| learns[*i]);
        for (i, gradient) in learning.zip(gradients) {
            let values = self.layout.flat(gradient)?.f_to_kind(Kind::Float)?;
            pieces.push(Piece { start: self.ranges[i].start, values });
        }
        if self.is_joined && !pieces.is_empty() { Ok(vec![self.joined(pieces)?]) } else { Ok(pieces) }
    }

    /// All pieces in one, with zeros between them.
    fn joined(&self, pieces: Vec<Piece>) -> Result<Piece, TchError> {
        let (mut parts, mut end) = (Vec::new(), 0);
        let zeros = |from: i64, to: i64| Tensor::f_zeros([to - from], (Kind::Float, self.learned.device()));
        for Piece { start, values } in pieces {
            if end < start {
                parts.push(zeros(end, start)?);
            }
            end = start + values.numel() as i64;
            parts.push(values);
        }
        let all = self.learned.numel() as i64;
        if end < all {
            parts.push(zeros(end, all)?);
        }
        Ok(Piece { start: 0, values: Tensor::f_cat(&parts, 0)? })
    }

    /// How many parameters are running statistics.
    pub fn statistics_count(&self) -> usize {
        self.parameters.iter().filter(|parameter| parameter.role != Role::Learned).count()
    }

    /// A tensor laid out as `learned`, with these pieces.
    pub fn whole(&self, pieces: &[Piece]) -> Result<Tensor, TchError> {
        let whole = self.learned.f_zeros_like()?;
        for piece in pieces {
            piece.of(&whole)?.f_copy_(&piece.values)?;
        }
        Ok(whole)
    }

    /// Parameter `i` of tensors laid out as `learned` and `statistics`.
    pub fn part_of(&self, [learned, statistics]: [&Tensor; 2], i: usize) -> Result<Tensor, TchError> {
        self.part(if self.is_learned(i) { learned } else { statistics }, i)
    }

    /// Parameter `i`.
    pub fn get(&self, i: usize) -> Result<Tensor, TchError> {
        self.part_of([&self.learned, &self.statistics], i)
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
    pub fn by_parameter(&self, values: &[f64]) -> Result<Tensor, TchError> {
        let tensor = self.learned.f_zeros_like()?;
        for i in (0..self.parameters.len()).filter(|i| self.is_learned(*i)) {
            let _ = self.part(&tensor, i)?.f_fill_(values[i])?;
        }
        Ok(tensor)
    }

    /// Those of the parameters that `is_meant`, taken out of tensors laid out as `learned` and `statistics`.
    pub fn to_dict(
        &self,
        learned: &Tensor,
        statistics: &Tensor,
        is_meant: impl Fn(usize) -> bool,
    ) -> Result<StateDict, TchError> {
        let [learned, statistics] = [learned, statistics].map(|tensor| tensor.f_to_device(Device::Cpu));
        let (learned, statistics) = (learned?, statistics?);
        let mut dict = StateDict::new();
        for (i, Parameter { name, shape, .. }) in self.parameters.iter().enumerate().filter(|(i, _)| is_meant(*i)) {
            let part = self.part_of([&learned, &statistics], i)?;
            dict.insert(name.clone(), Array { shape: shape.clone(), data: values(&part)? });
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

/// A tensor of these values, in the given shape, on a device; the host need not wait until a GPU has them.
pub fn upload(values: &[f32], shape: &[i64], device: Device) -> Result<Tensor, TchError> {
    let host = Tensor::f_from_slice(values)?.f_view(shape)?;
    match device {
        // Memory that the GPU reads by itself; PyTorch keeps it until then.
        Device::Cuda(_) => host.f_internal_pin_memory(device)?.f_to_device_(device, Kind::Float, true, false),
        _ => host.f_to_device(device),
    }
}
