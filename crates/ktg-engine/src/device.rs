//! What `--device` names.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use crate::Precision;

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
    /// The environment variable that names devices where `--device` does not.
    pub const VARIABLE: &str = "KTG_DEVICE";

    /// What devices of one kind have in common: `cpu`, `torch`, `cuda` or `mps`.
    pub fn kind(self) -> &'static str {
        match self {
            Device::Cpu => "cpu",
            Device::Torch => "torch",
            Device::Cuda(_) => "cuda",
            Device::Mps => "mps",
        }
    }

    /// Whether networks can be trained on it in these numbers.
    pub fn computes(self, precision: Precision) -> bool {
        match self {
            Device::Cpu => precision != Precision::F16,
            Device::Torch | Device::Cuda(_) | Device::Mps => true,
        }
    }

    /// The devices that there are, the best first.
    pub fn available() -> Vec<Device> {
        let mut devices = torch_devices();
        let gpus = devices.iter().filter(|device| matches!(device, Device::Cuda(_))).count();
        devices.insert(gpus, Device::Cpu);
        devices
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

/// Those of PyTorch's, GPUs first.
#[cfg(feature = "torch")]
fn torch_devices() -> Vec<Device> {
    let mut devices = Vec::new();
    if tch::Cuda::is_available() {
        devices.extend((0..tch::Cuda::device_count() as usize).map(Device::Cuda));
    }
    if tch::utils::has_mps() {
        devices.push(Device::Mps);
    }
    devices.push(Device::Torch);
    devices
}

#[cfg(not(feature = "torch"))]
fn torch_devices() -> Vec<Device> {
    Vec::new()
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Device::Cuda(index) => write!(f, "cuda:{index}"),
            other => f.write_str(other.kind()),
        }
    }
}

/// Devices that cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// No such name.
    #[error("`{0}` is no device; choose cpu, torch, cuda, cuda:1 (and so on), mps or auto; see `ktg devices`")]
    Unknown(String),
    /// A name of versions up to 0.1.
    #[error("`{0}` was a device of versions up to 0.1; GPUs are computed on by PyTorch now: choose {1}")]
    Old(String, &'static str),
    /// The program has no PyTorch.
    #[error("this ktg is built without PyTorch, which computes on {0}; docs/gpu.md says how to build it with it")]
    NoTorch(Device),
    /// PyTorch finds none.
    #[error("there is no device {0}; there are: {1}")]
    Missing(Device, String),
    /// Such as a CPU and a GPU.
    #[error("devices of a list are of one kind, and {0} and {1} are of two")]
    Mixed(Device, Device),
    /// The devices were chosen before, or networks made.
    #[error("the devices were chosen before")]
    Late,
}

/// The environment variable that keeps NVIDIA's libraries from rounding to TF32 where it is 0 when they are loaded.
pub const TF32_OFF: &str = "NVIDIA_TF32_OVERRIDE";
/// The one that has PyTorch round the factors of matrix products to TF32, too, as it does by itself in convolutions,
/// where it is 1.
pub const TF32_PRODUCTS: &str = "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE";

/// The devices of a process: node m of a graph lives on the m-th in turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Devices(Vec<Device>);

impl Default for Devices {
    fn default() -> Self {
        Self(vec![Device::Cpu])
    }
}

impl FromStr for Devices {
    type Err = DeviceError;

    /// `auto` (the first GPU that PyTorch calls `cuda`, else the CPU), or devices of one kind separated by commas:
    /// `cpu`, `torch`, `cuda`, `cuda:0,cuda:1`, `mps`.
    fn from_str(names: &str) -> Result<Self, DeviceError> {
        let devices = names.split(',').map(|name| find(name.trim())).collect::<Result<Vec<Device>, _>>()?;
        let first = devices[0];
        match devices.iter().find(|device| device.kind() != first.kind()) {
            Some(other) => Err(DeviceError::Mixed(first, *other)),
            None => Ok(Self(devices)),
        }
    }
}

/// The device of a name, if it is there.
fn find(name: &str) -> Result<Device, DeviceError> {
    let old = [("vulkan", "cuda"), ("wgpu", "cuda"), ("rocm", "cuda"), ("metal", "mps")];
    let device = match name {
        "auto" => return Ok(Device::available()[0]),
        // Nobody need wait for PyTorch to look for GPUs.
        "cpu" => return Ok(Device::Cpu),
        "torch" => Device::Torch,
        "cuda" => Device::Cuda(0),
        "mps" => Device::Mps,
        _ => {
            let unknown = || DeviceError::Unknown(name.to_owned());
            if let Some((_, new)) = old.iter().find(|(old, _)| name.split(':').next() == Some(*old)) {
                return Err(DeviceError::Old(name.to_owned(), new));
            }
            let index = name.strip_prefix("cuda:").ok_or_else(unknown)?;
            Device::Cuda(index.parse().map_err(|_| unknown())?)
        }
    };
    let available = Device::available();
    if available.contains(&device) {
        return Ok(device);
    }
    if cfg!(not(feature = "torch")) {
        return Err(DeviceError::NoTorch(device));
    }
    let names: Vec<String> = available.iter().map(Device::to_string).collect();
    Err(DeviceError::Missing(device, names.join(", ")))
}

