//! Copies of a batch on devices.

/// Copies of one batch on the devices of nodes: made by the first node of each device that asks, used by all others there.
/// Empty where nodes read the host's memory. (All nodes of a device must lay images out alike, as those of one run do.)
#[derive(Debug, Default)]
pub struct Uploads {
    #[cfg(feature = "torch")]
    pub(crate) copies: std::sync::Mutex<Vec<(tch::Device, tch::Tensor)>>,
}
