//! What `--device` names.

use std::fmt;
use std::str::FromStr;

/// Where networks are computed. There is one place so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Device {
    /// This processor.
    #[default]
    Cpu,
}

impl Device {
    /// The environment variable that names one where `--device` does not.
    pub const VARIABLE: &str = "KTG_DEVICE";
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
        f.write_str("cpu")
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
