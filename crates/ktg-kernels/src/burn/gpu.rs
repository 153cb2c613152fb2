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

/// Where a GPU is told what to do: launches in different queues may overlap, those in one run in order. (CUDA and ROCm
/// have real queues; Vulkan and Metal put all launches in one, one queue's after another's.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    /// Of a network, by its position in the graph.
    Network(usize),
    /// For batches on their way to the device.
    Uploads,
}

/// Whether the device is a GPU, with or without autodiff.
pub fn is_gpu(device: &Device) -> bool {
    build::is_gpu(device.clone().inner().as_dispatch())
}

pub(super) fn is_on_gpu<const D: usize>(tensor: &Tensor<D>) -> bool {
    is_gpu(&tensor.device())
}

/// What a GPU is made of; `None` for the CPU. Starts the device.
pub fn hardware(device: &Device) -> Option<Hardware> {
    build::hardware(device.clone().inner().as_dispatch())
}

/// Runs `work`, whose launches go to a queue of the GPU. Tensors may come from any queue; the device waits where it must.
pub fn in_queue<T>(queue: Queue, work: impl FnOnce() -> T) -> T {
    build::in_queue(queue, work)
}

#[cfg(not(feature = "cube"))]
mod build {
    use super::{DispatchDevice, Hardware, Queue};

    pub fn is_gpu(_: &DispatchDevice) -> bool {
        false
    }

    pub fn hardware(_: &DispatchDevice) -> Option<Hardware> {
        None
    }

    pub fn in_queue<T>(_: Queue, work: impl FnOnce() -> T) -> T {
        work()
    }
}

#[cfg(feature = "cube")]
mod build {
    use cubecl_environment::stream::StreamId;

    use super::{DispatchDevice, Hardware, Queue};

    pub fn is_gpu(device: &DispatchDevice) -> bool {
        matches!(device, DispatchDevice::Cube(_))
    }

    pub fn hardware(device: &DispatchDevice) -> Option<Hardware> {
        let DispatchDevice::Cube(cube) = device else { return None };
        let client = cube.client();
        let properties = client.properties();
        let identity = &properties.identity;
        let memory = properties.memory.max_memory();
        Some(Hardware { name: identity.name.clone(), memory, is_software: identity.physical.is_none() })
    }

    pub fn in_queue<T>(queue: Queue, work: impl FnOnce() -> T) -> T {
        stream(queue).executes(work)
    }

    /// CubeCL has 128 streams, takes ids modulo that, and gives threads their own by counting up from 0: those from the
    /// middle on are ours.
    fn stream(queue: Queue) -> StreamId {
        const FIRST: u64 = (1 << 32) + 64;
        const NETWORKS: u64 = 60;
        match queue {
            Queue::Network(m) => StreamId { value: FIRST + m as u64 % NETWORKS },
            Queue::Uploads => StreamId { value: FIRST + NETWORKS },
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn queues_are_streams_of_their_own() {
            let streams = u64::from(cubecl::config::streaming::StreamingConfig::default().max_streams);
            let queues = (0..60).map(Queue::Network).chain([Queue::Uploads]);
            let mut indices: Vec<u64> = queues.map(|queue| stream(queue).value % streams).collect();
            indices.sort_unstable();
            indices.dedup();
            assert_eq!(indices.len(), 61);
            assert!(indices[0] >= 64, "the first are those of threads");
        }
    }
}
