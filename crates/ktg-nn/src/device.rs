//! Which device computes: one choice for the whole process, like the kernels.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Once, OnceLock};

use burn::tensor::Device;
use ktg_kernels::burn::{Hardware, hardware, is_gpu};

/// The environment variable that makes the choice where [`choose`] has not.
pub const VARIABLE: &str = "KTG_DEVICE";

/// How programs talk to a GPU. Each is a cargo feature of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// NVIDIA.
    Cuda,
    /// Apple.
    Metal,
    /// AMD.
    Rocm,
    /// GPUs of all makers, through the graphics driver.
    Vulkan,
}

impl Api {
    /// In the order of preference.
    pub const ALL: [Api; 4] = [Api::Cuda, Api::Metal, Api::Rocm, Api::Vulkan];

    /// As `--device` and the cargo features have it.
    pub fn name(self) -> &'static str {
        match self {
            Api::Cuda => "cuda",
            Api::Metal => "metal",
            Api::Rocm => "rocm",
            Api::Vulkan => "vulkan",
        }
    }

    /// Whether this program was built with it.
    pub fn is_built(self) -> bool {
        match self {
            Api::Cuda => cfg!(feature = "cuda"),
            Api::Metal => cfg!(feature = "metal"),
            Api::Rocm => cfg!(feature = "rocm"),
            Api::Vulkan => cfg!(feature = "vulkan"),
        }
    }

    /// The devices of this machine. A driver that is not installed, or is broken, must not keep the others from being
    /// listed.
    fn devices(self) -> Vec<Device> {
        quietly(|| self.enumerate()).unwrap_or_default()
    }

    #[allow(unreachable_patterns)]
    fn enumerate(self) -> Vec<Device> {
        #[cfg(any(feature = "vulkan", feature = "cuda", feature = "metal", feature = "rocm"))]
        use burn::tensor::DeviceType;
        match self {
            #[cfg(feature = "cuda")]
            Api::Cuda => Device::enumerate(DeviceType::Cuda).into_vec(),
            #[cfg(feature = "metal")]
            Api::Metal => Device::enumerate(DeviceType::Metal).into_vec(),
            #[cfg(feature = "rocm")]
            Api::Rocm => Device::enumerate(DeviceType::Rocm).into_vec(),
            #[cfg(feature = "vulkan")]
            Api::Vulkan => Device::enumerate(DeviceType::Vulkan).into_vec(),
            _ => Vec::new(),
        }
    }
}

/// What `--device` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The first GPU that is one, else the CPU.
    Auto,
    /// The CPU.
    Cpu,
    /// A GPU: the API, and which of its devices, counted from 0.
    Gpu(Api, usize),
}

impl FromStr for DeviceChoice {
    type Err = DeviceError;

    /// `auto`, `cpu`, or the name of an API, with an index or without one (0), as in `cuda:1`.
    fn from_str(name: &str) -> Result<Self, DeviceError> {
        let unknown = || DeviceError::Unknown(name.to_owned());
        let (api, index) = match name.split_once(':') {
            Some((api, index)) => (api, index.parse().map_err(|_| unknown())?),
            None if name == "auto" => return Ok(DeviceChoice::Auto),
            None if name == "cpu" => return Ok(DeviceChoice::Cpu),
            None => (name, 0),
        };
        let api = Api::ALL.into_iter().find(|a| a.name() == api).ok_or_else(unknown)?;
        Ok(DeviceChoice::Gpu(api, index))
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            DeviceChoice::Auto => f.write_str("auto"),
            DeviceChoice::Cpu => f.write_str("cpu"),
            DeviceChoice::Gpu(api, index) => write!(f, "{}:{index}", api.name()),
        }
    }
}

/// A device that cannot be chosen, or that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// No such name.
    #[error(
        "`{0}` names no device; choose auto, cpu, cuda, metal, rocm or vulkan, the latter four with an index where there \
         are several, as in cuda:1"
    )]
    Unknown(String),
    /// Not compiled in.
    #[error(
        "this ktg was built without `{0}`; build it with `cargo build --release --features {0}`, or choose one of: {1}"
    )]
    NotBuilt(&'static str, String),
    /// Not in this machine.
    #[error("there is no device `{0}` here; `ktg devices` lists those there are: {1}")]
    Absent(DeviceChoice, String),
    /// The choice was made before.
    #[error("the device was chosen before")]
    Late,
    /// The device ran out of memory.
    #[error("the device ran out of memory ({0}); try smaller batches")]
    OutOfMemory(String),
    /// The device or its driver failed otherwise.
    #[error("the device failed: {0}; see `ktg devices`, or compute on the CPU with `--device cpu`")]
    Failed(String),
}

