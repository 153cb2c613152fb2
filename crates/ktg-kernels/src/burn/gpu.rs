//! What the program must know of a GPU beyond Burn's tensors. In a build without GPUs everything here answers no.

use burn::backend::DispatchDevice;
use burn::tensor::{Device, Tensor};

/// What a device is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hardware {
    /// As it names itself.
    pub name: String,
    /// Bytes it may be asked to hold, where the driver says so.
    pub memory: Option<u64>,
    /// A processor that plays a GPU, such as Mesa's lavapipe: for tests, and slow.
    pub is_software: bool,
}

/// Whether the device is a GPU, with or without autodiff.
pub fn is_gpu(device: &Device) -> bool {
    is_gpu_dispatch(device.clone().inner().as_dispatch())
}

pub(super) fn is_on_gpu<const D: usize>(tensor: &Tensor<D>) -> bool {
    is_gpu(&tensor.device())
}

#[cfg(not(feature = "cube"))]
mod none {
    use super::*;

    pub(super) fn is_gpu_dispatch(_: &DispatchDevice) -> bool {
        false
    }

    /// What a GPU is made of; `None` for the CPU. Starts the device.
    pub fn hardware(_: &Device) -> Option<Hardware> {
        None
    }

    /// Runs `work`, whose launches go to queue `index` of the GPU: launches in different queues may overlap, those in one
    /// run in order. Tensors may come from any queue; the device waits where it must.
    pub fn in_queue<T>(_index: usize, work: impl FnOnce() -> T) -> T {
        work()
    }
}

#[cfg(feature = "cube")]
mod cube {
    use cubecl_environment::stream::StreamId;

    use super::*;

    pub(super) fn is_gpu_dispatch(device: &DispatchDevice) -> bool {
        matches!(device, DispatchDevice::Cube(_))
    }

    /// What a GPU is made of; `None` for the CPU. Starts the device.
    pub fn hardware(device: &Device) -> Option<Hardware> {
        let device = device.clone().inner();
        let DispatchDevice::Cube(cube) = device.as_dispatch() else { return None };
        let client = cube.client();
        let properties = client.properties();
        let identity = &properties.identity;
        let memory = properties.memory.max_memory();
        Some(Hardware { name: identity.name.clone(), memory, is_software: identity.physical.is_none() })
    }

    /// Runs `work`, whose launches go to queue `index` of the GPU: launches in different queues may overlap, those in one
    /// run in order. Tensors may come from any queue; the device waits where it must.
    pub fn in_queue<T>(index: usize, work: impl FnOnce() -> T) -> T {
        // The ids that threads get by themselves count up from 0.
        const FIRST: u64 = 1 << 32;
        StreamId { value: FIRST + index as u64 }.executes(work)
    }
}

#[cfg(feature = "cube")]
use cube::is_gpu_dispatch;
#[cfg(feature = "cube")]
pub use cube::{hardware, in_queue};
#[cfg(not(feature = "cube"))]
use none::is_gpu_dispatch;
#[cfg(not(feature = "cube"))]
pub use none::{hardware, in_queue};
