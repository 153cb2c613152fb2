//! What `--device` names.

use std::fmt;
use std::str::FromStr;

/// Where networks are computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Device {
    /// This processor, by our kernels.
    #[default]
    Cpu,
    /// This processor, by PyTorch's.
    Torch,
    /// A GPU of NVIDIA's or, with PyTorch for ROCm, of AMD's, counted from 0.
    Cuda(usize),
    /// The GPU of a Mac.
    Mps,
}

impl Device {
    /// The environment variable that names one where `--device` does not.
    pub const VARIABLE: &str = "KTG_DEVICE";

    /// Whether PyTorch computes there, for which ktg is built with the feature `torch`.
    pub fn is_torch(self) -> bool {
        self != Device::Cpu
    }

    /// As PyTorch's library names it; `None`: not one of its devices.
    #[cfg(feature = "torch")]
    pub(crate) fn to_torch(self) -> Option<tch::Device> {
        match self {
            Device::Cpu => None,
            Device::Torch => Some(tch::Device::Cpu),
            Device::Cuda(index) => Some(tch::Device::Cuda(index)),
            Device::Mps => Some(tch::Device::Mps),
        }
    }
}

/// No such device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no device that this ktg computes on; choose cpu or auto")]
pub struct DeviceError(String);

impl FromStr for Device {
    type Err = DeviceError;

    /// `cpu`, or `auto` for the best there is.
    fn from_str(name: &str) -> Result<Self, DeviceError> {
        match name {
            "auto" | "cpu" => Ok(Device::Cpu),
            _ => Err(DeviceError(name.to_owned())),
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Device::Cpu => f.write_str("cpu"),
            Device::Torch => f.write_str("torch"),
            Device::Cuda(index) => write!(f, "cuda:{index}"),
            Device::Mps => f.write_str("mps"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_devices_are_refused_with_a_sentence() {
        assert_eq!(["cpu", "auto"].map(|name| name.parse()), [Ok(Device::Cpu), Ok(Device::Cpu)]);
        for name in ["cuda", "vulkan:0", "gpu", ""] {
            let message = name.parse::<Device>().unwrap_err().to_string();
            assert_eq!(message, format!("`{name}` is no device that this ktg computes on; choose cpu or auto"));
        }
    }
}