impl DeviceError {
    /// Makes an error of what a driver says, which may be many lines.
    pub fn of_driver(text: &str) -> Self {
        let is_memory = |line: &&str| {
            let line = line.to_lowercase();
            let words = ["out of memory", "outofmemory", "out_of_memory", "out of device memory", "can't allocate"];
            words.iter().any(|word| line.contains(word)) || line.contains("buffer") && line.contains("too big")
        };
        if let Some(line) = text.lines().find(is_memory) {
            return DeviceError::OutOfMemory(line.trim().to_owned());
        }
        // The last cause, before the backtrace, says most.
        let before = text.split("Backtrace:").next().unwrap_or(text);
        let line = before.lines().map(str::trim).rfind(|line| !line.is_empty() && !line.ends_with("Caused by:"));
        DeviceError::Failed(line.unwrap_or("it does not say why").to_owned())
    }
}

/// A device of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// What `--device` takes.
    pub choice: DeviceChoice,
    /// What it is made of.
    pub is: Is,
}

/// What a listed device is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Is {
    /// This processor.
    Cpu,
    /// A GPU.
    Gpu(Hardware),
    /// A GPU that does not start, and why.
    Broken(DeviceError),
}

/// What a GPU is made of. Starts it.
fn start(device: &Device) -> Result<Hardware, DeviceError> {
    let hardware = quietly(|| hardware(device))?;
    hardware.ok_or_else(|| DeviceError::Failed("it does not say what it is".to_owned()))
}

/// The GPUs that this build can use, in the order in which `auto` takes them; each is started when it is asked for.
fn gpus() -> impl Iterator<Item = (DeviceChoice, Device)> {
    Api::ALL.into_iter().flat_map(|api| {
        let devices = api.devices().into_iter().enumerate();
        devices.map(move |(index, device)| (DeviceChoice::Gpu(api, index), device))
    })
}

/// Every GPU that this build can use, in the order in which `auto` takes them, and the CPU. Starts them all.
pub fn list() -> Vec<Listed> {
    let gpu = |(choice, device): (DeviceChoice, Device)| match start(&device) {
        Ok(hardware) => Listed { choice, is: Is::Gpu(hardware) },
        Err(error) => Listed { choice, is: Is::Broken(error) },
    };
    gpus().map(gpu).chain([Listed { choice: DeviceChoice::Cpu, is: Is::Cpu }]).collect()
}

fn built() -> String {
    let gpus = Api::ALL.into_iter().filter(|api| api.is_built()).map(Api::name);
    ["cpu"].into_iter().chain(gpus).collect::<Vec<_>>().join(", ")
}

/// The device that a choice stands for, started.
///
/// # Errors
///
/// If it is not built in, not in this machine, or does not start.
fn find(choice: DeviceChoice) -> Result<(DeviceChoice, Device), DeviceError> {
    match choice {
        DeviceChoice::Cpu => Ok((choice, Device::flex())),
        DeviceChoice::Auto => {
            let real = |(_, device): &(DeviceChoice, Device)| start(device).is_ok_and(|hardware| !hardware.is_software);
            Ok(gpus().find(real).unwrap_or((DeviceChoice::Cpu, Device::flex())))
        }
        DeviceChoice::Gpu(api, _) if !api.is_built() => Err(DeviceError::NotBuilt(api.name(), built())),
        DeviceChoice::Gpu(api, index) => {
            let Some(device) = api.devices().into_iter().nth(index) else {
                let names: Vec<String> = gpus().map(|(choice, _)| choice.to_string()).collect();
                return Err(DeviceError::Absent(choice, [&names[..], &["cpu".to_owned()]].concat().join(", ")));
            };
            start(&device)?;
            Ok((choice, device))
        }
    }
}

static CHOSEN: OnceLock<(DeviceChoice, Device)> = OnceLock::new();