impl fmt::Display for Devices {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0.iter().map(Device::to_string).collect::<Vec<_>>().join(","))
    }
}

impl Devices {
    /// The device of node `m`, counted from 0.
    pub fn of_node(&self, m: usize) -> Device {
        self.0[m % self.0.len()]
    }

    /// Whether networks can be trained on all of them in these numbers.
    pub fn compute(&self, precision: Precision) -> bool {
        self.0.iter().all(|device| device.computes(precision))
    }

    /// How many there are in the list.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Waits until GPUs have done what they were told to, which is of interest to whoever measures time.
    pub fn wait(&self) {
        #[cfg(feature = "torch")]
        for device in &self.0 {
            if let Device::Cuda(index) = device {
                tch::Cuda::synchronize(*index as i64);
            }
        }
    }

    /// What rounds as they do, by name: their kind, and whether NVIDIA's round what they multiply to TF32.
    pub fn rounding(&self) -> String {
        let is_off = std::env::var(TF32_OFF).is_ok_and(|value| value == "0");
        let tf32 = if self.kind() == "cuda" && !is_off { " with TF32" } else { "" };
        format!("{}{tf32}", self.kind())
    }

    /// What all of them are.
    pub fn kind(&self) -> &'static str {
        self.0[0].kind()
    }

    /// The devices of the process: those that were chosen, else those that the environment variable `KTG_DEVICE`
    /// names, else the CPU.
    ///
    /// # Panics
    ///
    /// If the variable holds something else than [`Devices::from_str`] accepts.
    pub fn chosen() -> &'static Devices {
        CHOSEN.get_or_init(|| match std::env::var(Device::VARIABLE) {
            Ok(names) => names.parse().unwrap_or_else(|error| panic!("{}: {error}", Device::VARIABLE)),
            Err(_) => Devices::default(),
        })
    }

    /// Makes them the devices of the process. Only possible before the first network.
    ///
    /// # Errors
    ///
    /// If others were chosen before.
    pub fn choose(self) -> Result<(), DeviceError> {
        if *CHOSEN.get_or_init(|| self.clone()) == self { Ok(()) } else { Err(DeviceError::Late) }
    }
}

static CHOSEN: OnceLock<Devices> = OnceLock::new();

#[cfg(test)]
mod tests {
    use super::*;

    fn message(names: &str) -> String {
        names.parse::<Devices>().unwrap_err().to_string()
    }

    #[test]
    fn wrong_names_are_refused_with_a_sentence() {
        assert_eq!("cpu".parse(), Ok(Devices::default()));
        assert_eq!("cpu, cpu".parse::<Devices>().unwrap().to_string(), "cpu,cpu");
        for name in ["gpu", "", "cuda:", "cuda:x", "cuda:-1", "cpu,"] {
            assert!(message(name).contains("is no device; choose cpu, torch, cuda"), "{name}: {}", message(name));
        }
        assert!(message("vulkan:0").contains("GPUs are computed on by PyTorch now: choose cuda"));
        assert!(message("metal").ends_with("choose mps"));
    }

    #[test]
    fn nodes_take_devices_in_turn() {
        let two = Devices(vec![Device::Cuda(0), Device::Cuda(1)]);
        assert_eq!([0, 1, 2].map(|m| two.of_node(m)), [0, 1, 0].map(Device::Cuda));
        assert_eq!((two.count(), two.kind()), (2, "cuda"));
        assert!(two.compute(Precision::F16) && !Devices::default().compute(Precision::F16));
    }

    #[cfg(not(feature = "torch"))]
    #[test]
    fn pytorchs_devices_need_the_feature() {
        assert_eq!(
            message("cuda:1"),
            "this ktg is built without PyTorch, which computes on cuda:1; docs/gpu.md says how to build it with it"
        );
        assert_eq!("auto".parse(), Ok(Devices::default()));
    }

    #[cfg(feature = "torch")]
    #[test]
    fn pytorchs_devices_are_looked_for() {
        assert_eq!("torch,torch".parse::<Devices>().unwrap().to_string(), "torch,torch");
        assert_eq!(message("torch,cpu"), "devices of a list are of one kind, and torch and cpu are of two");
        assert!(message("cuda:99").starts_with("there is no device cuda:99; there are: "), "{}", message("cuda:99"));
    }
}
