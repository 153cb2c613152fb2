//! How images, maps and the weights of convolutions lie in memory.

use ktg_net::{Network, Op, Shape};
use tch::{TchError, Tensor};

use crate::{Device, Precision};

/// Which of four axes lies innermost: PyTorch's `contiguous_format` or `channels_last`, for which `tch` has no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// `[N, C, H, W]`.
    ChannelsFirst,
    /// `[N, H, W, C]`, seen as `[N, C, H, W]`.
    ChannelsLast,
}

impl Layout {
    /// The faster one for a network whose values have these shapes. PyTorch's CPU is faster with channels last unless maps
    /// shrink to a few pixels (docs/performance.md); the tensor cores of GPUs take them so in half precision.
    pub fn of(device: Device, precision: Precision, network: &Network, shapes: &[Shape]) -> Self {
        let is_last = match device {
            Device::Torch => smallest_map(network, shapes) > Self::FEW_PIXELS,
            Device::Cuda(_) => precision != Precision::F32,
            Device::Cpu | Device::Mps => false,
        };
        if is_last { Layout::ChannelsLast } else { Layout::ChannelsFirst }
    }

    /// Up to so many pixels a map, convolutions of PyTorch's CPU were faster with channels first.
    const FEW_PIXELS: usize = 4;

    /// A tensor of one axis in the given shape, without moving a value; one of four axes has lain so.
    pub fn shaped(self, flat: &Tensor, shape: &[i64]) -> Result<Tensor, TchError> {
        match (self, shape) {
            (Layout::ChannelsLast, &[n, c, h, w]) => flat.f_view([n, h, w, c])?.f_permute([0, 3, 1, 2]),
            _ => flat.f_view(shape),
        }
    }

    /// The values of a tensor in the order in which they lie so.
    pub fn flat(self, tensor: &Tensor) -> Result<Tensor, TchError> {
        match self {
            Layout::ChannelsLast if tensor.dim() == 4 => tensor.f_permute([0, 2, 3, 1])?.f_reshape([-1_i64]),
            _ => tensor.f_reshape([-1_i64]),
        }
    }

    /// A tensor of four axes that lies so.
    pub fn laid(self, tensor: &Tensor) -> Result<Tensor, TchError> {
        self.shaped(&self.flat(tensor)?, &tensor.size())
    }
}

/// Pixels of the smallest map that a convolution gives. `shapes` are those of the network's values: the images, then each
/// layer's result.
fn smallest_map(network: &Network, shapes: &[Shape]) -> usize {
    let results = network.layers.iter().zip(&shapes[1..]);
    let maps = results.filter(|(layer, _)| matches!(layer.op, Op::Conv2d { .. }));
    maps.map(|(_, shape)| shape.pixels()).min().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_come_first_where_maps_shrink_to_a_few_pixels() {
        let layout = |name: &str, side: usize, device, precision| {
            let network = name.parse::<ktg_net::Architecture>().unwrap().network(3, 10);
            Layout::of(device, precision, &network, &network.shapes([side, side]).unwrap())
        };
        let on_cpu = |name, side| layout(name, side, Device::Torch, Precision::F32);
        assert_eq!(on_cpu("abn-resnet-18", 112), Layout::ChannelsLast);
        assert_eq!(on_cpu("abn-resnet-18", 64), Layout::ChannelsFirst);
        assert_eq!(on_cpu("resnet-cifar-8", 14), Layout::ChannelsLast);
        assert_eq!(layout("abn-resnet-18", 112, Device::Cuda(0), Precision::F32), Layout::ChannelsFirst);
        assert_eq!(layout("abn-resnet-18", 64, Device::Cuda(0), Precision::Bf16), Layout::ChannelsLast);
    }
}