/// Makes the choice for the whole process; returns what it came to.
///
/// # Errors
///
/// If the device is not built in or not there, or another one was chosen before.
pub fn choose(choice: DeviceChoice) -> Result<DeviceChoice, DeviceError> {
    let (found, device) = find(choice)?;
    let chosen = CHOSEN.get_or_init(|| (found, device));
    if chosen.0 == found { Ok(found) } else { Err(DeviceError::Late) }
}

fn current() -> &'static (DeviceChoice, Device) {
    CHOSEN.get_or_init(|| {
        let choice = std::env::var(VARIABLE).map_or(Ok(DeviceChoice::Cpu), |name| name.parse());
        choice.and_then(find).unwrap_or_else(|error| panic!("{VARIABLE}: {error}"))
    })
}

/// The device that computes, without autodiff: that of [`choose`], else of the environment variable `KTG_DEVICE`, else
/// the CPU.
///
/// # Panics
///
/// If the environment variable names a device that cannot be had. Programs call [`choose`] first, which returns the error.
pub fn chosen() -> Device {
    current().1.clone()
}

/// What [`chosen`] is: its API and its hardware, or `cpu`.
pub fn name() -> String {
    match (current(), hardware(&current().1)) {
        ((DeviceChoice::Gpu(api, _), _), Some(hardware)) => format!("{}: {}", api.name(), hardware.name),
        _ => "cpu".to_owned(),
    }
}

/// Runs `work`, in which drivers may fail by a panic, and makes an error of that: on a GPU. A panic on the CPU is a mistake
/// of ours and stays one.
///
/// # Errors
///
/// What the driver says.
pub fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, DeviceError> {
    if is_gpu(&current().1) { quietly(work) } else { Ok(work()) }
}

/// How many [`quietly`] there are at the moment.
static QUIET: AtomicUsize = AtomicUsize::new(0);

/// Runs `work` and makes an error of a panic in it, about which nothing is printed. The devices' own threads panic, too.
fn quietly<T>(work: impl FnOnce() -> T) -> Result<T, DeviceError> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if QUIET.load(Ordering::Relaxed) == 0 {
                usual(info);
            }
        }));
    });
    QUIET.fetch_add(1, Ordering::Relaxed);
    let result = std::panic::catch_unwind(AssertUnwindSafe(work));
    QUIET.fetch_sub(1, Ordering::Relaxed);
    result.map_err(|payload| {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        DeviceError::of_driver(text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or_default())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_wrong_ones_are_refused() {
        for name in ["auto", "cpu", "cuda:0", "vulkan:3", "metal:1", "rocm:0"] {
            assert_eq!(name.parse::<DeviceChoice>().unwrap().to_string(), name);
        }
        assert_eq!("cuda".parse(), Ok(DeviceChoice::Gpu(Api::Cuda, 0)));
        for name in ["gpu", "cuda:", "cuda:x", "cpu:0", "auto:1", "", "vulkan:-1"] {
            let message = name.parse::<DeviceChoice>().unwrap_err().to_string();
            assert!(message.contains(&format!("`{name}`")) && message.contains("cuda:1"), "{message}");
        }
    }

    #[test]
    fn a_device_that_is_not_built_in_names_its_feature() {
        for api in Api::ALL.into_iter().filter(|api| !api.is_built()) {
            let message = find(DeviceChoice::Gpu(api, 0)).unwrap_err().to_string();
            assert!(message.contains(&format!("--features {}", api.name())), "{message}");
        }
    }

    #[test]
    fn the_cpu_is_always_there_and_last() {
        let devices = list();
        assert_eq!(devices.last().unwrap().choice, DeviceChoice::Cpu);
        assert!(find(DeviceChoice::Auto).is_ok());
    }

    #[test]
    fn what_drivers_say_of_memory_is_told_from_the_rest() {
        let out = DeviceError::of_driver(
            "A launch error\nCaused by:\n  Out of memory while allocating 8 GiB\nBacktrace:\n x",
        );
        assert!(matches!(out, DeviceError::OutOfMemory(_)), "{out:?}");
        assert!(matches!(DeviceError::of_driver("lost"), DeviceError::Failed(reason) if reason == "lost"));
    }
}
