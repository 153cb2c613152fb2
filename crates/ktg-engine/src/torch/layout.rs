//! How images, maps and the weights of convolutions lie in memory.

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
    /// The faster one: PyTorch's CPU mostly has the faster kernels for channels last (docs/performance.md), and the
    /// tensor cores of GPUs take them so in half precision.
    pub fn of(device: Device, precision: Precision) -> Self {
        match (device, precision) {
            (Device::Torch, _) | (Device::Cuda(_), Precision::Bf16 | Precision::F16) => Layout::ChannelsLast,
            _ => Layout::ChannelsFirst,
        }
    }

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
